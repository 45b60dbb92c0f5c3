"""SFT without padding: the loss, the figures and the gradients of TRL's own trainer."""

import copy
import json
import random
from types import SimpleNamespace

import datasets
import pytest
import torch
import trl
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import BloomConfig, BloomForCausalLM

from inhouse.training import batches
from inhouse.training.head import below_adapters
from sft.load import rows_of
from sft.unpadded_trainer import ScoredSFTTrainer, UnpaddedSFTTrainer, trainer_for

BLOOM = {"hidden_size": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
ARCHITECTURES = ("qwen3", "llama", "gemma", "gpt2")
LORA = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights=False)


def make_rows() -> list[dict]:
    """Rows of mixed lengths, whose last third is supervised."""
    rng = random.Random(0)
    made = []
    for length in (30, 4, 11, 15, 9, 3):
        ids = [rng.randrange(10, 500) for _ in range(length)]
        kept = max(1, length // 3)
        made.append({"input_ids": ids, "labels": [-100] * (length - kept) + ids[-kept:]})
    return made


@pytest.fixture
def both(build, tokenizer, tmp_path):
    """TRL's trainer and ours, on the same weights and rows."""

    def make(kind="qwen3", lora=None, **settings) -> list:
        model = build(kind, len(tokenizer))
        return [
            trainer(
                model=copy.deepcopy(model),
                args=trl.SFTConfig(
                    output_dir=str(tmp_path),
                    use_cpu=True,
                    bf16=False,
                    report_to="none",
                    activation_checkpointing=False,
                    **settings,
                ),
                train_dataset=datasets.Dataset.from_list(make_rows()),
                processing_class=tokenizer,
                peft_config=copy.deepcopy(lora),
            )
            for trainer in (trl.SFTTrainer, UnpaddedSFTTrainer)
        ]

    return make


def step(trainer, counted=None) -> tuple[float, dict[str, float], dict[str, torch.Tensor]]:
    """The loss of one batch, what TRL logs of it, and the gradients."""
    batch = trainer.data_collator(list(trainer.train_dataset))
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=counted)
    loss.backward()
    named = trainer.model.named_parameters()
    gradients = {name: weight.grad for name, weight in named if weight.grad is not None}
    logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    return loss.item(), logged, gradients


@pytest.mark.parametrize(
    ("kind", "lora", "settings", "counted"),
    [
        *((kind, None, {}, None) for kind in ARCHITECTURES),
        ("qwen3", LORA, {}, None),
        ("qwen3", None, {"loss_type": "dft"}, None),
        ("qwen3", None, {}, torch.tensor(50)),
        ("qwen3", None, {"label_smoothing_factor": 0.1}, None),
    ],
    ids=[*ARCHITECTURES, "lora", "dft", "a share of an accumulated batch", "label smoothing"],
)
def test_a_step_is_trls(both, kind, lora, settings, counted):
    theirs, ours = both(kind, lora, **settings)
    (our_loss, our_figures, our_gradients), (loss, figures, gradients) = (
        step(ours, counted),
        step(theirs, counted),
    )
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert our_figures == pytest.approx(figures, rel=1e-5)
    assert our_gradients.keys() == gradients.keys() and gradients
    largest = max(gradient.abs().max() for gradient in gradients.values())
    assert largest > 0
    for name, gradient in gradients.items():
        assert (our_gradients[name] - gradient).abs().max() < 1e-5 * largest, name


def test_nothing_is_padded_to_the_longest_row(both, batch_shapes):
    # 30; 15, 11, 4; 9, 3: three lines of thirty, where TRL has six.
    theirs, ours = both()
    seen = batch_shapes(theirs.model), batch_shapes(ours.model)
    for trainer in (theirs, ours):
        step(trainer)
    assert seen == ([(6, 30)], [(3, 30)])
    # What memory and time are reckoned from is what runs.
    lengths = [len(row["input_ids"]) for row in make_rows()]
    kinds = (trl.SFTTrainer, UnpaddedSFTTrainer)
    assert [rows_of(kind, lengths, settings()).longest(6) for kind in kinds] == [(6, 30), (3, 30)]
    packed = settings(packing=True, max_length=40)
    assert rows_of(trl.SFTTrainer, lengths, packed).longest(6) == (1, 72)
    flat = settings(padding_free=True)
    assert rows_of(trl.SFTTrainer, lengths, flat).longest(2) == (1, 45)


def settings(**changed) -> SimpleNamespace:
    plain = {"packing": False, "padding_free": False, "torch_compile": False}
    return SimpleNamespace(**(plain | {"device": torch.device("cpu")} | changed))


