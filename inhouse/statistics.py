"""Exact statistics for rates: small samples are the rule here, and a gate must not flatter.

scipy and numpy are imported where they are used: they take long, and a stage's ``--help`` must not.
"""

from __future__ import annotations

from collections.abc import Sequence


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


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> float:
    """The exact two-sided p-value that two paired series have the same rate.

    McNemar (1947), https://doi.org/10.1007/BF02295996, in its exact binomial form: under no
    difference each discordant pair falls either way with probability one half. Shapes: (pairs,).
    """
    from scipy.stats import binomtest

    gained = sum(1 for b, a in zip(before, after, strict=True) if a and not b)
    lost = sum(1 for b, a in zip(before, after, strict=True) if b and not a)
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


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
