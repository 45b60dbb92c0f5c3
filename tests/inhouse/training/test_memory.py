"""Whether a run fits: the formula against what torch keeps, and the settings that would fit."""

import dataclasses
import time
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from inhouse.errors import InputError
from inhouse.training import memory
from inhouse.training.batches import Rows
from inhouse.training.memory import Load, Measured, check_estimate, load_of, settings_that_fit
from inhouse.training.unpadded import each_row, lay_out, model_inputs

# Two layers, hidden 10, inner 20, two heads, four bytes a value; 4 rows of 128 tokens are 512.
# A layer saves 512 * (14 * 10 + 3.5 * 20) = 107,520 values: 430,080 bytes, two of them 860,160.
LOAD = Load(
    weights=10_000,
    trained=10_000,
    layers=2,
    hidden=10,
    inner=20,
    heads=2,
    value=4,
    eager=False,
    checkpointing=False,
    batch=4,
    accumulation=1,
    length=128,
)


def test_the_formula_by_hand():
    assert LOAD.activations == 860_160
    assert LOAD.total == 10_000 + 3 * 10_000 + 860_160
    # The attention matrix: 4 rows, 2 heads, 128 x 128 values of 4 bytes, in two layers.
    eager = dataclasses.replace(LOAD, eager=True)
    assert eager.activations == 860_160 + 2 * 4 * 4 * 2 * 128 * 128
    # Two layers' inputs, 512 x 10 values each, and one layer whole.
    assert dataclasses.replace(LOAD, checkpointing=True).activations == 4 * 2 * 5120 + 430_080
    # Pairs: eight rows. With a mask, for each of 512 tokens 128 values more, in two layers.
    assert dataclasses.replace(LOAD, computed=2.0).activations == 2 * 860_160
    assert dataclasses.replace(LOAD, masked=True).activations == 860_160 + 2 * 4 * 512 * 128
    # Four pairs laid in two lines of 192: 384 tokens. 2 * 4 * (384 * 210 + 384 * 192).
    laid = dataclasses.replace(LOAD, computed=0.75, widened=1.5, masked=True)
    assert laid.tokens == 384
    assert laid.activations == 2 * 4 * (384 * 210 + 384 * 192)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("laid", [False, True])
def test_the_formula_is_near_what_torch_saves_for_the_backward_pass(
    build, architecture, attention, laid
):
    assert_near(build(architecture), attention, laid)


@pytest.mark.parametrize("laid", [False, True])
def test_and_near_it_for_the_widths_of_a_grown_model(laid):
    # SmolLM2-135M's, two of its thirty layers, and a vocabulary that the layers do not see.
    config = LlamaConfig(
        **{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 2, "head_dim": 64},
        **{"num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 64},
    )
    assert_near(LlamaForCausalLM(config), "sdpa", laid)


def assert_near(model, attention: str, laid: bool) -> None:
    """The formula is within a factor of 1.4 of what a forward pass keeps for the backward pass."""
    model.set_attn_implementation(attention)
    training = SimpleNamespace(
        bf16=False,
        fp16=False,
        activation_checkpointing=False,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
    )
    lengths = [96, 50, 40, 6]  # four rows of 96 with their padding, two without: 96; 50 + 40 + 6
    rows = Rows(lengths, laid=lengths if laid else ())
    load = load_of(model, training, trained=sum(p.numel() for p in model.parameters()), rows=rows)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def note(tensor):
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor  # held, so that its place is not given to another
        return tensor

    ids = torch.randint(0, 64, (4, 96), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(96) < torch.tensor(lengths)[:, None]).long()
    given = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    if laid:
        given = model_inputs(model, ids, lay_out(ids, each_row(mask, ids)))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.train().base_model(**given)
    assert load.tokens == given["input_ids"].numel()
    saved = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert saved / 1.4 < load.activations < saved * 1.4
    assert load.weights == sum(4 * weight.numel() for weight in model.parameters())


def test_what_fits_is_not_refused():
    check_estimate(LOAD, LOAD.total)


def test_what_does_not_fit_names_the_settings_that_would():
    with pytest.raises(InputError) as refusal:
        check_estimate(LOAD, 480_000)
    # Checkpointing: 40,000 + 40,960 + 430,080 = 511,040, too much. Two rows: 40,000 + 430,080.
    # LoRA saves 29,400 of 900,160. 64 tokens: 40,000 + 430,080.
    assert "about 0.00 GiB for a batch of 4 rows of 128 tokens" in str(refusal.value)
    assert settings_that_fit(LOAD, 480_000) == [
        "--per_device_train_batch_size 2 --gradient_accumulation_steps 2",
        "--max_length 64 --leave_out_long",
    ]
    assert all(setting in str(refusal.value) for setting in settings_that_fit(LOAD, 480_000))
    assert settings_that_fit(LOAD, 520_000)[0] == "--activation_checkpointing true"


def test_lora_is_named_where_the_optimiser_is_what_does_not_fit():
    heavy = dataclasses.replace(LOAD, weights=1_000_000, trained=1_000_000)
    assert settings_that_fit(heavy, 2_000_000) == ["--use_peft"]


def test_settings_are_put_together_only_where_none_is_enough():
    heavy = dataclasses.replace(LOAD, weights=1_000_000, trained=1_000_000)
    # 1,000,000 + 60,000 for LoRA, and of one row 2 * 4 * 1,280 + 107,520 for activations.
    assert settings_that_fit(heavy, 1_180_000) == [
        "--activation_checkpointing true --use_peft --per_device_train_batch_size 1 "
        "--gradient_accumulation_steps 4"
    ]


def test_nothing_fits_where_the_weights_do_not():
    with pytest.raises(InputError, match="no batch size or length would: start from a smaller"):
        check_estimate(LOAD, 9_000)


def test_free_memory_is_that_of_this_machine():
    assert 2**20 < memory.free_bytes() < 2**50


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("a GPU's own memory is what counts there")
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "memory.max")
    assert memory.free_bytes() == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes() > 2**20


