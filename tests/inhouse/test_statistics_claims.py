"""What a gate claims from counts: against published numbers, hand-worked ones and brute force."""

import itertools
import math
from math import comb

import pytest

from inhouse.statistics import (
    Pairs,
    corrected_rate,
    difference,
    holm,
    lower_bound,
    more_pairs_for_improvement,
    more_pairs_for_margin,
    more_prompts,
    p_above,
    prompts_needed,
    rate,
    sign_test,
    upper_bound,
)
from inhouse.statistics.paired import lost_share, score


def tail(k: int, n: int, p: float) -> float:
    """P(X <= k), X ~ Binomial(n, p), summed term by term."""
    return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


# --- one rate -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "prompts"), [(0, 299), (1, 473), (2, 628), (3, 773), (4, 913), (5, 1049)]
)
def test_the_prompts_that_show_one_per_cent(failures, prompts):
    assert prompts_needed(failures, 0.01) == prompts
    # And the sum of the binomial says the same of this number and of one less.
    assert tail(failures, prompts, 0.01) <= 0.05 < tail(failures, prompts - 1, 0.01)


@pytest.mark.parametrize("limit", [0.0, 1.0, -0.1])
def test_no_number_of_prompts_shows_a_limit_of_nothing(limit):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        prompts_needed(0, limit)


@pytest.mark.parametrize(("failures", "n"), [(0, 7), (3, 7), (6, 7), (2, 40)])
def test_a_one_sided_bound_inverts_the_binomial_test(failures, n):
    assert tail(failures, n, upper_bound(failures, n)) == pytest.approx(0.05, abs=1e-9)
    if failures:
        low = lower_bound(failures, n)
        assert 1 - tail(failures - 1, n, low) == pytest.approx(0.05, abs=1e-9)
    # Two one-sided bounds of 95 % are the two-sided ones of 90 %.
    both = rate(failures, n, confidence=0.9)
    assert upper_bound(failures, n) == pytest.approx(both["high"], abs=1e-9)
    assert lower_bound(failures, n) == pytest.approx(both["low"], abs=1e-9)


def test_bounds_where_nothing_or_everything_failed():
    assert upper_bound(5, 5) == 1.0 and lower_bound(0, 5) == 0.0
    assert upper_bound(0, 0) == 1.0 and lower_bound(0, 0) == 0.0


def test_half_a_failure_lies_between_none_and_one():
    assert upper_bound(0, 300) < upper_bound(0.5, 300) < upper_bound(1, 300)


@pytest.mark.parametrize(("failures", "n"), [(3, 2), (-1, 2)])
def test_counts_that_are_none_are_refused(failures, n):
    for bound in (upper_bound, lower_bound):
        with pytest.raises(ValueError, match="are no counts"):
            bound(failures, n)


def test_the_p_value_of_a_rate_above_its_limit():
    # P(X >= 3 | 20, 0.05) = 1 - P(X <= 2).
    assert p_above(3, 20, 0.05) == pytest.approx(1 - tail(2, 20, 0.05), abs=1e-12)
    assert p_above(0, 20, 0.05) == 1.0


def test_more_prompts_without_a_failure_are_those_of_the_table():
    assert more_prompts(0, 0, 0.01) == 299
    assert more_prompts(0, 100, 0.01) == 199
    assert more_prompts(0, 299, 0.01) == 0


def test_more_prompts_are_the_fewest_with_the_power_that_is_asked():
    # 1 of 20 today, limit 20 %: every m by hand, the bound and the chance summed term by term.
    def chance(m: int) -> float:
        passing = [y for y in range(m + 1) if tail(1 + y, 20 + m, 0.2) <= 0.05]
        return tail(max(passing), m, 1 / 20) if passing else 0.0

    found = more_prompts(1, 20, 0.2, power=0.8)
    assert found == next(m for m in itertools.count(1) if chance(m) >= 0.8)
    assert more_prompts(1, 20, 0.2, power=0.95) > found


def test_at_a_rate_above_the_limit_no_number_would_do():
    assert more_prompts(3, 100, 0.02) is None
    assert more_prompts(2, 100, 0.02) is None  # at the limit, neither


def test_so_close_to_the_limit_that_nobody_asks_so_many():
    assert more_prompts(1999, 200_000 - 1, 0.01) is None


# --- several tests ------------------------------------------------------------------------------


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and no smaller than one before: .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_refuses_what_his_steps_refuse():
    # The procedure of his section 3, step by step, on every set of these p-values.
    alpha = 0.05
    for values in itertools.product((0.001, 0.012, 0.017, 0.026, 0.049, 0.3), repeat=4):
        refused = set()
        for k, at in enumerate(sorted(range(4), key=lambda i: values[i])):
            if values[at] > alpha / (4 - k):
                break
            refused.add(at)
        assert {at for at, p in enumerate(holm(values)) if p <= alpha} == refused


