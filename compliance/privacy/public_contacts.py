"""What a firm tells everybody: its own telephone numbers, addresses and e-mail, which may stay.

    python -m compliance.privacy scan demonstrations.jsonl --allow contacts.txt

The file has one literal a line, as it is published. A number that is published in two ways of
writing takes two lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from compliance.normalise import Span, normalise
from inhouse.errors import InputError
from inhouse.files import read_utf8

# Kinds that a list may allow. Nobody publishes a card or a password, so none of those is let
# through because its digits happen to stand on a list.
KINDS = frozenset(("EMAIL", "PHONE", "ADDRESS", "PERSON", "IBAN", "ROUTING", "ACCOUNT"))


class PublicContacts:
    """A list of literals, ready to look for: capitals and the number of blanks do not matter."""

    def __init__(self, literals: Iterable[str]):
        shown = {" ".join(normalise(literal).text.split()) for literal in literals}
        longest_first = sorted(shown, key=lambda literal: (-len(literal), literal))
        forms = [r"\s+".join(map(re.escape, literal.split())) for literal in longest_first]
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", re.IGNORECASE)

    @classmethod
    def read(cls, path: Path) -> PublicContacts:
        """One literal a line; empty lines and ``#`` comments are passed over.

        Raises:
            InputError: no such file, not UTF-8, or nothing in it.
        """
        lines = [line.strip() for line in read_utf8(path).splitlines()]
        lines = [line for line in lines if normalise(line).text.strip() and line[0] != "#"]
        if not lines:
            raise InputError(f"{path} holds no contact: expected one a line, as it is published")
        return cls(lines)

    def find(self, text: str) -> list[Span]:
        """Where public contacts stand in a text that is normalised already."""
        return [found.span() for found in self._pattern.finditer(text)]
