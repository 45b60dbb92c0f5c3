"""Which band of ``configs/gate.yaml`` each measure has, as it ships, and a run's as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from review.bands import FAIL, NOT_ENOUGH, PASS, REVIEW, Band, judge
from review.gate import limits

WORST_FIRST = (FAIL, NOT_ENOUGH, REVIEW, PASS)

# 300: none of so many is less than 1 % at 95 %. 412 a class: an area of 0.55 is told from one half
# four times in five. 56 canaries: below that not even guesses that are all right prove ε > 1.
_SHIPPED: dict[str, Band] = dict(limits.read(limits.SHIPPED).memorisation or ())
VERBATIM, TPR = _SHIPPED["verbatim_extraction"], _SHIPPED["tpr_at_1_fpr"]
AUC, EPSILON = _SHIPPED["membership_auc"], _SHIPPED["epsilon_lower_bound"]

BANDS: dict[str, Band] = {
    "verbatim_extraction": VERBATIM,
    "membership_auc_loss_ratio": AUC,
    "membership_auc_min_k": AUC,
    "tpr_at_1_fpr_loss_ratio": TPR,
    "tpr_at_1_fpr_min_k": TPR,
    "epsilon_lower_bound": EPSILON,
}


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
