"""Two processes under ``accelerate launch``: the same training as in one, told once."""

import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
LORA = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear", "--lora_dropout", "0")
SAID = [{"role": "assistant", "content": f"It is {word}."} for word in ("red", "big", "old", "new")]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        torch.cuda.device_count() == 1,
        reason="two processes need two GPUs, or a machine without one",
    ),
]


@pytest.fixture
def launched(run_command):
    """Run a command under ``accelerate launch`` with one of the suite's config files."""

    def launch(config: str, *words: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        path = ROOT / "configs" / "accelerate" / f"{config}.yaml"
        return run_command(
            *("accelerate.commands.accelerate_cli", "launch", "--config_file", str(path)),
            *("--main_process_port", port, "-m", *words),
            OMP_NUM_THREADS="1",
        )

    return launch


@pytest.fixture
def uneven(demonstrations, write_lines, tmp_path):
    """Replies of uneven length: a mean of two processes' means would be another loss."""

    def write(longest: int) -> Path:
        rows = [
            {"messages": [*turns[:2], {**turns[2], "content": "Fees. " * words}]}
            for turns, words in (
                (row["messages"], 1 + longest * number**2 // 225)
                for number, row in enumerate(demonstrations)
            )
        ]
        return write_lines(tmp_path / "uneven.jsonl", rows)

    return write


def test_two_processes_hold_to_what_one_holds_to(run_stage, launched, words, write_lines, tmp_path):
    # Conversations of one length: then two means are the mean of both. One process reads two of
    # them at each update, or each of two processes one.
    same = [{"messages": [{"role": "user", "content": "Hello"}, said]} for said in SAID]
    general = write_lines(tmp_path / "general.jsonl", same)
    shared = [
        *(*words, "--held_out_share", "0", "--logging_steps", "1", "--optim", "sgd"),
        *("--learning_rate", "0.1", "--max_steps", "3", "--retain_dataset", str(general)),
        *("--retain_weight", "5"),
    ]
    size, read = "--per_device_train_batch_size", "--retain_batch_size"
    one = run_stage("sft.train", *shared, size, "16", read, "2", "--run_dir", tmp_path / "one")
    assert one.code == 0, one.err
    two = launched("ddp", "sft", *shared, size, "8", read, "1", "--run_dir", str(tmp_path / "two"))
    assert two.returncode == 0, two.stderr[-4000:]

    folders = [tmp_path / name / "sft" for name in ("one", "two")]
    told = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert told[0]["retain_kl"] > 1e-6
    before, after = (load_file(next(folder.glob("*.safetensors"))) for folder in folders)
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-5), name


@pytest.mark.parametrize(
    ("config", "method", "longest"),
    [("ddp", (), 28), ("ddp", (), 150), ("fsdp2", (), 28), ("fsdp2", LORA, 28)],
    ids=["DDP", "DDP in micro-batches", "FSDP2", "FSDP2 with LoRA"],
)
def test_two_processes_reach_the_weights_and_the_loss_of_one(
    run_stage, launched, words, uneven, tmp_path, config, method, longest
):
    # Every step sees all sixteen rows, so that the order does not matter: 16, or twice 8.
    shared = [
        *(*words, *method, "--dataset_name", str(uneven(longest)), "--held_out_share", "0"),
        *("--logging_steps", "1", "--optim", "sgd", "--learning_rate", "0.1", "--max_steps", "3"),
    ]
    size = "--per_device_train_batch_size"
    one = run_stage("sft.train", *shared, size, "16", "--run_dir", tmp_path / "one")
    assert one.code == 0, one.err
    two = launched(config, "sft", *shared, size, "8", "--run_dir", str(tmp_path / "two"))
    assert two.returncode == 0, two.stderr[-4000:]
    for said in ("settings from", "for this machine", "trains ", "records  ", "sft: wrote"):
        assert two.stdout.count(said) == 1, f"{said!r} in\n{two.stdout}"
    assert "steps        3 of 16 records" in two.stdout

    folders = [tmp_path / name / "sft" for name in ("one", "two")]
    told = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert told[0]["loss"] == pytest.approx(told[1]["loss"], rel=1e-4)
    if config == "fsdp2":  # it was sharded, and not run as DDP, as accelerate would on a CPU
        assert 0.4 < told[1]["parameters_a_process"] / told[1]["parameters"] < 0.6
    before, after = (load_file(next(folder.glob("*.safetensors"))) for folder in folders)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-5), name
