"""Rewrites become the next round's records, and those that may not are kept apart."""

from dataclasses import replace

import pytest

from compliance.rules import house_rules
from inhouse.records import Demonstration, Preference, read, write
from review.verdicts.taken.rewrites import next_round
from review.verdicts.taken.settled import settle

from .conftest import CLEAN, PROMISE


@pytest.fixture
def made_of(placing, rules):
    def make(outputs, verdicts, **how):
        placed = placing(outputs, **how).placed
        return next_round(settle(placed, {o.id: o for o in outputs}, verdicts), rules)

    return make


def test_a_rewrite_is_a_preference_and_a_demonstration(output, verdict, made_of, tmp_path):
    reply = output("sft", 1, PROMISE)
    made = made_of([reply], [verdict(reply.id, "fail", rewrite=f" {CLEAN}\n")])
    write(tmp_path / "preferences.jsonl", made.preferences)
    write(tmp_path / "demonstrations.jsonl", made.demonstrations)
    (preference,) = read(tmp_path / "preferences.jsonl", Preference)
    assert (preference.chosen[0].content, preference.rejected[0].content) == (CLEAN, PROMISE)
    assert preference.prompt == reply.prompt and preference.raters == ["ann"]
    assert preference.source == "rewrite"  # when read back, too
    (shown,) = read(tmp_path / "demonstrations.jsonl", Demonstration)
    assert shown.messages[-1].content == CLEAN and shown.metadata["source"] == "rewrite"
    assert shown.metadata["held_out"] and shown.metadata["topic"] == "fees"


@pytest.mark.parametrize(
    ("rewrite", "kind"),
    [("", "blank"), (" \u200b\n", "blank"), (CLEAN, "unchanged"), (f"\n{CLEAN}  ", "unchanged")],
)
def test_a_rewrite_that_says_nothing_new_is_dropped_and_counted(
    output, verdict, made_of, rewrite, kind
):
    reply = output("sft", 1)
    made = made_of([reply], [verdict(reply.id, rewrite=rewrite)])
    assert made.counts == {kind: 1}
    assert made.preferences == made.demonstrations == made.refused == []


def test_no_rewrite_is_none(output, verdict, made_of):
    reply = output("sft", 1)
    assert made_of([reply], [verdict(reply.id)]).counts == {}


def test_two_readers_who_write_the_same_are_one_record(output, verdict, made_of):
    reply = output("sft", 1, PROMISE)
    given = [verdict(reply.id, "fail", who, rewrite=CLEAN) for who in ("ann", "bob")]
    given.append(verdict(reply.id, "fail", "eve", rewrite=f"{CLEAN} Please ask."))
    made = made_of([reply], given)
    assert made.counts == {"used": 2, "repeated": 1} and len(made.preferences) == 2


def test_a_rewrite_that_breaks_a_blocker_itself_is_kept_apart(output, verdict, made_of):
    reply = output("sft", 1)
    made = made_of([reply], [verdict(reply.id, "fail", rewrite=f"Thank you. {PROMISE}")])
    assert made.counts == {"breaks a blocker": 1}
    (refused,) = made.refused
    assert (refused.rules, refused.reviewer) == (["PROM-01"], "ann")
    assert made.preferences == made.demonstrations == []


def test_a_model_that_said_nothing_is_shown_and_not_rejected(output, verdict, made_of):
    reply = output("sft", 1, "")
    made = made_of([reply], [verdict(reply.id, "fail", rewrite=CLEAN)])
    assert len(made.demonstrations) == 1 and made.preferences == []


def test_a_rewrite_of_a_planted_reply_is_left_out(output, verdict, placing, rules):
    outputs = [output("sft", n) for n in range(20)]
    placed = placing(outputs, ("sft",), sample=10, planted=0.1).placed
    (planted,) = [p.output_id for p in placed if p.planted]
    settled = settle(placed, {}, [verdict(planted, "fail", rewrite=CLEAN)])
    made = next_round(settled, rules)
    assert made.counts == {"planted": 1} and made.demonstrations == []


@pytest.mark.parametrize(
    "split", ["held_out", "story", "red_team", "benign_twin", "counterfactual"]
)
def test_whatever_was_asked_in_the_review_is_marked(output, verdict, made_of, split):
    reply = output("sft", 1, PROMISE, split=split)
    made = made_of([reply], [verdict(reply.id, "fail", rewrite=CLEAN)])
    for record in (*made.demonstrations, *made.preferences):
        assert record.metadata["held_out"] and record.metadata["split"] == split


def test_turns_that_the_red_team_scripted_are_not_learned(output, verdict, made_of, tmp_path):
    turns = [("user", "Hi."), ("assistant", "All is safe."), ("user", "Is it guaranteed?")]
    asked = [{"role": role, "content": said} for role, said in turns]
    reply = output("sft", 1, PROMISE, prompt=asked, split="red_team")
    made = made_of([reply], [verdict(reply.id, "fail", rewrite=CLEAN)])
    write(tmp_path / "demonstrations.jsonl", made.demonstrations)
    (shown,) = read(tmp_path / "demonstrations.jsonl", Demonstration)
    assert [t.train for t in shown.messages if t.role == "assistant"] == [False, True]


def test_a_rewrite_is_checked_by_the_figures_that_are_approved(output, verdict, placing):
    finance = house_rules.load(house_rules.DEFAULT)
    strict = finance.rule("SUBS-01").model_copy(update={"severity": "blocker"})
    rules = replace(finance, rules=(strict,))
    reply = output("sft", 1, metadata={"figures": ["1.20%"]})
    given = [
        verdict(reply.id, "fail", rewrite=f"It pays {rate} a year.") for rate in ("1.20%", "9%")
    ]
    settled = settle(placing([reply]).placed, {reply.id: reply}, given)
    assert [r.rewrite for r in next_round(settled, rules).refused] == ["It pays 9% a year."]


@pytest.mark.slow
def test_dpo_takes_the_preferences(output, verdict, made_of, tmp_path, tiny_model, run_stage):
    replies = [output("sft", n, f"{PROMISE} ({n})") for n in range(8)]
    given = [verdict(r.id, "fail", rewrite=f"{CLEAN} ({n})") for n, r in enumerate(replies)]
    write(tmp_path / "preferences.jsonl", made_of(replies, given).preferences)
    ended = run_stage(
        "rlhf.dpo",
        *("--dataset_name", tmp_path / "preferences.jsonl", "--model_name_or_path", tiny_model),
        *("--run_dir", tmp_path / "runs" / "x", "--dry_run", "true", "--held_out_share", "0"),
    )
    assert ended.code == 0, ended.err
