"""Candidates: how answers become pairs, and a sampling that is killed."""

import json
from collections import Counter
from pathlib import Path

import pytest

from compliance.rules.house_rules import load
from inhouse.generation import sample
from inhouse.generation.sample import Reply
from inhouse.records import CandidatePair, Prompt, read
from labeling.candidates import CandidateOptions, pair_up

ROOT = Path(__file__).parents[2]
RULES = ROOT / "configs" / "house" / "asdfg.yaml"
PROMPT = Prompt(prompt=[{"role": "user", "content": "What is the fee?"}], metadata={"topic": "fee"})
GOOD = "Thank you for your question. The fee is 1.20% a year."
BAD = "Hey! It is guaranteed, act now, the best deal! 🚀"
MIDDLE = "The fee is 1.20% a year."  # no courtesy: one finding


@pytest.fixture(scope="module")
def rules():
    return load(RULES)


def options(**changes) -> CandidateOptions:
    return CandidateOptions(house_rules=str(RULES), **changes)


def paired(rules, *texts: str, index: int = 0, prompt: Prompt = PROMPT, **changes):
    replies = [Reply(text, [1], True) for text in texts]
    return pair_up(index, prompt, replies, rules, {"model": "m"}, options(**changes))


# --- pairs ------------------------------------------------------------------------------------


def test_the_fewest_findings_meet_the_most(rules):
    (pair,) = paired(rules, MIDDLE, BAD, GOOD)
    assert {pair.response_a, pair.response_b} == {GOOD, BAD}
    findings = {pair.response_a: pair.findings_a, pair.response_b: pair.findings_b}
    assert findings[GOOD] == [] and len(findings[BAD]) > 3
    assert pair.metadata == {"topic": "fee", "prompt_index": 0}


def test_further_pairs_go_inwards_and_share_no_answer(rules):
    fourth = MIDDLE + " It is a no-brainer."
    pairs = paired(rules, MIDDLE, BAD, GOOD, fourth, pairs_per_prompt=2)
    texts = [{pair.response_a, pair.response_b} for pair in pairs]
    assert texts == [{GOOD, BAD}, {MIDDLE, fourth}]
    assert len({pair.id for pair in pairs}) == 2


def test_sources_say_which_sample_an_answer_was(rules):
    texts = [MIDDLE, BAD, GOOD]
    (pair,) = paired(rules, *texts)
    assert texts[pair.source_a["sample"]] == pair.response_a
    assert texts[pair.source_b["sample"]] == pair.response_b
    assert pair.source_a["model"] == "m"


@pytest.mark.parametrize("texts", [[GOOD, GOOD, GOOD], ["", GOOD, ""], [GOOD], [], ["", ""]])
def test_equal_and_empty_answers_are_no_pair(rules, texts):
    assert paired(rules, *texts) == []


def test_the_order_is_by_lot_and_favours_neither(rules):
    firsts = Counter()
    for n in range(400):
        prompt = Prompt(prompt=[{"role": "user", "content": f"Question {n}?"}])
        (pair,) = paired(rules, GOOD, BAD, prompt=prompt)
        firsts[pair.response_a == GOOD] += 1
    # 400 lots: mean 200, standard deviation 10; five of them.
    assert abs(firsts[True] - 200) < 50


def test_a_lot_depends_on_content_and_seed_only(rules):
    one, again = paired(rules, GOOD, BAD, index=3), paired(rules, BAD, GOOD, index=9)
    assert (one[0].id, one[0].response_a) == (again[0].id, again[0].response_a)
    orders = {seed: paired(rules, GOOD, BAD, seed=seed)[0].response_a == GOOD for seed in range(20)}
    assert set(orders.values()) == {True, False}


# --- the stage --------------------------------------------------------------------------------