def test_batches_stay_trls_where_it_packs_or_has_a_gpu(build, monkeypatch, capsys):
    rows = [row["input_ids"] for row in make_rows()]
    model = build("qwen3", 600)
    assert trainer_for(model, settings(), rows) is UnpaddedSFTTrainer
    for changed in (
        {"packing": True},
        {"padding_free": True},
    ):
        assert trainer_for(model, settings(**changed), rows) is ScoredSFTTrainer
    assert trainer_for(model, settings(), rows, padded=True) is ScoredSFTTrainer
    gpu = settings(device=torch.device("cuda"))
    assert trainer_for(model, gpu, rows) is trl.SFTTrainer
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert trainer_for(model, settings(), rows) is trl.SFTTrainer
    assert capsys.readouterr().out == ""


def test_where_a_model_cannot_one_line_says_why(capsys):
    rows = [row["input_ids"] for row in make_rows()]
    model = BloomForCausalLM(BloomConfig(**BLOOM, vocab_size=600))
    assert trainer_for(model, settings(), rows) is ScoredSFTTrainer
    said = capsys.readouterr().out
    assert said.startswith("batches are padded: BloomForCausalLM ") and said.count("\n") == 1


@pytest.mark.slow
def test_a_run_ends_where_one_with_padded_batches_does(run_stage, words, tmp_path, monkeypatch):
    told, weights, unpadded = [], [], []
    compute_loss = UnpaddedSFTTrainer.compute_loss

    def noted(*given, **named):
        unpadded.append(padded)
        return compute_loss(*given, **named)

    monkeypatch.setattr(UnpaddedSFTTrainer, "compute_loss", noted)
    for padded in ("true", "false"):
        folder = tmp_path / padded
        given = (*words, "--logging_steps", "1", "--pad_batches", padded)
        ended = run_stage("sft.train", *given, "--run_dir", folder)
        assert ended.code == 0, ended.err
        told.append(json.loads((folder / "sft" / "metrics.json").read_text()))
        weights.append(load_file(folder / "sft" / "model.safetensors"))
    assert told[0]["loss"] == pytest.approx(told[1]["loss"], rel=1e-3)
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=1e-4), name
    assert set(unpadded) == {"false"}


# --- micro-batches ----------------------------------------------------------------------------


def update(trainer, counted) -> tuple[float, dict[str, float], dict[str, torch.Tensor]]:
    """What one batch's training step does, and what TRL logs of it."""
    trainer.current_gradient_accumulation_steps = 1
    batch = trainer.data_collator(list(trainer.train_dataset))
    loss = trainer.training_step(trainer.model, batch, num_items_in_batch=counted)
    named = trainer.model.named_parameters()
    gradients = {name: weight.grad for name, weight in named if weight.grad is not None}
    filed = trainer._metrics["train"]
    assert {len(values) for values in filed.values()} == {1}
    return loss.item(), {name: values[0] for name, values in filed.items()}, gradients


@pytest.mark.parametrize(
    ("lora", "settings"),
    [
        (None, {}),
        (LORA, {}),
        (None, {"loss_type": "dft"}),
        (None, {"label_smoothing_factor": 0.1}),
        (None, {"gradient_accumulation_steps": 2}),
    ],
    ids=["full", "lora", "dft", "label smoothing", "accumulated"],
)
def test_micro_batches_add_up_to_trls_batch(both, batch_shapes, monkeypatch, lora, settings):
    monkeypatch.setattr(batches, "MICRO_BATCH", 26)
    theirs, ours = both(lora=lora, **settings)
    seen = batch_shapes(below_adapters(ours.model))
    (loss, figures, gradients), (their_loss, their_figures, their_gradients) = (
        update(trainer, torch.tensor(50)) for trainer in (ours, theirs)
    )
    # 30; 15, 4 and 3; 11 and 9.
    if "label_smoothing_factor" not in settings:  # which asks for the logits in a pass of its own
        assert seen == [(1, 30), (2, 15), (2, 11)]
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert figures == pytest.approx(their_figures, rel=1e-5)
    assert gradients.keys() == their_gradients.keys() and gradients
    largest = max(gradient.abs().max() for gradient in their_gradients.values())
    for name, gradient in their_gradients.items():
        assert (gradients[name] - gradient).abs().max() < 1e-5 * largest, name


def test_a_loss_that_is_a_mean_is_not_parted(both, batch_shapes, monkeypatch):
    monkeypatch.setattr(batches, "MICRO_BATCH", 26)
    _, ours = both()
    seen = batch_shapes(ours.model)
    update(ours, None)
    assert seen == [(3, 30)]
