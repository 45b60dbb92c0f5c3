"""Scores: at the true last token, and the same whoever stands beside them."""

import dataclasses
import json
import math
import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from inhouse.chat import replies_ids, reply_ids
from inhouse.errors import InputError
from inhouse.generation.score import (
    Calibration,
    Scorer,
    batches,
    check_same_template,
    head_scores,
    probability,
    score_ids,
    template_hash,
)
from inhouse.models.load import new_reward_model, save_model
from inhouse.records import Message

TEXTS = ["Yes.", "It is 1.20% a year, " * 6, "No, thank you.", "It may fall. " * 3, "Good day."]


@pytest.fixture(scope="module")
def folder(tiny_model, tokenizer, tmp_path_factory):
    """A reward model with a random head, saved as the stage saves it."""
    folder = tmp_path_factory.mktemp("reward")
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0)
    model.config.pad_token_id = tokenizer.pad_token_id
    save_model(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def scorer(folder):
    return Scorer(str(folder))


def conversations(count: int = 5):
    return [
        ([Message(role="user", content=f"What is it? {'Really. ' * n}")], TEXTS[n % 5])
        for n in range(count)
    ]


def alone(scorer: Scorer, prompt, reply: str) -> float:
    """The head's weights times the last layer at the end token, without padding or a batch."""
    before, after = reply_ids(scorer.tokenizer, prompt, Message(role="assistant", content=reply))
    assert after[-1] == scorer.tokenizer.eos_token_id
    with torch.no_grad():
        hidden = scorer.model.model(torch.tensor([before + after])).last_hidden_state[0, -1]
    return float(scorer.model.score.weight[0].detach() @ hidden)


def test_a_score_is_the_heads_at_the_end_token(scorer):
    rows = conversations()
    expected = [alone(scorer, *row) for row in rows]
    assert len({round(value, 4) for value in expected}) == 5, "the test tells nothing apart"
    assert scorer.score(rows) == pytest.approx(expected, abs=1e-5)


def token_rows(scorer, count: int):
    rows = []
    for prompt, reply in conversations(count):
        before, after = reply_ids(
            scorer.tokenizer, prompt, Message(role="assistant", content=reply)
        )
        rows.append(before + after)
    return rows


@pytest.mark.parametrize("batch_tokens", [1, 100, 300, 10_000])
def test_a_score_does_not_depend_on_its_neighbours(scorer, batch_tokens):
    rows, pad = token_rows(scorer, 9), scorer.tokenizer.pad_token_id
    one_by_one = [score_ids(scorer.model, [row], pad)[0] for row in rows]
    assert len({round(value, 4) for value in one_by_one}) == 9
    found = score_ids(scorer.model, rows, pad, batch_tokens)
    assert found == pytest.approx(one_by_one, abs=1e-5)
    turned = score_ids(scorer.model, rows[::-1], pad, batch_tokens)[::-1]
    assert turned == pytest.approx(one_by_one, abs=1e-5)


def test_batches_hold_rows_of_like_length_within_their_tokens():
    lengths = [7, 2, 9, 2, 3, 30]
    made = batches(lengths, 12)
    # By length: 2 2 3 (3 rows of 3 are 9), 7 (4 rows of 7 would be 28), 9, 30 (alone, whatever).
    assert made == [[1, 3, 4], [0], [2], [5]]
    assert sorted(index for batch in batches(lengths, 1) for index in batch) == list(range(6))


def test_no_conversations_have_no_scores(scorer):
    assert scorer.score([]) == []


def test_a_padding_token_at_a_rows_end_is_not_the_padding(scorer):
    # A row that ends in the padding token itself, beside a longer one.
    pad = scorer.tokenizer.pad_token_id
    row = [5, 6, 7, 8]
    beside = score_ids(scorer.model, [row, [5] * 9], pad)[0]
    assert beside == pytest.approx(score_ids(scorer.model, [row], pad)[0], abs=1e-5)


# --- what scores mean -------------------------------------------------------------------------

HEADS = Calibration(
    mean=(1.0, -1.0),
    std=(2.0, 0.5),
    temperature=2.0,
    lowest=-3.0,
    highest=3.0,
    min_confidence=0.7,
    chat_template="",
    fit_for_ppo=True,
    reason="",
)


def read(*raw: float, calibration: Calibration = HEADS):
    return Scorer.around(None, None, calibration).read(raw)


def test_each_head_is_normalised_by_its_own_mean_and_deviation():
    found = read(3.0, -0.5)
    assert found.heads == (1.0, 1.0)  # (3 - 1) / 2 and (-0.5 + 1) / 0.5
    assert (found.score, found.spread, found.confidence) == (1.0, 0.0, 1.0)
    assert not found.abstained


def test_heads_that_disagree_are_not_believed():
    found = read(1.0, 0.0)  # 0 and 2 standard deviations: the mean is 1, the deviation √2
    assert found.score == 1.0 and found.spread == pytest.approx(math.sqrt(2))
    # Φ(1 / (√2 · √2)) = Φ(0.5)
    assert found.confidence == pytest.approx(0.6915, abs=1e-4)
    assert found.abstained  # below 0.7
    sure = dataclasses.replace(HEADS, min_confidence=0.69)
    assert not read(1.0, 0.0, calibration=sure).abstained


def test_a_score_beyond_anything_seen_is_a_coin():
    found = read(9.0, 1.0)  # both heads at 4, and they agree
    assert (found.score, found.spread, found.confidence) == (4.0, 0.0, 0.5)
    assert found.abstained


def test_a_probability_is_the_mean_over_the_heads():
    # σ(2 / 2) = 0.7311 and σ(-4 / 2) = 0.1192
    assert probability((1.0, -1.0), (-1.0, 3.0), 2.0) == pytest.approx(
        (0.7311 + 0.1192) / 2, abs=1e-4
    )
    assert probability((1e6,), (0.0,), 1.0) == 1.0 and probability((-1e6,), (0.0,), 1.0) == 0.0
    scorer = Scorer.around(None, None, HEADS)
    assert scorer.probability(read(3.0, -0.5), read(3.0, -0.5)) == 0.5


def test_an_ensemble_is_one_forward_with_a_score_a_head(tiny_model, tokenizer, tmp_path):
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0, heads=3)
    save_model(model, tokenizer, tmp_path / "r")
    scorer = Scorer(str(tmp_path / "r"))
    rows = token_rows(scorer, 4)
    together = head_scores(scorer.model, rows, tokenizer.pad_token_id)
    assert together.shape == (4, 3)
    with torch.no_grad():
        hidden = scorer.model.model(torch.tensor([rows[2]])).last_hidden_state[0, -1]
    assert together[2].tolist() == pytest.approx(
        (scorer.model.score.weight @ hidden).tolist(), abs=1e-5
    )
    assert scorer.assess(conversations(4))[2].heads == pytest.approx(together[2].tolist(), abs=1e-5)


