"""``--train_layers``: what is named trains, all else stays as it was, bit for bit."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from inhouse.errors import InputError
from sft.layers import train_only_layers


@pytest.fixture
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def trained(model) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def below(model, *prefixes: str) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


@pytest.mark.parametrize(
    ("wanted", "prefixes", "said"),
    [
        ("last:1", ["model.layers.1."], "1 of layers 0 to 1; frozen: the other layers, embeddings"),
        ("0", ["model.layers.0."], "0 of layers 0 to 1; frozen: the other layers, embeddings, n"),
        ("last:2, norm", ["model.layers.", "model.norm."], "0, 1, norm of layers 0 to 1; frozen"),
        # Qwen3's tiny shape ties the head to the embeddings: one tensor, stated under both names.
        ("head", ["model.embed_tokens."], "embeddings, head of layers 0 to 1; frozen: the other"),
    ],
)
def test_what_is_named_trains_and_nothing_else(model, wanted, prefixes, said):
    assert train_only_layers(model, wanted).startswith(said)
    assert trained(model) == below(model, *prefixes)


def test_gpt2s_layers_and_norm_have_other_names():
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=3, n_head=2, bos_token_id=0)
    )
    train_only_layers(gpt2, "last:1,norm")
    assert trained(gpt2) == below(gpt2, "transformer.h.2.", "transformer.ln_f.")
    train_only_layers(gpt2, "embeddings")
    assert trained(gpt2) == below(gpt2, "transformer.wte.", "transformer.wpe.")


@pytest.mark.parametrize("wanted", ["last:3", "last:0", "2", "-1", "lm_head", "", "0,,1", "last:x"])
def test_a_part_that_the_model_has_not_is_refused(model, wanted):
    with pytest.raises(InputError, match="last:N with N from 1 to 2, layers from 0 to 1"):
        train_only_layers(model, wanted)
    assert trained(model) == {name for name, _ in model.named_parameters()}, "half frozen"


def test_layers_and_an_adapter_at_once_are_refused(refused, words, tmp_path):
    both = [*words, "--train_layers", "last:1", "--use_peft"]
    refused("sft.train", *both, says=["train_layers last:1", "use_peft"], run_dir=tmp_path / "x")


def test_layers_out_of_range_are_refused_before_anything_is_written(refused, words, tmp_path):
    wrong = [*words, "--train_layers", "last:3"]
    refused("sft.train", *wrong, says=["'last:3'", "N from 1 to 2"], run_dir=tmp_path / "x")


@pytest.mark.slow
def test_frozen_layers_stay_bit_for_bit_and_the_others_move(run_stage, words, tiny_model, tmp_path):
    ended = run_stage("sft.train", *words, "--train_layers", "last:1", "--run_dir", tmp_path)
    assert ended.code == 0, ended.err
    before = load_file(tiny_model / "model.safetensors")
    after = load_file(tmp_path / "sft" / "model.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith("model.layers.1.")}

    # One layer: q 32x32, k and v 32x16, o 32x32, gate, up and down 32x64; two norms of 32, and
    # those of queries and keys, 8 each.
    count = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32 + 2 * 8
    assert f"trains {count:,} of " in ended.out and "frozen: the other layers" in ended.out
    manifest = json.loads((tmp_path / "sft" / "manifest.json").read_text())
    assert manifest["config"]["train_layers"] == "last:1"
    assert manifest["metrics"]["trained_parameters"] == count


@pytest.mark.slow
def test_frozen_training_that_was_killed_equals_uninterrupted(
    run_command, run_stage, killed_at_checkpoint, words, tmp_path
):
    extra = ("--train_layers", "last:1", "--save_steps", "1", "--max_steps", "12")
    assert run_stage("sft.train", *words, *extra, "--run_dir", tmp_path / "straight").code == 0
    again = [*words, *extra, "--run_dir", str(tmp_path / "killed")]
    killed_at_checkpoint([sys.executable, "-m", "sft", *again], tmp_path / "killed" / "sft", 2)
    ended = run_command("sft", *again)
    assert ended.returncode == 0 and "going on from" in ended.stdout, ended.stderr
    one, other = (
        load_file(tmp_path / name / "sft" / "model.safetensors") for name in ("straight", "killed")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
