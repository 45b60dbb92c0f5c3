"""Damaged files against every reader: each gives records or an InputError, and nothing else.

    python tests/inhouse/reading/fuzz.py --inputs 1000000
    python tests/inhouse/reading/fuzz.py --readers csv jsonl --inputs 100000 --seed 7

Each input is a file that was valid and is damaged: pieces put in, taken out, or written over; or,
for a kind that holds JSON, rows of known names with values of any type. It is read row by row, as
records of each kind in turn, and written again as the scrub does. What ends otherwise is kept in
``--keep`` and printed with its traceback, and so is a process that a library brought down; then
the exit is 1. The slowest input of each reader is told: one that takes seconds is a fault, too.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from inhouse.errors import InputError  # noqa: E402
from inhouse.reading.rows import objects  # noqa: E402
from inhouse.reading.writing import content_of, opened  # noqa: E402
from inhouse.records import (  # noqa: E402
    CandidatePair,
    Demonstration,
    Output,
    Preference,
    Prompt,
    Rating,
    Record,
    positions,
    read,
)
from rlhf.offline.rows import Verdict  # noqa: E402


class Anything(Record):
    """A record of any shape."""


KINDS: tuple[type[Record], ...] = (
    *(Anything, Demonstration, Preference, Prompt, Verdict, CandidatePair, Rating, Output),
)
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "é"}]
SHARED = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
ROWS: list[dict[str, Any]] = [
    {"messages": TURNS, "metadata": {"facts": ["1 %", 2], "a": 1.5}},
    {"prompt": "q", "completion": "a", "label": True, "id": 1},
    {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": "b", "margin": 0.5},
    {**SHARED, "system": "s"},
    {"instruction": "q", "input": "", "output": "a", "history": [["q", "a"]]},
]

# --- valid files ----------------------------------------------------------------------------------


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def array(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, indent=1).encode()


def table(delimiter: bytes) -> bytes:
    held = json.dumps(TURNS).replace('"', '""').encode()
    rows = [
        [b"prompt", b"completion", b"metadata", b"messages", b"label"],
        [b"q", b'"a, ""b""\nc"', b'"{""a"": 1}"', b"", b"true"],
        [b"q\xc3\xa9", b"None", b"", b'"' + held + b'"', b"0"],
    ]
    return b"".join(delimiter.join(row) + b"\r\n" for row in rows)


def cells(delimiter: str) -> Callable[[list[dict[str, Any]]], bytes]:
    """Rows as a table, each value as one would write it into a cell."""

    def write(rows: list[dict[str, Any]]) -> bytes:
        made = io.StringIO()
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(made, names, delimiter=delimiter)
        writer.writeheader()
        for row in rows:
            texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()}
            writer.writerow(texts)
        return made.getvalue().encode()

    return write


def columns(write: Callable[[Any, Any], None], *, dates: bool = False) -> bytes:
    import datetime

    import pyarrow

    rows = [{"messages": TURNS, "metadata": {"a": 1.5}, "id": n, "label": True} for n in range(3)]
    if dates:
        day = datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
        rows = [{**row, "day": day, "left": datetime.timedelta(1), "raw": b"x"} for row in rows]
    made = io.BytesIO()
    write(pyarrow.Table.from_pylist(rows), made)
    return made.getvalue()


def parquet(table: Any, to: Any) -> None:
    from pyarrow import parquet

    parquet.write_table(table, to)


def arrow_stream(table: Any, to: Any) -> None:
    from pyarrow import ipc

    with ipc.new_stream(to, table.schema) as file:
        file.write_table(table)


def arrow_file(table: Any, to: Any) -> None:
    from pyarrow import ipc

    with ipc.new_file(to, table.schema) as file:
        file.write_table(table)


# --- damage ---------------------------------------------------------------------------------------

PIECES = [b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"\n", b"\r", b"\0", b"\xff", b"\t"]
PIECES += [b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"NaN", b"1e999", b"-0", b"9" * 400, b"null"]
PIECES += [b'""', b"[]", b"{}", b"true", b"\xef\xbb\xbf", b"\xff\xfe", b"[" * 200, b"[" * 2000]
PIECES += [b";", b"'", b"|", b" ", b"\xe2\x80\xa8", b"\x1a", b"PAR1", b"ARROW1", b"\x1f\x8b"]
NAMES = ["messages", "prompt", "completion", "chosen", "rejected", "role", "content", "from"]
NAMES += ["value", "weight", "train", "label", "conversations", "conversation", "system", "id"]
NAMES += ["instruction", "input", "output", "history", "metadata", "facts", "tools", "text", "type"]
NAMES += ["response_a", "response_b", "pair_id", "rater", "choice", "margin", "raters", "spans"]
NAMES += ["source_a", "findings_a", "model", "seed", "tokens", "reward", "gold", "repeat_of"]
WORDS = ["user", "assistant", "system", "human", "gpt", "text", "q", "", " ", "\u200b", "é", "a"]
WORDS += ["1", "true", "[{", '[{"role": "user"}]', "{'role': 1}", "[]", "null", "x" * 300]
PIECES += [b'"' + name.encode() + b'":' for name in NAMES]


def damaged(seed: bytes, chance: random.Random) -> bytes:
    """Bytes with a few pieces put in, taken out, or written over."""
    made = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(made))
        piece = chance.choice(PIECES) if chance.random() < 0.7 else chance.randbytes(2)
        made[at : at + chance.choice((0, 0, 1, len(piece), 20))] = piece
    return bytes(made)


def flipped(seed: bytes, chance: random.Random) -> bytes:
    """Bytes of which a few are others; now and then the end is cut off."""
    made = bytearray(seed)
    for _ in range(chance.randint(1, 8)):
        made[chance.randrange(len(made))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
    return bytes(made[: chance.randrange(len(made))]) if chance.random() < 0.1 else bytes(made)


def value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value, its objects of known names."""
    kind = chance.randrange(9 if depth < 5 else 6)
    if kind < 3:
        return chance.choice(WORDS)
    if kind < 6:
        return chance.choice((None, True, False, 0, 1, -1, 0.5, 1e300, 10**40, 2**63))
    if kind == 6:
        return [value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    if kind == 7:
        roles = ("user", "assistant", "system", value(chance, depth + 1))
        return [
            {"role": chance.choice(roles), "content": value(chance, depth + 1)} for _ in range(2)
        ]
    return {chance.choice(NAMES): value(chance, depth + 1) for _ in range(chance.randint(0, 4))}


def changed_rows(chance: random.Random) -> list[dict[str, Any]]:
    """Rows that a stage reads, some of their fields with other values, and new ones."""
    rows = json.loads(json.dumps(chance.sample(ROWS, chance.randint(1, 2))))
    for row in rows:
        for _ in range(chance.randint(0, 3)):
            row[chance.choice((*row, chance.choice(NAMES)))] = value(chance)
        if chance.random() < 0.3:
            row.pop(chance.choice(list(row)))
    return rows


# --- readers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """An ending, and how a damaged file of that ending is made."""

    ending: str
    make: Callable[[random.Random], bytes]


def of_text(seeds: list[bytes], write: Callable[..., bytes]) -> Callable[..., bytes]:
    def make(chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            content = write(changed_rows(chance))
            return content if chance.random() < 0.7 else damaged(content, chance)
        return damaged(chance.choice(seeds), chance)

    return make


def of_bytes(seeds: list[bytes]) -> Callable[..., bytes]:
    def make(chance: random.Random) -> bytes:
        damage = flipped if chance.random() < 0.8 else damaged
        return damage(chance.choice(seeds), chance)

    return make


def packed(inner: Callable[..., bytes]) -> Callable[..., bytes]:
    def make(chance: random.Random) -> bytes:
        content = gzip.compress(inner(chance), compresslevel=1, mtime=0)
        return content if chance.random() < 0.5 else flipped(content, chance)

    return make


def readers() -> dict[str, Reader]:
    """Every reader by its name."""
    json_lines = of_text([lines(ROWS), lines(ROWS[:1])], lines)
    json_array = of_text([array(ROWS), array(ROWS[:1]), lines(ROWS)], array)
    commas, tabs = of_text([table(b",")], cells(",")), of_text([table(b"\t")], cells("\t"))
    streams = [columns(arrow_stream), columns(arrow_stream, dates=True)]
    files = [columns(arrow_file), columns(arrow_file, dates=True)]
    return {
        "jsonl": Reader(".jsonl", json_lines),
        "json": Reader(".json", json_array),
        "csv": Reader(".csv", commas),
        "tsv": Reader(".tsv", tabs),
        "jsonl.gz": Reader(".jsonl.gz", packed(json_lines)),
        "json.gz": Reader(".json.gz", packed(json_array)),
        "csv.gz": Reader(".csv.gz", packed(commas)),
        "parquet": Reader(".parquet", of_bytes([columns(parquet), columns(parquet, dates=True)])),
        "arrow": Reader(".arrow", of_bytes([*streams, *files])),
    }


def read_all(path: Path, kind: type[Record]) -> int:
    """Read a file in every way that the suite reads one; how many of them took it.

    Raises:
        Exception: anything but an InputError, which is a fault of the reader.
    """
    taken = 0
    ways: tuple[Callable[[], Any], ...] = (
        lambda: list(objects(path)),
        lambda: positions(path, len(read(path, kind))),
        lambda: content_of(path, path, [(row, row.fields) for row in opened(path)]),
    )
    for way in ways:
        try:
            way()
            taken += 1
        except InputError as refusal:
            assert str(refusal).strip()
    return taken


# --- the command ----------------------------------------------------------------------------------

BATCH = 20_000  # inputs a process: one that a library brings down costs no more than these


@dataclass(frozen=True)
class Found:
    """What came of a reader's inputs: how many were read, the slowest in seconds of a core."""

    taken: int = 0
    faults: int = 0
    slowest: float = 0.0
    its_number: int = 0

    def __str__(self) -> str:
        return (
            f"{self.taken:,} read, {self.faults} faults, "
            f"slowest {self.slowest:.2f} s (input {self.its_number})"
        )

    def and_more(self, more: Found) -> Found:
        slower = max(self, more, key=lambda found: found.slowest)
        taken, faults = self.taken + more.taken, self.faults + more.faults
        return Found(taken, faults, slower.slowest, slower.its_number)


def run_batch(
    name: str, numbers: range, seed: int, folder: str, keep: Path, tell: Connection
) -> None:
    reader, found = readers()[name], Found()
    path = Path(folder) / f"d{reader.ending}"
    for number in numbers:
        path.write_bytes(reader.make(random.Random(f"{seed} {name} {number}")))
        began, taken, faults = time.process_time(), 0, 0
        try:
            with redirect_stderr(io.StringIO()):
                taken = int(read_all(path, KINDS[number % len(KINDS)]) > 0)
        except Exception:
            faults = 1
            kept = keep / f"{name}-{seed}-{number}{reader.ending}"
            kept.write_bytes(path.read_bytes())
            print(f"{kept}\n{traceback.format_exc(limit=-4)}", flush=True)
        found = found.and_more(Found(taken, faults, time.process_time() - began, number))
    tell.send(found)


def run_apart(name: str, numbers: range, seed: int, keep: Path) -> Found:
    """One batch in a process of its own; if a library brings that down, its file is kept."""
    with tempfile.TemporaryDirectory() as folder:
        receive, send = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(
            target=run_batch, args=(name, numbers, seed, folder, keep, send)
        )
        process.start()
        send.close()
        try:
            return receive.recv()
        except EOFError:
            process.join()
            left = next(Path(folder).iterdir())
            kept = keep / f"{name}-{seed}-{numbers.start}-down{left.name}"
            kept.write_bytes(left.read_bytes())
            print(f"{kept}: the process ended with {process.exitcode}", flush=True)
            return Found(faults=1)
        finally:
            process.join()


def main() -> int:
    about = str(__doc__).splitlines()[0]
    words = argparse.ArgumentParser(description=about, allow_abbrev=False)
    words.add_argument("--inputs", type=int, default=100_000, help="Damaged files a reader.")
    words.add_argument("--readers", nargs="+", choices=list(readers()), default=list(readers()))
    words.add_argument("--seed", type=int, default=0, help="The same seed, the same files.")
    words.add_argument("--keep", type=Path, default="fuzz-faults", help="Where faults' files go.")
    given = words.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    found = {name: Found() for name in given.readers}
    for start in range(0, given.inputs, BATCH):
        numbers = range(start, min(start + BATCH, given.inputs))
        for name in given.readers:
            found[name] = found[name].and_more(run_apart(name, numbers, given.seed, given.keep))
            print(f"{name}: {numbers.stop:,} inputs, {found[name]}", flush=True)
    return 1 if any(each.faults for each in found.values()) else 0


if __name__ == "__main__":
    os.environ["RANK"] = "1"  # how a file was read is not told a million times
    sys.exit(main())