# --- pairs --------------------------------------------------------------------------------------


def test_the_sign_test_by_hand():
    # 9 gained, 1 lost: 2 (1 + 10) / 2^10.
    assert sign_test(9, 1) == pytest.approx(22 / 1024)
    assert sign_test(0, 0) == 1.0


def test_the_published_example_of_two_surveys_of_the_same_voters():
    # 1,600 people asked twice (Agresti, Categorical Data Analysis, 2nd edition, section 10.1):
    # 150 changed one way, 86 the other; a fall of 0.04 with the 95 % interval (0.02, 0.06).
    low, high = difference(Pairs(150, 86, 1600), confidence=0.975)
    assert (round(low, 2), round(high, 2)) == (0.02, 0.06)


def test_without_discordant_pairs_the_bound_has_a_closed_form():
    # b = c = 0: δ with n δ / (1 - δ) = z², so δ = z² / (n + z²).
    z = 1.6448536269514722
    low, high = difference(Pairs(0, 0, 100))
    assert high == pytest.approx(z**2 / (100 + z**2), abs=1e-7)
    assert low == pytest.approx(-high, abs=1e-7)


@pytest.mark.parametrize("pairs", [Pairs(3, 7, 40), Pairs(0, 4, 30), Pairs(5, 5, 10)])
@pytest.mark.parametrize("change", [-0.3, -0.05, 0.1, 0.25])
def test_the_share_of_lost_pairs_is_the_likeliest(pairs, change):
    # Brute force over q: b log(q + δ) + c log q + (n - b - c) log(1 - 2q - δ).
    def likelihood(q: float) -> float:
        cells = ((pairs.gained, q + change), (pairs.lost, q))
        cells += ((pairs.n - pairs.gained - pairs.lost, 1 - 2 * q - change),)
        return sum(count * math.log(share) for count, share in cells if count)

    low, high = max(0.0, -change), (1 - change) / 2
    grid = [low + (high - low) * i / 20_000 for i in range(1, 20_000)]
    assert lost_share(pairs, change) == pytest.approx(max(grid, key=likelihood), abs=1e-4)


def test_at_no_change_the_score_is_that_of_mcnemar():
    # (b - c) / sqrt(b + c).
    assert score(Pairs(9, 4, 50), 0.0) == pytest.approx(5 / math.sqrt(13))


def test_bounds_mirror_when_models_change_places():
    low, high = difference(Pairs(7, 2, 60))
    assert difference(Pairs(2, 7, 60)) == pytest.approx((-high, -low))
    assert low < 5 / 60 < high


def test_all_gained_or_no_pairs():
    assert difference(Pairs(5, 0, 5))[1] == 1.0 and difference(Pairs(0, 5, 5))[0] == -1.0
    assert difference(Pairs(0, 0, 0)) == (-1.0, 1.0)


def test_the_bound_covers_about_as_often_as_it_says():
    # Exactly, over every outcome of 30 pairs with 10 % gained and 15 % lost: δ = -0.05.
    n, gained, lost = 30, 0.10, 0.15
    covered = sum(
        math.factorial(n)
        / (math.factorial(b) * math.factorial(c) * math.factorial(n - b - c))
        * (gained**b * lost**c * (1 - gained - lost) ** (n - b - c))
        for b in range(13)
        for c in range(16)
        if difference(Pairs(b, c, n))[0] <= gained - lost
    )
    assert 0.93 <= covered <= 0.98


@pytest.mark.parametrize(("gained", "lost", "n"), [(-1, 0, 5), (3, 3, 5)])
def test_pairs_that_are_none_are_refused(gained, lost, n):
    with pytest.raises(ValueError, match="are no counts"):
        Pairs(gained, lost, n)


def test_more_pairs_are_the_fewest_that_do_at_todays_shares():
    found = more_pairs_for_margin(Pairs(0, 0, 0), 0.05)
    # Without a discordant pair: (z.95 + z.80)² / (n + (z.95 + z.80)²) < 0.05, n > 19 · 6.1826.
    assert found == math.floor(19 * (1.6448536 + 0.8416212) ** 2) + 1 == 118
    assert more_pairs_for_margin(Pairs(3, 3, 50), 0.05) > found
    assert more_pairs_for_margin(Pairs(0, 5, 50), 0.05) is None


