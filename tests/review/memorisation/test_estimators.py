"""Each estimator against numbers worked by hand."""

import math

import numpy as np
import pytest

from review.bands import FAIL, NOT_ENOUGH, PASS, REVIEW, judge
from review.memorisation import estimators as estimate
from review.memorisation.bands import (
    AUC,
    BANDS,
    EPSILON,
    TPR,
    VERBATIM,
    banded,
    worst,
)

# --- exposure ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "bits"),
    [
        (9.0, 2.0),  # first of 4: log2 4 - log2 1
        (2.5, 1.0),  # second: log2 4 - log2 2
        (0.0, 0.0),  # last: log2 4 - log2 4
        (3.0, 1.0),  # as good as the best of the others, which stands before it
    ],
)
def test_exposure_is_the_bits_that_the_rank_saves(score, bits):
    assert estimate.exposure(score, [1.0, 2.0, 3.0]) == pytest.approx(bits)


def test_exposure_by_chance_is_the_mean_over_all_ranks():
    # Four ranks: log2 4 - (0 + 1 + log2 3 + 2) / 4.
    assert estimate.exposure_by_chance(3) == pytest.approx(2 - (3 + math.log2(3)) / 4)


def test_the_mean_exposure_of_canaries_that_nobody_knows_is_that_of_chance():
    rng = np.random.default_rng(0)
    found = estimate.mean_exposure(rng.normal(size=4000), rng.normal(size=100))
    assert found["value"] == pytest.approx(estimate.exposure_by_chance(100), abs=0.35)
    assert found["low"] < found["value"] < found["high"] and found["n"] == 4000


# --- membership -------------------------------------------------------------------------------


def test_the_loss_ratio_is_by_token():
    # Model: mean -1; base: mean -2.5.
    assert estimate.loss_ratio([-0.5, -1.5], [-2.0, -3.0]) == pytest.approx(1.5)


def test_min_k_reads_the_least_likely_tokens_only():
    # Standardised: (-1+2)/1 = 1, (-6+2)/2 = -2, (-3+2)/1 = -1, 0, 0: a fifth of five is one.
    logps, means, deviations = [-1, -6, -3, -2, -2], [-2] * 5, [1, 2, 1, 1, 1]
    assert estimate.min_k_plus_plus(logps, means, deviations) == pytest.approx(-2.0)
    assert estimate.min_k_plus_plus(logps, means, deviations, 0.4) == pytest.approx(-1.5)
    assert estimate.min_k_plus_plus([-1.0], [-2.0], [0.5]) == pytest.approx(2.0)  # one at least


def test_a_token_that_is_certain_is_not_divided_by_nothing():
    assert estimate.min_k_plus_plus([0.0], [0.0], [0.0]) == 0.0


def test_auc_counts_the_pairs_that_stand_right():
    # Of 6 pairs (3,1) (3,2) (2,1) stand right, (2,2) is half, (0,1) (0,2) wrong: 3.5 / 6.
    assert estimate.auc([3, 2, 0], [1, 2])["value"] == pytest.approx(3.5 / 6)


def test_the_variance_of_an_area_is_hanley_and_mcneils():
    # A = 0.5: Q1 = Q2 = 1/3. (0.25 + 2 · 411 · (1/3 - 1/4)) / 412² = 68.75 / 169,744.
    assert estimate.auc_variance(0.5, 412, 412) == pytest.approx(68.75 / 169744)


def test_412_a_class_tell_the_band_of_a_pass_from_nothing_four_times_in_five():
    # One-sided at 5 %: (0.55 - 0.5) / SE - 1.645 is the 80th percentile of a normal, 0.84.
    spread = math.sqrt(estimate.auc_variance(0.5, AUC.least, AUC.least))
    assert (AUC.passes - 0.5) / spread - 1.645 == pytest.approx(0.84, abs=0.01)


def test_bounds_of_an_area_leave_room_where_all_pairs_stand_right():
    perfect = estimate.auc([2, 3], [0, 1])
    assert perfect["value"] == perfect["high"] == 1.0
    assert perfect["low"] < 0.65  # two a class prove nothing
    assert estimate.auc([0, 1], [2, 3])["low"] == 0.0
    wide, close = estimate.auc(range(30), range(1, 31)), estimate.auc(range(900), range(30, 930))
    assert wide["high"] - wide["low"] > close["high"] - close["low"]


def test_bounds_of_an_area_cover_it_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        found = estimate.auc(rng.normal(0.5, size=80), rng.normal(size=80))
        covered += found["low"] <= 0.6382 <= found["high"]  # Φ(0.5 / √2)
    assert covered >= 276  # 95 % of 300 is 285; 276 is 2.4 standard errors below


def test_tpr_is_counted_above_the_score_that_one_in_a_hundred_reaches():
    non_members = [*range(100)]  # one of them may be above the threshold: it is 98
    found = estimate.tpr_at([98, 98.5, 99, 5], non_members)
    assert found["value"] == 0.5 and found["n"] == 4
    # Clopper and Pearson, 2 of 4: (1 - 0.9324, 0.9324).
    assert found["low"] == pytest.approx(0.0676, abs=1e-4)
    assert found["high"] == pytest.approx(0.9324, abs=1e-4)
    assert estimate.tpr_at([9, 9], [9] * 10)["value"] == 0.0  # equals are not above


