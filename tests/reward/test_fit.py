"""One training: an ensemble's loss is TRL's over its heads, the control, and what scores mean."""

import json
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from trl import ModelConfig, RewardConfig

from inhouse.errors import InputError
from inhouse.generation.score import head_scores
from inhouse.models.load import new_reward_model
from inhouse.records import Preference
from reward import fit
from reward.split import Pair, Split, tokenise


@pytest.fixture
def pairs(tokenizer, preferences):
    records = [Preference(**row) for row in preferences]
    rows, _ = tokenise(tokenizer, records, "p")
    return [Pair(record, row, {}) for record, row in zip(records, rows, strict=True)]


def settings(folder, **changes) -> RewardConfig:
    return RewardConfig(
        output_dir=str(folder),
        **{
            **{"use_cpu": True, "bf16": False, "gradient_checkpointing": False},
            **{"per_device_train_batch_size": 4, "learning_rate": 1e-2, "report_to": "none"},
            **{"num_train_epochs": 1, "lr_scheduler_type": "constant", "disable_tqdm": True},
            **changes,
        },
    )


def test_an_ensembles_loss_is_the_mean_of_its_heads_losses(tiny_model, tokenizer, pairs, tmp_path):
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0, heads=3)
    rows = [pair.row for pair in pairs[:2]]
    training = settings(tmp_path, center_rewards_coefficient=0.01)
    trainer = fit.trainer_of(model, rows, tokenizer, training, None)
    assert model.config.num_labels == 3, "TRL is shown one head while it is built, no longer"
    batch = trainer.data_collator([Dataset.from_list(rows)[at] for at in range(2)])
    found = trainer.compute_loss(model, batch).item()
    flat = [row[side] for side in ("chosen_ids", "rejected_ids") for row in rows]
    chosen, rejected = head_scores(model, flat, tokenizer.pad_token_id).chunk(2)
    by_hand = -torch.log(1 / (1 + torch.exp(rejected - chosen))).mean()
    assert found == pytest.approx(
        float(by_hand + 0.01 * ((chosen + rejected) ** 2).mean()), abs=1e-5
    )


def test_every_start_is_the_same_one_for_its_seed(tiny_model):
    arguments = ModelConfig(model_name_or_path=str(tiny_model), dtype="float32")
    one, two, other = (fit.fresh(arguments, seed, 2).score.weight for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert not torch.equal(one[0], one[1]), "heads that start alike could never disagree"


def test_a_second_run_leaves_no_traces(tmp_path):
    training = settings(tmp_path, save_strategy="steps", resume_from_checkpoint="x")
    quiet = fit.without_traces(training)
    assert quiet.save_strategy == "no" and quiet.resume_from_checkpoint is None
    assert training.save_strategy == "steps" and training.resume_from_checkpoint == "x"


@pytest.mark.slow
def test_the_control_finds_a_leak(tiny_model, tokenizer, pairs, tmp_path):
    training = settings(tmp_path, num_train_epochs=30)
    leaking = Split(pairs, pairs, None, [])  # the same pairs on both sides
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0)
    found = fit.control(model, leaking, tokenizer, training, None)
    assert found["n"] == 16 and found["low"] > 0.5, found
    assert not list(tmp_path.glob("checkpoint-*"))


def test_scores_are_normalised_over_training_answers(tiny_model, tokenizer, pairs):
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0, heads=2)
    parts = Split(pairs[:10], pairs[10:], None, [])
    scorer, held_out, trained = fit.calibrated(model, tokenizer, parts, 0.7)
    heads = torch.tensor([s.heads for s in (*trained.chosen, *trained.rejected)])
    assert heads.mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert heads.std(0).tolist() == pytest.approx([1, 1], abs=1e-5)
    every = [s.score for m in (held_out, trained) for s in (*m.chosen, *m.rejected)]
    assert scorer.calibration.lowest == pytest.approx(min(every) - 1)
    assert scorer.calibration.highest == pytest.approx(max(every) + 1)
    assert scorer.calibration.min_confidence == 0.7 and len(held_out.pairs) == 6
    json.dumps(scorer.calibration.stored(), allow_nan=False)


def test_a_head_that_scores_all_alike_is_refused(tiny_model, tokenizer, pairs):
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0)
    torch.nn.init.zeros_(model.score.weight)
    with pytest.raises(InputError, match="scores all 20 training answers alike"):
        fit.calibrated(
            model, tokenizer, SimpleNamespace(train=pairs[:10], held_out=pairs[10:]), 0.6
        )


@pytest.mark.parametrize(("name", "epochs"), [("reward.yaml", 1), ("asdfg/reward.yaml", 2)])
def test_shipped_settings_train_without_dropout_and_one_epoch_by_default(name, epochs):
    # Two on the demonstration: docs/decisions/0008.
    from inhouse.config import ROOT, parse
    from reward.train import STAGE, RewardOptions

    config = ["--config", str(ROOT / "configs" / name)]
    parsed = parse(STAGE, RewardOptions, trl=("RewardConfig", "ModelConfig"), argv=config)
    _, own, training, _ = parsed
    assert training.num_train_epochs == epochs and training.disable_dropout
    assert training.center_rewards_coefficient == 0.01
    assert own.ensemble > 1 and 0.5 < own.floor < 1 and own.shuffled_control
