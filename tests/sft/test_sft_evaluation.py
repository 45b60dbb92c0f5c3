"""What is measured beside the training loss: held-out topics, the best checkpoint, forgetting."""

import json
import math
import re

import pytest
import torch
from transformers import AutoModelForCausalLM

from inhouse.chat import render
from inhouse.errors import InputError
from inhouse.records import Demonstration
from inhouse.training import data as rows_of
from inhouse.training.demonstrations import columns
from sft import prepare
from sft.evaluate import read_probe

TOPICS = ("fees", "dates", None)
TEXTS = ["The sun rises in the east.", "Water boils at a hundred degrees, at sea level.", "x"]


@pytest.fixture
def data(demonstrations, write_lines, tmp_path):
    """Demonstrations of two topics and of none."""
    rows = [
        row | ({"metadata": {"topic": topic}} if (topic := TOPICS[n % 3]) else {})
        for n, row in enumerate(demonstrations)
    ]
    return write_lines(tmp_path / "topics.jsonl", rows)


def loss_alone(model, ids: list[int], labels: list[int]) -> tuple[float, int]:
    """Summed over one row, without padding, batches or TRL."""
    with torch.no_grad():
        logps = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
    counted = [at for at in range(1, len(ids)) if labels[at] != -100]
    return -sum(logps[at - 1, ids[at]].item() for at in counted), len(counted)


@pytest.mark.slow
def test_the_best_checkpoint_is_kept_and_measured_by_topic_and_on_general_text(
    run_stage, words, data, tiny_model, tokenizer, write_lines, tmp_path
):
    probe = write_lines(tmp_path / "probe.jsonl", [{"text": text} for text in TEXTS])
    extra = (
        *("--dataset_name", data, "--held_out_share", "0.5", "--probe_dataset", probe),
        # Far too high a rate, so that the loss soon rises and training stops before its 30 steps.
        *("--learning_rate", "0.5", "--max_steps", "30", "--early_stopping_patience", "2"),
        *("--load_best_model_at_end", "--eval_strategy", "steps"),
        *("--eval_steps", "1", "--save_steps", "1"),
    )
    ended = run_stage("sft.train", *words, *extra, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    folder = tmp_path / "x" / "sft"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["best_step"] + 2 == metrics["steps"] < 30
    svg = (folder / "training.svg").read_text()
    assert "Lengths" in svg and "held out" in svg

    # What was saved has the losses that the metrics tell, record by record.
    saved = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    placed = rows_of.read(data, Demonstration)
    rows = rows_of.render(tokenizer, placed, columns, str(data))
    _, held_out = rows_of.split(rows, 0.5, str(data))
    by_topic: dict[str, list[tuple[float, int]]] = {}
    for row in held_out:
        one = loss_alone(saved, row.columns["input_ids"], row.columns["labels"])
        by_topic.setdefault(prepare.topic_of(row), []).append(one)
    told = metrics["held_out"]["topics"]
    assert set(told) == set(by_topic) and len(told) > 1
    for topic, losses in by_topic.items():
        tokens = sum(count for _, count in losses)
        assert told[topic]["tokens"] == tokens and told[topic]["records"] == len(losses)
        assert told[topic]["loss"] == pytest.approx(sum(a for a, _ in losses) / tokens, rel=1e-4)
    every = [loss for losses in by_topic.values() for loss in losses]
    mean = sum(a for a, _ in every) / sum(count for _, count in every)
    assert metrics["held_out"]["loss"] == pytest.approx(mean, rel=1e-4)

    # And the model that training started from has the first perplexity, it the second.
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    for model, when in ((base, "before"), (saved, "after")):
        ids = [tokenizer(text).input_ids for text in TEXTS]
        losses = [loss_alone(model, row, row) for row in ids if len(row) > 1]
        expected = math.exp(sum(a for a, _ in losses) / sum(count for _, count in losses))
        assert metrics["general_perplexity"][when] == pytest.approx(expected, rel=1e-3), when
    assert "general text: perplexity" in ended.out


def test_a_probe_is_cut_to_length_and_one_token_is_none(tokenizer, write_lines, tmp_path):
    path = write_lines(tmp_path / "p.jsonl", [{"text": "a b c d e f"}, {"text": "x"}])
    (row,) = read_probe(tokenizer, str(path), 3)
    assert row["input_ids"] == tokenizer("a b c d e f").input_ids[:3] == row["labels"]
    assert read_probe(tokenizer, None, 3) == []


@pytest.mark.parametrize("line", ["{", "[]", '{"txt": "x"}', '{"text": 3}'])
def test_a_probe_of_another_shape_is_refused(tokenizer, tmp_path, line):
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "It is so."}\n\n' + line + "\n")
    with pytest.raises(InputError, match=r"p\.jsonl, line 3: a probe has one JSON object a line"):
        read_probe(tokenizer, str(path), 16)


