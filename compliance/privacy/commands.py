"""What ``python -m compliance.privacy scan`` and ``scrub`` do, once their words are parsed.

Records are read and written here; what is found in them is counted and placed, never shown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compliance.privacy.scrub import (
    LEFT_OUT,
    TEXT_FIELDS,
    Pseudonyms,
    Replace,
    cleared_by_list,
    entities_of,
    persons_of,
    placeholder,
    read_key,
    scrubbed,
    texts_of,
)
from compliance.privacy.supplied import Supplied
from inhouse.errors import GateError, InputError
from inhouse.files import read_utf8, sha256, write_atomically
from inhouse.reading import writing
from inhouse.reading.rows import Row, holds_records


def scan_files(words: argparse.Namespace) -> None:
    """Say where personal data stands, never what it is; exit 2 if there is any."""
    search = _supplied(words)
    counts: Counter[str] = Counter()
    number = 0
    for path in words.files:
        for opened in _records(path):
            line, record = opened.row.number, opened.fields
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
            "`python -m compliance.privacy scrub` replaces them"
        )


def scrub_files(words: argparse.Namespace) -> None:
    """Write each file's records with what was found replaced; the original is left alone."""
    search = _supplied(words)
    public = search.public
    source = f"{words.allow.name}, sha256 {sha256(words.allow)[:12]}" if public else ""
    key = read_key(words.key) if words.key else None
    if words.out and len(words.files) > 1:
        raise InputError("--out names one file: give one FILE with it")
    total: Counter[str] = Counter()
    number = 0
    for path in words.files:
        out = words.out or writing.beside(path, "clean")
        if out.exists() and (out.is_dir() or out.samefile(path)):
            what = "a folder" if out.is_dir() else "the file that is read"
            raise InputError(f"{out} is {what}: give another --out")
        if holds_records(path):
            writing.check_kinds(path, out)
        origin = sha256(path) if path.is_file() else ""
        changed = []
        for opened in _records(path):
            number += 1
            replace: Replace = placeholder
            if key:
                conversation = f"{origin} {opened.row.number}"
                replace = Pseudonyms(key, conversation, persons_of(opened.fields, search))
            made, counts = scrubbed(opened.fields, search, replace)
            total += counts
            if public:
                made = cleared_by_list(made, public, source)
            changed.append((opened, made))
        _write(path, out, changed)
    _say(number, total)


def _supplied(words: argparse.Namespace) -> Supplied:
    """What the firm adds to the patterns; says which of a model's labels are used."""
    supplied = Supplied.read(words.names, words.ner_model, words.allow)
    recognisers: tuple[Any, ...] = supplied.extra
    for model in recognisers:
        used = ", ".join(f"{label} as {kind}" for label, kind in model.types.items())
        unused = f"; not used: {', '.join(model.unused)}" if model.unused else ""
        print(f"{words.ner_model}: {used}{unused}", file=sys.stderr)
    return supplied


def _write(path: Path, out: Path, changed: list[tuple[writing.Opened, dict[str, Any]]]) -> None:
    """The whole file, of the kind that was read."""
    content: str | bytes
    if holds_records(path):
        content = writing.content_of(path, out, changed)
    else:
        content = "".join(str(made["text"]) for _, made in changed)
    try:
        write_atomically(out, content)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}: give another --out") from None
    print(f"wrote {out}")


def _say(records: int, counts: Counter[str]) -> None:
    named = ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "nothing found"
    print(f"{records} records: {named} (not looked into: {LEFT_OUT})", file=sys.stderr)


def _records(path: Path) -> Iterator[writing.Opened]:
    """Every record of a file by its ending; of any other, the whole text is one.

    Raises:
        InputError: with file and line; never with what stands there.
    """
    if not holds_records(path):
        text = {"text": read_utf8(path)}
        yield writing.Opened(Row(1, text), text, [])
        return
    for opened in writing.opened(path):
        if not texts_of(opened.fields):
            fields = ", ".join(TEXT_FIELDS)
            raise InputError(f"{path}, {opened.row.place}: no text in any of the fields {fields}")
        yield opened
