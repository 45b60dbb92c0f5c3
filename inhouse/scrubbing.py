"""Replace personal data in records, and decide whether a data set may be trained on.

    python -m inhouse.privacy scrub mine.jsonl --names customers.txt --out clean.jsonl

Placeholders name the type: ``[CARD]``. Pseudonyms are consistent within a conversation: the same
name is the same ``[PERSON-7f3a]`` in all its turns, and another one in the next conversation. They
are keyed hashes; the key's file is made with mode 0600 and may not stand in a run folder.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import secrets
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inhouse.errors import GateError, InputError
from inhouse.files import read_utf8, sha256, write_atomically
from inhouse.names import Names
from inhouse.privacy import Entity, scan

# A turn's own text, or a whole record's; where several stand in one record, spans count through
# the texts joined by newlines.
TEXT_FIELDS = ("text", "prompt", "messages", "chosen", "rejected", "completion", "response")
SCANNED = "personal_data"  # the key of a record's metadata that says it was scanned or cleared
Replace = Callable[[str, str], str]


def placeholder(kind: str, words: str) -> str:
    """The type in brackets, the same for all."""
    return f"[{kind}]"


@dataclass(frozen=True)
class Pseudonyms:
    """Replacements that are the same for the same words within one conversation."""

    key: bytes
    conversation: str

    def __call__(self, kind: str, words: str) -> str:
        """The type and four hex digits that only the key's holder can link to the words."""
        same = " ".join(words.casefold().split())
        told = "\0".join((self.conversation, kind, same)).encode()
        return f"[{kind}-{hmac.new(self.key, told, hashlib.sha256).hexdigest()[:6]}]"


def replaced(text: str, entities: Iterable[Entity], replace: Replace) -> str:
    """The text with every entity replaced, from the last to the first."""
    for entity in sorted(entities, key=lambda e: -e.start):
        words = text[entity.start : entity.end]
        text = text[: entity.start] + replace(entity.type, words) + text[entity.end :]
    return text


