"""One bar over a whole run of rollouts: score, KL, length, and the time that is left."""

from __future__ import annotations

from tqdm import tqdm

from inhouse.run import is_main_process
from rlhf.online.watch import Health


class Progress:
    """Shows each rollout as it is accepted, and says in a line of its own what went wrong."""

    def __init__(self, title: str, rollouts: int):
        self._bar = tqdm(total=rollouts, desc=title, unit="rollout", disable=not is_main_process())

    def show(self, now: Health, coefficient: float) -> None:
        """A rollout that is built on."""
        self._bar.set_postfix_str(
            f"score {now.score:.2f}, KL {now.kl:.2f} (x{coefficient:.3f}), "
            f"length {now.length:.0f}, ends {now.ends:.0%}"
        )
        self._bar.update(now.rollout + 1 - self._bar.n)

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._bar.write(line)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
