"""Prompts that are run once: the same log-probabilities, losses and gradients as TRL's own."""

import copy
import random
from types import SimpleNamespace

import datasets
import pytest
import torch
import trl
from peft import LoraConfig
from safetensors.torch import load_file

from inhouse.training.unpadded import pairs_by_labels
from rlhf.dpo import LOSSES
from rlhf.offline.reference import prepared
from rlhf.offline.shared_prompts import SharedPromptsTrainer, rows_of, trainer_for

LORA = LoraConfig(
    task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False
)  # no zeros: a new adapter's would hide most of its gradient


def make_rows(count: int = 6) -> list[dict]:
    """Pairs of mixed lengths, and one whose prompt is a single token."""
    rng = random.Random(0)

    def ids(low: int, high: int) -> list[int]:
        return [rng.randrange(10, 500) for _ in range(rng.randint(low, high))]

    rows = [
        {"prompt_ids": ids(3, 20), "chosen_ids": ids(1, 12), "rejected_ids": ids(1, 12)}
        for _ in range(count)
    ]
    return [*rows, {"prompt_ids": [7], "chosen_ids": [8, 9], "rejected_ids": [9]}]


class RowsAsTheyAre(trl.DPOTrainer):
    """TRL's own trainer on rows that are token ids already."""

    def _prepare_dataset(self, dataset, *_):
        return dataset


@pytest.fixture
def both(build, tokenizer, tmp_path):
    """TRL's trainer and ours, on the same weights and rows, past the check of the first step."""

    def make(architecture="qwen3", lora=None, attention="sdpa", **settings) -> list:
        policy, reference = (build(architecture, len(tokenizer), seed) for seed in (0, 1))
        made = []
        for kind in (RowsAsTheyAre, prepared(SharedPromptsTrainer, (), None)):
            model = copy.deepcopy(policy)
            model.set_attn_implementation(attention)
            made.append(
                kind(
                    model=model,
                    ref_model=None if lora else copy.deepcopy(reference),
                    args=trl.DPOConfig(
                        output_dir=str(tmp_path),
                        use_cpu=True,
                        bf16=False,
                        report_to="none",
                        **({"activation_checkpointing": False} | settings),
                    ),
                    train_dataset=datasets.Dataset.from_list(make_rows()),
                    processing_class=tokenizer,
                    peft_config=copy.deepcopy(lora),
                )
            )
            made[-1].state.global_step = 1  # policy and reference are meant to differ here
        return made

    return make


def step(trainer) -> tuple[float, dict[str, float], dict[str, torch.Tensor]]:
    """The loss of one batch, what TRL logs of it, and the gradients."""
    batch = trainer.data_collator(list(trainer.train_dataset))
    if trainer.args.activation_checkpointing:
        trainer.model.activation_checkpointing_enable()
    trainer.model.train()
    trainer.model.zero_grad(set_to_none=True)
    trainer._metrics["train"].clear()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    named = trainer.model.named_parameters()
    gradients = {name: weight.grad for name, weight in named if weight.grad is not None}
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    logged.pop("num_tokens")  # counted on
    return loss.item(), logged, gradients


def assert_alike(ours, theirs) -> None:
    """One step of both: loss and figures to 1e-5, gradients to 1e-5 of the largest."""
    (our_loss, our_figures, our_gradients), (loss, figures, gradients) = step(ours), step(theirs)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert our_figures == pytest.approx(figures, rel=1e-4, abs=1e-5)
    assert our_gradients.keys() == gradients.keys() and gradients
    largest = max(gradient.abs().max() for gradient in gradients.values())
    assert largest > 0
    for name, gradient in gradients.items():
        assert (our_gradients[name] - gradient).abs().max() < 1e-5 * largest, name


def per_token(trainer) -> torch.Tensor:
    """The log-probability of each scored token. Shape: (rows, tokens - 1)"""
    batch = trainer.data_collator(list(trainer.train_dataset))
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    with torch.no_grad():
        return trainer.model.eval()(**batch, labels=labels, fused_lm_head=True).log_probs


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_log_probability_and_gradient_is_trls(both, architecture, attention):
    theirs, ours = both(architecture, attention=attention)
    expected = per_token(theirs)
    assert (expected != 0).sum() > 40
    with ours.sharing():
        found = per_token(ours)
    assert torch.allclose(found, expected, atol=1e-5, rtol=0)
    assert_alike(ours, theirs)


@pytest.mark.parametrize(
    ("lora", "settings"),
    [
        (LORA, {}),
        (LORA, {"activation_checkpointing": True}),
        (None, {"activation_checkpointing": True}),
        (None, {"ld_alpha": 0.5}),
        (None, {"use_weighting": True}),
        (None, {"max_length": 20}),
    ],
    ids=["lora", "lora, checkpointing", "checkpointing", "ld_alpha", "weighting", "cut answers"],
)
def test_whatever_else_trl_does_it_does_the_same(both, lora, settings):
    theirs, ours = both(lora=lora, **settings)
    assert_alike(ours, theirs)


