"""Files as evidence: written whole or not at all, and known by their hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inhouse.errors import InputError


def write_atomically(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` so that a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write readable JSON atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_utf8(path: Path) -> str:
    """A file's text, without a byte-order mark.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}: save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every object of a JSON Lines file with its line. Blank lines are passed over.

    Raises:
        InputError: with file and line, and never with what stands there; or there is no object.
    """
    seen = False
    for line, row in enumerate(read_utf8(path).split("\n"), start=1):
        if row.strip():
            seen = True
            yield line, _json_object(row, f"{path}, line {line}")
    if not seen:
        raise InputError(f"{path} holds no record: expected JSON Lines, one object a line")


def _json_object(row: str, where: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in made if names.count(name) > 1)
            raise InputError(f"{where}: the key {twice!r} stands there twice")
        return made

    try:
        value = json.loads(row, object_pairs_hook=unique)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{where}: nested too deep") from None
    except ValueError as error:
        at = getattr(error, "colno", "")
        raise InputError(
            f"{where}: not JSON at column {at}; expected one whole object on each line"
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, found {type(value).__name__}")
    if "\\u" in row and not _is_unicode(value):
        raise InputError(
            f"{where}: half a character (\\ud800 to \\udfff by itself), which no text can hold: "
            "write the line anew from its source"
        )
    return value


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(path: Path, below: Path | None = None) -> dict[str, Any]:
    """Path, hash, size in bytes, and for JSON Lines the number of records."""
    entry: dict[str, Any] = {
        "path": str(path.relative_to(below)) if below else str(path),
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
    }
    if path.suffix == ".jsonl":
        with path.open("rb") as file:
            entry["records"] = sum(1 for line in file if line.strip())
    return entry


def describe_input(name: str, path: Path) -> dict[str, Any]:
    """An input by hash: a file's own, or for a folder the hash over all its files' hashes.

    Raises:
        InputError: there is nothing at ``path``.
    """
    if path.is_file():
        return {"name": name, **describe_file(path)}
    if not path.is_dir():
        raise InputError(f"{name} names {path}, which does not exist")
    files = [describe_file(file, path) for file in sorted(path.rglob("*")) if file.is_file()]
    listing = "".join(f"{file['sha256']}  {file['path']}\n" for file in files)
    total = sum(file["bytes"] for file in files)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return {"name": name, "path": str(path), "sha256": digest, "bytes": total}
