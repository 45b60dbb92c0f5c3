"""The rate behind a checker that errs: what it finds, corrected by how often it is right."""

from __future__ import annotations

import math


def corrected_rate(
    found: float, n: int, tp: int, fn: int, fp: int, tn: int, confidence: float = 0.95
) -> dict[str, float] | None:
    """The true rate, estimated from the rate at which an imperfect checker finds.

    Rogan and Gladen (1978), https://doi.org/10.1093/oxfordjournals.aje.a112510, with the two-sided
    interval of Lang and Reiczigel (2014), https://doi.org/10.1016/j.prevetmed.2013.09.015, which
    also counts that sensitivity and specificity are themselves estimates, from tp + fn and fp + tn
    labelled replies.

    Returns:
        ``{"rate", "low", "high", "n"}``; None where the checker tells nothing: no labelled reply of
        a kind, or a sensitivity and specificity that together are no better than chance.

    Raises:
        ValueError: ``n`` is zero: no trials, no rate.
    """
    from scipy.stats import norm

    if n == 0:
        raise ValueError("a rate needs at least one trial")
    broken, kept = tp + fn, fp + tn
    if not broken or not kept or tp / broken + tn / kept <= 1:
        return None
    z = float(norm.ppf((1 + confidence) / 2))
    raw, se, sp = found / n, tp / broken, tn / kept
    # Rogan and Gladen (1978); Lang and Reiczigel (2014), eq. 2: p = (raw + Sp - 1) / (Se + Sp - 1).
    estimate = (raw + sp - 1) / (se + sp - 1)
    # Eq. 6 and 7: the apparent rate with z²/2 successes of z² trials added.
    n_, raw_ = n + z**2, (found + z**2 / 2) / (n + z**2)
    # Below eq. 15: one success and one failure added to each labelled sample.
    broken_, se_ = broken + 2, (tp + 1) / (broken + 2)
    kept_, sp_ = kept + 2, (tn + 1) / (kept + 2)
    if se_ + sp_ <= 1:
        return None
    p_ = (raw_ + sp_ - 1) / (se_ + sp_ - 1)
    of_se, of_sp = se_ * (1 - se_) / broken_, sp_ * (1 - sp_) / kept_
    # Eq. 17, the shift, and eq. 4, the variance by the delta method (with (1 - p)², as in eq. 3).
    shift = 2 * z**2 * (p_ * of_se - (1 - p_) * of_sp)
    variance = raw_ * (1 - raw_) / n_ + p_**2 * of_se + (1 - p_) ** 2 * of_sp
    half = z * math.sqrt(variance) / (se_ + sp_ - 1)
    # Eq. 16, cut off at what a rate can be.
    low, high = (min(1.0, max(0.0, p_ + shift + side * half)) for side in (-1, 1))
    return {"rate": min(1.0, max(0.0, estimate)), "low": low, "high": high, "n": n}
