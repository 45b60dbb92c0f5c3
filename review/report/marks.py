"""Where findings stand in an answer: the pieces to mark, and an excerpt where all is too long."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from inhouse.records import Finding

AROUND = 160  # characters left and right of what is marked, at least, in an excerpt


class Excerpt(NamedTuple):
    """Part of a text, where it begins in it, and whether something stands before and behind it."""

    text: str
    start: int
    before: bool
    behind: bool


def segments(text: str, findings: Sequence[Finding], start: int = 0) -> list[tuple[str, list[str]]]:
    """A text cut where findings begin and end: each piece with the rules that it breaks.

    Args:
        start: where the text begins in the reply that the findings are of.
    """
    placed = [(f.rule, max(0, f.start - start), min(len(text), f.end - start)) for f in findings]
    if not text:  # an empty answer may lack what is always due
        return [("", list(dict.fromkeys(rule for rule, _, _ in placed)))]
    inside = [(rule, a, b) for rule, a, b in placed if a <= b]
    cuts = {0, len(text)}.union(*((a, b) for _, a, b in inside))
    pieces = []
    for a, b in itertools.pairwise(sorted(cuts)):
        broken = [rule for rule, first, last in inside if first <= a and b <= last]
        pieces.append((text[a:b], list(dict.fromkeys(broken))))
    return pieces


def of_all(finding: Finding, text: str) -> bool:
    """Whether a finding is of the whole text: a mark over all of it would hide the others."""
    return finding.start == 0 and finding.end >= len(text)


def excerpt(text: str, findings: Sequence[Finding], most: int) -> Excerpt:
    """At most so many characters, the first finding among them."""
    if len(text) <= most:
        return Excerpt(text, 0, False, False)
    first = min((f.start for f in findings), default=0)
    start = max(0, min(first - min(AROUND, most // 3), len(text) - most))
    return Excerpt(text[start : start + most], start, start > 0, start + most < len(text))
