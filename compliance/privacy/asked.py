"""A text with what was asked before it in view: "4577" behind "Your PIN, please?" is a PIN.

What the words before ask for is put right before each value of the answer, and the detectors,
which need a word beside a number, look at that. So a question and a field's name count alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from compliance.normalise import normalise
from compliance.patterns import Lists
from compliance.privacy.entities import Entity

_LISTS = Lists.beside(__file__)
_ASKED = [(name.replace("_", " "), _LISTS.compile(rf"\b<{name}>\b")) for name in _LISTS.words]
ANSWER = 120  # characters: a longer turn says itself what it tells
LAST = 300  # characters of what was said before that are looked at
_VALUE = re.compile(r"(?<!\w)\+?\(?[A-Za-z]{0,3}\d[^,;!?\n]*")
_WORD = re.compile(r"\s*\S{4,}\s*")


def in_view_of(asked: str, text: str, search: Callable[[str], list[Entity]]) -> list[Entity]:
    """What ``search`` finds in a text, and what it is only because it was asked for."""
    found = search(text)
    if not asked or len(text) > ANSWER:
        return found
    start = _value_at(text)
    if start is None:
        return found
    before = normalise(asked[-LAST:]).text.replace("_", " ")
    for lead in (lead for lead, words in _ASKED if words.search(before)):
        moved = len(lead) + 2 - start
        for one in search(f"{lead}: {text[start:]}"):
            here = Entity(max(start, one.start - moved), one.end - moved, one.type)
            if here.end > start and all(e.end <= here.start or here.end <= e.start for e in found):
                found = [*found, here]
    return sorted(found, key=lambda entity: entity.start)


def _value_at(text: str) -> int | None:
    """Where the first value of an answer begins: a number, or its only word."""
    if text.isascii():
        value = _VALUE.search(text)
        start = value.start() if value else None
    else:
        start = next((at for at, sign in enumerate(text) if sign.isdigit()), None)
    if start is not None:
        return start
    return 0 if _WORD.fullmatch(text) else None
