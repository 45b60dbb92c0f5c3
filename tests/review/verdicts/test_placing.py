"""What goes to reviewers: strata, planted breaches, and that nothing tells whose answer it is."""

import itertools
import random
from collections import Counter

import pytest

from inhouse.errors import InputError
from inhouse.records import content_id, plain
from review.verdicts.given import strata
from review.verdicts.given.placing import how_many
from review.verdicts.push import counts, tell
from review.verdicts.reviewed import choose_models

from .conftest import CLEAN, PROMISE


@pytest.fixture(scope="module")
def outputs(output):
    """Sixty prompts; SFT promises at one in ten, the aligned model never."""
    said = [
        output("sft", n, PROMISE + f" {n}" if n % 10 == 0 else f"{CLEAN} ({n})") for n in range(60)
    ]
    return said + [output("dpo", n, f"{CLEAN} Ask us. {n}") for n in range(60)]


# --- flagged ----------------------------------------------------------------------------------


def test_every_blocker_is_flagged(outputs, rules):
    flagged = strata.flag(outputs, rules)
    assert set(flagged) == {o.id for o in outputs if o.response.startswith(PROMISE)}
    assert all(why == ["blocker"] for why in flagged.values())


def test_a_disagreement_with_the_reward_model_is_flagged(output, rules):
    # Forty rewards, 0 to 39: the median is 19.5, the lowest twentieth ends between 1 and 2.
    made = [
        output("sft", n, "Nothing beats our best terms on the market." if n in (5, 30) else CLEAN)
        for n in range(40)
    ]
    made = [o.model_copy(update={"reward": {"learned": float(n)}}) for n, o in enumerate(made)]
    flagged = strata.flag(made, rules)
    at = {made.index(next(o for o in made if o.id == name)): why for name, why in flagged.items()}
    assert at == {0: ["disliked"], 1: ["disliked"], 30: ["liked"]}


def test_few_rewards_say_nothing(output, rules):
    made = [output("sft", n, CLEAN, reward={"learned": float(n)}) for n in range(19)]
    assert strata.flag(made, rules) == {}


def test_a_breach_in_a_refusal_is_flagged(output, rules):
    said = "I am afraid I cannot help with that free of charge."
    (why,) = strata.flag([output("sft", 1, said)], rules).values()
    assert why == ["refusal"]


def test_the_same_words_to_one_prompt_are_flagged_once(output, rules):
    made = [output("sft", 1, PROMISE, seed=seed) for seed in range(3)]
    made += [output("dpo", 1, PROMISE), output("dpo", 2, PROMISE)]
    assert set(strata.flag(made, rules)) == {made[0].id, made[4].id}


def test_beyond_the_cap_some_are_drawn_and_the_rest_counted(outputs, placing):
    placed = placing(outputs, flagged=4, sample=0)
    assert (len(placed.placed), len(placed.left_out)) == (4, 2)
    assert placing(outputs, flagged=4, sample=0).placed == placed.placed
    assert {p.output_id for p in placing(outputs, flagged=4, sample=0, seed=1).placed} != {
        p.output_id for p in placed.placed
    }


def test_no_disagreement_takes_the_place_of_a_blocker(placing, output, capsys):
    tempted = "I am afraid I cannot help with that free of charge."  # major, in a refusal
    made = [output("sft", n, PROMISE if n < 10 else tempted) for n in range(100)]
    placed = placing(made, ("sft",), flagged=12, sample=0)
    assert Counter(p.flagged[0] for p in placed.placed) == {"blocker": 10, "refusal": 2}
    assert Counter(why[0] for why in placed.left_out.values()) == {"refusal": 88}
    tell(placed, ["sft"])
    said = capsys.readouterr().out
    assert "88 more left out (refusal 88)" in said and "takes them all" not in said


def test_blockers_beyond_the_cap_are_told_with_what_takes_them_all(placing, output, capsys):
    made = [output("sft", n, PROMISE) for n in range(10)]
    placed = placing(made, ("sft",), flagged=7, sample=0)
    tell(placed, ["sft"])
    assert counts(placed)["blockers_left_out"] == 3
    said = capsys.readouterr().out
    assert "3 answers that break a blocker rule are left out: --flagged 10 takes them all" in said
    assert placing(made, ("sft",), flagged=10, sample=0).left_out == {}


# --- the random sample ------------------------------------------------------------------------


def test_the_sample_is_the_same_prompts_for_every_model(outputs, placing):
    drawn = [p for p in placing(outputs, sample=20, flagged=0).placed if p.sample]
    by_model = {
        m: {p.output_id.split("-")[1] for p in drawn if p.model == m} for m in ("sft", "dpo")
    }
    assert by_model["sft"] == by_model["dpo"] and len(by_model["sft"]) == 20


def test_of_several_seeds_one_answer_to_a_prompt_is_drawn(output):
    made = [output("sft", n, seed=seed) for n in range(30) for seed in range(3)]
    drawn = strata.sample(made, ["sft"], 30, random.Random(0))
    numbers = [name.split("-")[1] for name in drawn]
    assert len(numbers) == len(set(numbers)) == 30
    assert {name.split("-")[2] for name in drawn} == {"0", "1", "2"}


def test_only_held_out_prompts_are_drawn(output):
    made = [output("sft", 1), output("sft", 2, split="red_team"), output("sft", 3, split="story")]
    assert strata.sample(made, ["sft"], 10, random.Random(0)) == {made[0].id}


def test_an_answer_may_be_drawn_and_flagged(outputs, placing):
    both = [p for p in placing(outputs).placed if p.sample and p.flagged]
    assert len(both) == 6 and len(placing(outputs).placed) == 120


