"""What PPO and RLOO watch while they train, and when they should not go on.

Each rollout is summed up in a few figures (:class:`Health`) and compared with the first one, which
is the fine-tuned model itself. A reward that rises while answers grow, stop ending, all become the
same, leave the reference behind or displease a judge that is not climbed is no success
(https://arxiv.org/abs/2210.10760): each of these is an alarm, in words.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from inhouse.plots import lines, page

LONGER, SHORTER = 2.0, 0.5  # mean length, against the first rollout's
ENDS_LOST = 0.25  # of all answers: how many fewer may end by themselves
ENTROPY_LEFT = 0.25  # of the first rollout's
NEGATIVE_IN_A_ROW = 3  # rollouts whose KL is below 0 by more than chance
DISBELIEF = 0.5  # standard deviations that the held-out head may fall while the score rises


@dataclass(frozen=True)
class Health:
    """One rollout in figures, over all processes.

    Units: ``score`` and its standard deviation as the reward has them; ``held_out`` in standard
    deviations of the reward model's training answers, None without an ensemble; ``kl`` (k1, mean
    an answer), ``kl_error`` (its standard error) and ``kl_k3`` in nats an answer, the last two None
    where they are not known; ``length`` in tokens; ``ends`` the share of answers that end by
    themselves; ``entropy`` in nats a token.
    """

    rollout: int
    score: float
    score_std: float
    held_out: float | None
    kl: float
    kl_error: float | None
    kl_k3: float | None
    length: float
    ends: float
    entropy: float


class Watch:
    """The rollouts so far, and what is wrong with the next one."""

    def __init__(self, max_kl: float):
        self.max_kl = max_kl
        self.history: list[Health] = []

    def alarms(self, now: Health) -> list[str]:
        """Every reason not to build on the policy that wrote this rollout; none means healthy."""
        found = []
        if not math.isfinite(now.kl + now.score):
            found.append(f"KL is {now.kl} and the score {now.score}: the weights have diverged")
        elif now.kl > self.max_kl:
            found.append(f"KL to the reference is {now.kl:.2f} nats an answer, above {self.max_kl}")
        recent = [*self.history, now][-NEGATIVE_IN_A_ROW:]
        below = [h.kl_error is not None and h.kl < -2 * h.kl_error for h in recent]
        if len(below) == NEGATIVE_IN_A_ROW and all(below):
            found.append(
                f"KL was below 0 in {NEGATIVE_IN_A_ROW} rollouts in a row (now {now.kl:.2f}): what "
                "is sampled is not what is scored"
            )
        if not self.history:
            return found
        first = self.history[0]
        if not SHORTER * first.length <= now.length <= LONGER * first.length:
            found.append(
                f"answers have {now.length:.0f} tokens on average, {first.length:.0f} at first"
            )
        if now.ends < first.ends - ENDS_LOST:
            found.append(f"{now.ends:.0%} of the answers end, {first.ends:.0%} at first")
        if now.entropy < ENTROPY_LEFT * first.entropy:
            found.append(f"entropy is {now.entropy:.3f} nats a token, {first.entropy:.3f} at first")
        if now.held_out is not None and first.held_out is not None:
            fallen = first.held_out - now.held_out
            if fallen > DISBELIEF and now.score > first.score:
                found.append(
                    f"the reward rose by {now.score - first.score:.2f} while the head that is not "
                    f"climbed fell by {fallen:.2f}: the reward model is being exploited"
                )
        return found

    def accept(self, now: Health) -> None:
        """Remember a rollout that was built on."""
        self.history.append(now)

    def state(self) -> list[dict]:
        """The history as JSON keeps it."""
        return [dataclasses.asdict(each) for each in self.history]

    def load(self, state: list[dict]) -> None:
        """Take over a history that :meth:`state` wrote."""
        self.history = [Health(**each) for each in state]


def sampling_error(values: Sequence[float]) -> float:
    """The standard error of a mean: the sample's deviation over the root of its size."""
    if len(values) < 2:
        return math.inf
    mean = fmean(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def plots(title: str, history: Sequence[Health]) -> str:
    """The run in four charts, as SVG."""

    def of(field: str) -> list[tuple[float, float]]:
        pairs = ((each.rollout, getattr(each, field)) for each in history)
        return [(x, y) for x, y in pairs if y is not None]

    return page(
        title,
        [
            lines({"score": of("score"), "held out": of("held_out")}, "Reward", "", "rollout"),
            lines({"k1": of("kl"), "k3": of("kl_k3")}, "KL to the reference", "nats", "rollout"),
            lines({"length": of("length")}, "Answers' length", "tokens", "rollout"),
            lines({"ends": of("ends"), "entropy": of("entropy")}, "Ends, entropy", "", "rollout"),
        ],
    )