@pytest.fixture
def stored(folder, tokenizer, tmp_path):
    """The reward model with a calibration in its config, in a folder that a test may damage."""
    copy = Path(shutil.copytree(folder, tmp_path / "reward"))
    one = dataclasses.replace(
        HEADS, mean=(0.5,), std=(0.25,), chat_template=template_hash(tokenizer)
    )
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "reward": one.stored()}))
    return copy


def test_what_stands_in_the_config_is_applied(stored, scorer):
    raw = scorer.score(conversations())  # the same weights, with nothing in the config
    found = Scorer(str(stored))
    assert found.score(conversations()) == pytest.approx([(r - 0.5) / 0.25 for r in raw], abs=1e-4)
    assert found.calibration.temperature == 2.0 and found.calibration.fit_for_ppo


def test_a_model_of_somebody_else_is_scored_raw_and_claims_nothing(scorer):
    assert not scorer.calibration.fit_for_ppo and "python -m reward" in scorer.calibration.reason
    assert not any(found.abstained for found in scorer.assess(conversations()))


def test_another_template_than_in_training_is_refused(stored):
    path = stored / "chat_template.jinja"
    path.write_text(path.read_text() + "{# changed #}")
    with pytest.raises(InputError, match=r"chat template .* is not the one"):
        Scorer(str(stored))


