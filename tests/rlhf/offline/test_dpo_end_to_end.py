"""DPO from preferences to a saved model: the reference, the loss, adapters, resuming."""

import hashlib
import json
import math
import random
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inhouse.chat import reply_ids
from inhouse.records import Preference
from inhouse.training.data import longest
from rlhf.offline.rows import pair_row, show

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
PLAN = (
    "records  ",
    "tokens  ",
    "steps  ",
    "GiB by formula",
    "  measured ",
    "lengths  ",
    "  up to ",
)
PLAN = (*PLAN, "time         about", "free disk ", "⟦Thank you.")
LIVE = ("--precompute_ref_log_probs", "false")
STEPS = (
    *("--max_steps", "4", "--per_device_train_batch_size", "4", "--learning_rate", "1e-2"),
    *("--gradient_accumulation_steps", "1"),
)


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


# --- rows (fast) ------------------------------------------------------------------------------


def test_a_row_is_the_prompt_and_both_replies_each_with_its_end_token(tokenizer, preferences):
    records = [Preference(**row) for row in preferences[:3]]
    for record in records:
        row = pair_row(tokenizer, record)
        assert set(row) == {"prompt_ids", "chosen_ids", "rejected_ids"}
        for name in ("chosen", "rejected"):
            content = getattr(record, name)[0].content
            assert tokenizer.decode(row[f"{name}_ids"]) == content + "<|im_end|>"
        text = tokenizer.decode(row["prompt_ids"])
        assert text.startswith("<|im_start|>system\n") and text.endswith("<|im_start|>assistant\n")
        assert longest(row) == len(row["prompt_ids"]) + max(
            len(row["chosen_ids"]), len(row["rejected_ids"])
        )


def test_what_counts_is_between_brackets_and_on_a_terminal_green(
    tokenizer, preferences, monkeypatch
):
    row = pair_row(tokenizer, Preference(**preferences[3]))
    assert "⟦Hey, 3 something, act now!<|im_end|>⟧" in show(tokenizer, row)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[32m⟦Hey, 3 something, act now!<|im_end|>⟧\x1b[0m" in show(tokenizer, row)


# --- end to end -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_sft", "of_dpo", "expected"),
    [((), (), FULL), ((), LIVE, FULL), ((), LORA, ADAPTER), (LORA, (), ADAPTER)],
    ids=["full", "full, live", "new adapter", "sft's adapter"],
)
def test_two_commands_align_a_users_own_model(
    run_stage, tuned, prefs, tmp_path, of_sft, of_dpo, expected
):
    # Issue 2, part 7: no Argilla, no demonstration.
    run_dir = tuned(*of_sft)
    words = ("--run_dir", run_dir, "--dataset_name", prefs, *STEPS, *of_dpo)
    ended = run_stage("rlhf.dpo", *words, "--logging_steps", "1")
    assert ended.code == 0, ended.err
    folder = run_dir / "dpo"
    assert files(folder) == expected
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {entry["path"] for entry in manifest["outputs"]} == expected - {"manifest.json"}
    digest = hashlib.sha256((run_dir / "sft" / "manifest.json").read_bytes()).hexdigest()
    assert {"path": str(run_dir / "sft"), "sha256": digest} in manifest["parents"]
    assert json.loads((folder / "metrics.json").read_text())["steps"] == 4
    # The first command's result is still what it was.
    from inhouse.run import verify

    verify(run_dir)
    again = run_stage("rlhf.dpo", *words, "--logging_steps", "1")
    assert again.code == 0 and "up to date" in again.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_sft", "of_dpo"),
    [((), ()), ((), LIVE), ((), LORA), (LORA, ()), (LORA, LIVE)],
    ids=["full", "full, live", "new adapter", "sft's adapter", "sft's, live"],
)
def test_the_reference_is_where_training_starts(run_stage, tuned, prefs, of_sft, of_dpo):
    # With nothing learned yet policy and reference agree, so each implicit reward is 0 and the
    # loss is -log sigmoid(0) = log 2. An adapter's reference that is its base (LF#8459) is not.
    run_dir = tuned(*of_sft)
    words = ("--run_dir", run_dir, "--dataset_name", prefs, *STEPS, *of_dpo, "--max_steps", "1")
    ended = run_stage("rlhf.dpo", *words, "--logging_steps", "1")
    assert ended.code == 0, ended.err
    metrics = json.loads((run_dir / "dpo" / "metrics.json").read_text())
    assert metrics["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics["rewards/margins"] == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_the_margins_are_those_of_the_equation(run_stage, tuned, prefs, preferences, tokenizer):
    # Rafailov et al. 2023, equation 7, worked out here without padding, batching or TRL: after
    # training, beta * ((log pi - log ref)(chosen) - (log pi - log ref)(rejected)), over all pairs.
    run_dir = tuned()
    words = ("--run_dir", run_dir, "--dataset_name", prefs, *STEPS)
    assert run_stage("rlhf.dpo", *words, "--max_steps", "8").code == 0
    from transformers import AutoModelForCausalLM

    def logp(model, prompt, reply):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + reply])).logits[0]
        logps = torch.log_softmax(logits, dim=-1)
        return sum(logps[len(prompt) + k - 1, token].item() for k, token in enumerate(reply))

    policy, reference = (
        AutoModelForCausalLM.from_pretrained(run_dir / name, dtype=torch.float32).eval()
        for name in ("dpo", "sft")
    )
    margins = []
    for row in preferences:
        record = Preference(**row)
        prompt, chosen = reply_ids(tokenizer, record.prompt, record.chosen[0])
        _, rejected = reply_ids(tokenizer, record.prompt, record.rejected[0])
        margins.append(
            logp(policy, prompt, chosen)
            - logp(reference, prompt, chosen)
            - logp(policy, prompt, rejected)
            + logp(reference, prompt, rejected)
        )
    assert all(margin > 0 for margin in margins), "eight steps at 1e-2 must tell them apart"


