"""The tokenizer, the chat template, and the committed model: small, loadable, ends its replies."""

import hashlib
import json
import random
from pathlib import Path

import pytest
from transformers import AutoTokenizer

import examples.asdfg
from compliance.rules import house_rules
from examples.asdfg import base, corpus, dialogues, measure
from examples.asdfg.tokenizer import train_tokenizer
from inhouse.models.load import load_causal_lm

MODEL = Path(examples.asdfg.__file__).parent / "model"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def tokenizer():
    """Return the committed tokenizer."""
    return AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def conversation():
    """Return one conversation with two replies."""
    rng = random.Random(2)
    while True:
        drawn, replies = dialogues.demonstration(rng)
        if len(replies) == 2:
            return drawn.messages(replies)


def test_tokenizer_gives_text_back(tokenizer):
    rng = random.Random(4)
    texts = [m["content"] for _ in range(50) for m in corpus.base_dialogue(rng)]
    for text in [*texts, "Größe: 5,25 % — naïve 🚀\n\ttab", "x" * 50]:
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_special_tokens_are_apart(tokenizer):
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id not in (0, tokenizer.eos_token_id, None)
    assert len(tokenizer("<|im_start|><|im_end|><|pad|>").input_ids) == 3


def test_digits_are_single_tokens(tokenizer):
    ids = tokenizer(" 12.50%").input_ids
    digits = [tokenizer.decode([i]) for i in ids if any(c.isdigit() for c in tokenizer.decode([i]))]
    assert digits == ["1", "2", "5", "0"]


def test_generation_mask_covers_exactly_replies_with_their_end(tokenizer, conversation):
    out = tokenizer.apply_chat_template(
        conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(out["input_ids"], out["assistant_masks"], strict=True)
    masked = tokenizer.decode([token for token, kept in pairs if kept])
    replies = [m["content"] for m in conversation if m["role"] == "assistant"]
    assert masked == "".join(reply + "<|im_end|>" for reply in replies)


def test_prompt_is_a_prefix_of_prompt_with_reply(tokenizer, conversation):
    prompt = tokenizer.apply_chat_template(
        conversation[:2], add_generation_prompt=True, return_dict=False
    )
    whole = tokenizer.apply_chat_template(conversation[:3], return_dict=False)
    assert whole[: len(prompt)] == prompt


def test_corpus_encodes_as_the_template_does(tokenizer, conversation):
    out = tokenizer.apply_chat_template(
        conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    document = corpus.encode(tokenizer, conversation)
    assert document.ids == out["input_ids"]
    assert document.supervised == [bool(kept) for kept in out["assistant_masks"]]


def test_folder_is_small_and_holds_no_pickles():
    names = {path.name for path in MODEL.iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja", "training.json",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 12 * MEGABYTE


def test_training_record_names_the_files_by_hash():
    record = json.loads((MODEL / "training.json").read_text())
    for name, digest in record["sha256"].items():
        assert hashlib.sha256((MODEL / name).read_bytes()).hexdigest() == digest, name


def test_generation_settings_do_not_narrow_sampling(tokenizer):
    settings = json.loads((MODEL / "generation_config.json").read_text())
    assert (settings["temperature"], settings["top_k"], settings["top_p"]) == (1.0, 0, 1.0)
    assert settings["eos_token_id"] == tokenizer.eos_token_id
    assert settings["pad_token_id"] == tokenizer.pad_token_id


def test_training_record_names_the_corpus_by_hash(tokenizer):
    """The committed generator still makes the very tokens that the committed weights learned."""
    record = json.loads((MODEL / "training.json").read_text())
    options = base.Options(**record["options"])
    assert options == base.Options()
    assert base.corpus_hash(tokenizer, options) == record["corpus_sha256"]


@pytest.mark.slow
def test_the_committed_model_copies_unseen_names_and_ends_its_replies(tokenizer):
    model = load_causal_lm(str(MODEL))
    rng = random.Random(6)
    drawn = [dialogues.prompt(rng, measure.SLICES["development_names"]) for _ in range(100)]
    replies = measure.answer(model, tokenizer, [messages for messages, _ in drawn], seed=0)
    rules = house_rules.load(measure.RULES)
    found = measure.rates([ask for _, ask in drawn], replies, rules)
    assert found["end_token"] >= 0.95
    assert found["helpful"] >= 0.7
    assert found["tone_violation"] > 0.2 and found["any_violation"] > 0.2  # mixed manners


def tiny_training(folder, checkpoint, steps, stop_at=None):
    """Train a tiny model, optionally killed at a step; return its weights."""
    options = base.Options(
        steps=steps, batch_size=2, small_steps=2, vocabulary_size=320, tokenizer_dialogues=50,
        hidden_size=64, intermediate_size=64, layers=1, warmup_steps=2,
    )  # fmt: skip
    texts = corpus.tokenizer_texts(options.seed, options.tokenizer_dialogues)
    small = train_tokenizer(texts, options.vocabulary_size, options.max_length)
    model = base.build_model(options, small)
    if stop_at is not None:
        with pytest.MonkeyPatch.context() as patch:
            drawn = corpus.batch

            def killed(tokenizer, seed, step, *rest):
                if step == stop_at:
                    raise KeyboardInterrupt
                return drawn(tokenizer, seed, step, *rest)

            patch.setattr(corpus, "batch", killed)
            with pytest.raises(KeyboardInterrupt):
                base.train(model, small, options, checkpoint, checkpoint_every=1)
        return None
    done = base.train(model, small, options, checkpoint, checkpoint_every=1)
    base.save_model(model, small, folder)
    base.write_training_record(folder, options, base.corpus_hash(small, options), done)
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_base_training_resumes_to_the_same_weights(tmp_path):
    whole = tiny_training(tmp_path / "a", tmp_path / "a.pt", steps=4)
    tiny_training(tmp_path / "b", tmp_path / "b.pt", steps=4, stop_at=2)
    assert tiny_training(tmp_path / "b", tmp_path / "b.pt", steps=4) == whole
    record = json.loads((tmp_path / "b" / "training.json").read_text())
    assert record["step"] == 4 and set(record["sha256"]) >= {"model.safetensors", "tokenizer.json"}


def test_checkpoint_of_other_options_is_refused(tmp_path):
    tiny_training(tmp_path / "a", tmp_path / "a.pt", steps=2)
    with pytest.raises(ValueError, match="other options"):
        tiny_training(tmp_path / "a", tmp_path / "a.pt", steps=3)
