"""A file's rows with their places, by the file's ending.

    for row in rows(Path("demonstrations.csv")):
        print(row.place, row.value)  # "line 2", {"prompt": …}, or a Fault

JSON Lines, JSON arrays, CSV, TSV, Parquet and Arrow; the first four packed with gzip, too.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inhouse.errors import InputError, words_of
from inhouse.reading import tables
from inhouse.reading.strict_json import Fault, check, parse, parse_at

TEXTS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
COLUMNS = (".parquet", ".arrow", ".feather")
ENDINGS = (*TEXTS, *(f"{ending}.gz" for ending in TEXTS), *COLUMNS)
EXPECTED = ".jsonl (also .ndjson), .json, .csv, .tsv, .parquet or .arrow, the first five also .gz"
# Endings of files that hold records and are not read: what to do about each.
UNREAD = {
    ".xlsx": "save the sheet as CSV UTF-8",
    ".xls": "save the sheet as CSV UTF-8",
    ".ods": "save the sheet as CSV UTF-8",
    ".zip": "unpack it",
    ".zst": "unpack it",
    ".bz2": "unpack it",
    ".xz": "unpack it",
    ".gz": "unpack it",
    ".tar": "unpack it",
    ".tgz": "unpack it",
    ".7z": "unpack it",
    ".yaml": "write one JSON object a line",
    ".yml": "write one JSON object a line",
    ".pkl": "write one JSON object a line: a pickle may run code",
    ".pickle": "write one JSON object a line: a pickle may run code",
    ".orc": "write it as Parquet",
    ".avro": "write it as Parquet",
    ".h5": "write it as Parquet",
    ".db": "write it as Parquet",
    ".sqlite": "write it as Parquet",
}
MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


@dataclass(frozen=True)
class Row:
    """One row, or what is wrong with it.

    ``number`` is its line as an editor counts, or for Parquet and Arrow how many rows there are
    up to it. ``is_text`` says that its values are a table's cells, texts all of them.
    """

    number: int
    value: dict[str, Any] | Fault
    unit: str = "line"
    is_text: bool = False

    @property
    def place(self) -> str:
        """In words: "line 4"."""
        return f"{self.unit} {self.number}"


def ending_of(path: Path) -> str | None:
    """The ending by which a file's rows are read, in small letters: ``.jsonl.gz``; None if none."""
    name = path.name.lower()
    found = [ending for ending in ENDINGS if name.endswith(ending)]
    return max(found, key=len) if found else None


def holds_records(path: Path) -> bool:
    """Whether a file is read row by row, or would be if it could be; any other is a text."""
    return ending_of(path) is not None or path.suffix.lower() in UNREAD or path.is_dir()


def rows(path: Path) -> Iterator[Row]:
    """Every row of a file, blank lines passed over; one that is broken is its own fault.

    Raises:
        InputError: there is no such file, its ending is none that is read, or as a whole it is
            not what its ending says.
    """
    ending = _checked(path)
    if ending in COLUMNS:
        table = tables.read_columns(path)
        for number, value in tables.column_rows(table, str(path)):
            yield Row(number, _checked_value(value), "record")
        return
    content = read_bytes(path).removeprefix(codecs.BOM_UTF8)
    kind = ending.removesuffix(".gz")
    if kind in tables.DELIMITERS:
        text = _decoded(content, str(path))
        for line, cells in tables.cells(text, tables.DELIMITERS[kind], str(path)):
            yield Row(line, _checked_value(cells), is_text=True)
    elif kind == ".json":
        yield from _json(content, str(path))
    else:
        yield from _json_lines(content)


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every row of a file with its number: all are right, or the first fault is raised.

    Raises:
        InputError: with file and line, and never with what stands there; or there is no row.
    """
    row = None
    for row in rows(path):
        if isinstance(row.value, Fault):
            raise InputError(f"{path}, {row.place}: {row.value}")
        yield row.number, row.value
    if row is None:
        raise InputError(f"{path} holds no record: expected JSON Lines, one object a line")


def read_bytes(path: Path) -> bytes:
    """A file's bytes, unpacked if it is packed with gzip.

    Raises:
        InputError: it cannot be read or unpacked.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"cannot unpack {path}: {words_of(error)}: pack it anew with gzip"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def _checked(path: Path) -> str:
    """The ending of a file that can be read; that of an Arrow file for a saved data set."""
    if (path / "state.json").is_file():
        return ".arrow"
    if (path / "dataset_dict.json").is_file():
        parts = sorted(part.name for part in path.iterdir() if part.is_dir())
        raise InputError(f"{path} holds several parts ({', '.join(parts)}): name one, {path}/…")
    if path.is_dir():
        held = sorted(file for file in path.rglob("*") if ending_of(file) is not None)
        named = ", ".join(str(file.relative_to(path)) for file in held[:5])
        raise InputError(
            f"{path} is a folder: name one file in it ({named or 'none of them holds records'})"
        )
    ending = ending_of(path)
    if not path.is_file():
        raise InputError(
            f"no file {path}: expected JSON Lines, one record a line"
            + ("" if ending else f", or another of {EXPECTED}; fetch a data set of the hub first")
        )
    if ending is None:
        shown = "".join(path.suffixes[-2:]) or "no ending"
        way = UNREAD.get(path.suffix.lower(), "name it by what it holds, or write JSON Lines")
        raise InputError(f"{path} has {shown}, which is not read: expected {EXPECTED}; {way}")
    return ending