def test_micro_batches_are_what_a_load_is_reckoned_from(build):
    training = SimpleNamespace(
        bf16=False,
        fp16=False,
        activation_checkpointing=False,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
    )
    rows = Rows([500] * 20, laid=[500] * 20, parted=True)
    load = load_of(build("llama"), training, trained=1000, rows=rows)
    # Eight rows in four groups of two: 1,000 tokens at once, and sixteen records are eight groups.
    assert (load.batch, load.accumulation, load.tokens) == (2, 8, 1000)
    assert "--per_device_train_batch_size 1 --gradient_accumulation_steps 16" in settings_that_fit(
        load, load.total - 1
    )


# --- the longest batch, tried -----------------------------------------------------------------


LENGTHS = Rows([4, 30, 8, 20, 12, 16])


@pytest.fixture
def trainer(tiny_model, tokenizer, tmp_path):
    import datasets
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    args = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        per_device_train_batch_size=2,
        report_to=[],
    )
    rows = [{"input_ids": [5] * n, "labels": [5] * n} for n in LENGTHS.lengths]
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        args=args,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def test_the_longest_batch_is_tried_and_leaves_no_trace(trainer, batch_shapes):
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    rows = list(trainer.train_dataset)
    load = load_of(trainer.model, trainer.args, trained=1000, rows=LENGTHS)
    generator = torch.get_rng_state()
    seen = batch_shapes(trainer.model)
    measured = memory.measure(trainer, rows, load, LENGTHS)
    # The shortest row, then the rows of 30 and 20, for the memory. The batches are 4 and 30, 8 and
    # 20, 12 and 16: the one of the median size is the second, for the time.
    assert seen == [(1, 4), (2, 30), (2, 20)]
    assert measured.tokens == 2 * 20
    assert measured.seconds > 0 and measured.peak > 2**20
    assert torch.equal(torch.get_rng_state(), generator)
    for name, weight in trainer.model.named_parameters():
        assert weight.grad is None and torch.equal(weight, before[name])
    assert not trainer._metrics["train"] and trainer._total_train_tokens == 0
    assert "30 tokens" in memory.lines(load, measured)[1]


def test_the_first_pass_of_a_process_is_not_what_is_timed(trainer, monkeypatch):
    compute, waits = trainer.compute_loss, [5.0]

    def slow_at_first(*given, **named):
        time.sleep(waits.pop() if waits else 0.0)
        return compute(*given, **named)

    monkeypatch.setattr(trainer, "compute_loss", slow_at_first)
    load = load_of(trainer.model, trainer.args, trained=1000, rows=LENGTHS)
    assert memory.measure(trainer, list(trainer.train_dataset), load, LENGTHS).seconds < 5.0
    assert not waits


def test_a_batch_that_runs_out_of_memory_names_the_settings_that_would_fit(trainer, monkeypatch):
    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(trainer, "compute_loss", full)
    # The weights are in memory already when it is tried: 480,000 in all, as above.
    monkeypatch.setattr(memory, "free_bytes", lambda: 470_000)
    with pytest.raises(
        InputError, match=r"ran out of memory for a batch of 4.*batch_size 2 --grad"
    ):
        memory.measure(trainer, list(trainer.train_dataset), LOAD, LENGTHS)


def test_moments_that_do_not_fit_beside_it_are_refused(trainer, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 19_999)
    with pytest.raises(InputError, match=r"Adam's moments take 0\.00 GiB more"):
        memory.measure(trainer, list(trainer.train_dataset), LOAD, LENGTHS)


def test_the_lines_of_the_plan_add_up():
    first, second = memory.lines(LOAD, Measured(0.5, 3 * 2**30, 512))
    assert first.startswith("memory ") and "by formula (weights" in first
    assert (
        "3.00 GiB at most" in second
        and "longest 4 rows that run at once, of up to 128 tokens" in second
    )
