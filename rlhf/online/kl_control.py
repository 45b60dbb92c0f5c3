"""How much a nat of KL costs: fixed, or adapted until the policy stays where it should."""

from __future__ import annotations

REACTION = 0.5  # of the paper's proportional error, each rollout
MOST = 0.2  # the error is cut off here, either way
LOWEST, HIGHEST = 1e-4, 10.0


class KLController:
    """The KL coefficient, ``value`` in score for each nat.

    Deviation from the paper: it reacts by rollout, not by episode over a horizon of 10,000 (with
    64 answers a rollout that would move the coefficient by a thousandth). ``double`` is the answer
    to an alarm.
    """

    def __init__(self, start: float, target: float | None):
        self.value, self.target = start, target

    def update(self, kl: float) -> None:
        """Move towards ``target`` nats an answer, by at most a tenth; without one stay."""
        if self.target is None:
            return
        # e = clip((KL - target)/target, ±0.2); beta' = beta (1 + K e), section 2.2 of
        # https://arxiv.org/abs/1909.08593
        error = max(-MOST, min(MOST, kl / self.target - 1))
        self._set(self.value * (1 + REACTION * error))

    def double(self) -> None:
        """Hold the policy back twice as hard."""
        self._set(2 * self.value)

    def _set(self, value: float) -> None:
        self.value = min(HIGHEST, max(LOWEST, value))
