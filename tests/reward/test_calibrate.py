"""Temperature, calibration error and reliability, on numbers worked out by hand."""

import numpy as np
import pytest

from reward.calibrate import (
    cross_fitted,
    ece,
    fit_temperature,
    probabilities,
    reliability,
    share_of_votes,
)


def test_a_probability_is_the_sigmoid_of_the_difference_over_the_temperature():
    found = probabilities(np.array([[2.0], [0.0], [-2.0]]), 2.0)
    assert found == pytest.approx([0.7311, 0.5, 0.2689], abs=1e-4)
    # Two heads: the mean of σ(1) and σ(-1) is one half.
    assert probabilities(np.array([[2.0, -2.0]]), 2.0) == pytest.approx([0.5])


def test_the_temperature_is_the_one_that_made_the_votes():
    rng = np.random.default_rng(0)
    differences = rng.normal(0, 3, size=(4000, 1))
    wins = rng.random(4000) < probabilities(differences, 2.5)
    assert fit_temperature(differences, wins.astype(float)) == pytest.approx(2.5, rel=0.1)


def test_the_likeliest_temperature_of_one_difference_has_a_closed_form():
    # All pairs differ by 3, three in four are won: σ(3 / T) = 3/4, so T = 3 / ln 3.
    differences, labels = np.full((4, 1), 3.0), np.array([1.0, 1.0, 1.0, 0.0])
    assert fit_temperature(differences, labels) == pytest.approx(3 / np.log(3), rel=1e-3)


def test_what_is_measured_is_not_what_was_fitted():
    # Even pairs: 3 in 4 won at a difference of 3; odd ones all won by 3: T is 2.73 and at its
    # lower bound. Each half gets the other's.
    differences = np.full((8, 1), 3.0)
    labels = np.array([1.0, 1, 1, 1, 1, 1, 0, 1])
    found = cross_fitted(differences, labels)
    assert found[1::2] == pytest.approx([0.75] * 4, abs=1e-3)
    assert found[::2] == pytest.approx([1.0] * 4, abs=1e-3)
    assert len(cross_fitted(differences[:1], labels[:1])) == 1


def test_the_calibration_error_by_hand():
    # Confidences 0.55 (twice) and 0.95 (twice), of which 1 and 2 are right. A probability below
    # one half is confidence in the other answer.
    probability, labels = np.array([0.55, 0.45, 0.95, 0.05]), np.array([1.0, 1.0, 1.0, 0.0])
    bins = reliability(probability, labels)
    assert [(row["confidence"], row["accuracy"], row["n"]) for row in bins] == [
        (pytest.approx(0.55), 0.5, 2),
        (pytest.approx(0.95), 1.0, 2),
    ]
    found = ece(probability, labels)
    assert found["value"] == pytest.approx(0.05)  # half of 0.05 and half of 0.05
    assert found["low"] <= found["value"] <= found["high"]
    assert found["claim"] == "none: 4 pairs are fewer than 1,000"


def test_a_calibrated_scorer_may_claim_so_on_a_thousand_pairs():
    rng = np.random.default_rng(1)
    probability = rng.uniform(0.5, 1, 4000)
    found = ece(probability, (rng.random(4000) < probability).astype(float))
    assert found["value"] < 0.03 and found["claim"] == ""


def test_votes_become_shares_with_ties_half():
    assert share_of_votes([{"a": 1, "b": -1, "c": 1}, {"a": 1, "b": 0}, {}]) == pytest.approx(
        [2 / 3, 0.75, 1.0]
    )
