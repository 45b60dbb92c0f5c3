"""What an audit estimates, as pure functions over scores. A higher score: more likely a member.

Where they deviate from the papers: an exposure's rank is taken among canaries that were drawn the
same way and held out, which stand for the space of all secrets; the two membership scores are those
of the model less those of its base, so that a text which is easy for any model counts as nobody's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from inhouse.statistics import bootstrap_mean, rate

Scores = Sequence[float] | np.ndarray
CONFIDENCE = 0.95
MIN_K = 0.2  # the share of a text's tokens that Min-K%++ reads: its least likely ones
GUESSES = (1 / 16, 1 / 8, 1 / 4)  # shares of all canaries that the one-run audit guesses


# --- exposure -----------------------------------------------------------------------------------


def exposure(score: float, held_out: Scores) -> float:
    """How many bits of guessing a model saves who looks for one canary's secret.

    Carlini et al. 2019, https://arxiv.org/abs/1802.08232, section 4: log2 |R| - log2 rank. R is the
    canary and those that were held out; one of equal score stands before it. Shape: (held out,).
    """
    rank = 1 + int(np.sum(np.asarray(held_out) >= score))
    return math.log2(len(held_out) + 1) - math.log2(rank)


def exposure_by_chance(held_out: int) -> float:
    """The mean exposure of a canary that was not memorised: its rank is any of R's alike."""
    ranks = np.arange(1, held_out + 2)
    return float(math.log2(len(ranks)) - np.log2(ranks).mean())


def mean_exposure(scores: Scores, held_out: Scores) -> dict[str, float]:
    """The mean exposure of several canaries, with bootstrap bounds. Shape: (canaries,)."""
    each = [exposure(float(score), held_out) for score in scores]
    low, high = bootstrap_mean(each)
    return {"value": float(np.mean(each)), "low": low, "high": high, "n": len(each)}


# --- membership ---------------------------------------------------------------------------------


def loss_ratio(model: Scores, base: Scores) -> float:
    """How much likelier a model finds a text than its base does, in nats a token.

    log (p(x) / q(x)) / tokens: the likelihood ratio of Mireshghallah et al. 2022,
    https://arxiv.org/abs/2203.03929, section 2, by token as losses are. Args are the tokens'
    log-probabilities. Shape: (tokens,).
    """
    return float(np.mean(model) - np.mean(base))


def min_k_plus_plus(
    logps: Scores, means: Scores, deviations: Scores, share: float = MIN_K
) -> float:
    """The mean standardised log-probability of a text's least likely tokens.

    Zhang et al. 2024, https://arxiv.org/abs/2404.02936, section 4: (log p(x_t) - mu_t) / sigma_t,
    with mean and deviation of log p over the vocabulary under p itself, averaged over the
    k % of tokens where it is lowest, one at least. Shape: (tokens,) each.
    """
    spread = np.maximum(np.asarray(deviations, dtype=float), 1e-6)  # nil where p is one token's
    standardised = np.sort((np.asarray(logps) - np.asarray(means)) / spread)
    return float(standardised[: max(1, int(share * len(standardised)))].mean())


def auc(members: Scores, non_members: Scores, confidence: float = CONFIDENCE) -> dict[str, float]:
    """The probability that a member's score is above a non-member's, ties half, with bounds.

    The variance is that of Hanley & McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747
    (their formula with Q1 and Q2); the bounds are the areas θ that it does not part from the one
    seen, |A - θ| = z·SE(θ), as Wilson's are for a rate (Newcombe 2006,
    https://doi.org/10.1002/sim.2324), so that an area of 1 has a lower bound below 1.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm, rankdata

    m, n = len(members), len(non_members)
    ranks = rankdata(np.concatenate([members, non_members]))  # ties share the mean of their ranks
    area = float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))
    z = norm.ppf(0.5 + confidence / 2)

    def parted(theta: float) -> float:
        return (area - theta) ** 2 - z**2 * auc_variance(theta, m, n)

    inside = min(max(area, 1e-9), 1 - 1e-9)  # at 0 and 1 themselves the variance is nil
    low = brentq(parted, 0, inside) if area > 0 else 0.0
    high = brentq(parted, inside, 1) if area < 1 else 1.0
    return {"value": area, "low": float(low), "high": float(high), "n": min(m, n)}


def auc_variance(area: float, members: int, non_members: int) -> float:
    """Hanley & McNeil 1982: the squared standard error of an area under a ROC curve."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area)
    spread += (members - 1) * (q1 - area**2) + (non_members - 1) * (q2 - area**2)
    return spread / (members * non_members)


def tpr_at(members: Scores, non_members: Scores, fpr: float = 0.01) -> dict[str, float]:
    """The share of members found where at most ``fpr`` of the non-members are taken for one.

    Carlini et al. 2022, https://arxiv.org/abs/2112.03570, section III: a leak of few people is a
    leak, and an average over all hides it. Bounds are exact given the threshold: the score that
    floor(fpr · n) non-members are above.
    """
    ordered = np.sort(np.asarray(non_members))[::-1]
    threshold = ordered[int(fpr * len(ordered))]
    found = rate(int(np.sum(np.asarray(members) > threshold)), len(members))
    n = min(len(members), len(non_members))
    return {"value": found["rate"], "low": found["low"], "high": found["high"], "n": n}


# --- differential privacy -----------------------------------------------------------------------


def epsilon_of(correct: int, guesses: int, confidence: float) -> float:
    """The least ε at which so many correct guesses are not yet too many.

    Steinke, Nasr & Jagielski 2023, https://arxiv.org/abs/2305.08846, section 5, with δ = 0: under
    ε-differential privacy the correct ones of r guesses are at most
    Binomial(r, e^ε / (1 + e^ε)). Inverted, e^ε / (1 + e^ε) is the one-sided lower bound of Clopper
    and Pearson.
    """
    from scipy.stats import beta

    if correct == 0:
        return 0.0
    low = float(beta.ppf(1 - confidence, correct, guesses - correct + 1))
    return max(0.0, math.log(low / (1 - low)))


def epsilon_lower_bound(
    scores: Scores, inserted: Sequence[bool], confidence: float = CONFIDENCE
) -> dict[str, Any]:
    """A lower bound of ε from one run in which each canary stood by a coin's toss.

    The canaries of highest score are guessed to have been trained on, the others are not guessed
    at. How many to guess is tried at three shares, each at a third of the error (Bonferroni). All
    repetitions of a canary count as one customer's data. Ties are read against the guess.
    Shape: (canaries,) each.
    """
    order = np.lexsort((np.asarray(inserted), -np.asarray(scores)))  # of equals the held out first
    found = np.asarray(inserted)[order]
    error = (1 - confidence) / len(GUESSES)
    bounds = [
        epsilon_of(int(found[:guesses].sum()), guesses, 1 - error)
        for guesses in (int(share * len(found)) for share in GUESSES)
        if guesses
    ]
    bound = max(bounds, default=0.0)
    return {"value": bound, "low": bound, "high": None, "n": len(found)}
