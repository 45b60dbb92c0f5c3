"""Counting by seed: hand-worked design effects, exact bounds, and what a zero may claim."""

import pytest

from inhouse.statistics import rate
from review.red_team.counting import attack_rate, clustered_rate, intraclass_correlation

T, F = True, False


def test_the_anova_estimator_by_hand():
    # k = 3 clusters of 2, n = 6, 3 broken. Σ Z²/m = 4/2 + 0/2 + 1/2 = 2.5.
    # MSB = (2.5 - 9/6) / 2 = 0.5; MSW = (3 - 2.5) / 3 = 1/6; n0 = (6 - 12/6) / 2 = 2.
    # ICC = (1/2 - 1/6) / (1/2 + 1/6) = 1/2.
    assert intraclass_correlation([[T, T], [F, F], [T, F]]) == pytest.approx(0.5)


def test_it_with_clusters_of_different_sizes_by_hand():
    # Sizes 1 and 3, n = 4, broken 1 and 1. Σ Z²/m = 1 + 1/3 = 4/3. MSB = (4/3 - 4/4) / 1 = 1/3;
    # MSW = (2 - 4/3) / 2 = 1/3, so ICC = 0 whatever n0.
    assert intraclass_correlation([[T], [T, F, F]]) == pytest.approx(0)


def test_all_alike_within_and_all_different_within():
    assert intraclass_correlation([[T, T, T], [F, F, F]]) == pytest.approx(1)
    # Each half broken: MSB = 0, MSW = (2 - 1) / 2 = 1/2, n0 = 2: (0 - 1/2) / (0 + 1/2) = -1.
    assert intraclass_correlation([[T, F], [F, T]]) == pytest.approx(-1)


def test_the_bounds_by_hand():
    # As above ICC 1/2, m = 2, design effect 1.5, 6 / 1.5 = 4; by Korn and Graubard's factor
    # (t(5) / t(2))² = (2.5706 / 4.3027)² = 0.35694 it is 1.4278.
    found = clustered_rate([[T, T], [F, F], [T, F]])
    assert found["rate"] == 0.5 and found["n"] == 6 and found["clusters"] == 3
    assert found["design_effect"] == pytest.approx(1.5)
    assert found["n_effective"] == pytest.approx(4 * (2.57058 / 4.30265) ** 2, abs=1e-4)
    assert found["low"] < rate(2, 4)["low"] and found["high"] > rate(2, 4)["high"]
    assert found["low"] == pytest.approx(1 - found["high"])


def test_ten_variants_at_half_correlation_have_the_known_design_effect():
    # 1 + (10 - 1) · 0.5 = 5.5, with m = Σm²/Σm = 10. Clusters all or nothing give ICC 1: 10.
    found = clustered_rate([[T] * 10, [F] * 10, [F] * 10])
    assert found["design_effect"] == pytest.approx(10)
    mixed = clustered_rate([[T] * 5 + [F] * 5, [F] * 10, [T] * 9 + [F]])
    assert mixed["design_effect"] == pytest.approx(1 + 9 * mixed["icc"])


def test_one_outcome_a_seed_gives_the_exact_bounds():
    found = clustered_rate([[T]] * 3 + [[F]] * 17)
    exact = rate(3, 20)
    assert found["icc"] is None and found["design_effect"] == 1 and found["n_effective"] == 20
    assert found["low"] == pytest.approx(exact["low"])
    assert found["high"] == pytest.approx(exact["high"])


@pytest.mark.parametrize("broken", [True, False])
def test_all_the_same_claims_no_more_than_its_seeds_show(broken):
    found = clustered_rate([[broken] * 12] * 20)
    exact = rate(20 * broken, 20)  # not 240
    assert found["n_effective"] == 20
    assert (found["low"], found["high"]) == pytest.approx((exact["low"], exact["high"]))


def test_a_correlation_below_zero_wins_nothing():
    found = clustered_rate([[T, F]] * 10)
    assert found["icc"] < 0 and found["design_effect"] == 1 and found["n_effective"] <= 20


def test_one_cluster_is_one_outcome():
    found = clustered_rate([[T, F, F]])
    assert found["icc"] == 1 and found["n_effective"] == pytest.approx(1)
    assert found["low"] < 0.02 and found["high"] > 0.9


def test_the_report_by_seed_and_by_mutation():
    results = [
        *(("A/1", "plain", F), ("A/1", "typos", T), ("A/1", "base64", F)),
        *(("A/2", "plain", F), ("A/2", "typos", F), ("A/2", "base64", F)),
        *(("B/1", "plain", T), ("B/1", "typos", T)),
    ]
    found = attack_rate(results)
    assert found["variants"]["rate"] == 3 / 8 and found["variants"]["clusters"] == 3
    assert found["seeds"] == rate(2, 3)
    assert list(found["mutations"]) == ["plain", "typos", "base64"]
    by_name = {name: (of["rate"], of["n"]) for name, of in found["mutations"].items()}
    assert by_name == {"plain": (1 / 3, 3), "typos": (2 / 3, 3), "base64": (0, 2)}
    assert found["mutations"]["typos"]["high"] == pytest.approx(rate(2, 3)["high"])


def test_a_seed_answered_several_times_is_still_one_seed():
    found = attack_rate([("A/1", "plain", T)] * 4 + [("A/2", "plain", F)] * 4)
    assert found["seeds"]["n"] == 2
    assert found["mutations"]["plain"]["clusters"] == 2
    assert found["variants"]["n_effective"] < 2


def test_the_bounds_hold_what_they_promise_in_a_simulation():
    # 100 seeds of 8 variants, each seed with its own rate from a beta distribution (mean 0.1, ICC
    # 0.3). Counting variants as independent would hold the mean in 155 of the 200 draws.
    import numpy as np

    random, held, naive = np.random.default_rng(0), 0, 0
    for _ in range(200):
        own = random.beta(0.1 * 0.7 / 0.3, 0.9 * 0.7 / 0.3, 100)
        broken = random.random((100, 8)) < own[:, None]
        found = clustered_rate(broken.tolist())
        held += found["low"] <= 0.1 <= found["high"]
        alone = rate(int(broken.sum()), 800)
        naive += alone["low"] <= 0.1 <= alone["high"]
    assert held >= 182 and naive < 175


def test_nothing_to_count_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        attack_rate([])
    with pytest.raises(ValueError, match="each cluster one"):
        clustered_rate([[T], []])
