"""Rows that were changed, written as the kind of file that they were read from."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inhouse.errors import InputError
from inhouse.reading import shapes, tables
from inhouse.reading.rows import COLUMNS, Row, ending_of, read_bytes, rows
from inhouse.reading.strict_json import Fault


@dataclass(frozen=True)
class Opened:
    """A row as it stands in its file, and its fields with JSON texts as values (``packed``)."""

    row: Row
    fields: dict[str, Any]
    packed: list[str]

    def with_changed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The row as it stands in its file, but for the fields that were changed."""
        assert not isinstance(self.row.value, Fault)
        made = dict(self.row.value)
        for name, part in fields.items():
            if name not in self.fields or part != self.fields[name]:
                text = name in self.packed or (self.row.is_text and not isinstance(part, str))
                made[name] = json.dumps(part, ensure_ascii=False) if text else part
        return made


def opened(path: Path) -> list[Opened]:
    """Every row of a file.

    Raises:
        InputError: with file and line, never with what stands there; or there is no row.
    """
    made = []
    for row in rows(path):
        try:
            if isinstance(row.value, Fault):
                raise row.value
            made.append(Opened(row, *shapes.unpacked(row)))
        except Fault as fault:
            raise InputError(f"{path}, {row.place}: {fault}") from None
    if not made:
        raise InputError(f"{path} holds no record: expected at least one")
    return made


def beside(path: Path, mark: str) -> Path:
    """Where the changed copy of a file goes: ``d.clean.jsonl.gz`` for ``d.jsonl.gz``."""
    if path.is_dir():
        return path.with_name(f"{path.name}.{mark}.parquet")
    ending = ending_of(path) or path.suffix
    stem = path.name[: len(path.name) - len(ending)]
    return path.with_name(f"{stem}.{mark}{path.name[len(stem) :]}")


def check_kinds(path: Path, out: Path) -> None:
    """Refuse to write another kind of file than was read, unless it is JSON Lines.

    Raises:
        InputError: the two endings, and which may be given.
    """
    read, write = _kind(path), _kind(out)
    if write not in (None, read, ".jsonl") or (read in COLUMNS and write is None):
        raise InputError(
            f"{out} cannot be written from {path}: give an --out that ends in {read} or .jsonl"
        )


def content_of(path: Path, out: Path, changed: Sequence[tuple[Opened, dict[str, Any]]]) -> bytes:
    """A whole file for ``out``, of the kind that ``path`` is, or JSON Lines if it is named so."""
    kind = _kind(out) or _kind(path)
    if kind in COLUMNS:
        made = [row.with_changed(fields) for row, fields in changed]
        return tables.columns_like(tables.read_columns(path), made, kind == ".parquet")
    original = "" if _kind(path) in COLUMNS else read_bytes(path).decode("utf-8")
    if kind in tables.DELIMITERS:
        made = [row.with_changed(fields) for row, fields in changed]
        head = list(dict.fromkeys(name for row in made for name in row))
        text = tables.cells_text(head, made, kind, original)
    else:
        same = _kind(path) in (kind, ".json", ".jsonl")
        values = [row.with_changed(fields) if same else fields for row, fields in changed]
        lines = [json.dumps(value, ensure_ascii=False, default=str) for value in values]
        array = kind == ".json" and original.lstrip("\ufeff \t\r\n").startswith("[")
        text = "[\n" + ",\n".join(lines) + "\n]\n" if array else "".join(f"{x}\n" for x in lines)
    content = text.encode("utf-8")
    return gzip.compress(content, mtime=0) if out.suffix.lower() == ".gz" else content


def _kind(path: Path) -> str | None:
    """An ending without its packing; JSON Lines by either of its names."""
    if path.is_dir():
        return ".parquet"
    ending = ending_of(path)
    kind = ending.removesuffix(".gz") if ending else None
    return {".ndjson": ".jsonl", ".feather": ".arrow"}.get(str(kind), kind)
