"""SFT where it is not at home: other architectures, each with its own template and tokens."""

import json

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from inhouse.chat import render
from inhouse.records import Demonstration

LORA = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear")

pytestmark = pytest.mark.slow


@pytest.fixture
def rows(demonstrations) -> list[dict]:
    """Demonstrations without a system turn, which Gemma's template does not know."""
    return [{"messages": row["messages"][1:]} for row in demonstrations]


@pytest.mark.parametrize("method", [(), LORA], ids=["full", "LoRA"])
def test_sft_learns_the_replies_and_what_it_saves_loads_elsewhere(
    run_stage, words, foreign_model, rows, write_lines, tmp_path, method
):
    data = write_lines(tmp_path / "own.jsonl", rows)
    given = ("--model_name_or_path", foreign_model, "--dataset_name", data, *method)
    given = (*given, "--max_steps", "20", "--held_out_share", "0")
    ended = run_stage("sft.train", *words, *given, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    folder = tmp_path / "x" / "sft"
    assert json.loads((folder / "metrics.json").read_text())["steps"] == 20

    # Read with plain libraries: replies, each with that family's end token, are likelier than
    # before, and what the template writes around them is where it was.
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rendered = [render(tokenizer, Demonstration(**row).messages)[0] for row in rows]
    ends = {
        row.ids[max(at for at, counts in enumerate(row.supervised) if counts)] for row in rendered
    }
    assert ends == {tokenizer.eos_token_id}
    kind = AutoPeftModelForCausalLM if method else AutoModelForCausalLM
    before = AutoModelForCausalLM.from_pretrained(foreign_model)
    losses = [mean_loss(model, rendered) for model in (before, kind.from_pretrained(folder))]
    assert losses[1] < losses[0] - 0.1, losses


def mean_loss(model, rendered) -> float:
    """Mean negative log-likelihood of a supervised token, row by row."""
    total, count = 0.0, 0
    for row in rendered:
        with torch.no_grad():
            logps = model.eval()(torch.tensor([row.ids])).logits[0].log_softmax(dim=-1)
        chosen = [at for at, counts in enumerate(row.supervised) if counts]
        total -= sum(logps[at - 1, row.ids[at]].item() for at in chosen)
        count += len(chosen)
    return total / count