def test_every_loss_is_trls(both):
    theirs, ours = both(label_smoothing=0.1)
    seen = set()
    for loss in LOSSES:
        theirs.loss_types = ours.loss_types = [loss]
        assert_alike(ours, theirs)
        seen.add(round(step(theirs)[0], 6))
    assert len(seen) > len(LOSSES) / 2  # policy and reference differ, so the losses do


@pytest.mark.parametrize("lora", [None, LORA])
def test_the_reference_is_asked_for_the_same(both, lora, batch_shapes):
    theirs, ours = both(lora=lora)
    seen = [
        batch_shapes(trainer.ref_model or trainer.model.get_base_model())
        for trainer in (theirs, ours)
    ]
    found, expected = (
        trainer.compute_ref_log_probs(
            trainer.ref_model or trainer.model,
            trainer.data_collator(list(trainer.train_dataset)),
        )
        for trainer in (ours, theirs)
    )
    assert [len(shape) for shape in seen] == [1, 1] and seen[0] != seen[1]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5)


def test_a_prompt_is_run_once_and_nothing_is_padded_to_the_longest_pair(both, batch_shapes):
    rows = [
        {"prompt_ids": [1] * 10, "chosen_ids": [2] * 4, "rejected_ids": [3] * 5},  # 10 + 4 + 5 + 1
        {"prompt_ids": [1] * 3, "chosen_ids": [2] * 2, "rejected_ids": [3] * 4},  # 10
        {"prompt_ids": [1] * 2, "chosen_ids": [2] * 3, "rejected_ids": [3] * 4},  # 10
    ]
    theirs, ours = both()
    seen = batch_shapes(theirs.model), batch_shapes(ours.model)
    for trainer in (theirs, ours):
        trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    assert seen == ([(6, 15)], [(2, 20)])
    # What memory and time are reckoned from is what runs.
    assert rows_of(trl.DPOTrainer, rows).longest(3) == (6, 15)
    assert rows_of(SharedPromptsTrainer, rows).longest(3) == (2, 20)


def test_the_items_of_a_batch_are_its_pairs():
    # Prompts of three and one token; answers of two and one, one and two.
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    labels = torch.full((4, 5), -100)
    labels[0, 3:], labels[1, 1], labels[2, 3], labels[3, 1:3] = 9, 9, 9, 9
    assert pairs_by_labels(mask, labels) == [
        [(0, 0, 2), (0, 2, 5), (2, 2, 4)],
        [(1, 0, 0), (1, 0, 2), (3, 0, 3)],
    ]


def test_outside_of_a_step_the_models_are_as_they_were(both):
    _, ours = both()
    before = ours.model.forward, ours.ref_model.forward
    with pytest.raises(KeyError):  # a step that fails leaves nothing behind either
        ours.compute_loss(ours.model, {})
    step(ours)
    assert (ours.model.forward, ours.ref_model.forward) == before
    assert not ours.model.base_model._forward_hooks


def test_where_it_cannot_be_trls_own_is_taken_and_one_line_says_why(build, capsys):
    model, training = build("qwen3", 600), SimpleNamespace(torch_compile=False)
    assert trainer_for(model, training, make_rows()) is SharedPromptsTrainer
    assert capsys.readouterr().out == ""
    model.set_attn_implementation("flex_attention")
    assert trainer_for(model, training, make_rows()) is trl.DPOTrainer
    said = capsys.readouterr().out
    assert said.startswith("prompts are run twice, once for each answer: attention flex_attention")
    assert said.count("\n") == 1


# --- whole runs -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--use_peft", "--lora_target_modules", "all-linear")])
def test_a_run_ends_where_one_that_runs_prompts_twice_does(aligned, tmp_path, words):
    shared, twice = (
        aligned("dpo", "--share_prompts", share, *words, run_dir=tmp_path / share)
        for share in ("true", "false")
    )
    for key in ("loss", "rewards/margins", "logps/chosen", "entropy", "logits/chosen"):
        assert shared.metrics[key] == pytest.approx(twice.metrics[key], rel=1e-3), key
    name = "adapter_model.safetensors" if words else "model.safetensors"
    before, after = (load_file(ended.folder / name) for ended in (twice, shared))
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-4), name
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("live", ["true", "false"])
def test_policy_and_reference_agree_in_16_bit_too(aligned, live):
    words = ("--bf16", "true", "--max_steps", "1", "--precompute_ref_log_probs", live)
    metrics = aligned("dpo", *words).metrics
    assert metrics["reference/start_gap"] < 0.1
    assert metrics["loss"] == pytest.approx(0.693147, rel=1e-2)