def _checked_value(value: dict[str, Any] | Fault) -> dict[str, Any] | Fault:
    try:
        check(value)
    except Fault as fault:
        return fault
    return value


def _decoded(content: bytes, source: str) -> str:
    """A table's text.

    Raises:
        InputError: with the line that is not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{source}, line {line}: {_encoding_fault(content, error)}") from None


def _encoding_fault(content: bytes, error: UnicodeDecodeError) -> str:
    begun = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    guess = f"it begins as {begun}" if begun else "Windows-1252, as Excel saves a plain CSV?"
    return f"not UTF-8 at byte {error.start} ({guess}): save the file as UTF-8"


# --- JSON ---------------------------------------------------------------------------------------


def _json_lines(content: bytes) -> Iterator[Row]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield Row(number, _line_value(line))


def _line_value(line: bytes) -> dict[str, Any] | Fault:
    try:
        value = parse(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Fault(_encoding_fault(line, error))
    except Fault as fault:
        hint = _ARRAY if line.strip() == b"[" else ""
        return Fault(f"{fault}{hint}")
    return _object(value, _ARRAY if isinstance(value, list) else "")


_ARRAY = " (a file that is one JSON array is named .json)"


def _object(value: Any, hint: str = "") -> dict[str, Any] | Fault:
    if isinstance(value, dict):
        return value
    return Fault(f"expected a JSON object, found {type(value).__name__}{hint}")


def _json(content: bytes, source: str) -> Iterator[Row]:
    """An array of objects, one object over several lines, or JSON Lines by another name."""
    if content.lstrip()[:1] == b"[":
        yield from _array(_decoded(content, source))
        return
    lines = list(_json_lines(content))
    if lines and isinstance(lines[0].value, Fault):
        try:
            whole = parse(content.decode("utf-8"))
        except ValueError:
            pass
        else:
            yield Row(lines[0].number, _object(whole))
            return
    yield from lines


def _array(text: str) -> Iterator[Row]:
    """The elements of an array, each with the line in which it begins; a broken one is the last."""
    at, line, seen = text.index("[") + 1, 1, 0
    expected = "]"  # what may stand instead of a further element
    while True:
        at = _next(text, at)
        line, seen = line + text.count("\n", seen, at), at
        if text[at : at + 1] == expected:
            break
        try:
            value, end = parse_at(text, at)
        except Fault as fault:
            yield Row(fault.line or line, fault)
            return
        yield Row(line, _object(value))
        at, expected = _next(text, end), ""
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            line += text.count("\n", seen, at)
            yield Row(line, Fault("not JSON: expected a comma or ] behind an object of the array"))
            return
        at += 1
    at = _next(text, at + 1)
    if at < len(text):
        line += text.count("\n", seen, at)
        yield Row(line, Fault("not JSON: more behind the end of the array"))


def _next(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
