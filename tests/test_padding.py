"""Rows are masked by their lengths, never by an id: a model that pads with its end token learns
what the same model with a padding of its own learns, in every stage."""

import json

import pytest
import torch
from safetensors.torch import load_file

STEPS = (
    *("--max_steps", "2", "--per_device_train_batch_size", "4", "--learning_rate", "1e-2"),
    *("--gradient_accumulation_steps", "1", "--held_out_share", "0"),
)
LORA = ("--use_peft", "--lora_target_modules", "all-linear")


@pytest.fixture
def padded_with_its_end(copy_of_tiny):
    """The tiny model, told to pad with its end token, and nothing to spare."""
    path = copy_of_tiny / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["pad_token"] = settings["eos_token"]
    path.write_text(json.dumps(settings))
    for name in ("config.json", "generation_config.json"):
        stored = json.loads((copy_of_tiny / name).read_text())
        (copy_of_tiny / name).write_text(
            json.dumps(stored | {"pad_token_id": stored["eos_token_id"]})
        )
    # A token that the template names is none to spare.
    template = copy_of_tiny / "chat_template.jinja"
    template.write_text("{#- <|pad|> <|endoftext|> -#}" + template.read_text())
    return copy_of_tiny


def test_the_model_of_these_tests_pads_with_its_end_token(padded_with_its_end):
    from inhouse.models.load import load_tokenizer

    assert load_tokenizer(str(padded_with_its_end)).pad_token == "<|im_end|>"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "data", "words"),
    [
        ("sft.train", "demonstrations", STEPS),
        ("sft.train", "demonstrations", (*STEPS, "--pad_batches")),
        ("rlhf.dpo", "preferences", (*STEPS, "--answer_prompts", "0")),
        ("rlhf.dpo", "preferences", (*STEPS, "--answer_prompts", "0", *LORA)),
        ("rlhf.kto", "preferences", (*STEPS, "--answer_prompts", "0")),
    ],
    ids=["SFT", "SFT, padded", "DPO", "DPO, LoRA", "KTO"],
)
def test_padding_with_the_end_token_changes_nothing(
    module, data, words, request, run_stage, tiny_model, padded_with_its_end, write_lines, tmp_path
):
    records = request.getfixturevalue(data)
    path = write_lines(tmp_path / "records.jsonl", records)
    learned = []
    for model in (tiny_model, padded_with_its_end):
        run_dir = tmp_path / model.name
        ended = run_stage(
            *(module, "--model_name_or_path", model, "--dataset_name", path),
            *(*words, "--run_dir", run_dir),
        )
        assert ended.code == 0, ended.err
        stage = run_dir / ("sft" if module == "sft.train" else module.partition(".")[2])
        learned.append(load_file(next(stage.glob("*.safetensors"))))
    one, other = learned
    assert one.keys() == other.keys()
    for name, weights in one.items():
        assert torch.equal(weights, other[name]), name


def test_a_reward_model_without_a_padding_of_its_own_is_refused(
    run_stage, padded_with_its_end, preferences, write_lines, tmp_path
):
    path = write_lines(tmp_path / "prefs.jsonl", preferences)
    ended = run_stage(
        *("reward.train", "--model_name_or_path", padded_with_its_end),
        *("--dataset_name", path, "--run_dir", tmp_path / "x"),
    )
    assert ended.code == 3
    assert "no token to pad with but <|im_end|>" in ended.err
    assert not (tmp_path / "x").exists()


def test_sampling_and_scoring_do_not_look_for_padding(tiny_model, padded_with_its_end):
    from inhouse.chat import prompt_ids
    from inhouse.generation import sample
    from inhouse.models.load import load_causal_lm, load_tokenizer
    from inhouse.records import Message

    found = []
    for folder in (tiny_model, padded_with_its_end):
        tokenizer, model = load_tokenizer(str(folder)), load_causal_lm(str(folder))
        asked = ["What is the fee " + "number " * n for n in range(6)]
        rows = [prompt_ids(tokenizer, [Message(role="user", content=text)]) for text in asked]
        (batch,) = sample.replies(model, tokenizer, rows, max_new_tokens=12)
        pairs = [(rows[at], said[0].ids) for at, said in batch.items()]
        scores = sample.log_probabilities(model, pairs, pad_token_id=tokenizer.pad_token_id)
        found.append((batch, scores))
    assert found[0] == found[1]
