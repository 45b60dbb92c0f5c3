"""Scores: at the true last token, and the same whoever stands beside them."""

import pytest
import torch

from inhouse import models
from inhouse.chat import reply_ids
from inhouse.records import Message
from inhouse.scoring import Scorer, score_ids

TEXTS = ["Yes.", "It is 1.20% a year, " * 6, "No, thank you.", "It may fall. " * 3, "Good day."]


@pytest.fixture(scope="module")
def folder(tiny_model, tokenizer, tmp_path_factory):
    """A reward model with a random head, saved as the stage saves it."""
    folder = tmp_path_factory.mktemp("reward")
    model = models.new_reward_model(str(tiny_model), dtype="float32", seed=0)
    model.config.pad_token_id = tokenizer.pad_token_id
    models.save(model, tokenizer, folder)
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
    return float(scorer.model.score.weight[0] @ hidden)


def test_a_score_is_the_heads_at_the_end_token(scorer):
    rows = conversations()
    expected = [alone(scorer, *row) for row in rows]
    assert len({round(value, 4) for value in expected}) == 5, "the test tells nothing apart"
    assert scorer.score(rows) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_a_score_does_not_depend_on_its_neighbours(scorer, batch_size):
    rows = conversations(9)
    one_by_one = [scorer.score([row])[0] for row in rows]
    assert scorer.score(rows, batch_size) == pytest.approx(one_by_one, abs=1e-5)
    turned = scorer.score(rows[::-1], batch_size)[::-1]
    assert turned == pytest.approx(one_by_one, abs=1e-5)


def test_no_conversations_have_no_scores(scorer):
    assert scorer.score([]) == []


def test_a_padding_token_at_a_rows_end_is_not_the_padding(scorer):
    # A row that ends in the padding token itself, beside a longer one.
    pad = scorer.tokenizer.pad_token_id
    row = [5, 6, 7, 8]
    beside = score_ids(scorer.model, [row, [5] * 9], pad)[0]
    assert beside == pytest.approx(score_ids(scorer.model, [row], pad)[0], abs=1e-5)
