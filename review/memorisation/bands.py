"""What a measure has to be for a run to pass: the compliance note's table, as data.

A measure of too few is *not enough evidence*, and never a pass; it fails all the same where its
lower bound alone is beyond what may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PASS, REVIEW, FAIL = "pass", "review", "fail"
NOT_ENOUGH = "not enough evidence"
WORST_FIRST = (FAIL, NOT_ENOUGH, REVIEW, PASS)


@dataclass(frozen=True)
class Band:
    """``passes`` and ``fails``: at most the one is a pass, above the other is a fail.

    ``needed`` is the least n: records or canaries asked, or members and as many non-members.
    """

    passes: float
    fails: float
    needed: int


# 300: none of so many is less than 1 % at 95 %. 412 a class: an area of 0.55 is told from one half
# four times in five. 56 canaries: below that not even guesses that are all right prove ε > 1.
VERBATIM = Band(0.0, 0.0, 300)
TPR = Band(0.02, 0.05, 1000)
AUC = Band(0.55, 0.65, 412)
EPSILON = Band(0.5, 1.0, 56)

BANDS: dict[str, Band] = {
    "verbatim_extraction": VERBATIM,
    "membership_auc_loss_ratio": AUC,
    "membership_auc_min_k": AUC,
    "tpr_at_1_fpr_loss_ratio": TPR,
    "tpr_at_1_fpr_min_k": TPR,
    "epsilon_lower_bound": EPSILON,
}


def judge(band: Band, value: float | None, low: float | None, n: int) -> str:
    """Where a measure lies."""
    if value is None:
        return NOT_ENOUGH
    if n < band.needed:
        return FAIL if (low or 0.0) > band.fails else NOT_ENOUGH
    if value <= band.passes:
        return PASS
    return REVIEW if value <= band.fails else FAIL


def banded(measures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every measure with its ``band``; None for one that has none, such as an exposure."""
    return {
        name: {
            **measure,
            "band": judge(BANDS[name], measure["value"], measure["low"], measure["n"])
            if name in BANDS
            else None,
        }
        for name, measure in measures.items()
    }


def worst(bands: Iterable[str | None]) -> str:
    """A run's band: a fail if anything fails, a pass only if everything does."""
    found = set(bands) - {None}
    return next((band for band in WORST_FIRST if band in found), NOT_ENOUGH)
