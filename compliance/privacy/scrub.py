"""Replace personal data in records, and decide whether a data set may be trained on.

    python -m compliance.privacy scrub mine.jsonl --names customers.txt --out clean.jsonl

Placeholders name the type: ``[CARD]``. Pseudonyms are consistent within a conversation: the same
name is the same ``[PERSON-7f3a90]`` in all its turns, in part as well, and another one in the next
conversation. They are keyed hashes; the key's file is made with mode 0600 and may not stand in a
run folder.

Training refuses a firm's own telephone number like anybody's. With ``--allow ours.txt`` scrub
leaves what that file lists and says so in the metadata of each record that holds some, which
clears it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.normalise import normalise
from compliance.privacy.asked import in_view_of
from compliance.privacy.entities import Entity
from compliance.privacy.public_contacts import PublicContacts
from inhouse.errors import InputError

# A turn's own text, or a whole record's; where several stand in one record, spans count through
# the texts joined by newlines.
TEXT_FIELDS = (
    "text",
    "prompt",
    "messages",
    "chosen",
    "rejected",
    "completion",
    "response",
    "response_a",
    "response_b",
    "conversations",  # and below, what others' shapes call theirs
    "conversation",
    "instruction",
    "input",
    "output",
    "history",
    "system",
)
SCANNED = "personal_data"  # the key of a record's metadata that says it was scanned or cleared
Replace = Callable[[str, str], str]
LEFT_OUT = "keys, numbers, roles, metadata.personal_data"  # said where something is looked into
_SPOKEN = (*TEXT_FIELDS, "content", "value")


@dataclass(frozen=True)
class String:
    """A string of a record, its key, and what was said before it."""

    text: str
    key: str
    asked: str


Change = Callable[[String], str]
Search = Callable[[str], list[Entity]]  # scan, or Supplied: with what the firm adds to it


def placeholder(kind: str, words: str) -> str:
    """The type in brackets, the same for all."""
    return f"[{kind}]"


@dataclass(frozen=True)
class Pseudonyms:
    """Replacements that are the same for the same words within one conversation.

    ``persons`` are the names in it: "Hopper" is Grace Hopper where no other Hopper is named.
    """

    key: bytes
    conversation: str
    persons: frozenset[str] = frozenset()

    def __call__(self, kind: str, words: str) -> str:
        """The type and six hex digits that only the key's holder can link to the words."""
        same = _plain(words)
        if kind == "PERSON":
            holding = [name for name in self.persons if set(same.split()) < set(name.split())]
            whole = [
                n for n in holding if not any(set(n.split()) < set(o.split()) for o in holding)
            ]
            same = whole[0] if len(whole) == 1 else same
        told = "\0".join((self.conversation, kind, same)).encode()
        return f"[{kind}-{hmac.new(self.key, told, hashlib.sha256).hexdigest()[:6]}]"


def _plain(name: str) -> str:
    """A name as it is compared: without accents and capitals, with single blanks."""
    return " ".join(normalise(name).text.casefold().split())


def persons_of(record: dict[str, Any], search: Search) -> frozenset[str]:
    """The names in a record's texts, for :class:`Pseudonyms`."""
    texts = [string.text for string in strings_of(record)]
    return frozenset(
        _plain(text[e.start : e.end]) for text in texts for e in search(text) if e.type == "PERSON"
    )


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
    above = path.resolve().parents
    marks = [folder / name for folder in above for name in ("manifest.json", "begun.json")]
    if any(mark.exists() for mark in marks) or "runs" in {folder.name for folder in above}:
        raise InputError(
            f"{path} stands in a run folder, which is handed on: keep the key elsewhere"
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    if not path.is_file():
        raise InputError(f"{path} is a folder: name the key's file")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InputError(f"others may read {path}: run `chmod 600 {path}`")
    key = path.read_text(encoding="utf-8").strip()
    if len(key) < 32:
        raise InputError(f"{path} holds no key: expected 32 characters or more")
    return key.encode()


def texts_of(record: dict[str, Any]) -> list[str]:
    """The texts that a record is there for, in the order in which they stand in it."""
    fields = {field: record[field] for field in TEXT_FIELDS if field in record}
    return [string.text for string in strings_of(fields) if string.key in _SPOKEN]


def strings_of(value: Any) -> list[String]:
    """Every string of a record, its texts first; :data:`LEFT_OUT` says what is not looked into."""
    found: list[String] = []

    def keep(string: String) -> str:
        found.append(string)
        return string.text

    if isinstance(value, dict):
        _each_string({k: value[k] for k in TEXT_FIELDS if k in value}, keep)
        value = {k: v for k, v in value.items() if k not in TEXT_FIELDS}
    _each_string(value, keep)
    return found


def _each_string(value: object, change: Change, key: str = "", asked: str = "") -> Any:
    """A value with its strings changed, wherever they stand in it.

    Args:
        key: what the value is called, and ``asked`` what was said before it: the turn before a
            turn, else its key.
    """
    if isinstance(value, str):
        return change(String(value, key, asked)) if key not in ("role", SCANNED) else value
    if isinstance(value, list):
        made = []
        for part in value:
            made.append(_each_string(part, change, key, asked))
            said = part.get("content", part.get("value")) if isinstance(part, dict) else None
            asked = said if isinstance(said, str) else asked
        return made
    if isinstance(value, dict):
        return {
            name: _each_string(part, change, name, asked if name in _SPOKEN else name)
            for name, part in value.items()
        }
    return value


def _found(string: String, search: Search) -> list[Entity]:
    return in_view_of(string.asked, string.text, search)


def entities_of(record: dict[str, Any], search: Search) -> list[Entity]:
    """What a record holds; spans count through its strings joined by newlines, texts first."""
    found, offset = [], 0
    for string in strings_of(record):
        here = _found(string, search)
        found += [Entity(e.start + offset, e.end + offset, e.type) for e in here]
        offset += len(string.text) + 1
    return found


def scrubbed(record: dict[str, Any], search: Search, replace: Replace) -> tuple[dict, Counter]:
    """The record with its strings cleaned, and how many of each type were replaced."""
    counts: Counter[str] = Counter()

    def clean(string: String) -> str:
        found = _found(string, search)
        counts.update(entity.type for entity in found)
        return replaced(string.text, found, replace)

    return _each_string(record, clean), counts


def is_cleared(record: dict[str, Any]) -> bool:
    """Whether a record's metadata says who has looked at it: ``personal_data: cleared by …``."""
    said = (record.get("metadata") or {}).get(SCANNED)
    return isinstance(said, str) and said.startswith("cleared")


def cleared_by_list(record: dict[str, Any], public: PublicContacts, source: str) -> dict[str, Any]:
    """A scrubbed record, marked as cleared if public contacts stand in it.

    ``source`` names the list. What a person has said about the record stays.
    """
    holds = any(public.find(normalise(string.text).text) for string in strings_of(record))
    metadata = record.get("metadata") or {}
    if not holds or not isinstance(metadata, dict) or is_cleared(record):
        return record
    return {**record, "metadata": {**metadata, SCANNED: f"cleared by {source}"}}
