"""Two models that answered the same prompts: is one better, and is it at least not worse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST = 200_000  # pairs; nobody asks more


@dataclass(frozen=True)
class Pairs:
    """What came of pairs of answers to the same prompts; the others came out alike.

    ``gained``: the second was right and the first was not; ``lost``: the other way round. Either
    may be a fraction, where a prompt was asked several times and counts once.
    """

    gained: float
    lost: float
    n: int

    def __post_init__(self) -> None:
        if min(self.gained, self.lost) < 0 or self.gained + self.lost > self.n + 1e-9:
            raise ValueError(f"{self.gained} gained and {self.lost} lost of {self.n} are no counts")

    @property
    def change(self) -> float:
        """By how much the second one's rate is higher."""
        return (self.gained - self.lost) / self.n if self.n else 0.0


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> float:
    """The exact two-sided p-value that two paired series have the same rate.

    McNemar (1947), https://doi.org/10.1007/BF02295996, in its exact binomial form: under no
    difference each discordant pair falls either way with probability one half. Shapes: (pairs,).
    """
    gained = sum(1 for b, a in zip(before, after, strict=True) if a and not b)
    lost = sum(1 for b, a in zip(before, after, strict=True) if b and not a)
    return sign_test(gained, lost)


def sign_test(gained: int, lost: int) -> float:
    """The exact two-sided p-value that as many pairs are gained as lost; 1 without any.

    Dixon and Mood (1946), https://doi.org/10.1080/01621459.1946.10501898; McNemar's exact test is
    this one of the discordant pairs.
    """
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def difference(pairs: Pairs, confidence: float = 0.95) -> tuple[float, float]:
    """Lower and upper bound of the change in rate, each one-sided with ``confidence``.

    Tango (1998), https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B:
    the changes that his score test does not refuse. Non-inferior is a lower bound above minus the
    margin. At a change of zero the test is McNemar's. Without pairs: -1 and 1.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if not pairs.n:
        return -1.0, 1.0
    z, end = float(norm.ppf(confidence)), 1 - 1e-12

    def crossing(level: float, otherwise: float) -> float:
        def beyond(change: float) -> float:
            return score(pairs, change) - level

        # The score falls in the change; where it never comes so far, the bound is the range's end.
        return brentq(beyond, -end, end) if beyond(-end) > 0 > beyond(end) else otherwise

    return crossing(z, -1.0), crossing(-z, 1.0)


def score(pairs: Pairs, change: float) -> float:
    """Tango's Z: how many standard errors the counts are above a supposed change."""
    b, c, n = pairs.gained, pairs.lost, pairs.n
    q = lost_share(pairs, change)
    # Tango (1998), eq. 24: Z = (b - c - n δ) / sqrt(n (2 q + δ (1 - δ))).
    variance = n * (2 * q + change * (1 - change))
    gap = b - c - n * change
    return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)


def lost_share(pairs: Pairs, change: float) -> float:
    """The likeliest share of lost pairs where the change is supposed.

    The larger root q of 2n q² + B q + C = 0, Tango (1998), eq. 25 and 26, with
    B = -b - c + (2n - b + c) δ and C = -c δ (1 - δ).
    """
    b, c, n = pairs.gained, pairs.lost, pairs.n
    linear = -b - c + (2 * n - b + c) * change
    constant = -c * change * (1 - change)
    return (math.sqrt(max(0.0, linear**2 - 8 * n * constant)) - linear) / (4 * n)


def more_pairs_for_margin(
    pairs: Pairs, margin: float, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """How many more pairs would show a change above ``-margin``, if today's shares hold.

    The usual sample size by z(confidence) + z(power), with Tango's bound: the fewest pairs whose
    bound at both together is above ``-margin``. Without pairs yet no change is supposed.

    Returns:
        None where today's change is not above ``-margin``, or ``MOST`` pairs would not do.
    """
    from scipy.stats import norm

    both = float(norm.cdf(norm.ppf(confidence) + norm.ppf(power)))
    if pairs.n and pairs.change <= -margin:
        return None

    def enough(n: int) -> bool:
        times = n / pairs.n if pairs.n else 0.0
        return difference(Pairs(pairs.gained * times, pairs.lost * times, n), both)[0] > -margin

    few, many = pairs.n, max(1, 2 * pairs.n)
    while not enough(many):
        few, many = many, 2 * many
        if few > MOST:
            return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many - pairs.n


def more_pairs_for_improvement(pairs: Pairs, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """How many more pairs would show a gain by McNemar's test, if today's shares are the true ones.

    Exact power of the sign test on the discordant pairs: the fewest of them, d, with
    P(X significant | d, gained / (gained + lost)) >= power, over their share of all pairs.

    Returns:
        None where not more pairs are gained than lost, or ``MOST`` pairs would not do.
    """
    import numpy as np
    from scipy.stats import binom

    if pairs.gained <= pairs.lost:
        return None
    discordant = pairs.gained + pairs.lost
    most = int(MOST * discordant / pairs.n)
    counts = np.arange(1, min(most, 20_000) + 1)
    # Two-sided: significant from the first x on with P(X >= x | d, 1/2) <= alpha / 2.
    least = counts - binom.ppf(alpha / 2, counts, 0.5) + 1
    chance = binom.sf(least - 1, counts, pairs.gained / discordant)
    if not (chance >= power).any():
        return None
    needed = math.ceil(int(counts[np.argmax(chance >= power)]) * pairs.n / discordant)
    return max(1, needed - pairs.n)
