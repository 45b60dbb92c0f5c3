"""Paired figures against published examples, and against numbers worked out by hand."""

import math
from itertools import product
from statistics import NormalDist

import pytest

from inhouse.errors import InputError
from review.general_ability.answering import Answered
from review.general_ability.comparing import ALL, as_json, compare, paired, score_interval

Z = NormalDist().inv_cdf(0.975)


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
    found = score_interval(gained, lost, n, confidence)
    assert [round(end, 3) for end in found] == [low, high]


@pytest.mark.parametrize("n", [1, 50, 200])
def test_where_no_pair_disagrees_the_bounds_have_a_closed_form(n):
    # Under a difference d < 0 the likeliest table has lost = -d and nothing gained, so that the
    # statistic is n|d| / sqrt(n |d| (1 - |d|)); it is z where |d| = z² / (n + z²).
    low, high = score_interval(0, 0, n)
    assert high == pytest.approx(Z**2 / (n + Z**2), abs=1e-9) and low == pytest.approx(-high)


def test_all_lost_reaches_the_end():
    low, high = score_interval(0, 12, 12)
    assert low == -1.0 and -1.0 < high < 0.0
    assert score_interval(12, 0, 12) == pytest.approx((-high, 1.0))


def test_at_no_difference_the_statistic_is_mcnemars():
    # (gained - lost) / sqrt(gained + lost): a bound lies at 0 where that is z. With 9 and 1 it is
    # 8 / sqrt(10) = 2.53, whose two-sided confidence is 2 Φ(2.53) - 1.
    confidence = 2 * NormalDist().cdf(8 / math.sqrt(10)) - 1
    assert score_interval(9, 1, 40, confidence)[0] == pytest.approx(0.0, abs=1e-9)
    assert score_interval(1, 9, 40, confidence)[1] == pytest.approx(0.0, abs=1e-9)


def test_gained_and_lost_mirror_each_other():
    low, high = score_interval(3, 11, 60)
    assert score_interval(11, 3, 60) == pytest.approx((-high, -low), abs=1e-9)


def test_the_lower_bound_covers_about_as_often_as_it_says():
    # Summed exactly over all outcomes of 50 pairs, for a few true rates of gained and lost.
    n = 50
    lows = {
        (g, k): score_interval(g, k, n, 0.90)[0]
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


@pytest.mark.parametrize(("gained", "lost", "n"), [(0, 0, 0), (3, 4, 6), (-1, 0, 5)])
def test_impossible_counts_are_refused(gained, lost, n):
    with pytest.raises(ValueError, match="expected"):
        score_interval(gained, lost, n)


def test_a_pair_of_series_by_hand():
    # 10 items: 5 both, 1 gained, 3 lost, 1 neither. 6 of 10 against 8 of 10, difference -0.2.
    # McNemar: 1 of 4 falls one way, p = 2 (C(4,0) + C(4,1)) / 2^4 = 10/16.
    before = [True] * 5 + [False] + [True] * 3 + [False]
    after = [True] * 5 + [True] + [False] * 3 + [False]
    found = paired(before, after)
    assert (found.n, found.gained, found.lost) == (10, 1, 3)
    assert found.base["rate"] == 0.8 and found.model["rate"] == 0.6
    assert found.difference == pytest.approx(-0.2) and found.mcnemar_p == pytest.approx(10 / 16)
    # One-sided 95 % is the lower end of the two-sided 90 %.
    assert found.low == score_interval(1, 3, 10, 0.90)[0]


def test_non_inferiority_is_a_matter_of_the_bound_and_not_of_the_difference():
    # None of 200 disagree: the bound is -z²/(200 + z²) with z = 1.6449, -0.0133.
    none = paired([True] * 200, [True] * 200)
    assert none.low == pytest.approx(-0.01335, abs=5e-6)
    assert none.non_inferior(0.05) and none.non_inferior(0.0134) and not none.non_inferior(0.0133)
    few = paired([True] * 20, [True] * 20)  # no difference either, and too few to say so
    assert few.difference == 0.0 and not few.non_inferior(0.05)


def series(name: str, **said: bool) -> list[Answered]:
    return [
        Answered(
            item=item,
            kind={"a": "arithmetic", "r": "reading"}[item[0]],
            model={"name": name, "hash": ""},
            correct=correct,
            said="",
            seconds=0.0,
        )
        for item, correct in said.items()
    ]


BASE = series("base", a1=True, a2=True, r1=False, r2=True)


def test_items_are_paired_by_name_whatever_their_order():
    model = series("sft", r2=True, r1=True, a2=False, a1=True)
    found = compare(BASE, model)
    assert list(found) == [ALL, "arithmetic", "reading"]
    assert (found[ALL].n, found[ALL].gained, found[ALL].lost) == (4, 1, 1)
    assert (found["arithmetic"].gained, found["arithmetic"].lost) == (0, 1)
    assert (found["reading"].gained, found["reading"].lost) == (1, 0)
    assert as_json(found)["reading"]["base"]["rate"] == 0.5


def test_models_that_answered_different_items_are_not_compared():
    with pytest.raises(InputError, match=r"only one .* has answered r2 \(4 answers .* 3 of the"):
        compare(BASE, series("sft", a1=True, a2=True, r1=True))
    with pytest.raises(InputError, match="there are no answers"):
        compare([], [])


def test_two_models_in_one_series_are_refused():
    with pytest.raises(InputError, match="sft has answered a1 twice"):
        compare(BASE, [*series("sft", a1=True), *series("sft", a1=False)])
