"""One bar over a whole plan: "dpo, red team, 1,234 of 9,000, 12 min left"."""

from __future__ import annotations

import time
from types import TracebackType

from tqdm import tqdm

from review.asking.plan import duration


class Progress:
    """How many of all answers there are, and how long the others will take.

    Args:
        total: answers of the plan.
        done: those that an earlier process gave: they say nothing of this one's speed.
    """

    def __init__(self, total: int, done: int) -> None:
        self._done = done
        self._began = time.monotonic()
        self._what = ""
        self._bar = tqdm(total=total, initial=done, bar_format="{desc} {bar}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def at(self, what: str) -> None:
        """What is asked now."""
        self._what = what
        self._bar.set_description_str(self.line())

    def add(self, count: int) -> None:
        """So many more answers are there."""
        self._bar.set_description_str(self.line(count), refresh=False)
        self._bar.update(count)

    def line(self, more: int = 0) -> str:
        """What the bar says, with ``more`` answers than it has."""
        there, total = self._bar.n + more, self._bar.total
        said = f"{self._what}, {there:,} of {total:,}"
        mine = there - self._done
        if not mine or there == total:
            return said
        left = (time.monotonic() - self._began) * (total - there) / mine
        return f"{said}, {duration(left)} left"
