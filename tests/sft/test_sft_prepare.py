"""Demonstrations become rows: which are held out, which are left out, and what a row holds."""

import pytest

from inhouse.errors import InputError
from inhouse.records import Demonstration
from inhouse.training.data import Placed, Row, render, split, within_length
from inhouse.training.demonstrations import columns


@pytest.fixture
def many():
    """Four hundred rows of which nothing but the text matters."""
    return [
        Row(f"line {n + 1}", conversation(n), {"input_ids": [n], "labels": [n]}) for n in range(400)
    ]


def conversation(n: int) -> Demonstration:
    turns = [("user", f"question {n}"), ("assistant", "answer")]
    return Demonstration(messages=[{"role": role, "content": said} for role, said in turns])


def names(rows) -> list[int]:
    return [row.columns["input_ids"][0] for row in rows]


def test_a_record_stays_on_its_side_whatever_stands_beside_it(many):
    _, held_out = split(many, 0.25, "d.jsonl")
    _, of_half = split(many[::-2], 0.25, "d.jsonl")
    assert set(names(of_half)) == set(names(held_out)) & set(names(many[::-2]))
    _, more = split(many, 0.5, "d.jsonl")
    assert set(names(held_out)) < set(names(more))


def test_the_share_is_about_what_was_asked(many):
    # 400 draws at 0.25: mean 100, standard deviation sqrt(400 * 0.25 * 0.75) = 8.7; five of them.
    kept, held_out = split(many, 0.25, "d.jsonl")
    assert abs(len(held_out) - 100) < 44
    assert sorted(names(kept + held_out)) == list(range(400))


def test_nothing_is_held_out_at_zero(many):
    assert split(many, 0.0, "d.jsonl") == (many, [])


def test_nothing_to_train_on_is_refused(many):
    with pytest.raises(InputError, match=r"held_out_share 0\.99999"):
        split(many[:3], 0.99999, "d.jsonl")


def test_a_row_holds_ids_and_labels_of_one_length(tokenizer, many):
    placed = [Placed(row.place, row.record) for row in many[:5]]
    for made in render(tokenizer, placed, columns, "d.jsonl"):
        row = made.columns
        assert set(row) == {"input_ids", "labels"}
        assert len(row["input_ids"]) == len(row["labels"])
        assert row["labels"][-2] == tokenizer.eos_token_id  # a newline follows the end token
        assert row["labels"][0] == -100


# --- rows over max_length ---------------------------------------------------------------------


@pytest.fixture
def of_lengths():
    def rows(*lengths: int) -> list[Row]:
        return [
            Row(f"line {n}", conversation(n), {"input_ids": [7] * length, "labels": [7] * length})
            for n, length in enumerate(lengths, start=1)
        ]

    return rows


def test_rows_over_max_length_are_refused_with_line_and_way_out(of_lengths):
    with pytest.raises(InputError) as refusal:
        within_length(of_lengths(10, 31, 30, 42), 30, "d.jsonl", leave_out=False)
    for said in ("2 of 4", "d.jsonl", "(line 2, line 4; the longest has 42", "--max_length 42"):
        assert said in str(refusal.value)


def test_rows_over_max_length_are_left_out_and_counted_if_asked(of_lengths, capsys):
    rows = of_lengths(10, 31, 30, 42)
    kept, long = within_length(rows, 30, "d.jsonl", leave_out=True)
    assert (kept, long) == ([rows[0], rows[2]], [rows[1], rows[3]])
    assert "2 of 4 demonstrations of d.jsonl are longer" in capsys.readouterr().out
    assert within_length(rows, None, "d.jsonl", leave_out=False) == (rows, [])


def test_all_rows_over_max_length_are_refused_even_so(of_lengths):
    with pytest.raises(InputError, match="nothing is left: set --max_length 42"):
        within_length(of_lengths(31, 42), 30, "d.jsonl", leave_out=True)
