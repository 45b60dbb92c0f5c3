"""Bounds of a paired difference against published examples, and numbers worked out by hand."""

import math
from itertools import product
from statistics import NormalDist

import pytest

from inhouse.statistics import Pairs, difference

Z = NormalDist().inv_cdf(0.975)


def two_sided(gained: int, lost: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """As they are published; ours are one-sided at either end."""
    return difference(Pairs(gained, lost, n), (1 + confidence) / 2)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "confidence", "low", "high"),
    [
        # Tango (1998)'s own example: 44 pairs, none gained and one lost, 90 %.
        (0, 1, 44, 0.90, -0.096, 0.037),
        # Agresti & Min (2005), Statistics in Medicine 24:729: 53, 16, 8 and 9 pairs.
        (16, 8, 86, 0.95, -0.020, 0.207),
        # Fagerland, Lydersen & Laake (2014), Statistics in Medicine 33:2850, table V.
        (1, 7, 21, 0.95, -0.517, -0.026),
    ],
)
def test_published_examples(gained, lost, n, confidence, low, high):
    found = two_sided(gained, lost, n, confidence)
    assert [round(end, 3) for end in found] == [low, high]


@pytest.mark.parametrize("n", [1, 50, 200])
def test_where_no_pair_disagrees_the_bounds_have_a_closed_form(n):
    # Under a difference d < 0 the likeliest table has lost = -d and nothing gained, so that the
    # statistic is n|d| / sqrt(n |d| (1 - |d|)); it is z where |d| = z² / (n + z²).
    low, high = two_sided(0, 0, n)
    assert high == pytest.approx(Z**2 / (n + Z**2), abs=1e-9) and low == pytest.approx(-high)


def test_all_lost_reaches_the_end():
    low, high = two_sided(0, 12, 12)
    assert low == -1.0 and -1.0 < high < 0.0
    assert two_sided(12, 0, 12) == pytest.approx((-high, 1.0))


def test_at_no_difference_the_statistic_is_mcnemars():
    # (gained - lost) / sqrt(gained + lost): a bound lies at 0 where that is z. With 9 and 1 it is
    # 8 / sqrt(10) = 2.53, whose two-sided confidence is 2 Φ(2.53) - 1.
    confidence = 2 * NormalDist().cdf(8 / math.sqrt(10)) - 1
    assert two_sided(9, 1, 40, confidence)[0] == pytest.approx(0.0, abs=1e-9)
    assert two_sided(1, 9, 40, confidence)[1] == pytest.approx(0.0, abs=1e-9)


def test_gained_and_lost_mirror_each_other():
    low, high = two_sided(3, 11, 60)
    assert two_sided(11, 3, 60) == pytest.approx((-high, -low), abs=1e-9)


def test_the_lower_bound_covers_about_as_often_as_it_says():
    # Summed exactly over all outcomes of 50 pairs, for a few true rates of gained and lost.
    n = 50
    lows = {
        (g, k): two_sided(g, k, n, 0.90)[0]
        for g, k in product(range(n + 1), repeat=2)
        if g + k <= n
    }
    for gain, loss in ((0.05, 0.05), (0.02, 0.1), (0.1, 0.1), (0.2, 0.25)):
        covered = sum(
            math.comb(n, g)
            * math.comb(n - g, k)
            * gain**g
            * loss**k
            * (1 - gain - loss) ** (n - g - k)
            for (g, k), low in lows.items()
            if low <= gain - loss
        )
        assert 0.93 <= covered <= 0.985, (gain, loss, covered)


@pytest.mark.parametrize(("gained", "lost", "n"), [(1, 0, 0), (3, 4, 6), (-1, 0, 5)])
def test_impossible_counts_are_refused(gained, lost, n):
    with pytest.raises(ValueError, match="are no counts"):
        two_sided(gained, lost, n)
