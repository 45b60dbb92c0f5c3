"""QLoRA: what is refused anywhere, and a run where there is a GPU and bitsandbytes."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from trl import ModelConfig

from inhouse.errors import InputError
from inhouse.models import quantised

RUNS_HERE = torch.cuda.is_available() and quantised.installed()


@pytest.fixture
def has(monkeypatch):
    """Pretend that bitsandbytes is installed or not, and that there is a GPU or none."""

    def pretend(*, package: bool, gpu: bool) -> None:
        monkeypatch.setattr(quantised, "installed", lambda: package)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    return pretend


def test_weights_that_would_train_themselves_are_not_rounded(has):
    has(package=True, gpu=True)
    quantised.check(adapter=True)
    with pytest.raises(InputError, match="add --use_peft"):
        quantised.check(adapter=False)


def test_what_is_missing_is_named_with_the_way_to_get_it(has):
    has(package=False, gpu=True)
    with pytest.raises(InputError, match=r"bitsandbytes.*pip install -e '\.\[qlora\]'"):
        quantised.check(adapter=True)
    for package in (True, False):  # without a GPU there is nothing to install for
        has(package=package, gpu=False)
        with pytest.raises(InputError, match=r"needs a GPU.*LoRA without it"):
            quantised.check(adapter=True)


def test_pieces_are_not_rounded(has, monkeypatch):
    has(package=True, gpu=True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match=r"FSDP: use configs/accelerate/ddp\.yaml"):
        quantised.check(adapter=True)


@pytest.mark.parametrize("module", ["sft.train", "rlhf.dpo", "reward.train"])
def test_the_stages_say_so_before_anything_is_written(
    refused, has, tiny_model, demonstrations, preferences, write_lines, tmp_path, module
):
    has(package=True, gpu=False)
    rows = demonstrations if module == "sft.train" else preferences
    data = write_lines(tmp_path / "d.jsonl", rows)
    words = ("--model_name_or_path", tiny_model, "--dataset_name", data, "--load_in_4bit")
    says = ["load_in_4bit", "needs a GPU" if module == "sft.train" else "`python -m sft` only"]
    refused(module, *words, "--use_peft", says=says, run_dir=tmp_path / "x")


def test_it_is_computed_in_the_type_of_autocast():
    asked = ModelConfig(load_in_4bit=True, use_bnb_nested_quant=True)
    assert quantised.config(ModelConfig(), SimpleNamespace(bf16=True)) is None
    half = quantised.config(asked, SimpleNamespace(bf16=True))
    assert half.bnb_4bit_compute_dtype == torch.bfloat16
    assert half.bnb_4bit_quant_type == "nf4" and half.bnb_4bit_use_double_quant
    whole = quantised.config(asked, SimpleNamespace(bf16=False))
    assert whole.bnb_4bit_compute_dtype == torch.float32


@pytest.mark.slow
@pytest.mark.skipif(
    not RUNS_HERE, reason="no GPU or no bitsandbytes: QLoRA was not run here, only its refusals"
)
def test_an_adapter_learns_beside_weights_in_four_bits(
    run_stage, tiny_model, demonstrations, write_lines, tmp_path
):
    data = write_lines(tmp_path / "d.jsonl", demonstrations)
    words = (
        *("--model_name_or_path", tiny_model, "--dataset_name", data, "--load_in_4bit"),
        *("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear"),
        *("--max_steps", "8", "--learning_rate", "1e-2", "--gradient_accumulation_steps", "1"),
        *("--logging_steps", "1", "--held_out_share", "0.2", "--run_dir", tmp_path / "x"),
    )
    ended = run_stage("sft.train", *words)
    assert ended.code == 0, ended.err
    folder = tmp_path / "x" / "sft"
    saved = load_file(folder / "adapter_model.safetensors")
    learned = [tensor for name, tensor in saved.items() if "lora_B" in name]
    assert len(learned) == 2 * 7 and all(tensor.abs().sum() > 0 for tensor in learned)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["parameters"] > metrics["trained_parameters"] > 0

    # On the weights as they are on disk the adapter helps too, and a stage finds it by itself.
    from inhouse.models.load import load_causal_lm, load_tokenizer

    ids = torch.tensor([load_tokenizer(str(folder))("Thank you.").input_ids])
    model = load_causal_lm(str(folder)).eval()
    with torch.no_grad(), model.disable_adapter():
        before = model(ids, labels=ids).loss
    with torch.no_grad():
        assert model(ids, labels=ids).loss < before
