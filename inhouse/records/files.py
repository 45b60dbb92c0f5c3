"""How records are read and written: JSON Lines in and out.

One JSON object a line, UTF-8; users' tables and arrays are read, too (:mod:`inhouse.reading`). A
reader checks every line before it returns, and its error names file, line and field of the first
fault and how many more lines are broken: nothing is skipped in silence. What a record of each kind
must hold stands in :mod:`inhouse.records.kinds`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from inhouse.errors import InputError
from inhouse.files import write_atomically
from inhouse.reading import shapes
from inhouse.reading.rows import COLUMNS, ending_of, rows
from inhouse.reading.strict_json import Fault, parse
from inhouse.records.turns import Record

# TRL's published shapes by the columns that tell them apart, the most telling first: the record
# that each becomes, and what to say to who gave it to something else.
SHAPES = (
    ("Preference", {"chosen", "rejected"}, "a preference, which `python -m rlhf.dpo` reads"),
    ("Verdict", {"prompt", "completion", "label"}, "a verdict, which `python -m rlhf.kto` reads"),
    ("Demonstration", {"messages"}, "a demonstration, which `python -m sft` reads"),
    ("Demonstration", {"prompt", "completion"}, "a demonstration, which `python -m sft` reads"),
    ("", {"prompt", "completions", "labels"}, "stepwise supervision, which no stage reads"),
    ("Prompt", {"prompt"}, "a prompt without an answer: add what is to be learned"),
    (
        "",
        {"text"},
        "plain text, which has no turns: write it as messages, or prompt and completion",
    ),
)
# What TRL's templates or others' readers would heed and inhouse.chat does not.
NOT_RENDERED: tuple[str, ...] = (
    "tools",
    "functions",
    "images",
    "image",
    "videos",
    "audio",
    "audios",
    "documents",
)
NOT_RENDERED += ("chat_template_kwargs", "system", "system_prompt", "kto_tag")
# What others call a prompt and its completion.
OTHER_NAMES = (
    {"question", "answer"},
    {"question", "response"},
    {"query", "response"},
    {"prompt", "response"},
    {"prompt", "answer"},
    {"instruction", "response"},
    {"input", "output"},
)

R = TypeVar("R", bound=Record)


def content_id(*parts: object) -> str:
    """Twelve hex digits that depend on content only, so that a record's name is its hash."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read(path: str | Path, kind: type[R], *, limit_errors: int = 3) -> list[R]:
    """Every record of a file: JSON Lines, a JSON array, CSV, TSV, Parquet or Arrow by its ending.

    Raises:
        InputError: a missing file, wrong encoding, broken JSON, a missing or wrong field, a
            duplicate ``id``, or no record at all.
    """
    return [record for _, record in read_placed(path, kind, limit_errors=limit_errors)]


def read_placed(path: str | Path, kind: type[R], *, limit_errors: int = 3) -> list[tuple[str, R]]:
    """:func:`read`, each record with its place: "line 4", or "record 4" of Parquet and Arrow."""
    placed: list[tuple[str, R]] = []
    faults: list[str] = []
    broken = 0
    seen: dict[str | int, str] = {}
    shapes_found: Counter[str] = Counter()
    for row in rows(Path(path)):
        try:
            value, told = shapes.ours(row)
            record = _record(value, kind, seen)
        except (Fault, ValidationError) as error:
            broken += 1
            if len(faults) < limit_errors:
                words = str(error) if isinstance(error, Fault) else _words(error, value, kind)
                faults.append(f"{path}, {row.place}: {words}")
            continue
        if isinstance(value.get("id"), str | int):
            seen[value["id"]] = row.place
        placed.append((row.place, record))
        shapes_found.update(told)
    if broken:
        more = f"\n… and {broken - len(faults)} more broken lines" if broken > len(faults) else ""
        shape = ", ".join(name for name, field in kind.model_fields.items() if field.is_required())
        raise InputError(
            "\n".join(faults) + more + f"\na {kind.__name__.lower()} needs: {shape}. Mend the "
            "lines named above; nothing was written."
        )
    if not placed:
        raise InputError(f"{path} holds no record: expected at least one {kind.__name__.lower()}")
    for shape, count in shapes_found.items():
        _tell(f"{path}: {count} of {len(placed)} records read as {shape}")
    return placed


@functools.cache
def _tell(words: str) -> None:
    """Say once how a file was read, however often a stage looks into it."""
    if os.environ.get("RANK", "0") == "0":
        print(words, file=sys.stderr, flush=True)


