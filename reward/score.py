"""Score the answers of a file with a reward model.

    python -m reward.score answers.jsonl
    python -m reward.score answers.jsonl --model runs/mine/reward --out scores.jsonl

Records in: any with ``prompt`` and ``response`` (outputs), or ``messages`` that end with an answer
(demonstrations). Out: for each one line with its number, its ``id`` if it has one, ``score`` in
standard deviations of the training answers, ``spread`` of the heads, ``confidence``, ``abstained``.
Killed and started again, it goes on where it stood.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pydantic import field_validator, model_validator

from inhouse.command_line import parse_words
from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.records import Journal, Prompt, Record, content_id, plain, read
from inhouse.run import command

PART = 512  # answers between two writes; rows of like length are batched within a part


class Answer(Prompt):
    """A prompt and an answer to it."""

    response: str
    id: str | int | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_messages(cls, data: object) -> object:
        if isinstance(data, dict) and "messages" in data and "prompt" not in data:
            messages = data["messages"]
            if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
                last = messages[-1].get("content")
                return {**data, "prompt": messages[:-1], "response": last}
        return data

    @field_validator("response")
    @classmethod
    def _not_blank(cls, response: str) -> str:
        if not response.strip():
            raise ValueError("is empty: there is nothing to score")
        return response


class Score(Record):
    """One line of what is written. ``key`` tells which answer it is of, and by which model."""

    line: int
    id: str | int | None
    score: float
    spread: float
    confidence: float
    abstained: bool
    key: str


def main() -> None:
    """Words, answers, model, what was scored before, the rest."""
    words = parse_words(_parser())
    if not words.file.is_file():
        raise InputError(f"no file {words.file}: expected JSON Lines, one answer a line")
    out = words.out or words.file.with_suffix(".scores.jsonl")
    if out.exists() and out.resolve() == words.file.resolve():
        raise InputError(f"{out} is what is read: give another --out")
    answers = read(words.file, Answer)

    from inhouse.generation.score import Scorer

    scorer = Scorer(str(words.model))
    model = sha256(next(iter(sorted(words.model.glob("*.safetensors")))))
    keys = [content_id(model, plain(answer.prompt), answer.response) for answer in answers]
    finished = out.exists()
    journal = Journal(out, Score)
    done = len(journal.records)
    if [record.key for record in journal.records] != keys[:done]:
        if finished:  # the journal took it up again: leave it as it was
            journal.finish()
        raise InputError(
            f"{out} holds scores of other answers or of another model: remove it, or give another "
            "--out"
        )
    for at in range(done, len(answers), PART):
        part = answers[at : at + PART]
        title = f"scoring {at + 1} to {at + len(part)} of {len(answers)}"
        scored = scorer.assess([(answer.prompt, answer.response) for answer in part], title)
        journal.append(
            Score(
                line=at + number + 1,
                id=answer.id,
                score=found.score,
                spread=found.spread,
                confidence=found.confidence,
                abstained=found.abstained,
                key=keys[at + number],
            )
            for number, (answer, found) in enumerate(zip(part, scored, strict=True))
        )
    unknown = sum(record.abstained for record in journal.finish())
    print(f"{len(answers)} answers scored, {unknown} of them with no confidence: {out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reward.score",
        description="Score the answers of a file with a reward model.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="Answers, JSON Lines.")
    parser.add_argument(
        "--model", type=Path, default=Path("runs/asdfg/reward"), help="A reward model."
    )
    parser.add_argument("--out", type=Path, help="Where to write; else FILE.scores.jsonl.")
    return parser


if __name__ == "__main__":
    command(main)