def read_key(path: Path) -> bytes:
    """The key of a file, made with mode 0600 if there is none.

    Raises:
        InputError: others may read the file, or it stands in a run folder.
    """
    above = [path.resolve().parent, *path.resolve().parents]
    if any(
        (folder / name).exists() for folder in above for name in ("manifest.json", "begun.json")
    ):
        raise InputError(
            f"{path} stands in a run folder, which is handed on: keep the key elsewhere"
        )
    if "runs" in {folder.name for folder in above}:
        raise InputError(
            f"{path} stands in a run folder, which is handed on: keep the key elsewhere"
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InputError(f"others may read {path}: run `chmod 600 {path}`")
    key = path.read_text(encoding="utf-8").strip()
    if len(key) < 32:
        raise InputError(f"{path} holds no key: expected 32 characters or more")
    return key.encode()


# --- records ------------------------------------------------------------------------------------


def texts_of(record: dict[str, Any]) -> list[str]:
    """Every text of a record, in the order in which they stand in it."""
    return [text for field in TEXT_FIELDS if field in record for text in _texts(record[field])]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for turn in value:
            if isinstance(turn, dict) and isinstance(turn.get("content"), str):
                yield turn["content"]


def entities_of(record: dict[str, Any], names: Names | None) -> list[Entity]:
    """What a record holds; spans count through its texts joined by newlines."""
    found, offset = [], 0
    for text in texts_of(record):
        found += [Entity(e.start + offset, e.end + offset, e.type) for e in scan(text, names)]
        offset += len(text) + 1
    return found


def scrubbed(record: dict[str, Any], names: Names | None, replace: Replace) -> tuple[dict, Counter]:
    """The record with its texts cleaned, and how many of each type were replaced."""
    counts: Counter[str] = Counter()

    def clean(text: str) -> str:
        found = scan(text, names)
        counts.update(entity.type for entity in found)
        return replaced(text, found, replace)

    def clean_value(value: Any) -> Any:
        if isinstance(value, str):
            return clean(value)
        if isinstance(value, list):
            return [
                {**turn, "content": clean(turn["content"])}
                if isinstance(turn, dict) and isinstance(turn.get("content"), str)
                else turn
                for turn in value
            ]
        return value

    made = {k: clean_value(v) if k in TEXT_FIELDS else v for k, v in record.items()}
    return made, counts


def check_training_data(
    records: Iterable[Any], source: str, allow_unscrubbed: bool
) -> dict[str, Any]:
    """Scan what is about to be trained on, and say for the manifest what was done about it.

    Raises:
        InputError: something is found and nobody has cleared it.
    """
    counts: Counter[str] = Counter()
    first: list[str] = []
    number = 0
    for number, record in enumerate(records, start=1):
        plain = record.model_dump()
        kinds = Counter(entity.type for entity in entities_of(plain, None))
        if kinds and _cleared(plain):
            kinds = Counter()
        counts += kinds
        if kinds and len(first) < 3:
            first.append(f"record {number}: {', '.join(kinds)}")
    told = {"scanned": number, "found": dict(sorted(counts.items()))}
    if counts and not allow_unscrubbed:
        named = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        raise InputError(
            f"{source} holds personal data that was neither scrubbed nor cleared: {named} "
            f"({'; '.join(first)} …)\nclean it with `python -m inhouse.privacy scrub {source} "
            "--out clean.jsonl`, or train on it as it is with --allow_unscrubbed true, which the "
            "manifest will say"
        )
    return told | {"allow_unscrubbed": bool(allow_unscrubbed)}


def _cleared(record: dict[str, Any]) -> bool:
    """Whether a record's metadata says who has looked at it: ``personal_data: cleared by …``."""
    said = (record.get("metadata") or {}).get(SCANNED)
    return isinstance(said, str) and said.startswith("cleared")


# --- python -m inhouse.privacy -------------------------------------------------------------------


def scan_files(words: argparse.Namespace) -> None:
    """Say where personal data stands, never what it is; exit 2 if there is any."""
    names = Names.read(words.names) if words.names else None
    counts: Counter[str] = Counter()
    number = 0
    for path in words.files:
        for line, record in _records(path):
            number += 1
            found = entities_of(record, names)
            counts.update(entity.type for entity in found)
            if words.json:
                where = {"file": str(path)} if len(words.files) > 1 else {}
                entities = [{"start": e.start, "end": e.end, "type": e.type} for e in found]
                print(json.dumps({**where, "line": line, "entities": entities}))
            else:
                for entity in found:
                    print(f"{path}:{line}: {entity.start}-{entity.end} {entity.type}")
    _say(number, counts)
    if counts:
        raise GateError(
            f"{sum(counts.values())} pieces of personal data found, expected none: "
            "`python -m inhouse.privacy scrub` replaces them"
        )


def scrub_files(words: argparse.Namespace) -> None:
    """Write each file's records with what was found replaced; the original is left alone."""
    names = Names.read(words.names) if words.names else None
    key = read_key(words.key) if words.key else None
    if words.out and len(words.files) > 1:
        raise InputError("--out names one file: give one FILE with it")
    total: Counter[str] = Counter()
    number = 0
    for path in words.files:
        out = words.out or path.with_name(f"{path.stem}.clean{path.suffix}")
        if out.exists() and out.samefile(path):
            raise InputError(f"{out} is the file that is read: give another --out")
        origin = sha256(path) if path.is_file() else ""
        lines = []
        for line, record in _records(path):
            number += 1
            replace = Pseudonyms(key, f"{origin} {line}") if key else placeholder
            made, counts = scrubbed(record, names, replace)
            total += counts
            lines.append(_line(path, made))
        write_atomically(out, "".join(lines))
        print(f"wrote {out}")
    _say(number, total)


def _line(path: Path, record: dict[str, Any]) -> str:
    if path.suffix not in (".jsonl", ".json"):
        return str(record["text"])
    return json.dumps(record, ensure_ascii=False) + "\n"


def _say(records: int, counts: Counter[str]) -> None:
    named = ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "nothing found"
    print(f"{records} records: {named}", file=sys.stderr)


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every record of a file: JSON Lines by its name, else the whole text is one.

    Raises:
        InputError: with file and line; never with what stands there.
    """
    text = read_utf8(path)
    if path.suffix not in (".jsonl", ".json"):
        yield 1, {"text": text}
        return
    seen = False
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            record = json.loads(row)
        except ValueError as error:
            where = getattr(error, "colno", "")
            raise InputError(f"{path}, line {line}: not JSON at column {where}") from None
        if not isinstance(record, dict) or not texts_of(record):
            fields = ", ".join(TEXT_FIELDS)
            raise InputError(f"{path}, line {line}: expected an object with one of {fields}")
        seen = True
        yield line, record
    if not seen:
        raise InputError(f"{path} holds no record")
