"""A piece of personal data: where it stands and what it is, never its words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

# In the order in which overlapping hits are decided.
TYPES = (
    "SECRET",
    "IBAN",
    "CARD",
    "SSN",
    "NINO",
    "NATIONAL_ID",
    "PASSPORT",
    "LICENCE",
    "ROUTING",
    "ACCOUNT",
    "EMAIL",
    "DOB",
    "IP",
    "PHONE",
    "ADDRESS",
    "PERSON",
)

# A supplied model behind the same function: text in, entities out (spans of that text).
Extra = Callable[[str], Iterable["Entity"]]


@dataclass(frozen=True)
class Entity:
    """A piece of personal data in a text: where, and what it is. Never its words."""

    start: int
    end: int
    type: str
