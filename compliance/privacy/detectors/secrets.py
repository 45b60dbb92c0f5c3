"""Keys, tokens, passwords and PINs: by their form, or by the words beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compliance.normalise import Span
from compliance.patterns import Lists, Pattern
from compliance.privacy.detectors.surroundings import Hit, edges

_LISTS = Lists.beside(__file__)
_BY_FORM, _SAID, _PERHAPS, _ANSWERS = (
    _LISTS.compile_each(name) for name in ("by_form", "said", "perhaps", "answer")
)
SIGN = _LISTS.compile("<sign>")  # a text without it holds none of the above
_UNIT = re.compile(_LISTS.fill(r"(?:[,.]\d|\s*<counted>)"), re.IGNORECASE)
_GOES_ON = re.compile(_LISTS.fill("<goes_on>"), re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
_RATE = re.compile(r"\d+(?:\.\d+)?%")  # "the return of the token was 5.60%."


def secrets(text: str) -> list[Hit]:
    """Keys, tokens and passwords: by their form, or by the word before them."""
    spans = [hit.span() for pattern in _BY_FORM for hit in pattern.finditer(text)]
    spans += (span for span in _values(_SAID, text) if _strong(text[slice(*span)]))
    spans += (span for span in _values(_PERHAPS, text) if not _counts_something(text, span))
    spans += (span for span in _values(_ANSWERS, text) if not _GOES_ON.match(text[slice(*span)]))
    return [(start, end, "SECRET") for start, end in spans]


def _values(patterns: list[Pattern], text: str) -> Iterator[Span]:
    """What stands in group 1, without the end of the sentence behind it."""
    for pattern in patterns:
        for hit in pattern.finditer(text):
            start, end = hit.span(1)
            goes_on = text[end : end + 1] == " " and text[end + 1 : end + 2].islower()
            value = text[start:end].rstrip(".)]" if goes_on else ".!?)]")
            yield start, start + len(value)


def _counts_something(text: str, span: Span) -> bool:
    start, end = span
    if _UNIT.match(text[end : end + 16]) or _YEAR.fullmatch(text[start:end]):
        return True
    return not edges(text, start, end)  # part of a longer number: "product code 713-610-9822"


def _strong(value: str) -> bool:
    """Whether a word after "password" is one, not the sentence going on ("is required")."""
    if _RATE.match(value) or _stuck(value):
        return False
    if value.isdigit():
        return True
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    marked = any(c in "!@#$%^&*_+=?" for c in value[1:-1]) or value[1:-1].count("-") > 1
    marked = marked and any(c.isalpha() for c in value)
    cased = any(c.isupper() for c in value[1:]) and any(c.islower() for c in value)
    return len(value) >= 6 and (mixed or marked or cased)


def _stuck(value: str) -> bool:
    """Whether it is what a model says that cannot stop: "$1111…", no key of a machine's."""
    return len(value) > 20 and len(set(value)) < 3