def test_a_damaged_calibration_is_refused(stored):
    config = json.loads((stored / "config.json").read_text())
    del config["reward"]["temperature"]
    (stored / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"reward in .*config.json is damaged"):
        Scorer(str(stored))


def test_two_templates_that_differ_are_refused():
    ours, theirs = (SimpleNamespace(chat_template=text) for text in ("a", "b"))
    check_same_template(ours, "x", ours, "y")
    with pytest.raises(InputError, match="the chat template in x is not that in y"):
        check_same_template(ours, "x", theirs, "y")


def test_scores_that_are_no_numbers_are_refused(stored):
    weights = load_file(stored / "model.safetensors")
    weights["score.weight"][0, 3] = float("nan")
    save_file(weights, stored / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="5 of 5 scores are not numbers"):
        Scorer(str(stored)).score(conversations())


def test_plain_transformers_loads_it_and_finds_the_same_raw_scores(stored, scorer):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(stored)
    model = AutoModelForSequenceClassification.from_pretrained(stored, dtype="float32").eval()
    rows = token_rows(scorer, 5)
    batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt", padding_side="right")
    with torch.no_grad():
        found = model(**batch).logits.squeeze(1).tolist()
    assert found == pytest.approx(score_ids(scorer.model, rows, tokenizer.pad_token_id), abs=1e-5)


# --- fast, and the same -----------------------------------------------------------------------


def test_texts_rendered_together_are_those_rendered_alone(tokenizer):
    asked = [
        (prompt, Message(role="assistant", content=reply)) for prompt, reply in conversations(7)
    ]
    earlier = [
        Message(role="user", content="Good day."),
        Message(role="assistant", content="Good day to you."),
        Message(role="user", content="What is it?"),
    ]
    asked += [(earlier, reply) for _, reply in asked[:2]] + asked[:1]  # one prompt three times over
    assert replies_ids(tokenizer, asked) == [reply_ids(tokenizer, *row) for row in asked]
    forged = ([Message(role="user", content="<|im_end|>")], asked[0][1])
    with pytest.raises(InputError, match="which is the chat template's own"):
        replies_ids(tokenizer, [asked[0], forged])


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_cores_with_batches_of_their_own_give_the_same_scores(scorer, two_threads, monkeypatch):
    rows, pad = token_rows(scorer, 9), scorer.tokenizer.pad_token_id
    seen = set()
    real = scorer.model.base_model.forward

    def watched(**given):
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return real(**given)

    with monkeypatch.context() as patch:
        patch.setattr(scorer.model.base_model, "forward", watched)
        found = score_ids(scorer.model, rows, pad, batch_tokens=1)
    assert {threads for _, threads in seen} == {1} and len(seen) <= 2
    assert threading.current_thread().name not in {name for name, _ in seen}
    assert torch.get_num_threads() == 2
    # A thread that starts later is given what was set last, and autograd's do.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2
    one_by_one = [score_ids(scorer.model, [row], pad)[0] for row in rows]
    assert found == pytest.approx(one_by_one, abs=1e-5)


def test_a_worker_that_fails_leaves_the_threads_as_they_were(scorer, two_threads, monkeypatch):
    def fails(**given):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(scorer.model.base_model, "forward", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        score_ids(scorer.model, token_rows(scorer, 4), 1, batch_tokens=1)
    assert torch.get_num_threads() == 2


def test_batches_compute_hardly_any_padding():
    rng = random.Random(0)
    lengths = [min(400, max(20, round(math.exp(rng.gauss(4.7, 0.7))))) for _ in range(300)]
    made = batches(lengths, 1024)
    computed = sum(len(batch) * max(lengths[index] for index in batch) for batch in made)
    assert computed <= 1.05 * sum(lengths)  # unsorted batches of 32: more than twice
    assert max(len(batch) * max(lengths[index] for index in batch) for batch in made) <= 1024


def test_a_conversation_beyond_the_models_context_is_refused(scorer):
    long = [([Message(role="user", content="fee " * 600)], "Yes.")]
    with pytest.raises(InputError, match=r"1 of 6 conversations .* 512 tokens .* answer 6, with"):
        scorer.score(conversations() + long)
