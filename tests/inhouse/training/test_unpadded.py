"""A batch laid out anew: hand-worked layouts, and where a model cannot run one."""

from types import SimpleNamespace

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from inhouse.training.unpadded import fill, largest_difference, lay_out, why_not

SHAPE = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
ENDS = {"bos_token_id": 0, "eos_token_id": 0}
# A pair: the prompt 5 6, answers 7 8 and 9; and a row on its own, of which two tokens are scored.
BATCH = {
    "input_ids": torch.tensor([[5, 6, 7, 8], [5, 6, 9, 0], [11, 12, 13, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]]),
    "labels": torch.tensor([[-100, -100, 7, 8], [-100, -100, 9, -100], [-100, 12, 13, -100]]),
}
ITEMS = [[(0, 0, 1), (0, 1, 4), (1, 1, 3)], [(2, 0, 3)]]
PLAIN = SimpleNamespace(torch_compile=False)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_a_pair_and_a_row_are_laid_out_as_drawn():
    layout = lay_out(BATCH["labels"], ITEMS)
    ids = BATCH["input_ids"].flatten()[layout.source]
    # prompt 5 | 6 7 8 | 6 9, and the row with three places of padding
    assert ids[0].tolist() == [5, 6, 7, 8, 6, 9]
    assert ids[1, :3].tolist() == [11, 12, 13]
    assert layout.position_ids[0].tolist() == [0, 1, 2, 3, 1, 2]
    assert layout.position_ids[1, :3].tolist() == [0, 1, 2]
    # Scored: 7 after the first 6, 8 after 7, 9 after the second 6, 12 after 11, 13 after 12.
    assert layout.scored.tolist() == [1, 2, 4, 6, 7]
    assert layout.sees[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 0, 0, 0, 1, 0],  # the rejected answer's 6 sees the prompt, and nothing of the chosen
        [1, 0, 0, 0, 1, 1],
    ]
    assert not layout.sees[1, 0, :3, 3:].any()  # no token sees padding
    assert layout.sees[1, 0].diagonal().all()  # and none sees nothing


def test_items_in_one_line_do_not_see_each_other():
    labels = torch.tensor([[-100, 1, 2, 3], [-100, 1, -100, -100], [-100, 1, -100, -100]])
    layout = lay_out(labels, [[(0, 0, 4)], [(1, 0, 2)], [(2, 0, 2)]])
    assert layout.source.tolist() == [[0, 1, 2, 3], [4, 5, 8, 9]]
    assert layout.sees[1, 0].int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 1],
    ]


def test_lines_are_filled_with_the_longest_first():
    # 9 alone; 6 with 3; 5 with 4: three lines of nine hold what five rows of nine would.
    assert fill([3, 9, 4, 6, 5]) == [[1], [3, 0], [4, 2]]
    assert fill([2, 2]) == [[0], [1]]


# --- where it does not hold -------------------------------------------------------------------


def qwen3(**more):
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=16, **more))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_model_that_heeds_positions_and_mask_can(attention):
    model = qwen3().train()
    model.set_attn_implementation(attention)
    assert largest_difference(model, BATCH, ITEMS) < 1e-5
    assert why_not(model, PLAIN, 4, BATCH, ITEMS) == ""
    assert model.training


OPT = {"vocab_size": 64, "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2}
OPT |= {"num_attention_heads": 4, "word_embed_proj_dim": 64, "init_std": 0.2, "pad_token_id": 1}
BLOOM = {"vocab_size": 64, "hidden_size": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
MISTRAL = SHAPE | {"sliding_window": 8}


@pytest.mark.parametrize(
    ("build", "longest", "says"),
    [
        (lambda: BloomForCausalLM(BloomConfig(**BLOOM, **ENDS)), 4, "BloomForCausalLM "),
        (lambda: MistralForCausalLM(MistralConfig(**MISTRAL)), 9, "attends to 8 tokens only"),
        (lambda: MistralForCausalLM(MistralConfig(**MISTRAL)), 8, ""),
        (lambda: MixtralForCausalLM(MixtralConfig(**SHAPE)), 4, "the experts of Mixtral"),
    ],
    ids=["alibi", "window", "within the window", "experts"],
)
def test_models_that_cannot_are_named_with_the_reason(build, longest, says):
    reason = why_not(build(), PLAIN, longest, BATCH, ITEMS)
    assert reason.startswith(says) if not says else says in reason, reason
    assert bool(reason) == bool(says), reason


def test_a_model_that_ignores_positions_is_found_out():
    model = qwen3()
    forward = model.forward
    model.forward = lambda position_ids=None, **rest: forward(**rest)
    assert "answers otherwise" in why_not(model, PLAIN, 4, BATCH, ITEMS)


def test_a_model_that_ignores_the_mask_is_found_out():
    model = qwen3()
    forward = model.forward
    model.forward = lambda attention_mask=None, **rest: forward(**rest)
    assert "answers otherwise" in why_not(model, PLAIN, 4, BATCH, ITEMS)


def test_another_back_end_and_compiling_are_named():
    model = qwen3()
    assert why_not(model, SimpleNamespace(torch_compile=True), 4, BATCH, ITEMS) == (
        "torch_compile is set"
    )
    model.set_attn_implementation("flex_attention")
    assert "flex_attention takes no mask" in why_not(model, PLAIN, 4, BATCH, ITEMS)


def test_opt_counts_positions_from_the_mask_and_may_not_go_unnoticed():
    model = OPTForCausalLM(OPTConfig(**OPT, **ENDS))
    reason = why_not(model, PLAIN, 4, BATCH, ITEMS)
    assert reason or largest_difference(model, BATCH, ITEMS) < 1e-5
