"""A rate, its exact bounds, and how many prompts it takes to claim one.

Counts may be fractions where one unit was looked at several times, such as a prompt that was asked
with two seeds and answered badly with one: it counts once, and half of it failed.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST = 200_000  # prompts; nobody asks more


def rate(successes: int, n: int, confidence: float = 0.95) -> dict[str, float]:
    """A rate with its exact bounds, the suite's R: ``{"rate", "low", "high", "n"}``.

    Clopper and Pearson (1934), https://doi.org/10.1093/biomet/26.4.404: the bounds are the beta
    quantiles that invert the binomial test, so their coverage is never below ``confidence``.

    Raises:
        ValueError: ``n`` is zero: no trials, no rate.
    """
    from scipy.stats import binomtest

    if n == 0:
        raise ValueError("a rate needs at least one trial")
    bounds = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="exact")
    return {"rate": successes / n, "low": float(bounds.low), "high": float(bounds.high), "n": n}


def upper_bound(failures: float, n: float, confidence: float = 0.95) -> float:
    """The rate that the true one is below with ``confidence``, one-sided; 1 without trials.

    Clopper and Pearson (1934): P(X <= failures | n, bound) = 1 - confidence, which is a beta
    quantile and so defined for fractions, too.
    """
    from scipy.stats import beta

    _check_counts(failures, n)
    return float(beta.ppf(confidence, failures + 1, n - failures)) if failures < n else 1.0


def lower_bound(failures: float, n: float, confidence: float = 0.95) -> float:
    """The rate that the true one is above with ``confidence``, one-sided; 0 without failures."""
    from scipy.stats import beta

    _check_counts(failures, n)
    return float(beta.ppf(1 - confidence, failures, n - failures + 1)) if failures > 0 else 0.0


def p_above(failures: float, n: float, limit: float) -> float:
    """The exact one-sided p-value against "the rate is ``limit`` or less".

    P(X >= failures | n, limit), which is the regularised incomplete beta function
    I_limit(failures, n - failures + 1), https://dlmf.nist.gov/8.17.E5.
    """
    from scipy.special import betainc

    _check_counts(failures, n)
    return float(betainc(failures, n - failures + 1, limit)) if failures > 0 else 1.0


def prompts_needed(failures: int, limit: float, confidence: float = 0.95) -> int:
    """The fewest prompts of which so many failures still show a rate of ``limit`` or less.

    The smallest n whose Clopper–Pearson bound (1934) is at most ``limit``: without a failure that
    is (1 - limit)^n <= 1 - confidence, which is 299 for 1 %.

    Raises:
        ValueError: no number of prompts shows a limit of zero.
    """
    if not 0 < limit < 1:
        raise ValueError(f"limit is {limit}: a limit above 0 and below 1 can be shown")
    enough = failures + 1
    while upper_bound(failures, enough, confidence) > limit:
        enough *= 2
    few = failures  # never enough: the bound of n failures of n is 1
    while enough - few > 1:
        middle = (few + enough) // 2
        if upper_bound(failures, middle, confidence) > limit:
            few = middle
        else:
            enough = middle
    return enough


def more_prompts(
    failures: float, n: int, limit: float, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """How many more prompts would show a rate of ``limit`` or less, if today's rate holds.

    What was counted stays counted: the fewest m with P(bound of failures + Y of n + m <= limit) >=
    power, Y ~ Binomial(m, failures / n), the bound being Clopper–Pearson's. Without any prompt yet
    the rate is taken as zero.

    Returns:
        None where today's rate is not below the limit, or ``MOST`` prompts would not do.
    """
    import numpy as np
    from scipy.stats import binom

    today = failures / n if n else 0.0
    if n and upper_bound(failures, n, confidence) <= limit:
        return 0
    if today >= limit:
        return None
    begin, width = n + 1, 1_000
    while begin <= MOST:
        totals = np.arange(begin, begin + width)
        # The most failures that pass: binom's quantile is the first count with a larger tail.
        most = binom.ppf(1 - confidence, totals, limit) - 1
        chance = binom.cdf(np.floor(most - failures), totals - n, today)
        chance[most < failures] = 0.0
        if (chance >= power).any():
            return int(totals[np.argmax(chance >= power)]) - n
        begin, width = begin + width, width * 2
    return None


def bootstrap_mean(
    values: Sequence[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bounds of a mean, by resampling with replacement.

    Efron (1979), https://doi.org/10.1214/aos/1176344552. Shape of ``values``: (n,).
    """
    import numpy as np

    sample = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(sample), size=(resamples, len(sample)))
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(sample[draws].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def _check_counts(failures: float, n: float) -> None:
    if not 0 <= failures <= n:
        raise ValueError(f"{failures} failures of {n} are no counts")
