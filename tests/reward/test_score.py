"""``python -m reward.score``: scores of a file's answers, resumable, of one model only."""

import json
import sys

import pytest

from inhouse.generation.score import Scorer
from inhouse.models.load import new_reward_model, save_model
from inhouse.records import Message

PROMPT = [{"role": "user", "content": "What is it?"}]


@pytest.fixture(scope="module")
def model(tiny_model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward")
    made = new_reward_model(str(tiny_model), dtype="float32", seed=0, heads=2)
    save_model(made, tokenizer, folder)
    return folder


@pytest.fixture
def answers(write_lines, tmp_path):
    rows = [{"id": f"o{n}", "prompt": PROMPT, "response": f"It is {n}%."} for n in range(9)]
    rows.append({"messages": [*PROMPT, {"role": "assistant", "content": "It may fall."}]})
    rows.append({"prompt": "What is it?", "response": "It may rise."})
    return write_lines(tmp_path / "answers.jsonl", rows)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_answer_gets_a_line_in_order(run_stage, model, answers, tmp_path):
    ended = run_stage("reward.score", answers, "--model", model)
    assert ended.code == 0 and "11 answers scored" in ended.out, ended.err
    found = lines(tmp_path / "answers.scores.jsonl")
    assert [row["line"] for row in found] == list(range(1, 12))
    assert found[3]["id"] == "o3" and found[9]["id"] is None
    prompt = [Message(**PROMPT[0])]
    texts = [(prompt, f"It is {n}%.") for n in range(9)]
    texts += [(prompt, "It may fall."), (prompt, "It may rise.")]
    expected = Scorer(str(model)).assess(texts)
    assert [row["score"] for row in found] == pytest.approx([s.score for s in expected], abs=1e-5)
    assert [row["spread"] for row in found] == pytest.approx([s.spread for s in expected], abs=1e-5)


def test_killed_and_started_again_it_goes_on(run_stage, model, answers, tmp_path, monkeypatch):
    import reward.score

    monkeypatch.setattr(reward.score, "PART", 4)
    whole = tmp_path / "whole.jsonl"
    assert run_stage("reward.score", answers, "--model", model, "--out", whole).code == 0
    scored: list[int] = []
    assess = Scorer.assess

    def dies(self, conversations, title=None):
        if sum(scored) == 8:
            raise KeyboardInterrupt
        scored.append(len(conversations))
        return assess(self, conversations, title)

    out = tmp_path / "out.jsonl"
    monkeypatch.setattr(Scorer, "assess", dies)
    assert run_stage("reward.score", answers, "--model", model, "--out", out).code == 130
    assert not out.exists() and scored == [4, 4]

    scored.clear()
    assert run_stage("reward.score", answers, "--model", model, "--out", out).code == 0
    assert scored == [3], "what was scored is not scored again"
    assert [row["key"] for row in lines(out)] == [row["key"] for row in lines(whole)]
    assert [row["score"] for row in lines(out)] == pytest.approx(
        [row["score"] for row in lines(whole)], abs=1e-5
    )


def test_scores_of_another_file_are_not_taken_for_these(
    run_stage, model, answers, write_lines, tmp_path
):
    out = tmp_path / "out.jsonl"
    assert run_stage("reward.score", answers, "--model", model, "--out", out).code == 0
    other = write_lines(tmp_path / "other.jsonl", [{"prompt": PROMPT, "response": "Another."}])
    before = out.read_text()
    ended = run_stage("reward.score", other, "--model", model, "--out", out)
    assert ended.code == 3 and "scores of other answers or of another model" in ended.err
    assert out.read_text() == before


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"prompt": PROMPT}], "field 'response'"),
        ([{"prompt": PROMPT, "response": " "}], "line 1"),
        ([{"prompt": [], "response": "x"}], "line 1"),
    ],
)
def test_a_bad_record_is_named(run_stage, model, write_lines, tmp_path, rows, says):
    ended = run_stage("reward.score", write_lines(tmp_path / "a.jsonl", rows), "--model", model)
    assert ended.code == 3 and says in ended.err and "Traceback" not in ended.err


def test_a_missing_file_or_model_and_a_bad_flag_are_told(run_stage, model, answers, tmp_path):
    for words, says in (
        ((tmp_path / "none.jsonl", "--model", model), "no file"),
        ((answers, "--model", tmp_path / "none"), "no model folder"),
        ((answers, "--model", model, "--out", answers), "give another --out"),
        ((answers, "--modle", model), "unrecognized '--modle': did you mean --model?"),
    ):
        ended = run_stage("reward.score", *words)
        assert ended.code == 3 and says in ended.err, ended.err


def test_help_needs_no_model(run_command):
    ended = run_command("reward.score", "--help")
    assert ended.returncode == 0 and "--model" in ended.stdout, sys.executable
