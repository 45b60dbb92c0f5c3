"""What is held out is one question for every stage: how a conversation opens decides it."""

import pytest

from inhouse.config import HoldOutOptions, PrivacyOptions
from inhouse.records import Demonstration, Preference
from reward.split import Pair
from reward.split import split as split_pairs
from rlhf.offline import data as offline
from rlhf.offline import rows as offline_rows
from sft import prepare as sft

SHARE = 0.4
QUESTIONS = [f"What does notice account {n} pay?" for n in range(24)]
SYSTEM = {"role": "system", "content": "You answer for the house."}


def user(said: str) -> dict:
    return {"role": "user", "content": said}


def assistant(said: str) -> dict:
    return {"role": "assistant", "content": said}


def openings(question: str) -> list[list[dict]]:
    """One opening as people and their tools write it: six spellings, two of them with a sequel."""
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in question)  # ４ for 4
    first = user(question)
    return [
        [first],
        [user(question.upper())],
        [user(f"  {question.replace(' ', '  ')}\n")],
        [user(wide)],
        [first, assistant("Two percent."), user("And after a year?")],
        [first, assistant("Three percent."), user("Why?"), assistant("Rates."), user("Thanks.")],
    ]


def sft_sides(tokenizer, write, folder) -> list[list[list[dict]]]:
    """The conversations that SFT learns from, and those that it holds out."""
    told = [
        [*opening, assistant(f"Yes, {n}.")]
        for question in QUESTIONS
        for n, opening in enumerate(openings(question))
    ]
    source = write(folder / "d.jsonl", [{"messages": messages} for messages in told])
    made = sft.prepare(
        *(tokenizer, str(source), HoldOutOptions(SHARE), PrivacyOptions(), None, 512)
    )
    return [[row.record.messages for row in side] for side in (made.train, made.held_out)]


def pairs() -> list[dict]:
    return [
        {"prompt": opening, "chosen": [assistant(f"Yes, {n}.")], "rejected": [assistant("No.")]}
        for question in QUESTIONS
        for n, opening in enumerate(openings(question))
    ]


def reward_sides(tokenizer, write, folder):
    made = split_pairs([Pair(Preference(**row), {}, {}) for row in pairs()], SHARE)
    return [[pair.record.prompt for pair in side] for side in (made.train, made.held_out)]


def dpo_sides(tokenizer, write, folder):
    source = str(write(folder / "p.jsonl", pairs()))
    placed = offline.read_pairs(source)
    return offline_sides(tokenizer, placed, source, offline_rows.pair_row)


def kto_sides(tokenizer, write, folder):
    verdicts = [
        {"prompt": row["prompt"], "completion": row["chosen"], "label": True} for row in pairs()
    ]
    source = str(write(folder / "v.jsonl", verdicts))
    placed = offline.read_verdicts(source)
    return offline_sides(tokenizer, placed, source, offline_rows.verdict_row)


def offline_sides(tokenizer, placed, source, columns):
    hold_out, privacy = HoldOutOptions(SHARE), PrivacyOptions()
    made = offline.prepare(
        *(tokenizer, placed, source, columns, lambda _: None, hold_out, privacy, None, 512)
    )
    return [[row.record.prompt for row in side] for side in (made.train, made.held_out)]


STAGES = {"sft": sft_sides, "reward": reward_sides, "dpo": dpo_sides, "kto": kto_sides}


def questions(side) -> set[str]:
    """Which of the questions a side's conversations open with, whatever the spelling."""
    digits = ["".join(c for c in turns[0].content if c.isdigit()) for turns in side]
    return {str(int(number)) for number in digits}


@pytest.mark.parametrize("stage", STAGES)
def test_one_opening_stands_on_one_side_whatever_follows_it(
    stage, tokenizer, write_lines, tmp_path
):
    train, held_out = STAGES[stage](tokenizer, write_lines, tmp_path)
    assert len(train) + len(held_out) == 6 * len(QUESTIONS)
    assert not questions(train) & questions(held_out)
    assert len(questions(train) | questions(held_out)) == len(QUESTIONS)
    assert 0 < len(questions(held_out)) < len(QUESTIONS)


def test_all_stages_hold_the_same_questions_out(tokenizer, write_lines, tmp_path):
    held_out = {
        stage: questions(sides(tokenizer, write_lines, tmp_path)[1])
        for stage, sides in STAGES.items()
    }
    assert held_out["sft"] == held_out["reward"] == held_out["dpo"] == held_out["kto"]


def test_a_system_prompt_is_part_of_how_a_conversation_opens():
    """Told otherwise, a model answers otherwise: the same question is then another prompt."""
    from inhouse.training.data import prompt_key

    told = Demonstration(messages=[SYSTEM, user("Hello?"), assistant("Good day.")])
    untold = Demonstration(messages=[user("Hello?"), assistant("Good day.")])
    assert prompt_key(told.messages[:2]) != prompt_key(untold.messages[:1])
