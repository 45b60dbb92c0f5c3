"""The simulated raters' hidden standard: they see, they disagree, and they mostly judge well."""

import ast
import random
from itertools import pairwise
from pathlib import Path

import pytest

from examples.asdfg import dialogues, judging, raters
from examples.asdfg.wordings import BASE_SLIP_RATES, RULE_WORDINGS

CLEAN: dict[str, float] = {}


def pairs(n, better, worse):
    """Draw prompts with a better and a worse reply, from two tables of slip rates."""
    rng = random.Random(8)
    for number in range(n):
        question = dialogues.ask(rng, "training")
        good = dialogues.answer(rng, question, better).reply
        bad = dialogues.answer(rng, question, worse).reply
        yield f"pair-{number}", question, good, bad


def test_same_rater_same_pair_same_judgement():
    name, question, good, bad = next(pairs(1, CLEAN, BASE_SLIP_RATES))
    for rater in judging.PANEL:
        first = judging.judge(rater, name, question.prompt, good, bad)
        assert first == judging.judge(rater, name, question.prompt, good, bad)


def test_right_figure_counts_and_wrong_figure_counts_against():
    rng = random.Random(9)
    for _ in range(300):
        question = dialogues.ask(rng, "training")
        reply = dialogues.answer(rng, question, CLEAN).reply
        other = "99.99%" if "%" in question.figure else "999 days"
        wrong = reply.replace(question.figure, other)
        assert judging.helpfulness(question.prompt, reply) == 1.0
        assert judging.helpfulness(question.prompt, wrong) < 0


@pytest.mark.parametrize("rule", sorted(set(RULE_WORDINGS) - {"TONE-02", "TONE-03"}))
def test_raters_see_violating_wordings_and_pass_compliant_ones(rule):
    compliant, violating = RULE_WORDINGS[rule]
    assert all(judging.OFFENCES[rule](text) for text in violating)
    assert not any(judging.OFFENCES[rule](text) for text in compliant)


def test_each_rater_prefers_the_better_answer_more_often_than_not():
    for rater in judging.PANEL:
        wins = losses = 0
        for name, question, good, bad in pairs(200, CLEAN, dict.fromkeys(BASE_SLIP_RATES, 0.25)):
            wins += judging.judge(rater, name, question.prompt, good, bad).preferred == "a"
            wins += judging.judge(rater, name + "'", question.prompt, bad, good).preferred == "b"
            losses += judging.judge(rater, name, question.prompt, good, bad).preferred == "b"
            losses += judging.judge(rater, name + "'", question.prompt, bad, good).preferred == "a"
        assert wins > 2 * losses, rater.user


def test_raters_disagree_but_not_always():
    choices = [
        [judging.judge(r, name, q.prompt, a, b).preferred for r in judging.PANEL]
        for name, q, a, b in pairs(200, BASE_SLIP_RATES, BASE_SLIP_RATES)
    ]
    unanimous = sum(len(set(row)) == 1 for row in choices) / len(choices)
    assert 0.1 < unanimous < 0.8
    for first, second in pairwise(range(len(judging.PANEL))):
        assert any(row[first] != row[second] for row in choices)


def test_scores_stay_on_the_scale():
    for name, question, good, bad in pairs(100, CLEAN, dict.fromkeys(BASE_SLIP_RATES, 0.6)):
        for rater in judging.PANEL:
            judgement = judging.judge(rater, name, question.prompt, good, bad)
            assert 1 <= judgement.score_a <= 5 and 1 <= judgement.score_b <= 5
            assert set(judgement.violations_b) <= set(judging.OFFENCES)


def test_hidden_standard_knows_neither_house_rules_nor_generator():
    tree = ast.parse(Path(judging.__file__).read_text(encoding="utf-8"))
    imported = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not any(str(module).startswith(("inhouse", "examples")) for module in imported)


def test_every_pair_is_shared_out_to_the_same_raters():
    users = {rater.user for rater in judging.PANEL}
    assert all(user.startswith("simulated-") for user in users)
    shares = [raters.panel_of(f"pair-{i}", 3) for i in range(500)]
    assert all(len(share) == 3 and share <= users for share in shares)
    assert shares[7] == raters.panel_of("pair-7", 3)
    for user in users:
        assert 200 < sum(user in share for share in shares) < 400
