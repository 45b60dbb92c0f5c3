"""Chat tokens that the model never learned: an adapter trains around them, or trains them too."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from inhouse.errors import InputError
from inhouse.models.load import load_causal_lm, save_model
from sft import load

LORA = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear")
NEW = (*LORA, "--train_new_tokens")
WHOLE = (*LORA, "--lora_modules_to_save", "embed_tokens")
ROW = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"


@pytest.fixture
def unlearned(copy_of_tiny, tokenizer):
    """A model whose end token has an embedding of nought; embeddings and head are one tensor."""
    model = AutoModelForCausalLM.from_pretrained(copy_of_tiny)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.eos_token_id] = 0
    model.save_pretrained(copy_of_tiny)
    return copy_of_tiny


@pytest.fixture
def of_unlearned(words, unlearned):
    """The flags of a run of four steps on that model."""
    return [*words, "--model_name_or_path", str(unlearned)]


@pytest.mark.parametrize(
    "frozen", [LORA, ("--train_layers", "last:1"), (*LORA, "--lora_modules_to_save", "lm_head")]
)
def test_training_around_them_stops_with_the_ways_out(refused, of_unlearned, tmp_path, frozen):
    says = ["never learned <|im_end|>", "mine.jsonl", "--train_new_tokens", "--lora_modules_to_s"]
    refused("sft.train", *of_unlearned, *frozen, says=says, run_dir=tmp_path / "x")


def test_rows_train_beside_an_adapter_or_not_at_all(refused, words, tmp_path):
    says = ["train_new_tokens", "--use_peft"]
    refused("sft.train", *words, "--train_new_tokens", says=says, run_dir=tmp_path / "x")


def test_a_head_with_a_bias_is_refused(tokenizer):
    # peft computes such a head without its bias, and says nothing.
    head = torch.nn.Linear(4, 4, bias=True)
    model = SimpleNamespace(get_output_embeddings=lambda: head)
    with pytest.raises(InputError, match="whose head has a bias"):
        load.add_new_tokens(model, None, tokenizer, None)


@pytest.mark.slow
def test_a_model_that_knows_its_tokens_gets_no_rows(run_stage, words, tmp_path):
    ended = run_stage("sft.train", *words, *NEW, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    assert "the model knows every control token" in ended.out
    config = json.loads((tmp_path / "x" / "sft" / "adapter_config.json").read_text())
    assert config["trainable_token_indices"] is None


@pytest.mark.slow
@pytest.mark.parametrize("method", [NEW, WHOLE], ids=["their rows", "every row"])
def test_they_are_trained_saved_merged_and_aligned_from(
    run_stage, of_unlearned, unlearned, tokenizer, preferences, write_lines, tmp_path, method
):
    ended = run_stage("sft.train", *of_unlearned, *method, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    folder, end = tmp_path / "x" / "sft", tokenizer.eos_token_id
    ids = torch.tensor([[*tokenizer("What is fee 3?").input_ids, end]])

    def logits(model) -> torch.Tensor:
        with torch.no_grad():
            return model.eval()(ids).logits

    # In plain peft: the end token is read and written by what it learned, not by noughts.
    trained = AutoPeftModelForCausalLM.from_pretrained(folder)
    row = trained.get_input_embeddings().weight[end]
    assert row.abs().sum() > 0
    expected = logits(trained)
    assert expected[0, -1, end] != 0
    if method == NEW:
        assert "rows that train in model.embed_tokens: <|im_end|>" in ended.out
        saved = load_file(folder / "adapter_model.safetensors")
        assert torch.equal(saved[ROW], row[None]) and "embed" not in "".join(saved.keys() - {ROW})
        base = load_file(unlearned / "model.safetensors")["model.embed_tokens.weight"]
        others = [token for token in range(len(base)) if token != end]
        assert torch.equal(trained.get_input_embeddings().weight[others], base[others])

    # What vLLM has not is merged first, as the card says; and the merge says the same.
    line = re.search(r"```sh\n(.*)", (folder / "README.md").read_text())[1]
    assert line.startswith("python -m inhouse.models merge . ") and "vLLM has no" in line
    merged = ("merge", folder, "--output_dir", tmp_path / "merged")
    assert run_stage("inhouse.models.__main__", *merged).code == 0
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.allclose(logits(whole), expected, atol=1e-4)

    # Alignment starts from what was trained, rows included, and keeps it as its reference.
    data = write_lines(tmp_path / "p.jsonl", preferences)
    aligned = run_stage(
        *("rlhf.dpo", "--run_dir", tmp_path / "x", "--dataset_name", data, "--max_steps", "2"),
        *("--learning_rate", "1e-3", "--gradient_accumulation_steps", "1", "--logging_steps", "1"),
        *("--answer_prompts", "0"),
    )
    assert aligned.code == 0, aligned.err
    metrics = json.loads((tmp_path / "x" / "dpo" / "metrics.json").read_text())
    assert metrics["reference/start_gap"] < 1e-3


def test_a_second_adapter_begins_with_the_rows_of_the_first(unlearned, tokenizer, tmp_path):
    # TRL's reference is a copy of the adapter without its rows, see inhouse.models.
    from peft import LoraConfig, get_peft_model

    end = tokenizer.eos_token_id
    lora = LoraConfig(target_modules="all-linear", trainable_token_indices=[end])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(unlearned), lora)
    rows = model.get_input_embeddings().token_adapter.trainable_tokens_delta["default"]
    torch.nn.init.ones_(rows)
    save_model(model, tokenizer, tmp_path / "adapter")
    again = load_causal_lm(str(tmp_path / "adapter"), trainable=True)
    assert isinstance(again, PeftModel)
    again.add_adapter("ref", again.peft_config["default"])
    again.set_adapter("ref")
    assert torch.equal(again.get_input_embeddings().weight[end], torch.ones(32))
