"""Postal addresses by the parts they are made of, read in the orders in which countries write them.

Every word becomes a letter for what part of an address it may be (:mod:`.postal_words`): "14 Birch
Lane, Leeds LS1 4AP" is ``2WScWz``. Parts are patterns over such letters: a street with its number
before or behind, a flat, a box, a code with its town before or behind. What stands together is an
address if its parts weigh enough. No country has a pattern of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from compliance.patterns import Lists
from compliance.privacy.detectors.postal_words import spelt_near_numbers
from compliance.privacy.detectors.surroundings import Hit, has_digit

_LISTS = Lists.beside(__file__)
ENOUGH = 3

_CAPITAL = "[WUXxDNSVGQPOEFKo]"
_ANY = "[1-6yh]"  # a house's number
_NUMBER = "[1-6h]"  # the same, and no year
_NAME = f"(?:{_CAPITAL}j{{0,2}}){{1,4}}"
_BEFORE = f"(?:{_CAPITAL}j{{0,2}}){{0,3}}"
_IN_STREET = "(?:[WUXxDNVGQPOEFKoSm]j{0,2}){1,4}"
_NAMED = f"{_BEFORE}[WF]j{{0,2}}{_CAPITAL}{{0,2}}"
_FIRST = f"{_NUMBER}?(?:{_NUMBER}U?c?|yU?)"  # "14", "24 B", and "2014" without a comma
# What each kind of part weighs, the letters of which it has one, and how it is written.
_PARTS = tuple(
    (kind, weight, frozenset(anchors), re.compile(pattern))
    for kind, weight, anchors, pattern in (
        ("box", 3, "BA", f"B#?{_ANY}|(?:T(?:{_CAPITAL}|{_ANY}){{1,3}}[cl]{{0,2}})?Ac?R[5Y]?"),
        ("box", 2, "b", f"b#?{_ANY}(?!w)"),
        ("street", 3, "SPs", f"{_FIRST}{_IN_STREET}(?:[SP][DN]?|(?<=W)s)"),
        ("street", 3, "Ee", f"{_NUMBER}?{_BEFORE}(?:E|(?<=[WUXFDoj])e)c?{_ANY}"),
        ("street", 3, "QPO", f"{_NUMBER}?[QPO]j{{0,3}}[1-3]?{_NAME}c?{_NUMBER}"),
        ("street", 3, "QPO", f"{_FIRST}j?[QPO]j{{0,3}}{_CAPITAL}{{1,3}}"),
        ("road", 2, "VO", f"{_FIRST}{_IN_STREET}[VO]"),
        ("road", 2, "GEe", f"{_ANY}{_CAPITAL}{{0,3}}(?:[GE]|(?<=[WUXFDo])e)"),
        ("road", 2, "SsX", f"{_NUMBER}[DN]?(?:[XU]?[Ss]|X){_ANY}"),
        ("road", 2, "SPs", f"{_NUMBER}[DN]?[SP]U|{_NUMBER}sj{{0,3}}{_CAPITAL}"),
        ("road", 2, "N", f"{_NUMBER}N[WXo]"),
        ("road", 2, "FGf", f"{_NUMBER}?{_BEFORE}(?:[FG]|(?<=W)f)c?{_ANY}"),
        ("flat", 2, "T", f"T#?(?:{_ANY}|[UN])|oT"),
        ("code", 3, "zZY", f"z|{_CAPITAL}[cl]{{0,2}}Y|Zc?{_CAPITAL}"),
        ("code", 3, "X", f"Xc?l?[5Y]|{_CAPITAL}c?X[46y]"),
        ("code", 3, "4", f"4U{_CAPITAL}"),
        ("code", 2, "3x", f"32{_CAPITAL}|x[5Y]"),
        ("town", 1, "456p", f"[456]c?{_CAPITAL}|{_CAPITAL}(?:c?U)?[cl]{{0,2}}[456p]"),
        ("country", 1, "K", "[clzZY1-6p]K(?![wWUX])"),
        ("name", 1, "WF", f"{_NUMBER}j?{_CAPITAL}{{0,3}}[WF]"),
        ("name", 1, "WF", f"{_NAMED}{_NUMBER}(?!w)|{_NAMED}c{_NUMBER}(?![A-SU-Zjw])"),
        ("number", 1, "#", f"#{_ANY}"),
        ("place", 1, "c", f"(?<={_NUMBER})c{_NAME}(?=[cl.]|$)"),
        ("place", 1, "c", f"(?:^|(?<=[l.])){_CAPITAL}{{1,3}}c(?=W{{1,3}}{_NUMBER})"),
    )
)
# Between two parts of one address; between a street and the line with its town.
_GAP = re.compile(r"[WUXxDNSVGQPOEeFKoclT1-6hyzZYARm#p]{0,5}")
_NEXT_LINE = re.compile(r"[cl]{1,2}(?:T[1-6h][cl]{1,2})?")
_TOWN_BEHIND = re.compile(rf"(?:c{_NAME}(?=[cl.|]|$)){{1,3}}")
_NUMBERED = re.compile(r"[1-6hyzZYA]")
_CUE = _LISTS.compile(r"\b<cue>[^.;!?\n]{0,12}$")
_PERHAPS = _LISTS.compile(r"\b<cue_perhaps>\W{0,2}$")


class _Part(NamedTuple):
    """Which letters are a part of an address, of what kind, and what it weighs."""

    start: int
    end: int
    kind: str
    weight: int

    def inside(self, other: _Part) -> bool:
        return other.start <= self.start and self.end <= other.end


maybe_postal = has_digit


def postal_addresses(text: str) -> list[Hit]:
    """Parts beside each other that weigh enough; from the first part to the last."""
    letters, places = spelt_near_numbers(text)
    found = []
    for group in _groups(letters):
        weight = _weight(letters, group)
        first, last = group[0].start, max(part.end for part in group)
        if weight and _NUMBERED.search(letters, first, last):
            behind = _TOWN_BEHIND.match(letters, last)
            last = behind.end() if behind else last
            start, end = places[first][0], places[last - 1][1]
            if weight < ENOUGH:
                weight += _alone(letters, first, last) + _said(text[max(0, start - 60) : start])
            if weight >= ENOUGH:
                found.append((start, end, "ADDRESS"))
    return found


def _groups(letters: str) -> Iterator[list[_Part]]:
    """Parts that stand together."""
    there = set(letters)
    parts = sorted(
        _Part(*found.span(), kind, weight)
        for kind, weight, anchors, part in _PARTS
        if not there.isdisjoint(anchors)
        for found in part.finditer(letters)
    )
    group: list[_Part] = []
    end = 0
    for part in parts:
        if group and part.start > end and not _GAP.fullmatch(letters, end, part.start):
            yield group
            group = []
        group.append(part)
        end = max(end, part.end) if len(group) > 1 else part.end
    if group:
        yield group


def _weight(letters: str, group: list[_Part]) -> int:
    """Each kind weighs once, and a weak part inside a stronger one nothing.

    A street and its town in the order of some country weigh one more; flats and countries alone
    are nothing.
    """
    weights: dict[str, int] = {}
    for part in group:
        if not any(other.weight > part.weight and part.inside(other) for other in group):
            weights[part.kind] = max(part.weight, weights.get(part.kind, 0))
    if not weights.keys() - {"flat", "country", "number"}:
        return 0
    return sum(weights.values()) + _ordered(letters, group)


def _ordered(letters: str, group: list[_Part]) -> bool:
    """Whether a line with a code and its town follows a street, of whatever name."""
    streets = [part for part in group if part.kind in ("name", "road")]
    towns = [part for part in group if part.kind in ("town", "code")]
    return any(
        one.end < two.start and _NEXT_LINE.fullmatch(letters, one.end, two.start)
        for one in streets
        for two in towns
    )


def _alone(letters: str, first: int, last: int) -> bool:
    """Whether nothing else stands in its lines."""
    return letters[first - 1 : first] in ("", "l") and letters[last : last + 1] in ("", "l")


def _said(before: str) -> int:
    """2 where the words say that an address follows, 1 where they may."""
    return 2 if _CUE.search(before) else int(bool(_PERHAPS.search(before)))
