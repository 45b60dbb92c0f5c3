"""What is checked, and against which figures: replies, training records, fact sheets.

Records in: replies, as plain text or as JSON Lines with ``prompt`` (string or messages),
``response``, and perhaps ``turn`` and ``jurisdiction``; approved figures as
``{"facts": [{"id", "text", "figures": [...]}]}``.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from compliance.rules.figures import Figure, approved, figures
from inhouse.errors import InputError
from inhouse.files import read_utf8
from inhouse.reading.rows import holds_records, objects
from inhouse.reading.strict_json import Fault, parse
from inhouse.records import Message, Record


class Reply(Record):
    """A reply to check, with what it answers."""

    prompt: list[Message] = Field(default_factory=list)
    response: str
    turn: Literal["first", "later"] | None = None
    jurisdiction: str | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _string(cls, value: object) -> Any:
        if isinstance(value, str):
            return [{"role": "user", "content": value}] if value.strip() else []
        return value or []


class Fact(Record):
    """An approved statement and its figures."""

    id: str
    text: str = ""
    figures: list[str | int | float] = Field(default_factory=list)

    @model_validator(mode="after")
    def _holds_figures(self) -> Fact:
        bare = [figure for figure in self.figures if not approved(str(figure))[1]]
        if bare:
            raise ValueError(f"{bare[0]!r} of {self.id} is no figure: write it in digits")
        if not self.text.strip() and not self.figures:
            raise ValueError(f"{self.id} has neither text nor figures")
        return self


class Facts(Record):
    """A firm's approved fact sheet."""

    facts: list[Fact]

    @model_validator(mode="after")
    def _one_of_each_id(self) -> Facts:
        seen = Counter(fact.id for fact in self.facts)
        twice = next((name for name, count in seen.items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"two facts are called {twice}")
        return self


def replies_in(path: Path) -> Iterator[tuple[int, Reply]]:
    """Every reply of a file: records by its ending, else the whole text is one.

    Raises:
        InputError: with file and line.
    """
    if not holds_records(path):
        text = read_utf8(path)
        if not text.strip():
            raise InputError(f"{path} is empty: expected a reply")
        yield 1, Reply(response=text)
        return
    for line, value in objects(path):
        _check_keys(value, Reply, f"{path}, line {line}")
        try:
            yield line, Reply.model_validate(value)
        except ValidationError as error:
            raise InputError(f"{path}, line {line}: {_fault(error)}") from None


def texts_in(path: Path) -> Iterator[tuple[int, str]]:
    """Everything an assistant says in a file of demonstrations, preferences or replies.

    Raises:
        InputError: with file and line.
    """
    for line, value in objects(path):
        said = [value[key] for key in ("messages", "chosen", "completion") if key in value]
        turns = [turn for part in said if isinstance(part, list) for turn in part]
        texts: list[Any] = [
            turn.get("content")
            for turn in turns
            if isinstance(turn, dict) and turn.get("role") == "assistant"
        ]
        alone = [value.get(key) for key in ("chosen", "completion", "response")]
        texts += [part for part in alone if isinstance(part, str)]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{path}, line {line}: no assistant's words (messages, response …)")
        for text in texts:
            yield line, text


def approved_figures(path: Path) -> frozenset[Figure]:
    """The figures of a fact sheet: those listed, and those in its texts.

    Raises:
        InputError: the file is not in the shape named above.
    """
    try:
        sheet = parse(read_utf8(path))
    except Fault as fault:
        where = f", line {fault.line}" if fault.line else ""
        raise InputError(f"{path}{where}: {fault}; expected {_SHEET}") from None
    if not isinstance(sheet, dict):
        raise InputError(f"{path}: expected {_SHEET}, found a {type(sheet).__name__}")
    _check_keys(sheet, Facts, str(path))
    for number, fact in enumerate(sheet["facts"] if isinstance(sheet.get("facts"), list) else []):
        if isinstance(fact, dict):
            _check_keys(fact, Fact, f"{path}, fact {number + 1}")
    try:
        facts = Facts.model_validate(sheet).facts
    except ValidationError as error:
        raise InputError(f"{path}: {_fault(error)}; expected {_SHEET}") from None
    listed = {approved(str(figure)) for fact in facts for figure in fact.figures}
    return frozenset(listed | {figure for fact in facts for _, figure in figures(fact.text)})


_SHEET = '{"facts": [{"id", "text", "figures": [...]}]}'


def _check_keys(record: dict[str, Any], kind: type[Record], where: str) -> None:
    """Refuse a key that is a known one misspelt; records may have keys of their own besides.

    Raises:
        InputError: names it and the known one.
    """
    missing = kind.model_fields.keys() - record.keys()
    for key in record.keys() - kind.model_fields.keys():
        like = difflib.get_close_matches(key, missing, n=1, cutoff=0.8)
        if like:
            raise InputError(f"{where}: unknown key {key!r}; did you mean {like[0]}?")


def _fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"]) or "record"
    said = "is missing" if fault["type"] == "missing" else fault["msg"]
    return f"field {field!r}: {said.removeprefix('Value error, ')}"
