"""DPO where it is not at home: other architectures with their own templates, several processes."""

import copy
import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
LIVE = ("--precompute_ref_log_probs", "false")
LORA = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear", "--lora_dropout", "0")


@pytest.mark.parametrize("words", [(), ("--use_peft", "--lora_target_modules", "all-linear")])
def test_dpo_starts_at_nil_and_learns(
    aligned, foreign_model, preferences, write_lines, tmp_path, words
):
    rows = copy.deepcopy(preferences)
    for row in rows:
        row["prompt"] = row["prompt"][1:]  # Gemma's template knows no system turn
    data = write_lines(tmp_path / "own.jsonl", rows)
    given = ("--model_name_or_path", str(foreign_model), "--answer_prompts", "2")
    ended = aligned("dpo", *words, *given, "--held_out_share", "0.2", data=data)
    assert ended.metrics["reference/start_gap"] < 1e-3
    assert ended.metrics["rewards/margins"] > 0.05
    assert ended.metrics["answers"]["before"]["kl"] == pytest.approx(0, abs=1e-5)


@pytest.mark.skipif(
    torch.cuda.device_count() == 1, reason="two processes need two GPUs, or a machine without one"
)
@pytest.mark.parametrize(
    ("kind", "method"),
    [("ddp", ()), ("fsdp2", ()), ("fsdp2", LIVE), ("fsdp2", LORA)],
    ids=["DDP", "FSDP2", "FSDP2 with a live reference", "FSDP2 with LoRA"],
)
def test_two_processes_reach_the_weights_and_the_loss_of_one(
    aligned, run_command, tiny_model, prefs, tmp_path, kind, method
):
    # Every step sees all sixteen pairs, so that the order does not matter: 16, or twice 8.
    shared = [
        *("--optim", "sgd", "--learning_rate", "0.1", "--max_steps", "3", "--logging_steps", "1"),
        *(*method, "--held_out_share", "0", "--per_device_train_batch_size"),
    ]
    one = aligned("dpo", *shared, "16", run_dir=tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    config = ROOT / "configs" / "accelerate" / f"{kind}.yaml"
    launched = run_command(
        *("accelerate.commands.accelerate_cli", "launch", "--config_file", str(config)),
        *("--main_process_port", port, "-m", "rlhf.dpo", "--run_dir", str(tmp_path / "two")),
        *("--model_name_or_path", str(tiny_model), "--dataset_name", str(prefs), *shared, "8"),
        *("--gradient_accumulation_steps", "1", "--answer_prompts", "0"),
        OMP_NUM_THREADS="1",
    )
    assert launched.returncode == 0, launched.stderr[-4000:]
    for said in ("reference: ", "dpo: wrote", *(["16 records computed"] if not method else [])):
        assert launched.stdout.count(said) == 1, f"{said!r} in\n{launched.stdout}"
    two = json.loads((tmp_path / "two" / "dpo" / "metrics.json").read_text())
    assert two["reference/start_gap"] < 1e-3
    for key in ("loss", "rewards/margins", "logps/chosen"):
        assert two[key] == pytest.approx(one.metrics[key], rel=1e-4), key
    if kind == "fsdp2":  # it was sharded, and not run as DDP, as accelerate would on a CPU
        assert 0.4 < two["parameters_a_process"] / two["parameters_in_all"] < 0.6
    folders = (one.folder, tmp_path / "two" / "dpo")
    before, after = (load_file(next(folder.glob("*.safetensors"))) for folder in folders)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-5), name
