"""How the simulated reviewers read: what they mark, what they miss, how they rewrite."""

import random

import pytest

from compliance.rules import house_rules
from examples.asdfg import dialogues
from examples.asdfg.dialogues import Source
from examples.asdfg.panel import seen_by
from examples.asdfg.reviewers.reading import (
    REVIEWERS,
    Reviewer,
    check_names,
    read,
    rewritten,
    sentences,
)
from examples.asdfg.wordings import NO_SLIPS, SLIP_RATES
from inhouse.config import ROOT
from inhouse.errors import InputError

SHARP = Reviewer("simulated-reviewer-9", attention=1.0, invention=0.0, doubt=0.0, diligence=1.0)
CLEAN = "Thank you for your question. The fee is 1.20% a year."


@pytest.fixture(scope="module")
def rules():
    return house_rules.load(ROOT / "configs" / "house" / "asdfg.yaml")


def test_a_clean_answer_passes_without_a_rule():
    assert read(SHARP, "r", CLEAN) == {"verdict": "pass", "rules": []}


def test_an_offence_fails_with_its_rule_its_words_and_a_rewrite():
    answers = read(SHARP, "r", f"{CLEAN} We guarantee your money.")
    assert (answers["verdict"], answers["rules"]) == ("fail", ["PROM-01"])
    (span,) = answers["spans"]
    assert f"{CLEAN} We guarantee your money."[span["start"] : span["end"]] == (
        "We guarantee your money."
    )
    assert answers["rewrite"] == CLEAN


def test_tone_alone_is_marked_and_passes():
    answers = read(SHARP, "r", f"{CLEAN} That is awesome.")
    assert (answers["verdict"], answers["rules"]) == ("pass", ["TONE-01"])


def test_spans_are_counted_as_the_page_counts_them():
    answers = read(SHARP, "r", f"🚀 We guarantee your money. {CLEAN}")
    spans = {span["label"]: (span["start"], span["end"]) for span in answers["spans"]}
    assert spans["PROM-01"] == (0, len("🚀 We guarantee your money.") + 1)  # an emoji is two units


def test_the_same_record_is_read_the_same_way_again_and_people_differ():
    texts = [f"{CLEAN} We guarantee your money. ({n})" for n in range(400)]
    one, two = ([read(r, str(n), t)["verdict"] for n, t in enumerate(texts)] for r in REVIEWERS)
    assert one == [read(REVIEWERS[0], str(n), t)["verdict"] for n, t in enumerate(texts)]
    assert one != two
    for reviewer, verdicts in zip(REVIEWERS, (one, two), strict=True):
        seen = 1 - verdicts.count("pass") / len(texts)
        assert seen == pytest.approx(reviewer.attention, abs=0.05)


def test_two_reviewers_with_one_name_are_refused():
    check_names(REVIEWERS)
    with pytest.raises(InputError, match="two reviewers are called simulated-reviewer-1"):
        check_names([*REVIEWERS, REVIEWERS[0]])


def test_every_name_says_that_it_is_simulated():
    assert all(reviewer.user.startswith("simulated-") for reviewer in REVIEWERS)


def test_a_rewrite_leaves_out_and_adds_until_nothing_offends():
    past = "It did well last year. It is free of charge. Act now."
    assert rewritten(past) == (
        "Thank you for your question. It did well last year. It is free of charge. Past "
        "performance is not a reliable indicator of future results. Other charges may apply."
    )
    assert rewritten("We guarantee your money.") == ""


def test_rewrites_of_the_generators_answers_keep_the_house_rules(rules):
    rng = random.Random(3)
    kept = broken = 0
    for _ in range(300):
        _, ask = dialogues.prompt(rng, Source())
        words = rewritten(dialogues.answer(rng, ask, SLIP_RATES).text)
        kept += bool(words)
        broken += any(f.severity == "blocker" for f in rules.check([], words))
    assert kept > 250 and broken < kept / 10


def test_sentences_are_the_whole_text():
    rng = random.Random(5)
    for _ in range(50):
        _, ask = dialogues.prompt(rng, Source())
        text = dialogues.answer(rng, ask, NO_SLIPS).text
        assert "".join(sentence for _, sentence in sentences(text)) == text
        assert all(text.startswith(sentence, start) for start, sentence in sentences(text))
    assert [s for _, s in sentences("It is 1.20% a year. Good.")] == [
        "It is 1.20% a year. ",
        "Good.",
    ]


def test_so_many_of_the_panel_see_a_record():
    users = ["a", "b", "c"]
    seen = [seen_by(users, str(n), 2) for n in range(60)]
    assert all(len(each) == 2 for each in seen) and set().union(*seen) == set(users)
    assert seen == [seen_by(users, str(n), 2) for n in range(60)]