@pytest.fixture
def words(tiny_model, prompts, write_lines, tmp_path):
    data = write_lines(tmp_path / "prompts.jsonl", prompts)
    return [
        *("--model_name_or_path", tiny_model, "--dataset_name", data, "--house_rules", RULES),
        *("--max_new_tokens", "6", "--batch_size", "2"),
    ]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--temperature", "0"], "temperature"),
        (["--temperature", "-1"], "temperature"),
        (["--temperature", "nan"], "temperature"),
        (["--max_new_tokens", "0"], "max_new_tokens"),
        (["--batch_size", "0"], "batch_size"),
        (["--samples_per_prompt", "1"], "samples_per_prompt"),
        (["--pairs_per_prompt", "3"], "pairs_per_prompt"),
        (["--pairs_per_prompt", "0"], "pairs_per_prompt"),
        (["--house_rules", "none.yaml"], "none.yaml"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(refused, words, tmp_path, flags, says):
    refused("labeling.candidates", *words, *flags, says=[says], run_dir=tmp_path / "x")


def test_a_prompt_that_ends_with_an_answer_is_refused(refused, words, write_lines, tmp_path):
    rows = [
        {"prompt": "fine"},
        {"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    ]
    write_lines(tmp_path / "prompts.jsonl", rows)
    says = ["prompts.jsonl, line 2", "must end with a 'user' turn"]
    refused("labeling.candidates", *words, says=says, run_dir=tmp_path / "x")


def test_a_run_writes_pairs_that_can_be_read(run_stage, words, tmp_path):
    ended = run_stage("labeling.candidates", *words, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    folder = tmp_path / "x" / "candidates"
    assert {p.name for p in folder.iterdir()} == {
        "candidates.jsonl",
        "metrics.json",
        "manifest.json",
    }
    pairs = read(folder / "candidates.jsonl", CandidatePair)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["pairs"] == len(pairs) and metrics["prompts"] == 6
    assert metrics["pairs"] + metrics["prompts_without_a_pair"] == 6
    manifest = json.loads((folder / "manifest.json").read_text())
    model = next(i for i in manifest["inputs"] if i["name"] == "model_name_or_path")
    assert {pair.source_a["model"] for pair in pairs} == {model["sha256"][:12]}
    again = run_stage("labeling.candidates", *words, "--run_dir", tmp_path / "x")
    assert again.code == 0 and "up to date" in again.out


def answering(monkeypatch, *texts: str):
    """Let the model give these answers to every prompt."""

    def say(model, tokenizer, rows, *, samples, done=frozenset(), **_):
        for index in range(len(rows)):
            if index not in done:
                yield {index: [Reply(texts[n % len(texts)], [5], True) for n in range(samples)]}

    monkeypatch.setattr(sample, "replies", say)


def test_empty_answers_are_counted_and_told(run_stage, words, tmp_path, monkeypatch):
    answering(monkeypatch, GOOD, "", BAD, "\u200b")
    ended = run_stage("labeling.candidates", *words, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    assert "12 of 24 answers are empty: the model ends at once" in ended.out
    metrics = json.loads((tmp_path / "x" / "candidates" / "metrics.json").read_text())
    assert (metrics["answers"], metrics["empty_answers"]) == (24, 12)
    assert metrics["pairs"] == 6


def test_a_model_that_ends_at_once_whatever_it_is_asked_is_refused(
    refused, words, tmp_path, monkeypatch
):
    answering(monkeypatch, "")
    says = ["all 24 answers are empty", "python -m review.chat", "--model_name_or_path"]
    refused("labeling.candidates", *words, says=says, run_dir=tmp_path / "x")


def test_killed_and_started_again_equals_uninterrupted(run_stage, words, tmp_path, monkeypatch):
    assert run_stage("labeling.candidates", *words, "--run_dir", tmp_path / "one").code == 0
    own = sample.replies

    def killed(*args, **settings):
        for number, batch in enumerate(own(*args, **settings)):
            if number == 1:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(sample, "replies", killed)
    assert run_stage("labeling.candidates", *words, "--run_dir", tmp_path / "two").code == 130
    folder = tmp_path / "two" / "candidates"
    part = folder / "candidates.jsonl.part"
    assert part.read_text() and not (folder / "candidates.jsonl").exists()
    # The machine lost power in the middle of a line, too.
    part.write_bytes(part.read_bytes()[:-7])
    monkeypatch.setattr(sample, "replies", own)
    import os

    from inhouse.run import folder as run_folder

    # In one process the first run's hold on its folder would not be gone.
    monkeypatch.setattr(run_folder, "_lock", lambda folder: os.open(folder, os.O_RDONLY))
    assert run_stage("labeling.candidates", *words, "--run_dir", tmp_path / "two").code == 0
    one, two = (
        sorted((tmp_path / name / "candidates" / "candidates.jsonl").read_text().splitlines())
        for name in ("one", "two")
    )
    assert one == two


def test_two_equal_prompts_do_not_make_a_file_that_cannot_be_read(
    run_stage, words, write_lines, prompts, tmp_path, monkeypatch
):
    # Equal prompts may get equal answers, and a pair's id is the hash of its content.
    def same(model, tokenizer, rows, **settings):
        yield {n: [Reply(GOOD, [1], True), Reply(BAD, [1], True)] for n in range(len(rows))}

    monkeypatch.setattr(sample, "replies", same)
    write_lines(tmp_path / "prompts.jsonl", [prompts[0], prompts[1], prompts[0]])
    ended = run_stage("labeling.candidates", *words, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    assert len(read(tmp_path / "x" / "candidates" / "candidates.jsonl", CandidatePair)) == 3
