"""The reward model from preferences to a scorer: split, head, adapters, resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inhouse.chat import reply_ids
from inhouse.errors import InputError
from inhouse.models import load_reward_model, new_reward_model
from inhouse.records import Message, Preference
from inhouse.scoring import Scorer
from reward.evaluate import accuracy, split, tokenise

ROOT = Path(__file__).parents[2]
FULL = {
    *("chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"),
    *("tokenizer_config.json", "metrics.json", "manifest.json"),
}
ADAPTER = (FULL - {"config.json", "model.safetensors"}) | {
    "adapter_config.json",
    "adapter_model.safetensors",
}
LORA = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear")
STEPS = (
    *("--max_steps", "4", "--per_device_train_batch_size", "4", "--learning_rate", "1e-2"),
    *("--gradient_accumulation_steps", "1", "--held_out_share", "0.3"),
)


@pytest.fixture
def words(tiny_model, preferences, write_lines, tmp_path):
    data = write_lines(tmp_path / "prefs.jsonl", preferences)
    return ["--model_name_or_path", str(tiny_model), "--dataset_name", str(data), *STEPS]


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


# --- the split and the rows (fast) ------------------------------------------------------------


def pair(prompt: str, number: int) -> Preference:
    return Preference(
        prompt=[Message(role="user", content=prompt)],
        chosen=[Message(role="assistant", content=f"good {number}")],
        rejected=[Message(role="assistant", content=f"bad {number}")],
    )


def test_all_pairs_of_a_prompt_stay_on_one_side():
    pairs = [pair(f"prompt {n}", k) for n in range(60) for k in range(3)]
    kept, held_out = split(pairs, pairs, 0.3)
    sides = [{record.prompt[0].content for record in side} for side in (kept, held_out)]
    assert not sides[0] & sides[1]
    assert len(kept) + len(held_out) == 180
    # 60 draws at 0.3: mean 18, standard deviation 3.5; five of them.
    assert abs(len(sides[1]) - 18) < 18


def test_a_side_without_pairs_is_refused():
    pairs = [pair("one prompt", k) for k in range(5)]
    for share in (0.0001, 0.9999):
        with pytest.raises(InputError, match="--held_out_share"):
            split(pairs, pairs, share)


def test_rows_hold_prompt_and_answer_to_the_end_token(tokenizer, preferences):
    records = [Preference(**row) for row in preferences[:3]]
    for record, row in zip(records, tokenise(tokenizer, records, "p"), strict=True):
        prompt, chosen = reply_ids(tokenizer, record.prompt, record.chosen[0])
        assert row["chosen_ids"] == prompt + chosen
        assert row["rejected_ids"][: len(prompt)] == prompt
        assert row["chosen_ids"][-1] == row["rejected_ids"][-1] == tokenizer.eos_token_id


class Fixed:
    """A scorer that gives each answer the number it ends in."""

    def score(self, conversations):
        return [float(reply.split()[-1]) for _, reply in conversations]


def test_accuracy_counts_a_tie_as_wrong():
    def compared(chosen: int, rejected: int) -> Preference:
        record = pair("q", 0)
        return record.model_copy(
            update={
                "chosen": [Message(role="assistant", content=f"a {chosen}")],
                "rejected": [Message(role="assistant", content=f"b {rejected}")],
            }
        )

    found = accuracy(Fixed(), [compared(2, 1), compared(1, 1), compared(1, 2), compared(3, 0)])
    assert (found["rate"], found["n"]) == (0.5, 4)


@pytest.mark.parametrize("share", ["0", "1", "-0.1", "nan"])
def test_a_share_that_leaves_a_side_empty_is_refused(refused, words, tmp_path, share):
    says = ["held_out_share"]
    refused("reward.train", *words, "--held_out_share", share, says=says, run_dir=tmp_path / "x")


# --- the head ---------------------------------------------------------------------------------


def test_a_fresh_head_has_the_papers_spread_and_depends_on_the_seed_only(tiny_model):
    heads = [
        new_reward_model(str(tiny_model), dtype="float32", seed=seed).score.weight.detach()
        for seed in (0, 0, 1)
    ]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert heads[0].shape == (1, 32)
    # 1 / sqrt(32 + 1) = 0.174; of 32 draws the spread is known to about an eighth.
    assert heads[0].std().item() == pytest.approx(0.174, rel=0.5)


def test_a_model_without_a_head_is_no_scorer(tiny_model):
    with pytest.raises(InputError, match="no reward model"):
        load_reward_model(str(tiny_model))


# --- end to end -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "expected"), [((), FULL), (LORA, ADAPTER)])
def test_a_run_writes_exactly_these_files_and_measures_held_out_pairs(
    run_stage, words, tmp_path, extra, expected
):
    ended = run_stage("reward.train", *words, *extra, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    folder = tmp_path / "x" / "reward"
    assert files(folder) == expected
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {entry["path"] for entry in manifest["outputs"]} == expected - {"manifest.json"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == manifest["metrics"]
    held_out = metrics["held_out"]
    assert 0 <= held_out["low"] <= held_out["rate"] <= held_out["high"] <= 1
    assert 0 < held_out["n"] < 16 and metrics["steps"] == 4
    if extra:
        assert any("score" in name for name in weights(folder)), "the head is lost on reload"
    again = run_stage("reward.train", *words, *extra, "--run_dir", tmp_path / "x")
    assert again.code == 0 and "up to date" in again.out


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), LORA])
def test_what_is_loaded_scores_as_what_was_trained(
    run_stage, words, preferences, tmp_path, monkeypatch, extra
):
    from inhouse import models
    from inhouse.scoring import score_ids

    trained = []
    save = models.save
    monkeypatch.setattr(
        models, "save", lambda model, *rest: (trained.append(model), save(model, *rest))
    )
    words = [*words, *extra, "--max_steps", "20"]
    assert run_stage("reward.train", *words, "--run_dir", tmp_path / "x").code == 0
    scorer = Scorer(str(tmp_path / "x" / "reward"))
    records = [Preference(**row) for row in preferences]
    rows = tokenise(scorer.tokenizer, records, "p")
    pad = scorer.tokenizer.pad_token_id
    for name in ("chosen", "rejected"):
        expected = score_ids(trained[0], [row[f"{name}_ids"] for row in rows], pad)
        found = scorer.score([(r.prompt, getattr(r, name)[0].content) for r in records])
        assert found == pytest.approx(expected, abs=1e-5)
    # Twenty steps at 1e-2 on a rule as plain as "Thank you" against "Hey" must be learned.
    metrics = json.loads((tmp_path / "x" / "reward" / "metrics.json").read_text())
    assert metrics["held_out"]["rate"] == 1.0


@pytest.mark.slow
def test_an_adapter_of_sft_is_carried_over_with_the_head_beside_it(
    run_stage, tiny_model, demonstrations, preferences, write_lines, tmp_path
):
    demos = write_lines(tmp_path / "demos.jsonl", demonstrations)
    prefs = write_lines(tmp_path / "prefs.jsonl", preferences)
    run_dir = tmp_path / "x"
    sft = ("--model_name_or_path", tiny_model, "--dataset_name", demos, "--run_dir", run_dir)
    flags = [word for word in STEPS if word not in ("--held_out_share", "0.3")]
    assert run_stage("sft.train", *sft, *flags, *LORA).code == 0

    # Before training: the same layers under the head as under the language model.
    model = new_reward_model(str(run_dir / "sft"), dtype="float32", seed=0).eval()
    from inhouse.models import load_causal_lm

    writer = load_causal_lm(str(run_dir / "sft")).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        said = writer.base_model.model.model(ids).last_hidden_state
        scored = model.base_model.model.model(ids).last_hidden_state
    assert torch.allclose(said, scored, atol=1e-6)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("lora_A" in name for name in trained) and any("score" in name for name in trained)
    assert all("lora_" in name or "score" in name for name in trained)

    ended = run_stage("reward.train", "--dataset_name", prefs, *STEPS, "--run_dir", run_dir)
    assert ended.code == 0, ended.err
    assert files(run_dir / "reward") == ADAPTER
    before, after = weights(run_dir / "sft"), weights(run_dir / "reward")
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) == len(before)


@pytest.mark.slow
def test_a_new_adapter_on_an_adapter_is_refused_before_anything_is_written(
    run_stage, refused, words, tmp_path
):
    assert run_stage("reward.train", *words, *LORA, "--run_dir", tmp_path / "x").code == 0
    model = ("--model_name_or_path", tmp_path / "x" / "reward")
    says = ["is an adapter already"]
    refused("reward.train", *words, *model, *LORA, says=says, run_dir=tmp_path / "y")


@pytest.mark.slow
def test_a_dry_run_writes_nothing(run_stage, words, tmp_path):
    ended = run_stage("reward.train", *words, *LORA, "--dry_run", "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    assert not (tmp_path / "x").exists()
    line = next(line for line in ended.out.splitlines() if line.startswith("parameters"))
    # LoRA of rank 4 on both layers, as in sft, and the head's 32 weights.
    assert f"({2 * 4 * (64 + 2 * 48 + 64 + 3 * 96) + 32:,} trained)" in line


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), LORA])
def test_killed_and_started_again_equals_uninterrupted(
    run_command, run_stage, words, tmp_path, extra
):
    words = [*words, *extra, "--save_steps", "1", "--max_steps", "12"]
    straight, folder = tmp_path / "straight", tmp_path / "killed" / "reward"
    assert run_stage("reward.train", *words, "--run_dir", straight).code == 0
    again = [*words, "--run_dir", str(folder.parent)]
    process = subprocess.Popen(
        [sys.executable, "-m", "reward", *again],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    state = folder / "checkpoints" / "checkpoint-3" / "trainer_state.json"
    deadline = time.monotonic() + 300
    while not state.exists():
        assert process.poll() is None, f"ended before the kill:\n{process.stdout.read()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    ended = run_command("reward", *again)
    assert ended.returncode == 0, ended.stderr
    assert "going on from" in ended.stdout
    one, other = weights(straight / "reward"), weights(folder)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
