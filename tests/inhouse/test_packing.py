"""Packed rows must not see each other, and where they would, packing is refused."""

import copy

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.utils import is_flash_attn_2_available

from inhouse.errors import InputError
from inhouse.packing import check_no_leak, largest_difference

ROWS = [[5, 6, 7, 8, 9], [20, 21, 22], [30, 31, 32, 33]]
SHAPE = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
GPT2 = {"vocab_size": 64, "n_embd": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
ENDS = {"bos_token_id": 0, "eos_token_id": 0}
BUILD = {
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=16)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**SHAPE, head_dim=16)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2, **ENDS)),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("attention", ["sdpa", "eager", "flash_attention_2"])
@pytest.mark.parametrize("name", BUILD)
def test_a_row_has_the_same_logits_packed_and_alone(name, attention):
    model = BUILD[name]()
    if attention == "flash_attention_2":
        if not (is_flash_attn_2_available() and torch.cuda.is_available()):
            pytest.skip("flash_attention_2 is not installed, or there is no GPU for it")
        model = model.to("cuda", torch.bfloat16)
    model.set_attn_implementation(attention)
    check_no_leak(model, ROWS)
    if attention != "flash_attention_2":
        assert largest_difference(model, ROWS) < 1e-5


def test_the_measure_sees_a_leak():
    # The same rows as one conversation: every row but the first sees what stands before it.
    model = BUILD["qwen3"]()
    other = copy.deepcopy(model)
    forward = other.forward

    def ignoring(input_ids, position_ids=None, **rest):
        for key in ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx"):
            rest.pop(key, None)
        return forward(input_ids, **rest)

    other.forward = ignoring
    assert largest_difference(model, ROWS) < 1e-5 < 0.05 < largest_difference(other, ROWS)
    with pytest.raises(InputError, match="attention sdpa leaks between packed rows"):
        check_no_leak(other, ROWS)


OPT = {"vocab_size": 64, "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2}
OPT |= {"num_attention_heads": 4, "word_embed_proj_dim": 64, "init_std": 0.2}
BLOOM = {"vocab_size": 64, "hidden_size": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}


@pytest.mark.parametrize(
    "build",
    [
        lambda: OPTForCausalLM(OPTConfig(**OPT, pad_token_id=1, **ENDS)),
        lambda: BloomForCausalLM(BloomConfig(**BLOOM, **ENDS)),
    ],
    ids=["opt", "bloom"],
)
def test_architectures_that_do_leak_are_refused(build):
    # Both ignore position ids when they build their masks: found by this check, not known to it.
    with pytest.raises(InputError, match=r"leaks between packed rows.*leave --packing out"):
        check_no_leak(build(), ROWS)


def test_the_model_is_left_in_the_mode_it_was_in():
    model = BUILD["qwen3"]().train()
    largest_difference(model, ROWS)
    assert model.training
