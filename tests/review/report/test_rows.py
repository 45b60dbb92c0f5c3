"""The list's data: models side by side, whole where there is room, findings before the rest."""

import json

import pytest

from review.report.nearest import Example, Near
from review.report.rows import ENDED, LENGTHS, as_data, lengths, part_of, rows_of, utf16
from tests.review.report.said import output

TURNS, ANSWERS = 4, 6  # places in a row
MODEL, LINE, TEXT, FLAGS, FINDINGS, NEAR, VERDICTS = range(7)  # and in an answer


def test_every_answer_stands_beside_the_others_to_its_prompt(read_it):
    said = [
        output(f"{name} says {number}", name, number)
        for name in ("sft", "dpo")
        for number in (2, 1)
    ]
    rows = rows_of(read_it(*said))
    assert [[placed.output.response for placed in row.answers] for row in rows] == [
        ["sft says 2", "dpo says 2"],
        ["sft says 1", "dpo says 1"],
    ]
    assert [placed.line for placed in rows[0].answers] == [1, 3]


def test_a_model_that_was_not_asked_is_left_out_of_the_row_and_seeds_are_apart(read_it):
    said = [output("a", "sft"), output("b", "dpo"), output("c", "sft", seed=1, id="again")]
    rows = rows_of(read_it(*said, output("d", "dpo", seed=1, id="more")))
    assert [[(p.model, p.output.seed) for p in row.answers] for row in rows] == [
        [("sft", 0), ("dpo", 0)],
        [("sft", 1), ("dpo", 1)],
    ]


def test_attacks_stand_by_seed_and_mutation_behind_the_held_out_prompts(read_it):
    def attack(number: int, seed: str, mutation: str):
        about = {"split": "red_team", "seed": seed, "mutation": mutation, "rule": "PROM-01"}
        return output("No.", number=number, split="red_team", metadata=about)

    said = [
        attack(5, "PROM-01/02", "plain"),
        attack(4, "PROM-01/01", "role_play"),
        attack(3, "PROM-01/01", "plain"),
        output(number=1),
    ]
    rows = rows_of(read_it(*said))
    order = [(row.split, row.first.prompt[0].content) for row in rows]
    assert order == [
        ("held_out", "question 1"),
        ("red_team", "question 3"),
        ("red_team", "question 4"),
        ("red_team", "question 5"),
    ]
    assert part_of(rows[2].answers) == "role_play"


def test_the_data_of_a_row(read_it, tmp_path):
    sheet = {"role": "system", "content": "The sheet."}
    ask = {"role": "user", "content": "Is it free?"}
    said = output("It is free.", spans=[("FEE-01", 6, 10)], prompt=[sheet, ask])
    campaign = read_it(said, output("No.", "dpo", prompt=[sheet, ask]))
    examples = [Example("demonstration", "f, line 9", "Q", "A")] * 3
    data = as_data(campaign, rows_of(campaign), {1: Near(2, 0.5)}, examples)
    assert data["systems"] == ["The sheet."]
    assert data["models"] == ["sft", "dpo"]
    (row,) = data["rows"]
    assert row[TURNS] == ["s0", "uIs it free?"]
    first, second = row[ANSWERS]
    rule, start, end = first[FINDINGS][0]
    assert data["rules"][rule][0] == "FEE-01" and (start, end) == (6, 10)
    assert first[NEAR] == [0, 0.5] and data["examples"][0][:2] == ["demonstration", "f, line 9"]
    assert second[MODEL] == 1 and second[LINE] == 2 and second[NEAR] == 0
    assert second[FLAGS] & ENDED
    json.dumps(data)


def test_offsets_are_javascripts(read_it):
    # 😀 is one character in Python and two units in JavaScript.
    units = utf16("😀 free")
    assert (units(0), units(1), units(2), units(6)) == (0, 2, 3, 7)
    campaign = read_it(output("😀 free", spans=[("FEE-01", 2, 6)]))
    data = as_data(campaign, rows_of(campaign), {}, [])
    assert data["rows"][0][ANSWERS][0][FINDINGS][0][1:] == [3, 7]


@pytest.fixture
def long(read_it):
    text = "Thank you. " * 90  # 990 characters
    said = [output(text, number=number) for number in range(40)]
    said += [output(f"{text}It is free.", number=99, spans=[("FEE-01", 996, 1000)])]
    return read_it(*said)


def test_where_there_is_room_everything_is_whole(long):
    assert lengths(rows_of(long), 100_000) == (LENGTHS[0], LENGTHS[0])


def test_answers_that_break_a_rule_are_shortened_last(long):
    rows = rows_of(long)
    clean, broken = lengths(rows, 12_000)
    assert clean < 990 and broken == LENGTHS[0]
    data = as_data(long, rows, {}, [], 12_000)
    by_line = {answer[LINE]: answer for row in data["rows"] for answer in row[ANSWERS]}
    assert len(by_line[41][TEXT]) == 1001 and len(by_line[1][TEXT]) == clean
    assert len(json.dumps(data["rows"])) < 16_000


def test_training_examples_take_their_part_of_the_room(long):
    rows = rows_of(long)
    examples = [Example("demonstration", "f", "é" * 600, "é" * 600)] * 2  # 2,400 bytes each
    alone = as_data(long, rows, {}, [], 12_000)
    beside = as_data(long, rows, {1: Near(0, 1.0), 41: Near(1, 1.0)}, examples, 12_000)
    size = [len(data["rows"][0][ANSWERS][0][TEXT]) for data in (alone, beside)]
    assert size[1] < size[0]


def test_a_shortened_answer_is_cut_around_what_is_marked(long):
    data = as_data(long, rows_of(long), {}, [], 3_000)
    answer = data["rows"][-1][ANSWERS][0]
    ((_, start, end),) = answer[FINDINGS]
    assert len(answer[TEXT]) == LENGTHS[-1] and answer[TEXT][start:end] == "free"


def test_verdicts_stand_beside_the_answer_they_are_of(made):
    from review.report.campaign import read_campaign

    campaign = read_campaign(made)
    data = as_data(campaign, rows_of(campaign), {}, [])
    answers = [answer for row in data["rows"] for answer in row[ANSWERS]]
    given = {answer[LINE]: answer[VERDICTS] for answer in answers if answer[VERDICTS]}
    whose = {placed.line: placed.output.id for placed in campaign.answers}
    assert {whose[line] for line in given} == set(campaign.verdicts.by_output)
    assert sum(map(len, given.values())) == sum(campaign.verdicts.summary["verdicts"].values())
    assert {verdict[1] for each in given.values() for verdict in each} == {"pass", "fail"}
