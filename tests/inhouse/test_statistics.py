"""Rates and tests against numbers worked out by hand."""

import pytest

from inhouse.statistics import bootstrap_mean, mcnemar, rate


def test_none_of_ten():
    # With no success the upper bound p solves (1 - p)^10 = 0.025: p = 1 - 0.025^(1/10) = 0.3085.
    found = rate(0, 10)
    assert found["low"] == 0.0 and found["rate"] == 0.0 and found["n"] == 10
    assert found["high"] == pytest.approx(1 - 0.025**0.1, abs=1e-9)
    assert found["high"] == pytest.approx(0.30850, abs=5e-6)


def test_all_of_ten():
    # The mirror image: p^10 = 0.025.
    found = rate(10, 10)
    assert found["high"] == 1.0
    assert found["low"] == pytest.approx(0.025**0.1, abs=1e-9)


def test_one_of_two():
    # Lower bound: P(X >= 1) = 1 - (1 - p)^2 = 0.025, p = 1 - sqrt(0.975) = 0.012579.
    # Upper bound: P(X <= 1) = 1 - p^2 = 0.025, p = sqrt(0.975) = 0.987421.
    found = rate(1, 2)
    assert found["low"] == pytest.approx(1 - 0.975**0.5, abs=1e-9)
    assert found["high"] == pytest.approx(0.975**0.5, abs=1e-9)


def test_another_confidence():
    assert rate(0, 10, confidence=0.9)["high"] == pytest.approx(1 - 0.05**0.1, abs=1e-9)


def test_the_bounds_cover_at_least_as_often_as_they_say():
    # Summed exactly over all outcomes of 20 trials, for a few true rates.
    from math import comb

    bounds = [rate(k, 20) for k in range(21)]
    for truth in (0.01, 0.1, 0.37, 0.5, 0.9):
        covered = sum(
            comb(20, k) * truth**k * (1 - truth) ** (20 - k)
            for k in range(21)
            if bounds[k]["low"] <= truth <= bounds[k]["high"]
        )
        assert covered >= 0.95


def test_no_trials_have_no_rate():
    with pytest.raises(ValueError, match="at least one trial"):
        rate(0, 0)


def series(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    before = [True] * both + [False] * gained + [True] * lost + [False] * neither
    after = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return before, after


def test_mcnemar_counts_discordant_pairs_only():
    # 9 gained, 1 lost: p = 2 * (C(10,0) + C(10,1)) / 2^10 = 22 / 1024.
    assert mcnemar(*series(50, 9, 1, 40)) == pytest.approx(22 / 1024, abs=1e-12)
    assert mcnemar(*series(0, 9, 1, 0)) == pytest.approx(22 / 1024, abs=1e-12)


def test_mcnemar_is_two_sided():
    assert mcnemar(*series(5, 1, 9, 5)) == pytest.approx(22 / 1024, abs=1e-12)
    # 5 gained, none lost: 2 / 2^5.
    assert mcnemar(*series(5, 5, 0, 5)) == pytest.approx(2 / 32, abs=1e-12)


def test_mcnemar_without_a_difference_is_one():
    assert mcnemar(*series(7, 0, 0, 3)) == 1.0
    assert mcnemar(*series(7, 4, 4, 3)) == 1.0
    assert mcnemar([], []) == 1.0


def test_mcnemar_of_unequal_series_is_refused():
    with pytest.raises(ValueError):
        mcnemar([True], [True, False])


def test_the_bootstrap_brackets_the_mean_and_repeats():
    values = [0.0, 1.0] * 50
    low, high = bootstrap_mean(values)
    # Mean 0.5, standard error 0.5 / sqrt(100) = 0.05: bounds near 0.5 -+ 1.96 * 0.05.
    assert low == pytest.approx(0.402, abs=0.02) and high == pytest.approx(0.598, abs=0.02)
    assert bootstrap_mean(values) == (low, high)
    assert bootstrap_mean([3.0] * 5) == (3.0, 3.0)
