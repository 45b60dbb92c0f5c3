"""What the held-out pairs say, counted by hand; the verdict; the page that shows it."""

import numpy as np
import pytest

from compliance.rules.house_rules import load
from inhouse.generation.score import Calibration, Scored, Scorer
from inhouse.records import Message, Preference
from reward import report
from reward.evaluate import (
    Measured,
    abstention,
    by_length,
    by_rule,
    by_topic,
    side_with,
    ties,
)
from reward.report import unfit_because, verdict, warnings
from reward.split import Pair, votes_beside, votes_of_others

RULES = """
house: Test
rules:
  - {id: M-1, title: No superlatives, severity: major, kind: existence, match: ['best'],
     fix: none, bad: [The best fund.], good: [A fund.]}
"""


def scored(value: float, abstained: bool = False) -> Scored:
    return Scored(value, (value,), 0.0, 1.0, abstained)


def pair(votes=None, chosen="A fund.", rejected="The best fund.", topic="fee", tokens=(3, 3)):
    record = Preference(
        prompt=[Message(role="user", content="q")],
        chosen=[Message(role="assistant", content=chosen)],
        rejected=[Message(role="assistant", content=rejected)],
        metadata={"topic": topic},
    )
    row = {"chosen_ids": [1] * tokens[0], "rejected_ids": [1] * tokens[1]}
    return Pair(record, row, votes or {})


def measured(pairs, differences) -> Measured:
    return Measured(pairs, [scored(d) for d in differences], [scored(0.0) for _ in differences])


def test_accuracy_is_over_single_votes_of_those_who_count():
    pairs = [
        pair({"anna": 1, "ben": -1, "carl": 1}),
        pair({"anna": 1, "ben": 0}),
        pair({"ben": -1, "carl": 1, "dora": 1}),
    ]
    # The scorer sides with chosen, chosen, rejected.
    found = measured(pairs, [1.0, 0.5, -1.0])
    others = side_with(found, lambda p: votes_of_others(p, "ben"))
    assert (others["rate"], others["n"]) == (0.6, 5)  # anna, carl; anna; neither of the last two
    one = side_with(found, lambda p: [v for name, v in p.votes.items() if v and name == "ben"])
    assert (one["rate"], one["n"]) == (0.5, 2)  # wrong on the first, right on the third


def test_a_held_out_rater_is_compared_with_others_on_the_same_pairs():
    pairs = [
        pair({"anna": 1, "ben": -1, "carl": 1}),
        pair({"anna": 1, "ben": 0}),  # ben took no side
        pair({"anna": -1, "carl": 1}),  # ben was not asked
        pair({"anna": -1, "ben": 1}),
    ]
    found = side_with(measured(pairs, [1.0] * 4), lambda p: votes_beside(p, "ben"))
    assert (found["rate"], found["n"]) == (pytest.approx(2 / 3), 3)


def test_an_equal_score_sides_with_rejected_and_unknown_votes_are_one_for_chosen():
    found = side_with(measured([pair(), pair()], [0.0, 1.0]), lambda p: votes_of_others(p, None))
    assert (found["rate"], found["n"]) == (0.5, 2)


def test_slices_count_the_pairs_they_name(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES)
    rules = load(tmp_path / "rules.yaml")
    pairs = [
        pair(topic="fee", tokens=(2, 2)),
        pair(topic="fee", tokens=(9, 9), rejected="Another fund."),
        pair(topic="risk", tokens=(5, 5)),
        pair(topic="risk", tokens=(4, 4), chosen="The best of all."),
    ]
    found = measured(pairs, [1.0, 1.0, -1.0, 1.0])
    assert {name: (r["rate"], r["n"]) for name, r in by_topic(found).items()} == {
        "fee": (1.0, 2),
        "risk": (0.5, 2),
    }
    # Only the rejected answers of the first and third pair break it alone.
    assert {name: (r["rate"], r["n"]) for name, r in by_rule(found, rules).items()} == {
        "M-1": (0.5, 2)
    }
    # In order of length: 2, 4 | 5 | 9, in thirds of four: places 0, 1 are short, 2 middle, 3 long.
    assert {name: (r["rate"], r["n"]) for name, r in by_length(found).items()} == {
        "short": (1.0, 2),
        "middle": (0.0, 1),
        "long": (1.0, 1),
    }
    assert list(by_length(found)) == ["short", "middle", "long"]


def test_ties_compare_confidence_where_a_rater_saw_no_difference():
    pairs = [pair({"anna": 1, "ben": 0}), pair({"anna": 1, "ben": 1})]
    found = ties(measured(pairs, [0.0, 1.0]), np.array([0.4, 0.9]))
    assert found == {
        "pairs_with_a_tie": 1,
        "confidence_there": pytest.approx(0.6),
        "confidence_elsewhere": pytest.approx(0.9),
        "equal_scores": 1,
    }


def test_abstention_parts_what_is_known_from_what_is_not():
    means = Calibration((0.0,), (1.0,), 1.0, -9, 9, 0.6, "", True, "")
    scorer = Scorer.around(None, None, means)
    found = abstention(
        scorer, measured([pair()] * 4, [1.0, -1.0, 0.1, 0.2]), np.array([0.9, 0.3, 0.55, 0.58])
    )
    assert found["pairs"]["rate"] == 0.5
    assert found["accuracy_where_sure"]["rate"] == 0.5  # 0.9 is right, 0.3 sides with rejected
    assert found["accuracy_where_not"]["rate"] == 1.0