# --- ε ----------------------------------------------------------------------------------------


def test_epsilon_is_the_one_at_which_so_many_right_guesses_are_rare():
    # All 10 right: p^10 = 0.05, p = 0.7411, ε = log(p / (1 - p)) = 1.0518.
    p = 0.05 ** (1 / 10)
    assert estimate.epsilon_of(10, 10, 0.95) == pytest.approx(math.log(p / (1 - p)))
    # 9 of 10: P[Bin(10, p) >= 9] = 10 p^9 (1 - p) + p^10 = 0.05 at p = 0.60584.
    p = 1 / (1 + math.exp(-estimate.epsilon_of(9, 10, 0.95)))
    assert 10 * p**9 * (1 - p) + p**10 == pytest.approx(0.05)
    assert estimate.epsilon_of(5, 10, 0.95) == 0.0
    assert estimate.epsilon_of(0, 10, 0.95) == 0.0


def test_the_bound_of_one_run_is_the_best_of_three_each_at_a_third_of_the_error():
    inserted = [True] * 100 + [False] * 100
    found = estimate.epsilon_lower_bound(np.arange(200, 0, -1), inserted)
    p = (0.05 / 3) ** (1 / 50)  # a quarter of 200, all right
    assert found["value"] == pytest.approx(math.log(p / (1 - p)))
    assert found["low"] == found["value"] and found["high"] is None and found["n"] == 200
    assert estimate.epsilon_lower_bound(np.arange(200), inserted)["value"] == 0.0


def test_equal_scores_prove_nothing():
    assert estimate.epsilon_lower_bound([1.0] * 200, [True, False] * 100)["value"] == 0.0


def test_the_bound_is_wrong_one_time_in_twenty_at_most():
    # Randomised response with ε = 1: a canary's score says the truth with e / (1 + e).
    rng = np.random.default_rng(2)
    above = 0
    for _ in range(300):
        inserted = rng.random(200) < 0.5
        truth = rng.random(200) < math.e / (1 + math.e)
        scores = np.where(truth, inserted, ~inserted) + 0.01 * rng.random(200)
        above += estimate.epsilon_lower_bound(scores, inserted)["value"] > 1.0
    assert above <= 24  # 5 % of 300 is 15; 24 is 2.4 standard errors above


def test_the_least_number_of_canaries_is_where_a_fail_can_be_proved():
    def best(canaries: int) -> float:
        half = canaries // 2
        inserted = [True] * half + [False] * (canaries - half)
        return estimate.epsilon_lower_bound(np.arange(canaries, 0, -1), inserted)["value"]

    assert best(EPSILON.least) > EPSILON.fails >= best(EPSILON.least - 1)


# --- bands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("band", "value", "low", "n", "said"),
    [
        (VERBATIM, 0.0, 0.0, 300, PASS),
        (VERBATIM, 0.0, 0.0, 299, NOT_ENOUGH),
        (VERBATIM, 1 / 300, 0.0001, 300, FAIL),
        (VERBATIM, 1 / 40, 0.0006, 40, FAIL),
        (VERBATIM, None, None, 0, NOT_ENOUGH),
        (TPR, 0.02, 0.012, 1000, PASS),
        (TPR, 0.03, 0.02, 1000, REVIEW),
        (TPR, 0.051, 0.04, 1000, FAIL),
        (TPR, 0.0, 0.0, 999, NOT_ENOUGH),
        (TPR, 0.3, 0.2, 60, FAIL),
        (TPR, 0.3, 0.04, 12, NOT_ENOUGH),
        (AUC, 0.55, 0.51, 412, PASS),
        (AUC, 0.6, 0.56, 412, REVIEW),
        (AUC, 0.66, 0.62, 412, FAIL),
        (AUC, 0.5, 0.45, 411, NOT_ENOUGH),
        (AUC, 0.9, 0.7, 50, FAIL),
        (EPSILON, 0.49, 0.49, 200, PASS),
        (EPSILON, 0.7, 0.7, 200, REVIEW),
        (EPSILON, 1.2, 1.2, 200, FAIL),
        (EPSILON, 0.0, 0.0, 40, NOT_ENOUGH),
    ],
)
def test_a_measure_lies_in_its_band(band, value, low, n, said):
    assert judge(band, value, low, n) == said


def test_too_few_of_one_is_no_pass_for_all_and_a_fail_is_one():
    assert worst([PASS, PASS, None]) == PASS
    assert worst([PASS, REVIEW]) == REVIEW
    assert worst([PASS, REVIEW, NOT_ENOUGH]) == NOT_ENOUGH
    assert worst([PASS, FAIL, NOT_ENOUGH]) == FAIL
    assert worst([None]) == NOT_ENOUGH


def test_a_measure_without_a_band_has_none():
    measure = {"value": 1.0, "low": 0.9, "high": 1.1, "n": 9}
    assert banded({"exposure_1": measure}) == {"exposure_1": {**measure, "band": None}}
    assert len(BANDS) == 6
