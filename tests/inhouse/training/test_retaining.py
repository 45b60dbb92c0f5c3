"""What is known before training is held on to: the divergence, its gradients, and what it does."""

import copy
import math

import datasets
import pytest
import torch
import trl
from peft import LoraConfig

from inhouse.errors import InputError
from inhouse.training import retaining
from sft.unpadded_trainer import UnpaddedSFTTrainer

ROWS = [
    {"input_ids": ids, "labels": [-100] * (len(ids) // 2) + ids[len(ids) // 2 :]}
    for ids in ([11, 12, 13, 14, 15, 16], [21, 22, 23, 24], [31, 32, 33, 34, 35, 36, 37, 38])
]
GENERAL = [[41, 42, 43, 44, 45], [51, 52, 53], [61, 62, 63, 64, 65, 66, 67]]
LORA = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")


def known(before: list[float], words: list[int]) -> retaining.Known:
    kept = torch.tensor([[before[word] for word in words]]).log()
    return retaining.Known(torch.tensor([0]), torch.tensor([words]), kept)


def test_the_divergence_is_that_of_all_words_kept_and_the_rest():
    now = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
    # .25 ln(.25/.5) + .25 ln(.25/.25) + (.5 of the rest) ln(.5/.25)
    expected = 0.25 * math.log(0.5) + 0.0 + 0.5 * math.log(2.0)
    found = retaining.divergence(now.log() + 7, known([0.25, 0.25, 0.3, 0.2], [0, 1]))
    assert found.tolist() == pytest.approx([expected], abs=1e-6)
    same = retaining.divergence(now.log(), known(now[0].tolist(), [0, 2, 3]))
    assert same.tolist() == pytest.approx([0.0], abs=1e-6)


@pytest.fixture
def trainer_of(build, tokenizer, tmp_path):
    """A trainer on the same weights and rows, with and without what it must hold."""

    def make(weight: float | None, lora: LoraConfig | None = None, size: int = 1, **settings):
        kind = UnpaddedSFTTrainer
        if weight is not None:
            kind = retaining.trainer(kind, GENERAL, weight, size)
        return kind(
            model=copy.deepcopy(build("qwen3", len(tokenizer))),
            args=trl.SFTConfig(
                **{"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none"}
                | {"activation_checkpointing": False, "logging_steps": 1, "save_strategy": "no"}
                | {"per_device_train_batch_size": 1, "learning_rate": 1e-2, "max_grad_norm": 0.0}
                | settings,
            ),
            train_dataset=datasets.Dataset.from_list(ROWS),
            processing_class=tokenizer,
            peft_config=copy.deepcopy(lora),
        )

    return make


def drift(trainer, before: list[retaining.Known]) -> float:
    with torch.no_grad():
        logits = [trainer.model(input_ids=each.ids[None]).logits[0] for each in before]
    sums = [retaining.divergence(one, each) for one, each in zip(logits, before, strict=True)]
    return float(torch.cat(sums).mean())


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_it_drifts_less_and_tells_by_how_much(trainer_of, lora):
    drifted = {}
    for weight in (None, 20.0):
        trainer = trainer_of(weight, lora, num_train_epochs=6)
        before = retaining.remember(trainer.model, GENERAL, trainer.accelerator.autocast())
        trainer.train()
        drifted[weight] = drift(trainer, before)
        told = [entry["retain_kl"] for entry in trainer.state.log_history if "retain_kl" in entry]
        assert len(told) == (18 if weight else 0)
    assert told[0] == pytest.approx(0, abs=1e-5) and max(told) > 1e-4
    assert drifted[20.0] < 0.5 * drifted[None]


def test_gradients_are_the_updates_own_and_the_divergences(trainer_of):
    trainer = trainer_of(3.0, size=2)
    trainer.current_gradient_accumulation_steps = 1  # transformers sets it as training begins
    trainer.known = retaining.remember(trainer.model, GENERAL, trainer.accelerator.autocast())
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    trainer.model.train()
    batch = trainer._prepare_inputs(trainer.data_collator(ROWS[:1]))

    def gradients() -> list[torch.Tensor]:
        found = [w.grad.clone() for w in trainer.model.parameters() if w.grad is not None]
        trainer.model.zero_grad()
        return found

    trainer.training_step(trainer.model, dict(batch))
    both = gradients()
    super(type(trainer), trainer).training_step(trainer.model, dict(batch))
    own = gradients()
    chosen = trainer.known[:2]  # the first update's
    logits = [trainer.model(input_ids=each.ids[None]).logits[0] for each in chosen]
    sums = [retaining.divergence(one, each) for one, each in zip(logits, chosen, strict=True)]
    (3.0 * torch.cat(sums).mean()).backward()
    for all_of_it, one, other in zip(both, own, gradients(), strict=True):
        assert torch.allclose(all_of_it, one + other, atol=1e-6, rtol=1e-4)
        assert other.norm() > 0


def test_batches_that_are_gathered_into_an_update_hold_once(trainer_of):
    trainer = trainer_of(1.0, gradient_accumulation_steps=3, num_train_epochs=2)
    trainer.train()
    told = [entry["retain_kl"] for entry in trainer.state.log_history if "retain_kl" in entry]
    assert trainer.state.global_step == len(told) == 2
    assert len(trainer.known) == 2 < len(GENERAL)  # no more than the updates read


def test_conversations_are_rendered_and_cut(tokenizer, demonstrations, write_lines, tmp_path):
    path = write_lines(tmp_path / "general.jsonl", demonstrations)
    found = retaining.conversations(tokenizer, str(path), trl.SFTConfig(use_cpu=True, bf16=False))
    assert len(found) == len(demonstrations)
    assert all(1 < len(ids) <= retaining.LONGEST for ids in found)
    short = trl.SFTConfig(use_cpu=True, bf16=False, max_length=6)  # or what the model takes
    cut = retaining.conversations(tokenizer, str(path), short)
    assert cut == [ids[:6] for ids in found]
    assert retaining.conversations(tokenizer, None, None) == []


def test_where_gradients_cannot_be_added_is_refused(tokenizer, monkeypatch):
    half = trl.SFTConfig(use_cpu=True, bf16=False)
    half.fp16 = True
    with pytest.raises(InputError, match="retain_dataset does not go with fp16: use bf16"):
        retaining.conversations(tokenizer, "x.jsonl", half)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="retain_dataset does not go with FSDP"):
        retaining.conversations(tokenizer, "x.jsonl", half)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--retain_dataset", "none.jsonl"], ["retain_dataset", "none.jsonl"]),
        (["--retain_weight", "0"], ["retain_weight is 0.0", "no retain_dataset"]),
        (["--retain_batch_size", "0", "--retain_dataset", "x"], ["retain_batch_size is 0: give 1"]),
        (["--retain_batch_size", "2"], ["need a retain_dataset"]),
        (["--retain_weight", "2"], ["need a retain_dataset"]),
    ],
)
def test_settings_without_sense_are_refused(
    refused, tiny_model, demonstrations, write_lines, tmp_path, words, says
):
    data = write_lines(tmp_path / "d.jsonl", demonstrations)
    words = [*words, "--model_name_or_path", tiny_model, "--dataset_name", data]
    refused("sft.train", *words, says=says, run_dir=tmp_path / "x")
