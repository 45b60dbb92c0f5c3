"""PPO and RLOO from prompts to a saved model: files, adapters on one base, resuming."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from inhouse.records import Message

COMMON = {
    *("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"),
    *("metrics.json", "manifest.json", "rollouts.jsonl", "rollouts.svg", "README.md"),
}
FULL = COMMON | {"config.json", "generation_config.json", "model.safetensors"}
ADAPTER = COMMON | {
    *("adapter_config.json", "adapter_model.safetensors", "base.json", "generation_config.json")
}
LORA = ("--use_peft", "true", "--lora_r", "4", "--lora_target_modules", "all-linear")
STEPS = (
    *("--max_completion_length", "24", "--per_device_train_batch_size", "4"),
    *("--steps_per_generation", "4", "--gradient_accumulation_steps", "1"),
    *("--num_iterations", "1", "--max_steps", "8", "--save_steps", "4"),
    *("--learning_rate", "2e-4", "--max_kl", "1000", "--warmup_steps", "0"),
)


@pytest.fixture
def words(writer, questions, write_lines, tmp_path):
    """The flags of two rollouts, rewarded by house rules alone."""
    rewards = tmp_path / "rewards.yaml"
    rewards.write_text(
        "weights: {tone: 1.0, rules: 1.0}\n"
        "costs: {blocker: 3.0, major: 1.0, minor: 0.5, advisory: 0.2}\nlimit: 3.0\n"
    )
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "house: Test\nrules:\n"
        "  - {id: T-1, title: No e, group: tone, severity: minor, kind: existence, match: ['e'],\n"
        "     fix: Use others., bad: [e], good: [a]}\n"
        "  - {id: T-2, title: No n, group: tone, severity: major, kind: existence, match: ['n'],\n"
        "     fix: Use others., bad: [n], good: [a]}\n"
    )
    return [
        *("--model_name_or_path", str(writer)),
        *("--dataset_name", str(write_lines(tmp_path / "prompts.jsonl", questions))),
        *("--rewards", str(rewards), "--house_rules", str(rules), *STEPS),
    ]


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(next(folder.glob("*.safetensors")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "extra", "expected"),
    [("ppo", (), FULL), ("ppo", LORA, ADAPTER), ("rloo", (), FULL), ("rloo", LORA, ADAPTER)],
    ids=["ppo, full", "ppo, adapters", "rloo, full", "rloo, adapter"],
)
def test_a_run_writes_exactly_these_files_and_resumes_to_the_same_bits(
    run_stage, words, writer, tmp_path, stage, extra, expected
):
    words = [*words, *extra]
    ended = run_stage(f"rlhf.{stage}", *words, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    folder = tmp_path / "x" / stage
    assert files(folder) == expected
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["steps"] == 8 and metrics["rollouts"] == 2 and metrics["roll_backs"] == []
    lines = (folder / "rollouts.jsonl").read_text().splitlines()
    assert [json.loads(line)["rollout"] for line in lines] == [0, 1, 2]
    # What is saved has the shapes of what was started from: no critic, no head.
    if not extra:
        before = weights(writer)
        after = weights(folder)
        assert before.keys() == after.keys()
        assert any(not torch.equal(before[name], after[name]) for name in before)
    else:
        assert all("lora_" in name for name in weights(folder))
    from inhouse.models.load import load_causal_lm

    load_causal_lm(str(folder))
    again = run_stage(f"rlhf.{stage}", *words, "--run_dir", tmp_path / "x")
    assert again.code == 0 and "up to date" in again.out


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(run_stage, words, tmp_path, monkeypatch):
    words = [*words, *LORA, "--lr_scheduler_type", "linear"]
    assert run_stage("rlhf.ppo", *words, "--run_dir", tmp_path / "straight").code == 0
    from rlhf.online.trainer import PPOTrainer

    roll = PPOTrainer._roll

    def stopped(self, inputs):
        if self.state.global_step == 4:  # its first checkpoint is whole
            raise KeyboardInterrupt
        return roll(self, inputs)

    monkeypatch.setattr(PPOTrainer, "_roll", stopped)
    assert run_stage("rlhf.ppo", *words, "--run_dir", tmp_path / "stopped").code == 130
    monkeypatch.setattr(PPOTrainer, "_roll", roll)
    # A copy, because this process still holds the folder that it was stopped in.
    shutil.copytree(tmp_path / "stopped", tmp_path / "again")
    ended = run_stage("rlhf.ppo", *words, "--run_dir", tmp_path / "again")
    assert ended.code == 0 and "going on from" in ended.out
    one, other = (weights(tmp_path / name / "ppo") for name in ("straight", "again"))
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


# --- a reward adapter on the policy's base ----------------------------------------------------


@pytest.fixture
def campaign(run_stage, writer, demonstrations, preferences, write_lines, tmp_path):
    """A LoRA fine-tuned model and a LoRA reward model with two heads, both on the writer."""
    run_dir = tmp_path / "x"
    four = ("--max_steps", "4", "--per_device_train_batch_size", "4", "--learning_rate", "1e-2")
    model = ("--model_name_or_path", writer, *LORA, "--run_dir", run_dir, *four)
    demos = write_lines(tmp_path / "demos.jsonl", demonstrations)
    ended = run_stage("sft.train", *model, "--dataset_name", demos)
    assert ended.code == 0, ended.err
    pairs = write_lines(tmp_path / "prefs.jsonl", preferences)
    flags = ("--dataset_name", pairs, "--held_out_share", "0.3", "--ensemble", "2")
    ended = run_stage("reward.train", *model, *flags, "--floor", "0")
    assert ended.code == 0, ended.err
    config = json.loads((run_dir / "reward" / "config.json").read_text())
    config["reward"] |= {"fit_for_ppo": True, "reason": ""}  # sixteen pairs cannot show it
    (run_dir / "reward" / "config.json").write_text(json.dumps(config))
    return run_dir


@pytest.mark.slow
def test_a_reward_adapter_on_the_policys_base_scores_as_on_its_own(
    campaign, preferences, tokenizer
):
    from inhouse.generation.score import Scorer
    from inhouse.models.load import load_causal_lm
    from rlhf.online import roles

    alone = Scorer(str(campaign / "reward"))
    model = load_causal_lm(str(campaign / "sft"), trainable=True)
    players = roles.adapters(
        model,
        None,
        seed=0,
        reward=str(campaign / "reward"),
        calibration=alone.calibration,
        critic="reward",
    )
    shared = roles.SharedScorer(players, tokenizer, alone.calibration)
    texts = [
        ([Message(**m) for m in row["prompt"]], row[side][0]["content"])
        for row in preferences
        for side in ("chosen", "rejected")
    ]
    expected, found = alone.assess(texts), shared.assess(texts)
    off = max(
        abs(one - other)
        for a, b in zip(expected, found, strict=True)
        for one, other in zip(a.heads, b.heads, strict=True)
    )
    assert off <= 1e-5
    # And a critic that starts as the reward says the mean of its heads, normalised.
    from inhouse.chat import reply_ids

    prompt, reply = texts[0]
    before, after = reply_ids(tokenizer, prompt, Message(role="assistant", content=reply))
    players.model.eval()  # the adapters' dropout, which the trainer turns off
    with torch.no_grad(), players.acting(roles.CRITIC):
        values = players.model(input_ids=torch.tensor([before + after]), head=roles.VALUE_HEAD)
    assert values[0, -1, 0].item() == pytest.approx(expected[0].score, abs=1e-4)


@pytest.mark.slow
def test_four_roles_stand_on_one_base_and_nothing_but_policy_and_critic_moves(
    run_stage, campaign, words, tmp_path, monkeypatch
):
    from rlhf.online.trainer import PPOTrainer

    kept = {}
    train = PPOTrainer.train

    def look(self, *args, **kwargs):
        kept["trainer"] = self
        kept["before"] = {n: w.detach().clone() for n, w in self.model.named_parameters()}
        return train(self, *args, **kwargs)

    monkeypatch.setattr(PPOTrainer, "train", look)
    rewards = tmp_path / "learned.yaml"
    rewards.write_text((tmp_path / "rewards.yaml").read_text().replace("tone:", "learned:"))
    ended = run_stage(
        "rlhf.ppo", *words[2:], "--rewards", rewards, "--critic", "reward", "--run_dir", campaign
    )
    assert ended.code == 0, ended.err
    trainer = kept["trainer"]
    assert set(trainer.model.peft_config) == {"default", "critic", "ref", "reward"}
    after = dict(trainer.model.named_parameters())
    moved = {n for n, w in kept["before"].items() if not torch.equal(w, after[n])}
    assert moved and all(".default." in name or ".critic." in name for name in moved)
    assert any(".default." in name for name in moved) and any(".critic." in n for n in moved)
    lines = [json.loads(line) for line in (campaign / "ppo" / "rollouts.jsonl").open()]
    assert all(line["held_out"] is not None for line in lines), "the second head is watched"
    assert files(campaign / "ppo") == ADAPTER


@pytest.mark.slow
def test_a_dry_run_writes_nothing_and_says_what_would_be_done(run_stage, words, tmp_path):
    ended = run_stage("rlhf.ppo", *words, *LORA, "--dry_run", "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    assert "2 of 16 answers, 32 answers in all" in ended.out and "What is fee" in ended.out
    assert not (tmp_path / "x").exists()
