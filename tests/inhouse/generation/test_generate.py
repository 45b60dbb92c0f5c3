"""Sampling and log-probabilities: against one prompt at a time, and from the whole distribution."""

import copy
import math

import pytest
import torch
from transformers import GenerationConfig

from inhouse.errors import InputError
from inhouse.generation import decode, sample
from inhouse.generation.decode import ROOM, answers
from inhouse.generation.sample import log_probabilities, pad_left
from inhouse.models.load import load_causal_lm
from inhouse.special_tokens import stop_ids


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_causal_lm(str(tiny_model)).eval()


@pytest.fixture(scope="module")
def ids(tokenizer):
    """Token ids of seven prompts of different lengths, the longest first."""
    texts = ["What is the fee of it? " * n for n in (6, 1, 4, 1, 2, 3, 5)]
    return [tokenizer(text).input_ids for text in texts]


def replies(*args, **settings) -> dict[int, list]:
    found: dict[int, list] = {}
    for batch in sample.replies(*args, **settings):
        assert not batch.keys() & found.keys()
        found |= batch
    return found


# --- log-probabilities ------------------------------------------------------------------------


def alone(model, prompt: list[int], reply: list[int]) -> float:
    """The same figure without padding and without a batch, token by token."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + reply])).logits[0]
    logps = torch.log_softmax(logits.double(), dim=-1)
    return sum(logps[len(prompt) + k - 1, token].item() for k, token in enumerate(reply))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_log_probabilities_equal_those_of_one_row_at_a_time(model, ids, tokenizer, batch_size):
    pairs = [(ids[n], [*ids[-1 - n][: n + 1], tokenizer.eos_token_id]) for n in range(7)]
    found = log_probabilities(
        model, pairs, pad_token_id=tokenizer.pad_token_id, batch_size=batch_size
    )
    assert found == pytest.approx([alone(model, *pair) for pair in pairs], abs=1e-5, rel=1e-6)


def test_the_probabilities_of_all_next_tokens_sum_to_one(model, ids, tokenizer):
    vocabulary = model.config.vocab_size
    pairs = [(ids[1], [token]) for token in range(vocabulary)]
    found = log_probabilities(
        model, pairs, pad_token_id=tokenizer.pad_token_id, batch_size=vocabulary
    )
    assert math.fsum(map(math.exp, found)) == pytest.approx(1, abs=1e-5)


def test_a_reply_without_tokens_is_certain(model, ids, tokenizer):
    pad = tokenizer.pad_token_id
    pairs = [(ids[0], []), (ids[1], ids[2])]
    assert log_probabilities(model, pairs, pad_token_id=pad)[0] == 0.0


def test_padding_inside_a_reply_counts_like_any_token(model, ids, tokenizer):
    # The mask is made from lengths: a sampled padding token is a token.
    pad = tokenizer.pad_token_id
    pair = (ids[1], [5, pad, 7])
    longer = (ids[0], [5])
    found = log_probabilities(model, [pair, longer], pad_token_id=pad)
    assert found[0] == pytest.approx(alone(model, *pair), abs=1e-4)


def test_padding_goes_to_the_left():
    ids, mask = pad_left([[5], [6, 7, 8]], 1)
    assert ids.tolist() == [[1, 1, 5], [6, 7, 8]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]


# --- sampling ---------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_replies_and_another_gives_others(model, tokenizer, ids):
    settings = {"samples": 2, "max_new_tokens": 8, "batch_size": 3}
    one = replies(model, tokenizer, ids, seed=4, **settings)
    torch.rand(5)  # whatever else drew in between
    assert replies(model, tokenizer, ids, seed=4, **settings) == one
    assert replies(model, tokenizer, ids, seed=5, **settings) != one
    assert set(one) == set(range(7)) and {len(found) for found in one.values()} == {2}
    assert all(found[0].ids != found[1].ids for found in one.values())


def test_a_row_draws_the_same_whenever_the_others_end(model, tokenizer, ids, monkeypatch):
    often = [*range(0, model.config.vocab_size, 15), tokenizer.eos_token_id]
    monkeypatch.setattr(model, "generation_config", GenerationConfig(eos_token_id=often))
    settings = {"samples": 6, "max_new_tokens": 40, "batch_size": 4, "seed": 4}
    found = replies(model, tokenizer, ids, **settings)
    lengths = {len(reply.ids) for said in found.values() for reply in said}
    assert len(lengths) > 10  # they end at many times
    monkeypatch.setattr(sample, "LEFT", -1.0)  # none is ever taken out
    assert replies(model, tokenizer, ids, **settings) == found


def test_draws_are_those_of_multinomial():
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(8)
    expected = [torch.multinomial(torch.softmax(logits / 0.7, -1), 1) for _ in range(20)]
    torch.manual_seed(8)
    drawn = [decode._draw(logits, 0.7, 5, slice(None)) for _ in range(20)]
    assert torch.equal(torch.stack(drawn), torch.stack(expected))


def test_going_on_gives_what_an_uninterrupted_run_gives(model, tokenizer, ids):
    settings = {"samples": 2, "max_new_tokens": 4, "batch_size": 2, "seed": 4}
    whole = replies(model, tokenizer, ids, **settings)
    batches = list(sample.replies(model, tokenizer, ids, **settings))
    done = set(batches[0]) | set(batches[1])
    assert len(done) == 4
    rest = replies(model, tokenizer, ids, done=done, **settings)
    assert rest == {index: whole[index] for index in whole if index not in done}
    # A batch that was written down in part is sampled whole again, with the same replies.
    torn = done - {min(done)}
    again = replies(model, tokenizer, ids, done=torn, **settings)
    assert min(done) in again
    assert all(whole[index] == found for index, found in again.items())


@pytest.mark.parametrize("name", ["qwen3", "llama", "gemma3_text", "gpt2"])
def test_greedy_replies_are_those_of_transformers_one_prompt_at_a_time(build, name, tokenizer, ids):
    model = build(name, len(tokenizer), seed=1).eval()
    stops = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig(**stops)
    settings = {"samples": 2, "max_new_tokens": 12, "batch_size": 4, "temperature": 0}
    found = replies(model, tokenizer, ids, **settings)
    for index, prompt in enumerate(ids):
        alone = model.generate(
            input_ids=torch.tensor([prompt]), max_new_tokens=12, do_sample=False, **stops
        )
        expected = alone[0, len(prompt) :].tolist()
        assert [reply.ids for reply in found[index]] == [expected, expected]
    assert len({tuple(found[index][0].ids) for index in found}) > 1  # they do not all say the same


@pytest.mark.parametrize("name", ["qwen3", "llama", "gemma3_text", "gpt2"])
def test_rows_that_ended_leave_the_batch_and_the_others_go_on_as_if_alone(
    build, name, tokenizer, ids
):
    model = build(name, len(tokenizer), seed=1).eval()
    whole = [
        model.generate(
            input_ids=torch.tensor([prompt]),
            max_new_tokens=80,
            min_new_tokens=80,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )[0, len(prompt) :].tolist()
        for prompt in ids
    ]
    assert all(tokenizer.eos_token_id not in tokens for tokens in whole)

    def ends(stop: int) -> list[int]:
        return [tokens.index(stop) if stop in tokens else len(tokens) for tokens in whole]

    # The token at which they end at the most different places; some go on, past the cache's room.
    tokens = {token for tokens in whole for token in tokens}
    late = {token for token in tokens if max(ends(token)) > ROOM}
    stop = max(late, key=lambda token: (len({*ends(token)}), token))
    assert len({*ends(stop)}) >= 3
    expected = [tokens[: end + 1] for tokens, end in zip(whole, ends(stop), strict=True)]
    settings = {"pad_token_id": tokenizer.pad_token_id, "max_new_tokens": 80, "temperature": 0}
    assert answers(model, ids, stops=[stop], **settings) == expected


def test_a_reply_that_ended_ends_in_the_end_token_and_one_that_did_not_is_cut(
    model, tokenizer, ids
):
    # The end token made as likely as all others together: both kinds occur among 40 replies.
    pressed = copy.deepcopy(model)
    head = torch.nn.Linear(32, model.config.vocab_size, bias=True)
    head.weight.data.zero_()
    head.bias.data.zero_()
    head.bias.data[tokenizer.eos_token_id] = math.log(model.config.vocab_size / 4)
    pressed.lm_head = head
    found = replies(pressed, tokenizer, ids, samples=20, max_new_tokens=4, seed=1)
    flat = [reply for several in found.values() for reply in several]
    assert {reply.ended for reply in flat} == {True, False}
    for reply in flat:
        assert reply.ended == (reply.ids[-1] == tokenizer.eos_token_id)
        assert reply.ids.count(tokenizer.eos_token_id) == int(reply.ended)
        assert len(reply.ids) <= 4 and (reply.ended or len(reply.ids) == 4)
        assert "<|im_end|>" not in reply.text and "<|pad|>" not in reply.text
    # Each token ends the reply with probability 1/5 (a quarter against one whole), to 8 %.
    first = sum(len(reply.ids) == 1 and reply.ended for reply in flat) / len(flat)
    assert first == pytest.approx(0.2, abs=5 * math.sqrt(0.2 * 0.8 / len(flat)))


def test_the_models_own_generation_settings_cut_nothing(model, tokenizer, ids):
    settings = {"samples": 3, "max_new_tokens": 8, "seed": 2}
    free = replies(copy.deepcopy(model), tokenizer, ids, **settings)
    bound = copy.deepcopy(model)
    bound.generation_config = GenerationConfig(
        top_k=1,
        top_p=0.1,
        min_p=0.5,
        typical_p=0.2,
        repetition_penalty=3.0,
        no_repeat_ngram_size=1,
        min_new_tokens=8,
        temperature=0.01,
        suppress_tokens=list(range(100, 1000)),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    assert replies(bound, tokenizer, ids, **settings) == free


def test_samples_follow_the_scored_distribution(model, tokenizer, ids):
    # One next token, 4,000 draws: each likely token's share against its own probability.
    prompt = ids[1]
    found = replies(
        model, tokenizer, [prompt], samples=4000, max_new_tokens=1, seed=3, batch_size=1
    )[0]
    with torch.no_grad():
        probabilities = torch.softmax(model(torch.tensor([prompt])).logits[0, -1], dim=-1)
    counts = torch.bincount(
        torch.tensor([reply.ids[0] for reply in found]), minlength=len(probabilities)
    )
    for token in probabilities.topk(10).indices.tolist():
        p = probabilities[token].item()
        spread = math.sqrt(p * (1 - p) / 4000)
        assert counts[token].item() / 4000 == pytest.approx(p, abs=5 * spread)
    # top_k=50, transformers' own default, would leave nothing beyond fifty tokens.
    assert (counts > 0).sum() > 50


def test_every_end_token_of_the_models_config_ends_a_reply(model, tokenizer):
    other = copy.deepcopy(model)
    other.generation_config.eos_token_id = [5, tokenizer.eos_token_id]
    own = tokenizer.eos_token_id
    assert stop_ids(tokenizer, other.generation_config) == [own, 5]
    other.generation_config.eos_token_id = None
    assert stop_ids(tokenizer, other.generation_config) == [own]
    other.generation_config.eos_token_id = 5
    assert stop_ids(tokenizer, other.generation_config) == [own, 5]


def test_prompts_without_room_for_an_answer_are_refused(model, tokenizer, ids):
    context = model.config.max_position_embeddings
    longest = max(map(len, ids))
    with pytest.raises(InputError, match=f"{longest} tokens.*takes {context}: set --max_new_token"):
        next(replies(model, tokenizer, ids, max_new_tokens=context - longest + 1))
    with pytest.raises(InputError, match="takes 512: shorten the prompts"):
        next(replies(model, tokenizer, [[5] * context], max_new_tokens=1))


def test_a_second_sampling_stops_at_the_same_tokens_as_the_first(model, tokenizer, ids):
    other = copy.deepcopy(model)
    other.generation_config.eos_token_id = [5, tokenizer.eos_token_id]
    one = replies(other, tokenizer, ids, samples=4, max_new_tokens=16, seed=2)
    assert replies(other, tokenizer, ids, samples=4, max_new_tokens=16, seed=2) == one


def test_dropout_is_off_while_sampling(tiny_model, tokenizer, ids):
    model = load_causal_lm(str(tiny_model), trainable=True).train()
    pairs = [(ids[0], ids[1])]
    log_probabilities(model, pairs, pad_token_id=tokenizer.pad_token_id)
    assert not model.training
