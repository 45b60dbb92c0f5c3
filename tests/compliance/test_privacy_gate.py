"""SFT and DPO look at what they are about to train on, and say in the manifest what they found."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

ROOT = Path(__file__).parents[2]
CARD = "4111 1111 1111 1111"
STAGES = {
    "sft": lambda text: {
        "messages": [
            {"role": "user", "content": text},
            {"role": "assistant", "content": "Thank you."},
        ]
    },
    "rlhf.dpo": lambda text: {"prompt": text, "chosen": "Thank you.", "rejected": "What?"},
}


def run(stage: str, tmp_path: Path, text: str, *flags: str) -> subprocess.CompletedProcess:
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(json.dumps(STAGES[stage](f"{text} {n}")) + "\n" for n in range(20)))
    words = ["--model_name_or_path", "examples/asdfg/model", "--dataset_name", str(data)]
    words += ["--run_dir", str(tmp_path / "run"), "--dry_run", *flags]
    return subprocess.run(
        [sys.executable, "-m", stage, *words], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_refuses_what_was_neither_scrubbed_nor_cleared(stage, tmp_path):
    ended = run(stage, tmp_path, f"My card is {CARD}, number")
    assert ended.returncode == 3
    assert "neither scrubbed nor cleared: 20 CARD" in ended.stderr
    assert "Traceback" not in ended.stderr and CARD not in ended.stderr + ended.stdout
    assert run(stage, tmp_path, f"My card is {CARD}", "--allow_unscrubbed").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_users_own_clean_data_needs_no_flag(stage, tmp_path):
    ended = run(stage, tmp_path, "What is the fee of order 4111?")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_the_firms_own_contacts_may_be_trained_on(stage, tmp_path):
    text = "Our helpline is 020 7946 0018, number"
    ours = tmp_path / "contacts.txt"
    ours.write_text("020 7946 0018\n")
    refused = run(stage, tmp_path, text)
    assert refused.returncode == 3 and "--personal_data_allow FILE" in refused.stderr
    ended = run(stage, tmp_path, text, "--personal_data_allow", str(ours))
    assert ended.returncode == 0, ended.stderr
    ours.write_text("# none yet\n")
    empty = run(stage, tmp_path, text, "--personal_data_allow", str(ours))
    assert empty.returncode == 3 and "contacts.txt holds no contact" in empty.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("flag", ["--personal_data_allow", "--personal_data_ner"])
def test_what_the_scan_is_given_must_be_there(stage, flag, tmp_path):
    ended = run(stage, tmp_path, "What is the fee of order 4111?", flag, str(tmp_path / "gone"))
    assert ended.returncode == 3
    assert "gone" in ended.stderr and "Traceback" not in ended.stderr


def test_what_the_scan_is_given_is_an_input_of_the_run():
    from inhouse.config import DataOptions, PrivacyOptions, RetainOptions, RunOptions
    from inhouse.training.options import find_inputs
    from rlhf.dpo import STAGE as DPO
    from sft.train import SFTOptions
    from sft.train import find_inputs as sft_inputs

    given = {"personal_data_allow": "ours.txt", "personal_data_ner": "model"}
    model = SimpleNamespace(model_name_or_path="base")
    training = SimpleNamespace(
        per_device_train_batch_size=1, gradient_accumulation_steps=1, max_steps=1
    )
    named = {"model_name_or_path": "base", "dataset_name": "mine.jsonl"}
    options, read = RunOptions(run_dir="run"), DataOptions("mine.jsonl")
    with patch("inhouse.training.options.check_arguments"):
        privacy, retain = PrivacyOptions(**given), RetainOptions()
        sft = sft_inputs(options, read, privacy, retain, SFTOptions(), model, training)
        assert sft == named | given
        assert find_inputs(DPO, "run", "mine.jsonl", model, training, **given) == named | given


@pytest.mark.slow
def test_sft_leaves_out_demonstrations_that_break_a_blocker_rule(tmp_path):
    data = tmp_path / "mine.jsonl"
    said = ["Your return is guaranteed.", *(f"The fee is {n}%." for n in range(9))]
    data.write_text(
        "".join(json.dumps({"prompt": "And?", "completion": text}) + "\n" for text in said)
    )
    words = ["--model_name_or_path", "examples/asdfg/model", "--dataset_name", str(data)]
    words += ["--run_dir", str(tmp_path / "run"), "--dry_run"]
    words += ["--drop_findings", "configs/house/finance"]
    ended = subprocess.run(
        [sys.executable, "-m", "sft", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "1 of 10 demonstrations break a blocker rule and are left out" in ended.stdout