def test_a_probe_with_nothing_to_measure_is_refused(tokenizer, write_lines, tmp_path):
    path = write_lines(tmp_path / "p.jsonl", [{"text": "x"}])
    with pytest.raises(InputError, match="no text of two tokens or more"):
        read_probe(tokenizer, str(path), 16)


# --- settings that need another one -----------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--eval_strategy", "epoch", "--held_out_share", "0"], ["eval_strategy", "held_out_sh"]),
        (["--early_stopping_patience", "2"], ["patience 2", "--load_best_model_at_end"]),
        (["--early_stopping_patience", "-1"], ["early_stopping_patience is -1"]),
        (["--packing", "--packing_strategy", "wrapped"], ["wrapped cuts conversations", "bfd"]),
        (["--probe_dataset", "none.jsonl"], ["probe_dataset", "none.jsonl"]),
    ],
)
def test_settings_that_lack_another_are_refused(refused, words, tmp_path, wrong, says):
    refused("sft.train", *words, *wrong, says=says, run_dir=tmp_path / "x")


def test_packing_without_a_length_is_refused(refused, words, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("packing: true\nmax_length: null\n")
    says = ["packing fills rows up to max_length"]
    refused("sft.train", "--config", config, *words, says=says, run_dir=tmp_path / "x")


def test_what_does_not_fit_is_refused_before_anything_is_written(
    refused, words, tmp_path, monkeypatch
):
    from inhouse.training import memory

    monkeypatch.setattr(memory, "free_bytes", lambda: 1_500_000)
    says = ["training would take about", "a batch of 4 rows", "would fit"]
    refused("sft.train", *words, says=says, run_dir=tmp_path / "x")


def test_a_dry_run_tells_memory_lengths_and_time_and_leaves_nothing_behind(
    run_stage, words, tmp_path
):
    ended = run_stage("sft.train", *words, "--dry_run", "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    for said in ("GiB by formula", "  measured ", "lengths  ", "  up to ", "time         about"):
        assert said in ended.out
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_packed_rows_are_what_steps_are_counted_by(run_stage, words, tmp_path):
    given = (*words, "--packing", "--max_length", "256", "--held_out_share", "0")
    ended = run_stage("sft.train", *given, "--max_steps=-1", "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    told = re.search(r"^steps +(\d+) of 4 packed rows", ended.out, re.MULTILINE)
    metrics = json.loads((tmp_path / "x" / "sft" / "metrics.json").read_text())
    assert int(told[1]) == metrics["steps"]
    assert int(told[1]) < 2 * 16 / 4, "two epochs over sixteen records, four a step, if not packed"


# --- several adapters on one base -------------------------------------------------------------


@pytest.mark.slow
def test_a_second_house_on_the_same_base_costs_only_its_adapter(
    run_stage, words, tiny_model, tokenizer, tmp_path
):
    from peft import PeftModel

    lora = ("--use_peft", "--lora_r", "2", "--lora_target_modules", "all-linear")
    folders = []
    for seed in ("1", "2"):
        run_dir = tmp_path / seed
        assert run_stage("sft.train", *words, *lora, "--seed", seed, "--run_dir", run_dir).code == 0
        folders.append(run_dir / "sft")
    size = (tiny_model / "model.safetensors").stat().st_size
    for folder in folders:
        assert [path.name for path in folder.glob("*.safetensors")] == ["adapter_model.safetensors"]
        assert (folder / "adapter_model.safetensors").stat().st_size < size / 10
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(tiny_model)

    ids = torch.tensor([render(tokenizer, Demonstration.model_validate(ONE).messages)[0].ids])

    def logits(model):
        with torch.no_grad():
            return model.eval()(ids).logits

    def base():
        return AutoModelForCausalLM.from_pretrained(tiny_model)

    alone = [logits(PeftModel.from_pretrained(base(), folder)) for folder in folders]
    both = PeftModel.from_pretrained(base(), folders[0], adapter_name="first")
    both.load_adapter(folders[1], adapter_name="second")
    for name, expected in zip(("first", "second"), alone, strict=True):
        both.set_adapter(name)
        assert torch.equal(logits(both), expected)
    assert not torch.equal(*alone)
    with both.disable_adapter():
        assert torch.equal(logits(both), logits(base()))


ONE = {
    "messages": [
        {"role": "user", "content": "What is fee 3?"},
        {"role": "assistant", "content": "It is 3%."},
    ]
}
