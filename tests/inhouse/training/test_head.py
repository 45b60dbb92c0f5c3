"""The fused head on a CPU: what it holds, what it leaves out, and TRL's own losses."""

import copy
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager

import datasets
import pytest
import torch
import trl
from peft import LoraConfig
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trl.kernels import chunked_logprob
from trl.trainer import utils as trl_head

from inhouse.models.load import new_reward_model
from inhouse.training import head
from reward.shared_prompts import SharedPromptsTrainer as SharedRewardTrainer
from rlhf.offline.reference import prepared
from rlhf.offline.rows import with_mismatched
from rlhf.offline.shared_prompts import SharedPromptsTrainer
from sft.evaluate import losses
from sft.unpadded_trainer import ScoredSFTTrainer, UnpaddedSFTTrainer

LORA = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)
WORDS, HIDDEN = 20_000, 32
COMMON = {"use_cpu": True, "bf16": False, "report_to": "none", "activation_checkpointing": False}


class Largest(TorchDispatchMode):
    """How many values the largest tensor has that anything computes, views of it left out."""

    values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                size = tensor.untyped_storage().nbytes() // tensor.element_size()
                self.values = max(self.values, size)
        return out


def ids(rng: random.Random, low: int, high: int) -> list[int]:
    return [rng.randrange(10, 500) for _ in range(rng.randint(low, high))]


def sft_rows() -> list[dict]:
    rng = random.Random(0)
    rows = [ids(rng, 10, 40) for _ in range(6)]
    return [{"input_ids": row, "labels": [-100] * 6 + row[6:]} for row in rows]


def pairs() -> list[dict]:
    rng = random.Random(0)
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    return [dict(zip(names, (ids(rng, 5, 20) for _ in names), strict=True)) for _ in range(6)]


def verdicts() -> list[dict]:
    rows = [
        {"prompt_ids": row["prompt_ids"], "completion_ids": row["chosen_ids"], "label": n % 2 == 0}
        for n, row in enumerate(pairs())
    ]
    return with_mismatched(rows, 6, 0)


def as_given(kind: type) -> type:
    """TRL's own trainer on rows that are token ids already."""
    return type("AsGiven", (kind,), {"_prepare_dataset": lambda self, dataset, *_: dataset})


# Rows, the config and TRL's trainer of them, and ours.
METHODS = {
    "sft": (sft_rows, trl.SFTConfig, trl.SFTTrainer, UnpaddedSFTTrainer),
    "sft, padded": (sft_rows, trl.SFTConfig, trl.SFTTrainer, ScoredSFTTrainer),
    "dpo": (pairs, trl.DPOConfig, as_given(trl.DPOTrainer), SharedPromptsTrainer),
    "dpo, unshared": (pairs, trl.DPOConfig, as_given(trl.DPOTrainer), trl.DPOTrainer),
    "kto": (verdicts, trl.KTOConfig, as_given(trl.KTOTrainer), trl.KTOTrainer),
}


@pytest.fixture
def tiles(monkeypatch):
    """Tiles of a few tokens and words, as small for these models as ours are for grown ones."""
    monkeypatch.setattr(head, "TILE", (16, 512))
    monkeypatch.setattr(chunked_logprob, "TOKEN_CHUNK_SIZE", 4096)  # TRL's, and put back
    monkeypatch.setattr(trl_head, "_CHUNKED_LOGPROB_CHUNK_SIZE", 32768)


@pytest.fixture
def both(build, tokenizer, tmp_path, tiles):
    """TRL's trainer and ours, on the same weights and rows."""

    def make(method: str, lora=None, words=WORDS, **settings) -> list:
        rows, config, theirs, ours = METHODS[method]
        policy, reference = (build("llama", words, seed) for seed in (0, 1))
        offline = not method.startswith("sft")
        made = []
        for kind in (theirs, prepared(ours, (), None) if offline else ours):
            extra = {"ref_model": None if lora else copy.deepcopy(reference)} if offline else {}
            made.append(
                kind(
                    model=copy.deepcopy(policy),
                    args=config(output_dir=str(tmp_path), **(COMMON | settings)),
                    train_dataset=datasets.Dataset.from_list(rows()),
                    processing_class=tokenizer,
                    peft_config=copy.deepcopy(lora),
                    **extra,
                )
            )
            made[-1].state.global_step = 1  # policy and reference are meant to differ here
        return made

    return make


def step(trainer) -> tuple[float, dict[str, float], dict[str, torch.Tensor]]:
    """The loss of one batch, what TRL logs of it, and the gradients."""
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(list(trainer.train_dataset)))
    loss.backward()
    named = trainer.model.named_parameters()
    gradients = {name: weight.grad for name, weight in named if weight.grad is not None}
    return loss.item(), {k: v[-1] for k, v in trainer._metrics["train"].items()}, gradients


def assert_alike(ours, theirs) -> None:
    (loss, figures, gradients), (their_loss, their_figures, their_gradients) = ours, theirs
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert figures == pytest.approx(their_figures, rel=1e-5, abs=1e-5)
    assert gradients.keys() == their_gradients.keys() and gradients
    largest = max(gradient.abs().max() for gradient in their_gradients.values())
    for name, gradient in their_gradients.items():
        assert (gradients[name] - gradient).abs().max() < 1e-5 * largest, name


