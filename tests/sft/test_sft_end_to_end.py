"""SFT from data to a saved model, on two layers and four steps."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inhouse.chat import render
from inhouse.records import Demonstration

ROOT = Path(__file__).parents[2]
FULL = {
    *("chat_template.jinja", "config.json", "generation_config.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json", "metrics.json", "manifest.json"),
    *("training.svg", "README.md"),
}
ADAPTER = (FULL - {"config.json", "generation_config.json", "model.safetensors"}) | {
    "adapter_config.json",
    "adapter_model.safetensors",
    "base.json",  # the hash of what it stands on
    "generation_config.json",  # where its replies end
}
LORA = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear")

pytestmark = pytest.mark.slow


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("extra", "expected"), [((), FULL), (LORA, ADAPTER)])
def test_a_run_writes_exactly_these_files_and_the_manifest_names_them(
    run_stage, words, tmp_path, extra, expected
):
    ended = run_stage("sft.train", *words, *extra, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    folder = tmp_path / "x" / "sft"
    assert files(folder) == expected

    manifest = json.loads((folder / "manifest.json").read_text())
    assert {entry["path"] for entry in manifest["outputs"]} == expected - {"manifest.json"}
    for entry in manifest["outputs"]:
        content = (folder / entry["path"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest(), entry["path"]
        assert entry["bytes"] == len(content)
    assert [entry["name"] for entry in manifest["inputs"]] == ["model_name_or_path", "dataset_name"]
    data = (tmp_path / "mine.jsonl").read_bytes()
    assert manifest["inputs"][1]["sha256"] == hashlib.sha256(data).hexdigest()
    assert manifest["inputs"][1]["records"] == 16
    assert manifest["config"]["learning_rate"] == 1e-2 and manifest["config"]["max_steps"] == 4
    assert manifest["seed"] == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == manifest["metrics"]
    assert metrics["steps"] == 4 and metrics["eval_loss"] > 0
    last = ended.out.strip().splitlines()[-1]
    assert str(folder) in last and "python -m labeling.candidates" in last


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


def test_full_training_changes_the_weights_and_lora_only_its_adapter(
    run_stage, words, tiny_model, tmp_path
):
    assert run_stage("sft.train", *words, "--run_dir", tmp_path / "full").code == 0
    before, after = weights(tiny_model), weights(tmp_path / "full" / "sft")
    assert before.keys() == after.keys()
    # A norm's weights are ones and move too; that any tensor stood still would be a frozen layer.
    assert all(not torch.equal(before[name], after[name].float()) for name in before)
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}

    assert run_stage("sft.train", *words, *LORA, "--run_dir", tmp_path / "lora").code == 0
    adapter = weights(tmp_path / "lora" / "sft")
    assert all("lora_" in name for name in adapter)
    b_side = [tensor for name, tensor in adapter.items() if "lora_B" in name]
    assert len(b_side) == 2 * 7  # q k v o gate up down, in two layers
    assert all(tensor.abs().sum() > 0 for tensor in b_side)


@pytest.mark.parametrize("packing", [(), ("--packing", "--max_length", "256")])
def test_the_loss_is_that_of_the_supervised_tokens_and_no_others(
    run_stage, words, tiny_model, tokenizer, demonstrations, tmp_path, packing
):
    # One step on all sixteen records: TRL's logged loss is the mean over supervised tokens, worked
    # out here without padding, batching or TRL.
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for row in demonstrations:
        (rendered,) = render(tokenizer, Demonstration(**row).messages)
        with torch.no_grad():
            logits = model(torch.tensor([rendered.ids])).logits[0]
        logps = torch.log_softmax(logits, dim=-1)
        for at, counts in enumerate(rendered.supervised):
            if counts:
                total -= logps[at - 1, rendered.ids[at]].item()
                count += 1
    extra = ("--max_steps", "1", "--per_device_train_batch_size", "16", "--held_out_share", "0")
    extra = (*extra, *packing)
    run_dir = tmp_path / "x"
    ended = run_stage("sft.train", *words, *extra, "--logging_steps", "1", "--run_dir", run_dir)
    assert ended.code == 0, ended.err
    metrics = json.loads((run_dir / "sft" / "metrics.json").read_text())
    assert metrics["loss"] == pytest.approx(total / count, rel=1e-3)


@pytest.mark.parametrize("extra", [(), LORA])
def test_the_saved_folder_gives_the_trained_models_logits_in_plain_transformers(
    run_stage, words, tokenizer, tmp_path, monkeypatch, extra
):
    from inhouse.models.load import save_model

    trained = []
    save = save_model
    monkeypatch.setattr(
        "inhouse.training.loop.save_model",
        lambda model, *rest: (trained.append(model), save(model, *rest)),
    )
    assert run_stage("sft.train", *words, *extra, "--run_dir", tmp_path / "x").code == 0

    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kind = AutoPeftModelForCausalLM if extra else AutoModelForCausalLM
    loaded = kind.from_pretrained(tmp_path / "x" / "sft").eval()
    ids = torch.tensor([tokenizer("What is fee 3?").input_ids])
    with torch.no_grad():
        expected = trained[0].eval()(ids).logits
        assert torch.allclose(loaded(ids).logits, expected, atol=1e-5)
    shipped = AutoTokenizer.from_pretrained(tmp_path / "x" / "sft")
    assert shipped.chat_template == tokenizer.chat_template


def test_a_second_start_is_up_to_date_and_a_changed_setting_is_refused(
    run_stage, refused, words, tmp_path
):
    run_dir = tmp_path / "x"
    assert run_stage("sft.train", *words, "--run_dir", run_dir).code == 0
    before = (run_dir / "sft" / "manifest.json").read_bytes()
    again = run_stage("sft.train", *words, "--run_dir", run_dir)
    assert again.code == 0 and f"up to date: {run_dir / 'sft'}" in again.out
    assert (run_dir / "sft" / "manifest.json").read_bytes() == before
    says = ["learning_rate: 0.01 then, 0.02 now", "--overwrite"]
    refused("sft.train", *words, "--learning_rate", "2e-2", says=says, run_dir=run_dir)
    (tmp_path / "mine.jsonl").write_bytes((tmp_path / "mine.jsonl").read_bytes()[:-1])
    refused("sft.train", *words, says=["mine.jsonl has other content now"], run_dir=run_dir)


def test_a_dry_run_prints_the_plan_and_writes_nothing(run_stage, words, tmp_path):
    ended = run_stage("sft.train", *words, "--dry_run", "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    assert not (tmp_path / "x").exists()
    for said in ("records ", "tokens ", "steps        4 of 4", "GiB", "free disk", "⟦Thank you."):
        assert said in ended.out


def trained_parameters(out: str) -> tuple[int, int]:
    line = next(line for line in out.splitlines() if line.startswith("parameters"))
    every, trained = line.removeprefix("parameters").removesuffix(" trained)").split("(")
    return int(every.replace(",", "")), int(trained.replace(",", ""))


def test_the_plan_counts_what_lora_trains(run_stage, words, tmp_path):
    run_dir = ("--dry_run", "--run_dir", tmp_path / "x")
    every, trained = trained_parameters(run_stage("sft.train", *words, *run_dir).out)
    assert trained == every
    # r (in + out) for each projection of both layers: q 32-32, k and v 32-16, o 32-32,
    # gate and up 32-64, down 64-32, with r = 4.
    added = 2 * 4 * (64 + 2 * 48 + 64 + 3 * 96)
    with_lora, of_lora = trained_parameters(run_stage("sft.train", *words, *LORA, *run_dir).out)
    assert of_lora == added and with_lora == every + added


def test_a_step_does_not_depend_on_how_a_batch_is_cut(
    run_stage, words, demonstrations, write_lines, tmp_path
):
    # 16 at once, 4 times 4, 8 times 2 (tf#35856): the same gradients, so the same weights. Replies
    # of one to thirty words: a mean of the pieces' means would weigh short ones too heavily.
    for number, row in enumerate(demonstrations):
        row["messages"][2]["content"] = "Fees. " * (1 + number * number // 8)
    data = ("--dataset_name", write_lines(tmp_path / "uneven.jsonl", demonstrations))
    results = []
    for size, pieces in (("16", "1"), ("4", "4"), ("2", "8")):
        extra = (
            *("--per_device_train_batch_size", size, "--gradient_accumulation_steps", pieces),
            *("--max_steps", "2", "--held_out_share", "0", "--optim", "sgd", *data),
            *("--logging_steps", "1", "--learning_rate", "0.1", "--max_grad_norm", "0"),
        )
        assert run_stage("sft.train", *words, *extra, "--run_dir", tmp_path / size).code == 0
        folder = tmp_path / size / "sft"
        loss = json.loads((folder / "metrics.json").read_text())["loss"]
        results.append((weights(folder), loss))
    for other, loss in results[1:]:
        assert loss == pytest.approx(results[0][1], rel=1e-4)
        for name, tensor in results[0][0].items():
            assert torch.allclose(tensor, other[name], atol=1e-5), name


def test_adapters_on_adapters_are_refused_before_anything_is_written(
    run_stage, refused, words, tmp_path
):
    assert run_stage("sft.train", *words, *LORA, "--run_dir", tmp_path / "x").code == 0
    model = ("--model_name_or_path", tmp_path / "x" / "sft")
    says = ["is an adapter already", "use_peft"]
    refused("sft.train", *words, *model, *LORA, says=says, run_dir=tmp_path / "y")


def test_training_goes_on_from_an_adapter(run_stage, words, tmp_path):
    assert run_stage("sft.train", *words, *LORA, "--run_dir", tmp_path / "x").code == 0
    model = ("--model_name_or_path", tmp_path / "x" / "sft")
    ended = run_stage("sft.train", *words, *model, "--run_dir", tmp_path / "y")
    assert ended.code == 0, ended.err
    assert files(tmp_path / "y" / "sft") == ADAPTER
    before, after = weights(tmp_path / "x" / "sft"), weights(tmp_path / "y" / "sft")
    assert all(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("extra", [(), LORA, ("retain",)], ids=["full", "LoRA", "retaining"])
def test_killed_three_times_equals_uninterrupted(
    run_command, run_stage, killed_at_checkpoint, words, tmp_path, extra
):
    chance = random.Random(str(extra))
    if extra == ("retain",):  # any conversations will do: the demonstrations' own
        extra = ("--retain_dataset", words[words.index("--dataset_name") + 1])
    # Every step is logged: TRL's averages over an interval lose what came before a kill in it.
    extra = (
        *(*extra, "--save_steps", "1", "--logging_steps", "1", "--max_steps", "24"),
        *("--save_total_limit", "24", "--lr_scheduler_type", "cosine"),
    )
    straight = tmp_path / "straight"
    assert run_stage("sft.train", *words, *extra, "--run_dir", straight).code == 0

    again = [*words, *extra, "--run_dir", str(tmp_path / "killed")]
    folder = tmp_path / "killed" / "sft"
    for step in sorted(chance.sample(range(1, 20), 3)):
        killed_at_checkpoint([sys.executable, "-m", "sft", *again], folder, step, chance.random())
    assert (folder / "begun.json").exists() and not (folder / "manifest.json").exists()
    ended = run_command("sft", *again)
    assert ended.returncode == 0, ended.stderr
    assert "going on from" in ended.stdout

    one, other = weights(straight / "sft"), weights(folder)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    assert files(folder) == files(straight / "sft")
    told = [json.loads((f / "metrics.json").read_text()) for f in (straight / "sft", folder)]
    for key in ("eval_loss", "loss", "held_out", "steps"):
        assert told[0][key] == told[1][key], key


def test_two_processes_on_one_folder(words, tmp_path):
    command = [sys.executable, "-m", "sft", *words, "--run_dir", str(tmp_path / "x")]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in both]
    codes = sorted(process.returncode for process in both)
    # The later one is refused, or finds it done if it was much slower.
    assert codes in ([0, 3], [0, 0]), said
    errors = "".join(err for _, err in said)
    assert "Traceback" not in errors
    if codes == [0, 3]:
        assert "another process" in errors
    else:
        assert sum("up to date" in out for out, _ in said) == 1
    assert files(tmp_path / "x" / "sft") == FULL
