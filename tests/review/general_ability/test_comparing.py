"""A model against its base, item by item: figures worked out by hand, and what does not pair."""

import pytest

from inhouse.errors import InputError
from inhouse.statistics import Pairs, difference
from review.general_ability.answering import Answered
from review.general_ability.comparing import ALL, as_json, compare, paired


def test_a_pair_of_series_by_hand():
    # 10 items: 5 both, 1 gained, 3 lost, 1 neither. 6 of 10 against 8 of 10, difference -0.2.
    # McNemar: 1 of 4 falls one way, p = 2 (C(4,0) + C(4,1)) / 2^4 = 10/16.
    before = [True] * 5 + [False] + [True] * 3 + [False]
    after = [True] * 5 + [True] + [False] * 3 + [False]
    found = paired(before, after)
    assert (found.n, found.gained, found.lost) == (10, 1, 3)
    assert found.base["rate"] == 0.8 and found.model["rate"] == 0.6
    assert found.difference == pytest.approx(-0.2) and found.mcnemar_p == pytest.approx(10 / 16)
    assert found.low == difference(Pairs(1, 3, 10), 0.95)[0]
    with pytest.raises(ValueError, match="at least one trial"):
        paired([], [])


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