def test_more_pairs_for_an_improvement_have_the_power_that_is_asked():
    # 6 gained and 2 lost of 100: three quarters of the discordant pairs, 8 % of all.
    def power(d: int) -> float:
        hits = [x for x in range(d + 1) if 1 - tail(x - 1, d, 0.5) <= 0.025]
        return 1 - tail(min(hits) - 1, d, 0.75) if hits else 0.0

    d = next(d for d in itertools.count(1) if power(d) >= 0.8)
    assert more_pairs_for_improvement(Pairs(6, 2, 100)) == math.ceil(d * 100 / 8) - 100
    assert more_pairs_for_improvement(Pairs(2, 2, 100)) is None
    assert more_pairs_for_improvement(Pairs(0, 0, 100)) is None


# --- a checker's own errors ---------------------------------------------------------------------


def test_rogan_and_gladen_by_hand():
    # Found 30 of 100; Se 0.8, Sp 0.9: (0.3 + 0.9 - 1) / 0.7 = 2/7.
    assert corrected_rate(30, 100, tp=80, fn=20, fp=10, tn=90)["rate"] == pytest.approx(2 / 7)


def test_lang_and_reiczigel_by_hand():
    # Their equations 6, 7, 16 and 17 with z = 1.959964, z² = 3.841459:
    # n' = 103.841459, raw' = (30 + 1.920729) / n' = 0.3073987;
    # Se' = 81 / 102 = 0.7941176, Sp' = 91 / 102 = 0.8921569, J = 0.6862745;
    # p' = (0.3073987 + 0.8921569 - 1) / J = 0.2907801.
    # Se'(1 - Se') / 102 = 0.001602865, Sp'(1 - Sp') / 102 = 0.000943236.
    # dp = 7.682918 (0.2907801 · 0.001602865 - 0.7092199 · 0.000943236) = -0.001558630.
    # Variance: 0.2129047 / 103.841459 + 0.0845531 · 0.001602865 + 0.5029929 · 0.000943236
    #         = 0.002050286 + 0.000135527 + 0.000474441 = 0.002660254; root 0.05157765.
    # Half = 1.959964 · 0.05157765 / J = 0.1473034.
    found = corrected_rate(30, 100, tp=80, fn=20, fp=10, tn=90)
    assert found["low"] == pytest.approx(0.2907801 - 0.0015586 - 0.1473034, abs=2e-6)
    assert found["high"] == pytest.approx(0.2907801 - 0.0015586 + 0.1473034, abs=2e-6)


def test_the_corrected_interval_covers_as_often_as_it_says():
    # Exactly, over every outcome of the three samples; true rate 0.2, Se 0.8, Sp 0.9.
    p, se, sp, n, broken, kept = 0.2, 0.8, 0.9, 30, 20, 20
    raw = p * se + (1 - p) * (1 - sp)

    def chance(k: int, of: int, q: float) -> float:
        return comb(of, k) * q**k * (1 - q) ** (of - k)

    covered = total = 0.0
    for x, tp, tn in itertools.product(range(n + 1), range(8, broken + 1), range(10, kept + 1)):
        weight = chance(x, n, raw) * chance(tp, broken, se) * chance(tn, kept, sp)
        found = corrected_rate(x, n, tp, broken - tp, kept - tn, tn)
        total += weight
        covered += weight * (found is not None and found["low"] <= p <= found["high"])
    assert total > 0.999
    assert 0.94 <= covered <= 0.99


def test_a_checker_that_misses_much_makes_the_rate_higher_and_less_certain():
    sharp = corrected_rate(10, 1000, tp=95, fn=5, fp=0, tn=1000)
    dull = corrected_rate(10, 1000, tp=5, fn=5, fp=0, tn=1000)
    assert dull["rate"] == pytest.approx(0.02) and sharp["rate"] < dull["rate"]
    assert dull["high"] - dull["low"] > 2 * (sharp["high"] - sharp["low"])


def test_a_rate_stays_between_none_and_all():
    assert corrected_rate(0, 100, tp=20, fn=10, fp=5, tn=600)["rate"] == 0.0
    assert corrected_rate(100, 100, tp=20, fn=10, fp=5, tn=600)["high"] == 1.0


@pytest.mark.parametrize(
    "counts", [(0, 0, 1, 9), (5, 5, 0, 0), (3, 7, 7, 3), (5, 5, 5, 5), (0, 5, 0, 50)]
)
def test_a_checker_that_tells_nothing_corrects_nothing(counts):
    assert corrected_rate(3, 100, *counts) is None


def test_no_trials_have_no_corrected_rate():
    with pytest.raises(ValueError, match="at least one trial"):
        corrected_rate(0, 0, 1, 1, 1, 1)