@pytest.mark.slow
@pytest.mark.parametrize(("of_sft", "of_dpo"), [((), ()), ((), LORA), (LORA, ())])
def test_the_saved_folder_gives_the_trained_models_logits_in_plain_libraries(
    run_stage, tuned, prefs, tokenizer, monkeypatch, of_sft, of_dpo
):
    from inhouse.models.load import load_causal_lm, save_model

    run_dir = tuned(*of_sft)
    trained = []
    save = save_model
    monkeypatch.setattr(
        "inhouse.training.loop.save_model",
        lambda model, *rest: (trained.append(model), save(model, *rest)),
    )
    words = ("--run_dir", run_dir, "--dataset_name", prefs, *STEPS, *of_dpo)
    assert run_stage("rlhf.dpo", *words).code == 0

    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM

    kind = AutoPeftModelForCausalLM if of_sft or of_dpo else AutoModelForCausalLM
    loaded = kind.from_pretrained(run_dir / "dpo").eval()
    ids = torch.tensor([tokenizer("What is fee 3?").input_ids])
    with torch.no_grad():
        expected = trained[0].eval()(ids).logits
        assert torch.allclose(loaded(ids).logits, expected, atol=1e-5)
        # and the suite's own way to load it says the same
        ours = load_causal_lm(str(run_dir / "dpo")).eval()
        assert torch.allclose(ours(ids).logits, expected, atol=1e-5)
    if of_sft:
        assert weights(run_dir / "dpo").keys() == weights(run_dir / "sft").keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_sft", "of_dpo"),
    [((), ()), ((), LIVE), ((), LORA), (LORA, ()), (LORA, LIVE)],
    ids=["full", "full, live", "new adapter", "sft's adapter", "sft's, live"],
)
def test_killed_three_times_equals_uninterrupted(
    run_command, run_stage, killed_at_checkpoint, tuned, prefs, tmp_path, of_sft, of_dpo
):
    # The reference must be the starting model again, not the checkpoint that is gone on from; and
    # reading its log-probabilities from disk, and measuring answers, must draw no random number.
    # Every step is logged: TRL's averages over an interval lose what came before a kill in it.
    start = tuned(*of_sft) / "sft"
    words = [
        *("--model_name_or_path", str(start), "--dataset_name", str(prefs), *STEPS, *of_dpo),
        *(
            "--save_steps",
            "1",
            "--logging_steps",
            "1",
            "--max_steps",
            "24",
            "--held_out_share",
            "0.2",
        ),
        *("--save_total_limit", "24", "--learning_rate", "1e-3"),
    ]
    straight, folder = tmp_path / "straight", tmp_path / "killed" / "dpo"
    assert run_stage("rlhf.dpo", *words, "--run_dir", straight).code == 0
    again = [*words, "--run_dir", str(folder.parent)]
    chance = random.Random(str(of_sft + of_dpo))
    for step in sorted(chance.sample(range(1, 20), 3)):
        command = [sys.executable, "-m", "rlhf.dpo", *again]
        killed_at_checkpoint(command, folder, step, chance.random())
    ended = run_command("rlhf.dpo", *again)
    assert ended.returncode == 0, ended.stderr
    assert "going on from" in ended.stdout
    if of_dpo != LIVE:
        assert "records read from" in ended.stdout and "records computed" not in ended.stdout
    one, other = weights(straight / "dpo"), weights(folder)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
    assert files(folder) == files(straight / "dpo")
    drawn = [(place / "training.svg").read_text() for place in (straight / "dpo", folder)]
    assert drawn[0] == drawn[1]  # what was measured before a kill is not lost with it


@pytest.mark.slow
def test_an_unfinished_sft_is_no_parent(refused, tuned, prefs):
    run_dir = tuned()
    (run_dir / "sft" / "manifest.json").rename(run_dir / "sft" / "begun.json")
    says = [str(run_dir / "sft"), "is not finished"]
    refused("rlhf.dpo", "--dataset_name", prefs, says=says, run_dir=run_dir)


@pytest.mark.slow
def test_a_dry_run_shows_a_pair_and_writes_nothing(run_stage, tuned, prefs):
    run_dir = tuned()
    ended = run_stage("rlhf.dpo", "--dry_run", "--dataset_name", prefs, "--run_dir", run_dir)
    assert ended.code == 0, ended.err
    assert "⟦Thank you." in ended.out and "⟦Hey, 0 something" in ended.out
    for said in PLAN:
        assert said in ended.out
    assert "reference log-probabilities" not in ended.out  # a long pass, for a run that is one
    assert not (run_dir / "dpo").exists() and not (run_dir / "cache").exists()


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_a_real_run_tells_the_plan_too_and_draws_the_lengths(aligned, stage):
    ended = aligned(stage)
    for said in PLAN:
        assert said in ended.out
    assert "Lengths" in (ended.folder / "training.svg").read_text()
