"""Demonstrations become rows: which are held out, and what a row holds."""

import pytest

from inhouse.errors import InputError
from inhouse.records import Demonstration
from sft.prepare import render_all, rows, split


@pytest.fixture
def many():
    return [
        Demonstration(
            messages=[
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": "answer"},
            ]
        )
        for n in range(400)
    ]


def test_a_record_stays_on_its_side_whatever_stands_beside_it(many):
    names = list(range(400))
    _, held_out = split(many, names, 0.25)
    _, of_half = split(many[::-2], names[::-2], 0.25)
    assert set(of_half) == set(held_out) & set(names[::-2])
    _, more = split(many, names, 0.5)
    assert set(held_out) < set(more)


def test_the_share_is_about_what_was_asked(many):
    # 400 draws at 0.25: mean 100, standard deviation sqrt(400 * 0.25 * 0.75) = 8.7; five of them.
    kept, held_out = split(many, list(range(400)), 0.25)
    assert abs(len(held_out) - 100) < 44
    assert sorted(kept + held_out) == list(range(400))


def test_nothing_is_held_out_at_zero(many):
    assert split(many, list(range(400)), 0.0) == (list(range(400)), [])


def test_nothing_to_train_on_is_refused(many):
    with pytest.raises(InputError, match=r"held_out_share 0\.99999"):
        split(many[:3], [0, 1, 2], 0.99999)


def test_a_row_holds_ids_and_labels_of_one_length(tokenizer, many):
    for row in rows(render_all(tokenizer, many[:5], "d.jsonl")):
        assert set(row) == {"input_ids", "labels"}
        assert len(row["input_ids"]) == len(row["labels"])
        assert row["labels"][-2] == tokenizer.eos_token_id  # a newline follows the end token
        assert row["labels"][0] == -100
