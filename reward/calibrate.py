"""Whether a probability that the scorer gives is one: temperature, ECE, reliability.

A pair's probability is σ(Δ / T) of its two scores. T is fitted to how the raters voted (Guo et al.
2017, https://arxiv.org/abs/1706.04599); what is reported of it is measured on pairs that its own
fit did not see. Deviation from the paper: a pair's label is the share of votes for ``chosen``, a
tie half a vote, because raters differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

ENOUGH_PAIRS = 1000  # below this an ECE's interval says more than its value
BINS = 5  # of equal width, from 0.5 to 1


def probabilities(differences: np.ndarray, temperature: float) -> np.ndarray:
    """The mean over heads of σ(Δ / T). Shapes: (pairs, heads) and (pairs,)."""
    return (0.5 * (1 + np.tanh(differences / (2 * temperature)))).mean(1)


def fit_temperature(differences: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the highest likelihood of the votes, between 0.05 and 20.

    Shapes: (pairs, heads) and (pairs,). ``labels`` are shares of votes for the first answer.
    """

    def cost(log_temperature: float) -> float:
        found = np.clip(probabilities(differences, math.exp(log_temperature)), 1e-12, 1 - 1e-12)
        return float(-(labels * np.log(found) + (1 - labels) * np.log(1 - found)).mean())

    bounds = (math.log(0.05), math.log(20))
    return float(math.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))


def cross_fitted(differences: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each pair's probability, with the temperature that the other half of the pairs gives."""
    found = np.zeros(len(labels))
    even = np.arange(len(labels)) % 2 == 0
    for half in (even, ~even):
        if half.any():
            fit_on = ~half if (~half).any() else half
            temperature = fit_temperature(differences[fit_on], labels[fit_on])
            found[half] = probabilities(differences[half], temperature)
    return found


def reliability(probability: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """Confidence against accuracy in bins of confidence; bins without pairs are left out."""
    confidence, right = _sides(probability, labels)
    where = _bins(confidence)
    return [
        {
            "confidence": float(confidence[where == number].mean()),
            "accuracy": float(right[where == number].mean()),
            "n": int((where == number).sum()),
        }
        for number in range(BINS)
        if (where == number).any()
    ]


def ece(probability: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """The expected calibration error with 95 % bounds by resampling pairs.

    Naeini et al. 2015 (https://doi.org/10.1609/aaai.v29i1.9602): Σ n_bin / n |accuracy -
    confidence|. On few pairs it is far from zero for a perfectly calibrated model too; so below
    ``ENOUGH_PAIRS`` ``claim`` says that nothing is claimed.
    """
    confidence, right = _sides(probability, labels)
    draws = np.random.default_rng(seed).integers(0, len(labels), size=(2000, len(labels)))
    spread = [_ece(confidence[draw], right[draw]) for draw in draws]
    low, high = np.percentile(spread, [2.5, 97.5])
    few, value = len(labels) < ENOUGH_PAIRS, _ece(confidence, right)
    return {
        "value": value,
        "low": min(float(low), value),  # resampling moves it upwards
        "high": max(float(high), value),
        "n": len(labels),
        "claim": f"none: {len(labels)} pairs are fewer than {ENOUGH_PAIRS:,}" if few else "",
    }


def _ece(confidence: np.ndarray, right: np.ndarray) -> float:
    where = _bins(confidence)
    gaps = np.bincount(where, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(where))


def _bins(confidence: np.ndarray) -> np.ndarray:
    return np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)


def _sides(probability: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How sure the scorer is of the side it takes, and the share of votes for that side."""
    first = probability >= 0.5
    return np.where(first, probability, 1 - probability), np.where(first, labels, 1 - labels)


def share_of_votes(votes: Sequence[dict[str, int]]) -> np.ndarray:
    """The share of votes for ``chosen``, a tie half a vote; 1 where nobody's vote is known."""
    shares = [
        sum((vote + 1) / 2 for vote in cast.values()) / len(cast) if cast else 1.0 for cast in votes
    ]
    return np.array(shares)
