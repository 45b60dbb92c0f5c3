"""Files as evidence: written whole or not at all, and known by their hash."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from inhouse.errors import InputError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Put ``content`` at ``path`` so that a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(as_utf8(content) if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def as_utf8(text: str) -> bytes:
    """A text in UTF-8, also one with names of files that Python read as bytes of another encoding.

    Under ``LC_ALL=C`` without UTF-8 mode that is every name with an umlaut in it; those that are
    UTF-8 come out as they are.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode("utf-8")


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
