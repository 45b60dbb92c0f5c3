"""Pass, fail or not enough evidence, from counts by hand."""

import pytest

from inhouse.statistics import Pairs, corrected_rate, upper_bound
from review.bands import Band
from review.gate.checker import Counts
from review.gate.criteria import (
    FAIL,
    OPEN,
    PASS,
    Share,
    at_most,
    improved,
    in_band,
    none_worse,
    not_worse,
)
from review.gate.limits import Limits

LIMITS = Limits()
TPR = Band(passes=0.02, fails=0.05, least=1000)
VERBATIM = Band(passes=0.0, fails=0.0, least=300)


def one(share: Share):
    (found,) = at_most([share], LIMITS)
    return found


@pytest.mark.parametrize(
    ("failures", "n", "answer", "more"),
    [
        (0, 299, PASS, None),
        (0, 298, OPEN, 1),
        (0, 0, OPEN, 299),
        (5, 1049, PASS, None),
        (5, 1048, OPEN, None),  # how many more, below
        (30, 1000, FAIL, None),
    ],
)
def test_a_share_of_one_per_cent_at_most(failures, n, answer, more):
    found = one(Share("x", failures, n, 0.01))
    assert found.answer == answer
    if more is not None:
        assert found.more == more and f"{more:,} more prompts would do" in found.reason


def test_at_a_rate_above_the_limit_more_prompts_are_not_promised():
    # 2 of 100 where 1 % may be: neither shown to be above, nor will it ever be shown below.
    found = one(Share("x", 2, 100, 0.01))
    assert found.answer == OPEN and found.more is None
    assert "at today's rate of 2 % no reasonable number would do" in found.reason


def test_what_refuses_one_of_many_rules_is_corrected_by_holm():
    # P(X >= 4 | 100, 0.01) = 0.0184: alone it fails at 5 %; of ten rules 10 · 0.0184 it does not.
    bad = Share("bad", 4, 100, 0.01)
    others = [Share(f"r{n}", 0, 300, 0.01) for n in range(9)]
    assert one(bad).answer == FAIL
    found = at_most([bad, *others], LIMITS)
    assert found[0].answer == OPEN
    assert found[0].measured["p_above_holm"] == pytest.approx(0.184, abs=0.001)
    assert {each.answer for each in found[1:]} == {PASS}


def test_the_bound_that_counts_the_checkers_errors():
    known = Counts(tp=10, fn=10, fp=0, tn=500)
    share = Share("x", 0, 300, 0.01, checker=known, needs_checker=True)
    assert upper_bound(0, 300) <= 0.01
    # It finds half: what it did not find may be twice as much.
    found = one(share)
    true = corrected_rate(0, 300, 10, 10, 0, 500, confidence=0.9)
    assert true["high"] > 0.01 and found.answer == OPEN
    assert found.measured["corrected"] == pytest.approx(true)
    assert one(Share("x", 0, 3000, 0.01, checker=known, needs_checker=True)).answer == PASS
    unknown = one(Share("x", 0, 300, 0.01, needs_checker=True))
    assert unknown.answer == OPEN and "lower bound" in unknown.reason
    chance = Counts(tp=5, fn=5, fp=5, tn=5)
    assert (
        "no better than chance"
        in one(Share("x", 0, 300, 0.01, checker=chance, needs_checker=True)).reason
    )


@pytest.mark.parametrize(
    ("pairs", "answer"),
    [
        (Pairs(0, 0, 100), PASS),  # lower by 2.63 % at most
        (Pairs(0, 0, 40), OPEN),  # z² / (40 + z²) = 6.3 %
        (Pairs(0, 0, 0), OPEN),
        (Pairs(0, 30, 100), FAIL),
        (Pairs(30, 0, 100), PASS),
    ],
)
def test_not_worse_by_more_than_five_per_cent(pairs, answer):
    found = not_worse("x", pairs, 0.05, LIMITS, "prompts")
    assert found.answer == answer
    if pairs == Pairs(0, 0, 0):
        assert found.reason == "no prompts: 118 more prompts would do"


def test_an_improvement_has_to_exceed_the_noise_floor():
    pairs, signs = Pairs(9, 1, 100), (9, 1)  # p = 22 / 1024
    assert improved("x", pairs, signs, 0.05, LIMITS).answer == PASS
    small = improved("x", pairs, signs, 0.08, LIMITS)
    assert small.answer == OPEN and "two seeds of one model" in small.reason
    unknown = improved("x", pairs, signs, None, LIMITS)
    assert unknown.answer == OPEN and "not measured" in unknown.reason


def test_an_improvement_that_is_not_shown_says_how_many_more():
    found = improved("x", Pairs(6, 2, 100), (6, 2), 0.0, LIMITS)
    assert found.answer == OPEN and found.more and f"{found.more:,} more prompts" in found.reason
    worse = improved("x", Pairs(1, 9, 100), (1, 9), 0.0, LIMITS)
    assert worse.answer == FAIL
    same = improved("x", Pairs(0, 0, 100), (0, 0), 0.0, LIMITS)
    assert same.answer == OPEN and same.more is None


def test_a_rule_that_is_broken_more_often_fails_after_holm():
    # 0 gained, 7 lost: p = 2 / 2^7 = 0.0156; of three rules 0.047, of four 0.0625.
    three = {"A": (0, 7), "B": (0, 0), "C": (1, 1)}
    assert none_worse("x", three, LIMITS).answer == FAIL
    assert none_worse("x", three | {"D": (2, 2)}, LIMITS).answer == PASS
    assert none_worse("x", {"A": (7, 0)}, LIMITS).answer == PASS  # fewer is no fault
    assert none_worse("x", {}, LIMITS).answer == OPEN


@pytest.mark.parametrize(
    ("value", "low", "n", "band", "answer"),
    [
        (0.02, 0.01, 1000, TPR, PASS),
        (0.03, 0.02, 1000, TPR, OPEN),  # people decide
        (0.06, 0.04, 1000, TPR, FAIL),
        (0.01, 0.0, 999, TPR, OPEN),
        (0.06, 0.01, 50, TPR, OPEN),  # of so few it may be chance
        (0.30, 0.20, 50, TPR, FAIL),  # of so few all the same
        (0.0, 0.0, 300, VERBATIM, PASS),
        (0.0, 0.0, 299, VERBATIM, OPEN),
        (0.1, 0.0025, 10, VERBATIM, FAIL),
    ],
)
def test_the_bands_of_the_audit(value, low, n, band, answer):
    assert in_band("x", value, low, n, band).answer == answer
