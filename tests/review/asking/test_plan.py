"""The plan: what every model is asked, how often, and what is left out and said."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from compliance.rules.house_rules import load
from inhouse.errors import InputError
from inhouse.records import Message, Prompt
from review.asking.plan import describe, duration, make, spread
from review.asking.progress import Progress
from review.general_ability.items import read_items
from review.options import RedTeamOptions

HOUSE = Path(__file__).parents[3] / "configs" / "house"
MODELS = ("base", "base_prompted", "sft", "dpo")


@pytest.fixture(scope="module")
def asdfg():
    return load(HOUSE / "asdfg.yaml")


@pytest.fixture(scope="module")
def finance():
    return load(HOUSE / "finance")


def asked(text: str) -> list[Prompt]:
    return [Prompt(prompt=[Message(role="user", content=f"{text} {n}")]) for n in range(3)]


def test_everything_is_asked_with_every_seed_and_the_story_often_enough(finance):
    told = RedTeamOptions(mutations=["plain", "urgency"], seeds_per_rule=1, pairs_per_trait=1)
    plan = make(asked("held out"), asked("story"), [0, 7], finance, told, 8)
    times = Counter(each.split for each in plan.rounds)
    assert times == {
        **{"held_out": 2, "story": 34, "story_greedy": 1},
        **{"red_team": 2, "benign_twin": 2, "counterfactual": 2},
    }
    assert {r.temperature for r in plan.rounds if r.split != "story_greedy"} == {1.0}
    attacks = next(each for each in plan.rounds if each.split == "red_team")
    assert len(attacks.prompts) == 2 * 29  # each of the 29 rules, in two ways
    answers = plan.answers(MODELS)
    assert answers["held_out"] == 3 * 2 * 4 and answers["red_team"] == 58 * 2 * 4
    assert answers["general_ability"] == 8 * 3  # the base that is told more is the base there
    assert plan.opening[0].content == "story 0"


def test_what_is_not_judged_is_said_and_never_counted(finance):
    plan = make(asked("x"), [], [0], finance, RedTeamOptions(seeds_per_rule=1), 0)
    known = plan.as_json()
    assert set(known["not_checked"]) == {"ADV-01", "VULN-01", "SRC-01"}
    lines = "\n".join(describe(plan, MODELS, []))
    assert "attacks on ADV-01: not checked by machine (judge)" in lines
    assert "SUBS-01" not in known["not_checked"]  # its seeds bring the figures


def test_seeds_of_rules_that_a_house_does_not_have_are_named(asdfg):
    plan = make(asked("x"), [], [0], asdfg, RedTeamOptions(seeds_per_rule=1), 0)
    assert plan.as_json()["left_out"]["CRYP-01"] > 0
    lines = "\n".join(describe(plan, MODELS, ["arc_easy"]))
    assert (
        "not asked, as this house does not have the rule: seeds and pairs of MNPI-01 (8)" in lines
    )
    assert "and 16 more" in lines and "of lm-eval arc_easy" in lines


def test_without_the_red_team_there_are_no_attacks(asdfg):
    plan = make(asked("x"), [], [0], asdfg, RedTeamOptions(red_team=False), 0)
    assert [each.split for each in plan.rounds] == ["held_out"] and plan.as_json() is None


def test_an_unknown_mutation_is_refused_with_the_nearest(asdfg):
    with pytest.raises(InputError, match="no mutation 'rol_play'; did you mean role_play"):
        make(asked("x"), [], [0], asdfg, RedTeamOptions(mutations=["rol_play"]), 0)


@pytest.mark.parametrize("most", [1, 60, 200, 1000])
def test_general_questions_are_spread_over_their_kinds(most):
    items = read_items()
    chosen = spread(items, most)
    assert len(chosen) == min(most, len(items))
    kinds = Counter(item.kind for item in chosen)
    if most == 60:
        assert set(kinds.values()) == {15}
    assert [item for item in items if item in chosen] == chosen


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "1 s"), (59, "59 s"), (61, "1 min"), (3540, "59 min"), (3900, "1 h 05 min")],
)
def test_a_duration_is_told_in_its_unit(seconds, shown):
    assert duration(seconds) == shown


def test_the_bar_counts_the_whole_plan_and_tells_the_time_left(monkeypatch):
    clock = iter([100.0, 160.0])
    monkeypatch.setattr(
        "review.asking.progress.time", SimpleNamespace(monotonic=lambda: next(clock))
    )
    with Progress(9000, done=1000) as bar:
        bar.at("dpo, red team")
        assert bar.line() == "dpo, red team, 1,000 of 9,000"  # nothing of this process's own yet
        # 2,000 in 60 seconds; 6,000 are left.
        assert bar.line(2000) == "dpo, red team, 3,000 of 9,000, 3 min left"