@contextmanager
def holding_no_more_than_the_weights() -> Iterator[None]:
    """Nothing computed meanwhile is larger than the matrix of the vocabulary itself."""
    with Largest() as largest:
        yield
    assert 0 < largest.values <= WORDS * HIDDEN


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("method", METHODS)
def test_no_step_holds_logits_of_a_batch_and_each_is_trls(both, method, lora):
    theirs, ours = both(method, lora)
    with Largest() as held:  # TRL's tile holds these batches whole
        expected = step(theirs)
    assert held.values > WORDS * HIDDEN
    with holding_no_more_than_the_weights():
        found = step(ours)
    assert_alike(found, expected)


@pytest.mark.parametrize("method", METHODS)
def test_no_evaluation_holds_them_and_each_is_trls(both, method):
    theirs, ours = both(method)
    rows = ours.train_dataset

    def evaluated(trainer) -> float:
        trainer.model.eval()
        batch = trainer.data_collator(list(rows))
        return trainer.prediction_step(trainer.model, batch, prediction_loss_only=True)[0].item()

    expected = evaluated(theirs)
    with holding_no_more_than_the_weights():
        assert evaluated(ours) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("method", ["dpo", "dpo, unshared", "kto"])
def test_the_reference_is_asked_without_them(both, method, lora):
    theirs, ours = both(method, lora)

    def asked(trainer) -> tuple[torch.Tensor, ...]:
        model = trainer.ref_model or trainer.model
        batch = trainer.data_collator(list(trainer.train_dataset))
        return trainer.compute_ref_log_probs(model.eval(), batch)

    expected = asked(theirs)
    with holding_no_more_than_the_weights():
        found = asked(ours)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5)


def test_held_out_rows_are_measured_without_them(both):
    theirs, ours = both("sft")
    expected = losses(theirs, sft_rows())
    with holding_no_more_than_the_weights():
        found = losses(ours, sft_rows())
    assert [loss for loss, _ in found] == pytest.approx([loss for loss, _ in expected], rel=1e-5)


def test_a_reward_model_has_none(build, tokenizer, tmp_path):
    build("llama", WORDS).save_pretrained(tmp_path / "model")
    trainer = SharedRewardTrainer(
        model=new_reward_model(str(tmp_path / "model"), dtype="float32", seed=0),
        args=trl.RewardConfig(output_dir=str(tmp_path), **COMMON),
        train_dataset=datasets.Dataset.from_list(
            [
                {side: row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids")}
                for row in pairs()
            ]
        ),
        processing_class=tokenizer,
    )
    batch = trainer.data_collator(list(trainer.train_dataset))
    with holding_no_more_than_the_weights():
        trainer.compute_loss(trainer.model.train(), batch).backward()


@pytest.mark.parametrize("method", ["sft, padded", "dpo, unshared", "kto"])
def test_padded_batches_project_the_scored_tokens_only(both, method, monkeypatch):
    projected = []
    fold = chunked_logprob._forward_tile

    def noted(tile, stride, targets, *given, **named):
        projected.append(tile.numel())
        return fold(tile, stride, targets, *given, **named)

    monkeypatch.setattr(chunked_logprob, "_forward_tile", noted)
    _, ours = both(method, words=600)
    step(ours)
    rows = METHODS[method][0]()
    scored = sum(
        len(ids)
        for row in rows
        for name, ids in (row if "labels" not in row else {"answer_ids": row["labels"][6:]}).items()
        if name.endswith("_ids") and name != "prompt_ids"
    )
    models = 1 if method.startswith("sft") else 2  # the policy and its reference
    assert sum(projected) == models * scored * 600


def test_packed_rows_are_trls_too(build, tokenizer, tmp_path, tiles):
    settings = {**COMMON, "packing": True, "max_length": 64}
    trainers = [
        kind(
            model=build("llama", 600),
            args=trl.SFTConfig(output_dir=str(tmp_path), **settings),
            train_dataset=datasets.Dataset.from_list(sft_rows()),
            processing_class=tokenizer,
        )
        for kind in (trl.SFTTrainer, ScoredSFTTrainer)
    ]
    expected, found = map(step, trainers)
    assert_alike(found, expected)


def test_a_batch_with_nothing_scored_is_a_loss_of_nought(both):
    _, ours = both("sft, padded", words=600)
    batch = ours.data_collator([{"input_ids": [5, 6, 7], "labels": [-100] * 3}])
    loss = ours.compute_loss(ours.model.train(), batch)
    loss.backward()
    assert loss.item() == 0 and all(
        math.isfinite(weight.grad.sum())
        for weight in ours.model.parameters()
        if weight.grad is not None
    )


def test_a_gpu_and_shards_are_left_to_trl(build, monkeypatch):
    model = build("llama")
    before = model.forward
    with head.scored_only(model, None):
        assert model.forward != before
    assert model.forward == before
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with head.scored_only(model):
        assert model.forward == before
