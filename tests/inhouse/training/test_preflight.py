"""What is looked at before a model trains."""

import copy
from contextlib import nullcontext

import pytest
import torch
from peft import LoraConfig
from transformers import AutoConfig, AutoModelForCausalLM

from inhouse.errors import InputError
from inhouse.records import positions
from inhouse.training.preflight import check_frozen_tokens, check_vocabulary, untrained_tokens

START, END = 2, 3  # <|im_start|> and <|im_end|> in the demonstration's tokenizer
EMBEDDINGS, HEAD = "model.embed_tokens", "lm_head"
ROWS = [[START, 50, 51, END], [START, 60, END]]


@pytest.fixture
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def set_rows(model, value, *tokens):
    with torch.no_grad():
        for token in tokens:
            model.get_input_embeddings().weight[token] = value


def test_a_record_stands_in_its_line_blank_ones_counted(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"a": 1}\n\n  \r\n{"a": 2}\n{"a": 3}')
    assert positions(path, 3) == ["line 1", "line 4", "line 5"]


def test_a_record_of_another_source_has_its_number(tmp_path):
    assert positions(tmp_path / "d.parquet", 2) == ["record 1", "record 2"]


def test_a_token_beyond_the_embeddings_is_refused(model):
    size = model.config.vocab_size
    check_vocabulary(model, [[0, size - 1]], "d.jsonl")
    with pytest.raises(InputError, match=f"ids up to {size}, .* embeddings for {size} tokens"):
        check_vocabulary(model, [[0, 1], [size]], "d.jsonl")


def test_random_rows_of_the_usual_length_pass(model, tokenizer):
    assert untrained_tokens(model, tokenizer, ROWS) == {}


def test_nil_mean_and_equal_rows_were_never_trained(model, tokenizer):
    weight = model.get_input_embeddings().weight.detach()
    for value in (torch.zeros(32), weight.mean(dim=0)):
        other = copy.deepcopy(model)
        set_rows(other, value, END)
        assert untrained_tokens(other, tokenizer, ROWS) == {EMBEDDINGS: [END]}
    set_rows(model, weight[100].clone(), START, END)
    assert untrained_tokens(model, tokenizer, ROWS) == {EMBEDDINGS: [START, END]}


def test_what_resize_adds_is_found(model, tokenizer):
    # transformers draws new rows around the mean with a covariance of 1e-9 of the others'.
    from tokenizers import AddedToken

    other = copy.deepcopy(tokenizer)
    other._tokenizer.add_special_tokens([AddedToken("<|turn|>", special=True)])
    model.resize_token_embeddings(len(tokenizer) + 1)
    new = other.convert_tokens_to_ids("<|turn|>")
    assert untrained_tokens(model, other, [[new, 50, END]]) == {EMBEDDINGS: [new]}


def test_only_control_tokens_that_the_rows_hold_count(model, tokenizer):
    set_rows(model, 0.0, 0, 200)  # <|endoftext|>, which no row holds, and a piece of a word
    assert untrained_tokens(model, tokenizer, [[*ROWS[0], 200]]) == {}


def test_a_head_of_its_own_must_know_the_end_token_and_no_other(tiny_model, tokenizer):
    # A turn's beginning is only ever read: no reply writes it.
    config = AutoConfig.from_pretrained(tiny_model, tie_word_embeddings=False)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    assert untrained_tokens(model, tokenizer, ROWS) == {}
    with torch.no_grad():
        model.get_output_embeddings().weight[[START, END]] = 0.0
    assert untrained_tokens(model, tokenizer, ROWS) == {HEAD: [END]}
    set_rows(model, 0.0, START)
    assert untrained_tokens(model, tokenizer, ROWS) == {EMBEDDINGS: [START], HEAD: [END]}


def test_new_tokens_below_frozen_embeddings_are_refused(model, tokenizer):
    model.requires_grad_(False)
    check_frozen_tokens(model, tokenizer, ROWS, "d.jsonl")
    set_rows(model, 0.0, END)
    with pytest.raises(InputError, match=r"never learned <\|im_end\|>.*d\.jsonl") as refused:
        check_frozen_tokens(model, tokenizer, ROWS, "d.jsonl")
    for way in ("--train_new_tokens", "--lora_modules_to_save embed_tokens", "--train_layers"):
        assert way in str(refused.value)
    model.requires_grad_(True)
    check_frozen_tokens(model, tokenizer, ROWS, "d.jsonl")


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, True),
        ({"modules_to_save": ["lm_head"]}, True),
        ({"modules_to_save": ["embed_tokens"]}, False),
        ({"trainable_token_indices": {EMBEDDINGS: [END]}}, False),
    ],
)
def test_a_new_adapter_must_train_the_matrix_itself(model, tokenizer, settings, refused):
    set_rows(model, 0.0, END)
    expected = pytest.raises(InputError, match="never learned") if refused else nullcontext()
    with expected:
        check_frozen_tokens(model, tokenizer, ROWS, "d.jsonl", LoraConfig(**settings))


def test_a_padding_that_is_chosen_is_said_and_the_length_is_what_the_model_takes(
    copy_of_tiny, capsys
):
    import json
    from types import SimpleNamespace

    from inhouse.training.preflight import tokenizer_for

    path = copy_of_tiny / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    for max_length, expected in ((1024, 512), (64, 64), (None, 512)):
        training = SimpleNamespace(max_length=max_length)
        assert tokenizer_for(str(copy_of_tiny), training)[1] == 512
        assert training.max_length == expected
    assert capsys.readouterr().out == ""
    path.write_text(json.dumps(settings | {"pad_token": settings["eos_token"]}))
    tokenizer, _ = tokenizer_for(str(copy_of_tiny), training)
    assert tokenizer.pad_token == "<|pad|>"
    assert capsys.readouterr().out == (
        "padding: <|pad|>, which nothing else uses (the model's own: <|im_end|>)\n"
    )
