"""Postal addresses by the parts they are made of, in whatever order and over lines.

A run of capitalised words, numbers and joints is an address if its parts weigh enough: a box, a
flat, a street with its number, a postcode with its town, a country. No country has a pattern.
"""

from __future__ import annotations

from compliance.normalise import Span
from compliance.patterns import Lists, compile_pattern
from compliance.privacy.detectors.surroundings import Hit

_LISTS = Lists.beside(__file__)
# Words and numbers of an address, and what may stand between two of them.
_PIECE = r"(?:(?-i:\p{Lu}[\p{L}'.-]*)|\d[\dA-Z]*(?:[-/]\d+[A-Z]?)*º?|<small>|#)"
_RUN = _LISTS.compile(rf"{_PIECE}(?:[\s,.>?/]{{1,8}}{_PIECE})+")
_PARTS = tuple(
    (weight, _LISTS.compile(rf"(?:^|[^\pL\d-])(<{name}>)(?:[^\pL\d-]|$)"))
    for name, weight in (
        *(("box", 3), ("flat", 2), ("street", 2), ("known_code", 3)),
        *(("code_and_town", 1), ("country", 1), ("number_and_name", 1)),
    )
)
_CUE = _LISTS.compile(r"\b<cue>\b[^.;!?]{0,25}$")
ENOUGH = 3
_SIGN = _LISTS.compile(r"\b(?:<box>|<flat>|<cue>|<country>)\b|\n|<known_code>|<street>")


_NUMBERED = compile_pattern(r"\d.*\p{L}{3}|(?s:\p{L}{2}.*\d)")


def maybe_postal(text: str) -> bool:
    return any(sign.isdigit() for sign in text) and bool(_SIGN.search(text))


def postal_addresses(text: str) -> list[Hit]:
    """Runs whose parts weigh enough; from the first part to the last."""
    found = []
    for run in _RUN.finditer(text):
        words = run.group()
        if not 8 < len(words) < 300 or words.isdigit() or not _NUMBERED.search(words):
            continue
        spans, weight = _weighed(words)
        cue = bool(_CUE.search(text[max(0, run.start() - 60) : run.start() + 1]))
        if spans and weight + cue >= ENOUGH:
            start, end = min(a for a, _ in spans), max(b for _, b in spans)
            found.append((run.start() + start, run.start() + end, "ADDRESS"))
    return found


def _weighed(words: str) -> tuple[list[Span], int]:
    """Where parts of an address stand, and what their kinds weigh; a weak part inside a strong
    one adds nothing."""
    spans: list[Span] = []
    total = 0
    for weight, part in _PARTS:
        here = [hit.span(1) for hit in part.finditer(words)]
        if weight == 1:
            here = [(a, b) for a, b in here if not any(c <= a and b <= d for c, d in spans)]
        total += weight if here else 0
        spans += here
    return spans, total
