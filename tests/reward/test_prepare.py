"""What a reward model is trained on: personal data, raters who say little, what is told."""

import pytest

from inhouse.config import PrivacyOptions
from inhouse.errors import InputError
from reward import prepare

CARD = "My card is 4111 1111 1111 1111."


@pytest.fixture
def load(tokenizer, preferences, write_lines, tmp_path):
    """Four preferences and the ratings they were made from, loaded with what a test changes."""

    def loaded(change=None, ratings=None, **options):
        rows = [{**row, "pair_id": f"p{n}"} for n, row in enumerate(preferences[:4])]
        if change:
            change(rows)
        source = str(write_lines(tmp_path / "prefs.jsonl", rows))
        if ratings is not None:
            ratings = str(write_lines(tmp_path / "ratings.jsonl", ratings))
        privacy = PrivacyOptions(**options)
        return prepare.load(tokenizer, source, ratings, None, False, privacy)

    return loaded


def rating(pair: int, rater: str, choice: str = "a") -> dict:
    said = {"pair_id": f"p{pair}", "rater": rater, "choice": choice}
    return {**said, "submitted_at": "2026-01-01", "guidelines": "g"}


def with_a_card(rows):
    rows[2] = {**rows[2], "prompt": [{"role": "user", "content": CARD}]}


def test_personal_data_that_nobody_cleared_is_refused_unless_that_is_asked_for(load):
    with pytest.raises(InputError) as refused:
        load(with_a_card)
    for said in ("prefs.jsonl holds personal data", "1 CARD (record 3: CARD", "--allow_unscrubbed"):
        assert said in str(refused.value)
    told = load(with_a_card, allow_unscrubbed=True).told["personal_data"]
    assert told == {"scanned": 4, "found": {"CARD": 1}, "allow_unscrubbed": True}


def test_a_rater_with_one_rating_counts_and_is_told_about(load):
    ratings = [rating(pair, rater) for pair in range(4) for rater in ("anna", "ben")]
    data = load(ratings=[*ratings, rating(2, "carl", "b")])
    assert data.told["raters_with_one_rating"] == ["carl"]
    assert data.pairs[2].votes == {"anna": 1, "ben": 1, "carl": -1}
    assert load(ratings=ratings).told["raters_with_one_rating"] == []


def test_without_ratings_nobodys_vote_is_known(load):
    data = load()
    assert [pair.votes for pair in data.pairs] == [{}] * 4
    assert data.told["truncated"] == 0 and data.told["raters_with_one_rating"] == []