def _record(value: dict[str, Any], kind: type[R], seen: dict[str | int, str]) -> R:
    """A row as a record.

    Raises:
        Fault, ValidationError: it is none.
    """
    for key in NOT_RENDERED:
        if value.get(key) and key not in kind.model_fields:
            raise Fault(
                f"holds {key!r}, which is not rendered, so that a model would learn "
                "without it: take the column out, or write it into the turns"
            )
    if value.get("train") is False or value.get("weight", 1) not in (1, "1", True):
        key = "train" if value.get("train") is False else "weight"
        raise Fault(
            f"holds {key!r}, by which no stage weighs a record: take the column out, and with it "
            "the records that are not to be learned"
        )
    record = kind.model_validate(value)
    name = value.get("id")
    if isinstance(name, str | int) and name in seen:
        raise Fault(f"id {name!r} stands already in {seen[name]}")
    return record


def _words(error: ValidationError, value: dict[str, Any], kind: type[Record]) -> str:
    return _first_fault(error) + _other_shape(value, kind)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"]) or "record"
    found = f", found {fault['input']!r}" if fault["type"] == "literal_error" else ""
    if fault["type"] in ("string_type", "list_type", "bool_type", "dict_type"):
        value = fault["input"]
        simple = isinstance(value, int | float | None)
        found = f", found {json.dumps(value) if simple else type(value).__name__}"
    return f"field {field!r}: {fault['msg'].removeprefix('Value error, ')}{found}"


def _other_shape(row: dict[str, Any], kind: type[Record]) -> str:
    """In words what a row is, if a user's file was given to a command that reads another shape."""
    if kind.__name__ not in {name for name, _, _ in SHAPES}:
        return ""
    named = next((columns for columns in OTHER_NAMES if columns <= row.keys()), None)
    if named and row.keys().isdisjoint({"messages", "completion", "chosen"}):
        return f" (found {' and '.join(sorted(named))}: call them prompt and completion)"
    for name, columns, words in SHAPES:
        if columns <= row.keys():
            return "" if name == kind.__name__ else f" (this is {words})"
    found = ", ".join(repr(str(name)[:30]) for name in list(row)[:6])
    return f" (found {found})" if found else ""


def positions(source: str | Path, count: int) -> list[str]:
    """Where each of ``count`` records stands: its line in a JSON Lines file, else its number."""
    path = Path(source)
    if ending_of(path) is None or ending_of(path) in COLUMNS:
        return [f"record {number}" for number in range(1, count + 1)]
    return [row.place for row in rows(path)]


def to_line(record: Record) -> str:
    """A record as one line of JSON, newline included."""
    return json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n"


def write(path: str | Path, records: Iterable[Record]) -> None:
    """Write a whole file or none of it: temporary file, fsync, rename."""
    write_atomically(Path(path), "".join(to_line(record) for record in records))


class Journal(Generic[R]):
    """A JSON Lines file that grows batch by batch and survives a kill.

    Records go to ``<name>.part``, each batch synced to disk; :meth:`finish` renames it. Opened
    again, it drops a torn last line, reads the whole ones back, and goes on behind them. A file
    that was finished before its stage was is taken up again, too.
    """

    def __init__(self, path: Path, kind: type[R]):
        self.path, self._part = path, path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not self._part.exists():
            path.replace(self._part)
        kept = self._part.read_bytes() if self._part.exists() else b""
        kept = kept[: kept.rfind(b"\n") + 1]
        self.records = [
            self._again(number, line, kind) for number, line in enumerate(kept.splitlines(), 1)
        ]
        self._file = self._part.open("r+b" if self._part.exists() else "w+b")
        self._file.truncate(len(kept))
        self._file.seek(len(kept))

    def _again(self, number: int, line: bytes, kind: type[R]) -> R:
        try:
            return kind.model_validate(parse(line.decode("utf-8")))
        except ValueError as error:
            fault = _first_fault(error) if isinstance(error, ValidationError) else error
            raise InputError(
                f"{self._part}, line {number}: {fault}: remove the file, and it is made anew"
            ) from None

    def append(self, records: Iterable[R]) -> None:
        """Add a batch; it is on disk when this returns."""
        for record in records:
            self._file.write(to_line(record).encode())
            self.records.append(record)
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> list[R]:
        """Give the file its final name and return all its records."""
        self._file.close()
        self._part.replace(self.path)
        return self.records
