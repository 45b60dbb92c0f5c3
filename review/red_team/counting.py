"""How often a model was brought to break a rule, counted by seed.

The variants of one seed are not independent: a model that falls for the request once is likely to
fall for it again. So the rate over all variants is given with the bounds of the effective sample
size, n / (1 + (m - 1) ICC), and beside it the share of seeds for which any variant broke the rule,
with exact bounds: seeds are drawn apart, variants are not. Both speak of requests like these seeds
under these mutations, and of what the checker finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from inhouse.statistics import rate

Result = tuple[str, str, bool]  # seed's id, mutation's name, whether the rule was broken


def attack_rate(results: Iterable[Result], confidence: float = 0.95) -> dict[str, Any]:
    """The rate over all variants, by seed, and by mutation.

    One seed and mutation may stand there several times, answered with several seeds of the sampler:
    these are variants of the same seed, too.

    Returns:
        ``variants``: :func:`clustered_rate` of all; ``seeds``: ``{"rate", "low", "high", "n"}`` of
        seeds with any broken variant, Clopper-Pearson; ``mutations``: by name in the order met,
        :func:`clustered_rate` of it alone, which is exact where it was asked once a seed.

    Raises:
        ValueError: there is no result.
    """
    by_seed: dict[str, list[bool]] = defaultdict(list)
    by_mutation: dict[str, dict[str, list[bool]]] = {}
    for seed, mutation, broken in results:
        by_seed[seed].append(broken)
        by_mutation.setdefault(mutation, defaultdict(list))[seed].append(broken)
    return {
        "variants": clustered_rate(list(by_seed.values()), confidence),
        "seeds": rate(sum(map(any, by_seed.values())), len(by_seed), confidence),
        "mutations": {
            name: clustered_rate(list(of.values()), confidence) for name, of in by_mutation.items()
        },
    }


def clustered_rate(
    clusters: Sequence[Sequence[bool]], confidence: float = 0.95
) -> dict[str, float | None]:
    """A rate over outcomes in clusters, with bounds on the effective sample size.

    The bounds are Clopper and Pearson's with n_eff in place of n and rate · n_eff in place of the
    count, as in Korn and Graubard (1998), Survey Methodology 24(2), 193-201. Clusters of one
    outcome each give the exact bounds. The ICC is itself an estimate, and so the bounds of few
    clusters are less sure than their name: simulated (clusters of 13, rates 0.02 to 0.3, ICC 0.1
    and 0.5), bounds of 95 % held the rate in 93 to 97 % of draws of 232 clusters, and in 88 to
    100 % of draws of 8 and 30. The share of seeds with any breach has bounds that never flatter.

    Returns:
        ``rate``, ``low``, ``high``, ``n`` outcomes in ``clusters``, ``icc`` (None where each
        cluster has one outcome), ``design_effect``, ``n_effective``.

    Raises:
        ValueError: there is no outcome, or a cluster without one.
    """
    from scipy.stats import beta, t

    if not clusters or not all(clusters):
        raise ValueError("a rate needs at least one outcome, and each cluster one")
    k, n = len(clusters), sum(map(len, clusters))
    broken = sum(map(sum, clusters))
    icc = intraclass_correlation(clusters)
    # Kish (1965), Survey Sampling, section 8.2: 1 + (m - 1) ICC. Of unequal clusters m is the size
    # of the cluster that an outcome is in, on average (Donner, Birkett and Buck 1981,
    # https://doi.org/10.1093/oxfordjournals.aje.a113261).
    size = sum(len(cluster) ** 2 for cluster in clusters) / n
    effect = 1 + (size - 1) * max(icc or 0.0, 0.0)
    n_effective = n / effect
    share, tail = broken / n, (1 - confidence) / 2
    if 0 < broken < n and 1 < k < n:  # Korn and Graubard's factor: the ICC is estimated from k
        n_effective *= float(t.ppf(tail, n - 1) / t.ppf(tail, k - 1)) ** 2
    hit, missed = share * n_effective, (1 - share) * n_effective
    return {
        "rate": share,
        "low": float(beta.ppf(tail, hit, missed + 1)) if hit else 0.0,
        "high": float(beta.ppf(1 - tail, hit + 1, missed)) if missed else 1.0,
        "n": n,
        "clusters": k,
        "icc": icc,
        "design_effect": effect,
        "n_effective": n_effective,
    }


def intraclass_correlation(clusters: Sequence[Sequence[bool]]) -> float | None:
    """How alike outcomes of one cluster are: the ANOVA estimator; None where each has one outcome.

    Ridout, Demétrio and Firth (1999), https://doi.org/10.1111/j.0006-341X.1999.00137.x, their
    section 2: (MSB - MSW) / (MSB + (n0 - 1) MSW). It may be below zero.

    Where nothing can be estimated, one cluster or all outcomes the same, it is 1: each cluster then
    counts as one outcome. That no variant broke the rule must not claim more than its seeds show.
    """
    k, n = len(clusters), sum(map(len, clusters))
    if n == k:
        return None
    total = sum(map(sum, clusters))
    if k == 1 or total in (0, n):
        return 1.0
    within_clusters = sum(sum(c) ** 2 / len(c) for c in clusters)  # Σ Z² / n, Z broken of n
    msb = (within_clusters - total**2 / n) / (k - 1)
    msw = (total - within_clusters) / (n - k)
    n0 = (n - sum(len(c) ** 2 for c in clusters) / n) / (k - 1)
    return (msb - msw) / (msb + (n0 - 1) * msw)
