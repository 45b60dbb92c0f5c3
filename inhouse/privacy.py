"""Personal data in text: found, and replaced.

    python -m inhouse.privacy scan demonstrations.jsonl --names customers.txt --json
    python -m inhouse.privacy scrub demonstrations.jsonl --names customers.txt --out clean.jsonl
    python -m inhouse.privacy scan demonstrations.jsonl --ner_model models/names --allow ours.txt

Detectors are re2 patterns whose hits are checked: card numbers by their check digit, IBANs, routing
and national numbers by theirs (python-stdnum), telephone numbers by their country's plan
(phonenumbers). Names come from the firm's own customer list, and from a model where the firm
supplies one (:mod:`inhouse.recognisers`). What a firm sells (rates, amounts, ISINs, order and
ticket numbers) is left alone, and so are its own public contacts where it lists them. What is found
is never printed or logged: only its place and type.

Records in: JSON Lines with ``text`` or ``messages`` (or ``prompt``, ``response`` …), or plain text.
"""

from __future__ import annotations

import argparse
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inhouse import spoken
from inhouse.command_line import parse_words
from inhouse.detectors import DETECTORS, TYPES
from inhouse.names import Names
from inhouse.normalise import normalise
from inhouse.places import Hit
from inhouse.public_contacts import KINDS, PublicContacts
from inhouse.run import command

__all__ = ["TYPES", "Entity", "Names", "Supplied", "scan", "scan_seen"]

# A supplied model behind the same function: text in, entities out (spans of that text).
Extra = Callable[[str], Iterable["Entity"]]


@dataclass(frozen=True)
class Entity:
    """A piece of personal data in a text: where, and what it is. Never its words."""

    start: int
    end: int
    type: str


def scan(
    text: str,
    names: Names | None = None,
    extra: Sequence[Extra] = (),
    public: PublicContacts | None = None,
) -> list[Entity]:
    """Personal data in a text, in order, none inside another.

    Args:
        names: the firm's customer list.
        extra: further detectors, such as a named-entity model of the firm's.
        public: the firm's own contacts; what stands inside one of them is nobody's personal data.
    """
    seen = normalise(text)
    found = scan_seen(seen.text)
    if names is not None:
        found += [Entity(start, end, "PERSON") for start, end in names.find(seen.text)]
    found = [Entity(*seen.original(e.start, e.end), e.type) for e in found]
    for detector in extra:
        found += detector(text)
    if public is not None:
        places = [seen.original(start, end) for start, end in public.find(seen.text)]
        found = [e for e in found if e.type not in KINDS or not _inside(e, places)]
    return _apart(found)


@dataclass(frozen=True)
class Supplied:
    """The scan with what a firm adds to it. Called with a text, it finds like :func:`scan`."""

    names: Names | None = None
    extra: tuple[Extra, ...] = ()
    public: PublicContacts | None = None

    @classmethod
    def read(
        cls,
        names: str | Path | None = None,
        ner_model: str | Path | None = None,
        allow: str | Path | None = None,
    ) -> Supplied:
        """From a customer list, a folder with a model that labels names, a list of own contacts.

        Raises:
            InputError: one of them cannot be read, or holds nothing to use.
        """
        extra: tuple[Extra, ...] = ()
        if ner_model:
            from inhouse.recognisers import Recogniser  # loads torch, which patterns do without

            extra = (Recogniser(str(ner_model)),)
        listed = Names.read(Path(names)) if names else None
        return cls(listed, extra, PublicContacts.read(Path(allow)) if allow else None)

    def __call__(self, text: str) -> list[Entity]:
        """Personal data in a text, in order."""
        return scan(text, self.names, self.extra, self.public)


def _inside(entity: Entity, places: Sequence[tuple[int, int]]) -> bool:
    return any(start <= entity.start and entity.end <= end for start, end in places)


def scan_seen(text: str) -> list[Entity]:
    """Structured personal data in a text that is normalised already."""
    hits = _hits(text)
    read = spoken.in_digits(text)
    if read is not None:
        hits += [(*read.original(start, end), kind) for start, end, kind in _hits(read.text)]
    return _apart([Entity(start, end, kind) for start, end, kind in hits])


def _hits(text: str) -> list[Hit]:
    asked = {detector.needs: False for detector in DETECTORS}  # most ask the same of a text
    asked = {needs: needs(text) for needs in asked}
    return [
        hit
        for detector in DETECTORS
        if asked[detector.needs] or any(sign in text for sign in detector.signs)
        for hit in detector.find(text)
    ]


def _apart(found: list[Entity]) -> list[Entity]:
    """Of entities that overlap, the longest; of equals, the kind that is named first."""
    order = {kind: number for number, kind in enumerate(TYPES)}
    kept: list[Entity] = []
    starts: list[int] = []
    for entity in sorted(found, key=lambda e: (e.start - e.end, order.get(e.type, 99), e.start)):
        at = bisect_right(starts, entity.start)
        free_before = at == 0 or kept[at - 1].end <= entity.start
        if free_before and (at == len(kept) or entity.end <= kept[at].start):
            starts.insert(at, entity.start)
            kept.insert(at, entity)
    return kept


# --- python -m inhouse.privacy ------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inhouse.privacy", description="Personal data in records: found, replaced."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, about in (
        ("scan", "Say where personal data stands; exit 2 if there is any."),
        ("scrub", "Write the records with placeholders or pseudonyms instead."),
    ):
        verb = verbs.add_parser(name, help=about, description=about, allow_abbrev=False)
        verb.add_argument(
            "files", type=Path, nargs="+", metavar="FILE", help="Records (JSONL), or a text."
        )
        verb.add_argument("--names", type=Path, help="The customer list, one name a line.")
        verb.add_argument(
            "--ner_model", type=Path, help="A local folder with a model that labels names."
        )
        verb.add_argument(
            "--allow",
            type=Path,
            help="The firm's own public contacts, one a line, which are left alone.",
        )
        if name == "scan":
            verb.add_argument("--json", action="store_true", help="One line of JSON a record.")
        else:
            verb.add_argument("--out", type=Path, help="Where to write; else FILE.clean beside it.")
            verb.add_argument(
                "--key",
                type=Path,
                help="Pseudonyms instead of placeholders, from this key file (made, mode 0600).",
            )
    return parser


def _main() -> None:
    words = parse_words(_parser())
    os.environ["HF_HUB_OFFLINE"] = "1"  # a supplied model is a folder: nobody is asked for it
    from inhouse import privacy_commands

    (privacy_commands.scan_files if words.verb == "scan" else privacy_commands.scrub_files)(words)


if __name__ == "__main__":
    command(_main)
