"""Each prompt run once: the same loss and gradients as TRL's own, and where it cannot be."""

import pytest
import torch
from peft import LoraConfig
from torch import nn
from trl import RewardConfig, RewardTrainer

from inhouse.models.load import new_reward_model
from inhouse.records import Preference
from reward import fit, shared_prompts
from reward.split import tokenise


@pytest.fixture
def rows(tokenizer, preferences):
    rows, _ = tokenise(tokenizer, [Preference(**row) for row in preferences[:4]], "p")
    begun = rows[0]["chosen_ids"]  # one row is the other's beginning
    return [*rows, {"chosen_ids": begun, "rejected_ids": [*begun, 9, 9, 9]}]


def settings(folder, **changes) -> RewardConfig:
    return RewardConfig(
        output_dir=str(folder),
        **{
            **{"use_cpu": True, "bf16": False, "activation_checkpointing": False},
            **{"report_to": "none", "center_rewards_coefficient": 0.01, "max_length": None},
            **changes,
        },
    )


def trainer_of(tiny_model, tokenizer, rows, folder, lora=False, **changes):
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0, heads=3)
    config = LoraConfig(
        r=4, target_modules="all-linear", task_type="SEQ_CLS", modules_to_save=["score"]
    )
    trainer = fit.trainer_of(
        model, rows, tokenizer, settings(folder, **changes), config if lora else None
    )
    torch.manual_seed(1)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:  # at zero most faults are invisible
            nn.init.normal_(parameter, std=0.1)
    return trainer


def loss_and_gradients(trainer, rows, compute_loss):
    trainer.model.zero_grad()
    trainer.model.train()
    loss = compute_loss(trainer.model, trainer.data_collator(rows))
    loss.backward()
    found = trainer.model.named_parameters()
    return loss.item(), {name: p.grad.clone() for name, p in found if p.grad is not None}


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_loss_and_gradients_are_those_of_trls_own(
    tiny_model, tokenizer, rows, tmp_path, lora, checkpointing
):
    changes = {"activation_checkpointing": checkpointing}
    trainer = trainer_of(tiny_model, tokenizer, rows, tmp_path, lora, **changes)
    assert trainer.reason == ""
    if checkpointing:
        trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    seen = []
    below = shared_prompts.below_the_heads(trainer.model)
    hook = below.embed_tokens.register_forward_pre_hook(lambda _, ids: seen.append(ids[0].numel()))
    ours, gradients = loss_and_gradients(trainer, rows, trainer.compute_loss)
    theirs, expected = loss_and_gradients(
        trainer, rows, lambda *given: RewardTrainer.compute_loss(trainer, *given)
    )
    hook.remove()
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert gradients.keys() == expected.keys() and len(gradients) > 10
    for name in expected:
        scale = expected[name].abs().max()
        assert scale > 0, f"the test tells nothing of {name}"
        assert (gradients[name] - expected[name]).abs().max() <= 1e-5 * max(scale, 1), name
    # The longest row is 3 tokens longer than a prompt and answer: less than two of the padded rows.
    assert seen[0] < 0.7 * seen[1]
    assert not below._forward_hooks and not below._forward_pre_hooks


def test_figures_are_trls(tiny_model, tokenizer, rows, tmp_path):
    trainer = trainer_of(tiny_model, tokenizer, rows, tmp_path)
    logged = []
    for compute_loss in (trainer.compute_loss, lambda *a: RewardTrainer.compute_loss(trainer, *a)):
        trainer._metrics["train"].clear()
        loss_and_gradients(trainer, rows, compute_loss)
        logged.append({name: values[0] for name, values in trainer._metrics["train"].items()})
    ours, theirs = logged
    assert ours.keys() == theirs.keys() and "margin" in ours
    for name in ours.keys() - {"num_tokens"}:
        assert ours[name] == pytest.approx(theirs[name], abs=1e-5), name
    tokens = sum(len(ids) for row in rows for ids in row.values())
    assert (ours["num_tokens"], theirs["num_tokens"]) == (tokens, 2 * tokens), "a running sum"


# --- where it cannot be ------------------------------------------------------------------------


def broken(_model, _ids, _layout):
    raise TypeError("takes no position_ids")


def without_positions(model, ids, layout):
    made = real_inputs(model, ids, layout)
    return {**made, "position_ids": torch.zeros_like(made["position_ids"])}


real_inputs = shared_prompts.model_inputs


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (broken, "Qwen3Model does not run so (TypeError: takes no position_ids)"),
        (without_positions, "Qwen3Model answers otherwise so (scores differ by"),
    ],
)
def test_a_model_that_does_not_heed_the_layout_is_trained_as_trl_does(
    tiny_model, tokenizer, rows, tmp_path, monkeypatch, capsys, inputs, says
):
    monkeypatch.setattr(shared_prompts, "model_inputs", inputs)
    trainer = trainer_of(tiny_model, tokenizer, rows, tmp_path)
    assert says in trainer.reason
    assert f"prompts are run twice, once for each answer: {says}" in capsys.readouterr().out
    ours, _ = loss_and_gradients(trainer, rows, trainer.compute_loss)
    theirs, _ = loss_and_gradients(
        trainer, rows, lambda *given: RewardTrainer.compute_loss(trainer, *given)
    )
    assert ours == theirs


def test_attention_windows_and_compilers_are_left_alone(tiny_model, tokenizer, rows, tmp_path):
    trainer = trainer_of(tiny_model, tokenizer, rows, tmp_path)
    model, training, collate = trainer.model, trainer.args, trainer.data_collator

    def reason() -> str:
        return shared_prompts.why_not(model, training, rows, collate)

    assert reason() == ""
    training.torch_compile = True
    assert "torch_compile" in reason()
    model.config.sliding_window = 8
    assert "attends to 8 tokens only" in reason()
    model.config.sliding_window = 500
    assert "torch_compile" in reason()
    model.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2 takes no mask" in reason()


def test_rows_can_be_grouped_by_length(tiny_model, tokenizer, rows, tmp_path):
    trainer = trainer_of(
        tiny_model, tokenizer, rows, tmp_path, train_sampling_strategy="group_by_length"
    )
    batches = list(trainer.get_train_dataloader())
    assert sum(len(batch["input_ids"]) for batch in batches) == 2 * len(rows)