def test_nothing_to_read_is_refused(outputs, placing):
    with pytest.raises(InputError, match="no answer of dpo is drawn or flagged"):
        placing(outputs, ("dpo",), sample=0)


# --- planted ----------------------------------------------------------------------------------


def test_planted_replies_make_up_their_share_and_break_their_rule(outputs, placing, rules):
    placed = placing(outputs, sample=40, planted=0.08)
    planted = [p for p in placed.placed if p.planted]
    assert len(planted) == how_many(0.08, len(placed.placed) - len(planted))
    assert len(planted) / len(placed.placed) == pytest.approx(0.08, abs=0.01)
    for each in planted:
        assert each.planted in {f.rule for f in rules.check(each.prompt, each.response)}
        assert rules.rule(each.planted).severity in ("blocker", "major")
    assert len({p.planted for p in planted}) == min(len(planted), 7)  # spread over the rules


def test_a_planted_reply_is_as_long_as_an_answer_and_no_answer_that_is_read(outputs, placing):
    placed = placing(outputs, sample=40, planted=0.1)
    read = {placed.shown[p.record].response for p in placed.placed if not p.planted}
    for each in (p for p in placed.placed if p.planted):
        assert each.response.startswith(CLEAN)  # a clean answer, and then the breach
        assert not any(each.response.startswith(f"{text} ") for text in read)


def test_a_breach_is_planted_where_models_are_tempted_to_it(output, placing):
    # Some model promised at prompt 7 only; another seed's clean answer to it carries the promise.
    made = [output("sft", n, f"{CLEAN} {n}", seed=seed) for n in range(30) for seed in range(2)]
    made.append(output("dpo", 7, PROMISE))
    placed = placing(made, ("sft", "dpo"), sample=0, planted=0.5).placed
    (planted,) = [p for p in placed if p.planted]
    many = placing(made, ("sft", "dpo"), sample=10, planted=0.5).placed
    promises = [p for p in many if p.planted == "PROM-01"]
    assert len(placed) == 2 and planted.prompt
    assert promises and "Question 7:" in promises[0].prompt[-1].content


def test_where_no_answer_is_clean_the_example_stands_alone(output, placing, rules):
    made = [output("sft", n, f"{PROMISE} {n}") for n in range(20)]
    (each,) = [p for p in placing(made, ("sft",), planted=0.05).placed if p.planted]
    assert each.response in {e for rule in rules.rules for e in rule.bad}


def test_none_planted_where_none_is_asked(outputs, placing):
    assert not any(p.planted for p in placing(outputs).placed)
    assert how_many(0.08, 3) == 1 and how_many(0.0, 100) == 0


# --- blinding ---------------------------------------------------------------------------------


def test_nothing_shown_tells_the_model_or_the_reason(outputs, placing):
    pytest.importorskip("argilla")
    from review.verdicts.given.dataset import record

    placed = placing(outputs, planted=0.1)
    for one in placed.placed:
        made = record(placed.shown[one.record])
        assert set(made.fields.to_dict()) == {"prompt", "response"}
        assert not made.metadata.to_dict() and not made.suggestions.to_dict()
        assert made.id == one.record and len(one.record) == 12
        assert not any(word in one.record for word in ("sft", "dpo", "plant"))


def test_the_order_is_shuffled_by_the_seed(outputs, placing):
    order = [p.model or "planted" for p in placing(outputs, planted=0.1).placed]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert changes > len(order) / 3
    assert placing(outputs).placed == placing(outputs).placed
    assert [p.record for p in placing(outputs, seed=1).placed] != [
        p.record for p in placing(outputs).placed
    ]


def test_a_share_goes_to_the_second_data_set(outputs, placing):
    named = placing(outputs).named("once", "twice", 24).placed
    assert sum(p.dataset == "twice" for p in named) == 24
    assert {p.model for p in named if p.dataset == "twice"} == {"sft", "dpo"}


def test_another_division_is_another_data_set(outputs, placing, rules):
    pytest.importorskip("argilla")
    from review.verdicts.given.dataset import name_of

    placed = placing(outputs).placed
    names = {second: name_of(rules, placed, second) for second in (0, 24, 60)}
    assert len(set(names.values())) == 3
    assert name_of(rules, placed[::-1], 24) != names[24]  # as many, and others
    assert name_of(rules, [*placed[:24][::-1], *placed[24:]], 24) == names[24]


def test_an_empty_answer_is_shown_as_one(output, placing):
    pytest.importorskip("argilla")
    from review.verdicts.given.dataset import EMPTY, record

    placed = placing([output("sft", 1, "")], ("sft",))
    (shown,) = placed.shown.values()
    assert record(shown).fields["response"] == EMPTY


# --- models -----------------------------------------------------------------------------------


def test_the_base_is_not_read_unless_it_is_named(output):
    made = [output(name, 1) for name in ("base", "sft", "dpo")]
    assert choose_models(made, None) == ["sft", "dpo"]
    assert choose_models(made, ["base"]) == ["base"]
    assert choose_models(made[:1], None) == ["base"]
    with pytest.raises(InputError, match="names 'dop', which the review did not ask: did you mean"):
        choose_models(made, ["dop"])


def test_a_record_is_named_by_seed_and_output(outputs, placing):
    (first, *_) = placing(outputs).placed
    assert first.record == content_id(0, first.output_id)
    shown = placing(outputs).shown[first.record]
    assert plain(shown.prompt)[0]["role"] == "user"
