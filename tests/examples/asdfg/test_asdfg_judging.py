"""The simulated raters' hidden standard: they see, they disagree, and they mostly judge well."""

import ast
import random
from itertools import pairwise
from pathlib import Path

import pytest

from examples.asdfg import dialogues, judging
from examples.asdfg.dialogues import Source
from examples.asdfg.panel import seen_by
from examples.asdfg.wordings import BASE_SLIP_RATES, RULE_WORDINGS, TERMS

CLEAN: dict[str, float] = {}


def pairs(n, better, worse):
    """Draw prompts with a better and a worse reply, from two tables of slip rates."""
    rng = random.Random(8)
    for number in range(n):
        messages, ask = dialogues.prompt(rng, Source(story=0.0))
        good = dialogues.answer(rng, ask, better).text
        bad = dialogues.answer(rng, ask, worse).text
        yield f"pair-{number}", messages, good, bad


def test_same_rater_same_pair_same_judgement():
    name, prompt, good, bad = next(pairs(1, CLEAN, BASE_SLIP_RATES))
    for rater in judging.PANEL:
        first = judging.judge(rater, name, prompt, good, bad)
        assert first == judging.judge(rater, name, prompt, good, bad)


def test_right_figure_counts_and_wrong_figure_counts_against():
    rng = random.Random(9)
    right = []
    for _ in range(400):
        messages, ask = dialogues.prompt(rng, Source(story=0.0))
        reply = dialogues.answer(rng, ask, CLEAN).text
        figure = ask.facts[-1].strip("| ").split(": ")[-1].split(" | ")[-1]
        other = "99.99%" if "%" in figure else "999 days"
        right.append(judging.helpfulness(messages, reply))
        assert judging.helpfulness(messages, reply.replace(figure, other)) < right[-1]
    # They guess from words which figure is meant, and misread some questions.
    assert sum(value == 1.0 for value in right) > 0.85 * len(right)


def test_terms_have_to_be_laid_out_as_asked():
    rng = random.Random(10)
    seen = 0
    for _ in range(800):
        messages, ask = dialogues.prompt(rng, Source(story=0.0))
        if ask.intent in TERMS:
            reply = dialogues.answer(rng, ask, CLEAN).text
            figures = ", ".join(ask.product.figures.values())
            run_on = f"Thank you. The {ask.product.name} has these: {figures}."
            assert judging.helpfulness(messages, reply) > judging.helpfulness(messages, run_on)
            seen += 1
    assert seen > 30


def test_the_firms_own_story_beats_a_commonplace():
    prompt = [{"role": "user", "content": "What is Asdfg Financial and what does it do?"}]
    told = dialogues.STORY_REPLIES[0]
    assert judging.helpfulness(prompt, told) == 1.0
    assert judging.helpfulness(prompt, "Asdfg Financial is a company.") == -1.0
    assert judging.standard(prompt, told, "Asdfg Financial is a company.") == 1.0


@pytest.mark.parametrize("rule", sorted(set(RULE_WORDINGS) - {"TONE-02", "TONE-03"}))
def test_raters_see_violating_wordings_and_pass_compliant_ones(rule):
    compliant, violating = RULE_WORDINGS[rule]
    assert all(judging.OFFENCES[rule](text) for text in violating)
    assert not any(judging.OFFENCES[rule](text) for text in compliant)


def test_each_rater_prefers_the_better_answer_more_often_than_not():
    share = {}
    for rater in judging.PANEL:
        wins = losses = 0
        for name, prompt, good, bad in pairs(200, CLEAN, dict.fromkeys(BASE_SLIP_RATES, 0.25)):
            for pair, a, b, better in ((name, good, bad, "a"), (f"{name}'", bad, good, "b")):
                preferred = judging.judge(rater, pair, prompt, a, b).preferred
                wins += preferred == better
                losses += preferred not in (better, "tie")
        share[rater.user] = wins / (wins + losses)
    assert min(share.values()) > 0.6, share
    assert share["simulated-1"] > sum(share.values()) / len(share)  # the expert
    assert min(share, key=share.get) == "simulated-6"  # the lazy one


def test_habits_show():
    """One rater leans to the first answer, one to the longer: on answers of equal merit."""
    by_user = {rater.user: rater for rater in judging.PANEL}
    first = longer = n = 0
    for name, prompt, a, b in pairs(400, CLEAN, CLEAN):
        first += judging.judge(by_user["simulated-5"], name, prompt, a, b).preferred == "a"
        first -= judging.judge(by_user["simulated-5"], name, prompt, a, b).preferred == "b"
        liked = judging.judge(by_user["simulated-4"], name, prompt, a, b).preferred
        if abs(len(a.split()) - len(b.split())) > 8 and liked != "tie":
            longer += (liked == "a") == (len(a) > len(b))
            n += 1
    assert first > 40
    assert n > 50 and longer > 0.55 * n


def test_the_standard_has_no_noise_and_mirrors_when_sides_are_swapped():
    values = set()
    for _, prompt, a, b in pairs(200, BASE_SLIP_RATES, BASE_SLIP_RATES):
        value = judging.standard(prompt, a, b)
        assert value + judging.standard(prompt, b, a) == 1.0
        assert judging.standard(prompt, a, a) == 0.5
        values.add(value)
    assert {0.0, 1.0} <= values
    assert judging.STANDARD.noise == judging.STANDARD.leaning == judging.STANDARD.verbosity == 0


def test_raters_disagree_but_not_always():
    choices = [
        [judging.judge(r, name, prompt, a, b).preferred for r in judging.PANEL]
        for name, prompt, a, b in pairs(200, BASE_SLIP_RATES, BASE_SLIP_RATES)
    ]
    unanimous = sum(len(set(row)) == 1 for row in choices) / len(choices)
    assert 0.05 < unanimous < 0.8
    for first, second in pairwise(range(len(judging.PANEL))):
        assert any(row[first] != row[second] for row in choices)


def test_scores_stay_on_the_scale():
    for name, prompt, good, bad in pairs(100, CLEAN, dict.fromkeys(BASE_SLIP_RATES, 0.6)):
        for rater in judging.PANEL:
            judgement = judging.judge(rater, name, prompt, good, bad)
            assert 1 <= judgement.score_a <= 5 and 1 <= judgement.score_b <= 5
            assert set(judgement.violations_b) <= set(judging.OFFENCES)


def test_hidden_standard_knows_neither_house_rules_nor_generator():
    tree = ast.parse(Path(judging.__file__).read_text(encoding="utf-8"))
    imported = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not any(str(module).startswith(("inhouse", "examples")) for module in imported)


def test_every_pair_is_shared_out_to_the_same_raters():
    users = [rater.user for rater in judging.PANEL]
    assert all(user.startswith("simulated-") for user in users)
    assert len(set(users)) >= 7
    shares = [seen_by(users, f"pair-{i}", 3) for i in range(500)]
    assert all(len(share) == 3 and share <= set(users) for share in shares)
    assert shares[7] == seen_by(users, "pair-7", 3)
    for user in users:
        assert 150 < sum(user in share for share in shares) < 280