# --- the verdict ------------------------------------------------------------------------------


def r(rate, low=None, high=None, n=100):
    low, high = rate if low is None else low, rate if high is None else high
    return {"rate": rate, "low": low, "high": high, "n": n}


def evaluation(**changes):
    return {
        "accuracy": {
            "held_out_prompts": r(0.8, 0.75, 0.85),
            "held_out_raters": r(0.78, 0.7, 0.85),
            "other_raters_there": r(0.79),
            "preferences": r(0.8),
            "trained_on": r(0.9),
            "by_topic": {"<fee>": r(0.5)},
            "by_rule": {"M-1": r(0.7)},
            "by_length": {},
        },
        "rule_titles": {"M-1": 'No "best"', "M-2": "Never broken"},
        "raters_with_one_rating": [],
        "agreement_ceiling": r(0.82, 0.8, 0.84),
        "shuffled_control": r(0.49, 0.45, 0.53),
        "length_bias": {"partial_correlation": 0.1, "shorter_won": None, "longer_won": r(0.7)},
        "split": {"train": 5000, "held_out": 100, "held_out_rater": "ben"},
        **changes,
    }


def test_a_scorer_above_the_floor_is_fit():
    assert verdict(evaluation(), 0.8) == {
        "floor": 0.8,
        "fit_for_ppo": True,
        "reason": "",
        "warnings": [],
    }


def test_a_scorer_below_the_floor_is_not_and_says_by_how_much():
    found = verdict(evaluation(), 0.801)
    assert not found["fit_for_ppo"]
    assert "0.800, below the floor of 0.801" in found["reason"]


def test_a_control_that_finds_drawn_winners_means_a_leak():
    assert "leak" in unfit_because(evaluation(shuffled_control=r(0.6, 0.55, 0.65)), 0.5)
    # Chance: one half within its bounds, or near it on many pairs.
    assert unfit_because(evaluation(shuffled_control=r(0.6, 0.45, 0.7)), 0.5) == ""
    assert unfit_because(evaluation(shuffled_control=r(0.54, 0.51, 0.57)), 0.5) == ""
    assert unfit_because(evaluation(shuffled_control=None), 0.5) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"agreement_ceiling": r(0.7, 0.68, 0.72)}, "more than they do with each other"),
        (
            {"length_bias": {"partial_correlation": -0.4, "shorter_won": None, "longer_won": None}},
            "correlation -0.40",
        ),
        ({"split": {"train": 400, "held_out": 9, "held_out_rater": None}}, "400 pairs to learn"),
        ({"raters_with_one_rating": ["carl"]}, "carl has one rating"),
    ],
)
def test_what_a_reader_should_not_miss_is_said(change, says):
    (said,) = warnings(evaluation(**change))
    assert says in said


def test_a_rater_it_never_learned_from_and_fails_is_said():
    found = evaluation()
    found["accuracy"]["held_out_raters"] = r(0.6, 0.5, 0.7)
    (said,) = warnings(found)
    assert "never learned from" in said


# --- the page ---------------------------------------------------------------------------------


def test_the_page_shows_it_all_and_escapes_what_comes_from_outside():
    known = {
        "min_confidence": 0.6,
        "pairs": r(0.2),
        "accuracy_where_sure": r(0.9),
        "accuracy_where_not": None,
        "answers": r(0.0),
        "mean_spread": 0.3,
    }
    whole = evaluation(
        temperature=1.5,
        ece={"value": 0.04, "low": 0.02, "high": 0.1, "n": 90, "claim": "none: too few"},
        reliability=[{"confidence": 0.6, "accuracy": 0.7, "n": 9}],
        ties={
            "pairs_with_a_tie": 0,
            "confidence_there": None,
            "confidence_elsewhere": 0.8,
            "equal_scores": 0,
        },
        invariance={
            "padding": 1e-7,
            "batch": 1e-7,
            "paraphrase": {"moved": 0.2, "order_kept": r(0.9)},
            "pairs": 5,
        },
        abstention=known,
        best_of_n=[
            {"n": 1, "kl": 0.0, "proxy": 0.1, "judge": 0.5},
            {"n": 2, "kl": 0.19, "proxy": 0.6, "judge": 0.61},
        ],
        scores={"chosen": [0.5, 1.0], "rejected": [-0.5, 0.0]},
    )
    page = report.render("runs/x/reward", whole | verdict(whole, 0.9))
    assert "not fit for PPO: accuracy on held-out prompts is 0.800" in page
    assert "&lt;fee&gt;" in page and "<fee>" not in page
    for said in ("0.820", "0.490", "No claim is made: too few", "not measured", "0.61", "ben"):
        assert said in page, said
    assert "M-1 No &#34;best&#34;" in page and "Never broken" not in page
    assert "0.98 of the ceiling reached" in page  # 0.8 of 0.82
    assert page.count("<svg xmlns") == 4  # reliability, scores, and two curves of the best of n
    assert page.count('<circle cx="132.0" cy="7"') == 2  # 0.8 of 160 pixels: votes and majorities
    without = report.render("x", {**whole, "best_of_n": []} | verdict(whole, 0.5))
    assert "Best of n" not in without and "fit for PPO" in without
