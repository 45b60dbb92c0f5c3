"""What ``python -m inhouse.privacy scan`` and ``scrub`` do, once their words are parsed.

Records are read and written here; what is found in them is counted and placed, never shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from inhouse.errors import GateError, InputError
from inhouse.files import read_utf8, sha256, write_atomically
from inhouse.names import Names
from inhouse.privacy import Extra, scan
from inhouse.public_contacts import PublicContacts
from inhouse.scrubbing import (
    TEXT_FIELDS,
    Pseudonyms,
    cleared_by_list,
    entities_of,
    placeholder,
    read_key,
    scrubbed,
    texts_of,
)


def scan_files(words: argparse.Namespace) -> None:
    """Say where personal data stands, never what it is; exit 2 if there is any."""
    search = partial(scan, **_supplied(words))
    counts: Counter[str] = Counter()
    number = 0
    for path in words.files:
        for line, record in _records(path):
            number += 1
            found = entities_of(record, search)
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
    supplied = _supplied(words)
    search, public = partial(scan, **supplied), supplied["public"]
    source = f"{words.allow.name}, sha256 {sha256(words.allow)[:12]}" if public else ""
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
            made, counts = scrubbed(record, search, replace)
            total += counts
            if public:
                made = cleared_by_list(made, public, source)
            lines.append(_line(path, made))
        write_atomically(out, "".join(lines))
        print(f"wrote {out}")
    _say(number, total)


def _supplied(words: argparse.Namespace) -> dict[str, Any]:
    """What the firm adds to the patterns, as :func:`scan` takes it."""
    return {
        "names": Names.read(words.names) if words.names else None,
        "extra": [_recogniser(str(words.ner_model))] if words.ner_model else [],
        "public": PublicContacts.read(words.allow) if words.allow else None,
    }


def _recogniser(folder: str) -> Extra:
    from inhouse.recognisers import Recogniser  # loads torch, which patterns do without

    found = Recogniser(folder)
    used = ", ".join(f"{label} as {kind}" for label, kind in found.types.items())
    unused = f"; not used: {', '.join(found.unused)}" if found.unused else ""
    print(f"{folder}: {used}{unused}", file=sys.stderr)
    return found


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
