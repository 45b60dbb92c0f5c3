"""The items that ship, and every way in which an item's line is refused."""

import json
from collections import Counter

import pytest

from inhouse.chat import prompt_ids
from inhouse.errors import InputError
from review.general_ability.answering import MAX_NEW_TOKENS
from review.general_ability.items import KINDS, read_items


def test_there_are_fifty_of_each_kind_and_no_two_ask_the_same():
    items = read_items()
    assert Counter(item.kind for item in items) == dict.fromkeys(KINDS, 50)
    assert len({item.prompt[-1].content for item in items}) == 200
    chosen = Counter(item.kind for item in items if item.choices)
    assert chosen == {"arithmetic": 14, "reading": 25, "sense": 50}


def test_the_right_choice_is_not_told_by_its_place_or_its_length():
    chosen = [item for item in read_items() if item.choices]
    first = sum(item.answer == 0 for item in chosen)
    longest = sum(
        len(item.choices[item.answer])
        > max(len(choice) for at, choice in enumerate(item.choices) if at != item.answer)
        for item in chosen
    )
    # By chance it would be the first as often as the sum of 1/choices over the items.
    chance = sum(1 / len(item.choices) for item in chosen)
    assert abs(first - chance) < 12 and longest < chance + 12


def test_every_item_fits_the_demonstration_model(tokenizer):
    longest = max(len(prompt_ids(tokenizer, item.prompt)) for item in read_items())
    assert longest + MAX_NEW_TOKENS <= 512


SUM = {
    "id": "x",
    "kind": "arithmetic",
    "prompt": [{"role": "user", "content": "What is 2 + 3?"}],
    "accept": [{"check": "number", "value": 5}],
    "right": "5",
    "wrong": "6",
}
CHOICE = {k: SUM[k] for k in ("id", "kind", "prompt")} | {"choices": ["5", "6"], "answer": 0}


def written(path, *items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def test_both_ways_of_scoring_are_read(tmp_path):
    items = read_items(written(tmp_path / "items.jsonl", SUM, CHOICE | {"id": "y"}))
    assert items[0].accept == SUM["accept"] and items[1].choices == ["5", "6"]


REFUSED = [
    (SUM | {"points": 3}, "'points': Extra inputs are not permitted"),
    (SUM | {"kind": "maths"}, "'kind': Input should be 'arithmetic', 'reading'"),
    (SUM | {"id": " "}, "'id': is empty"),
    (SUM | {"prompt": []}, "must end with a user turn"),
    (SUM | {"accept": []}, "x needs either choices or accept"),
    (SUM | {"choices": ["5", "6"], "answer": 0}, "x needs either choices or accept"),
    (SUM | {"accept": [{"check": "numbr", "value": 5}]}, "no check 'numbr': did you mean 'number'"),
    (SUM | {"accept": [{"value": 5}]}, "no check None: one of number, equals"),
    (SUM | {"accept": [{"check": "number"}]}, "missing a required argument: 'value'"),
    (SUM | {"accept": [{"check": "number", "value": 5, "unit": "m"}]}, "unexpected .* 'unit'"),
    (SUM | {"accept": [{"check": "number", "value": "five"}]}, "accept cannot be checked"),
    (SUM | {"accept": [{"check": "matches", "pattern": "(5"}]}, "accept cannot be checked"),
    (SUM | {"right": "4"}, r"right \('4'\) does not pass its own checks"),
    (SUM | {"wrong": "5.0"}, r"wrong \('5.0'\) passes the checks"),
    ({k: SUM[k] for k in SUM if k != "wrong"}, "needs a reply that is right and one that is wrong"),
    (SUM | {"answer": 0}, "answer belongs to choices"),
    (CHOICE | {"answer": 2}, "answer is 2: expected the place .* among its 2 choices"),
    (CHOICE | {"answer": -1}, "answer is -1"),
    ({k: CHOICE[k] for k in CHOICE if k != "answer"}, "answer is None"),
    (CHOICE | {"choices": ["5"]}, "expected two texts or more"),
    (CHOICE | {"choices": ["5", "6", "5"]}, "no two of them alike"),
    (CHOICE | {"choices": ["5", " "]}, "one of them is empty"),
    (CHOICE | {"right": "5", "wrong": "6"}, "right and wrong belong to accept"),
]


@pytest.mark.parametrize(("item", "words"), REFUSED)
def test_a_line_that_is_no_item_is_refused_with_its_place(item, words, tmp_path):
    path = written(tmp_path / "items.jsonl", SUM | {"id": "first"}, item)
    with pytest.raises(InputError, match=rf"items\.jsonl, line 2: .*{words}"):
        read_items(path)


def test_an_id_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="line 2: id 'x' stands already in line 1"):
        read_items(written(tmp_path / "items.jsonl", SUM, CHOICE))


def test_a_file_without_items_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no record"):
        read_items(written(tmp_path / "items.jsonl"))
