"""Where a number stands: alone or inside a longer one, and what the words before it call it."""

from __future__ import annotations

import re

from compliance.patterns import Lists

Hit = tuple[int, int, str]  # start, end, type

_DIGIT = re.compile(r"\d[\d\s().-]{3,}\d|\d{4}")


def has_number(text: str) -> bool:
    return bool(_DIGIT.search(text))


def has_digit(text: str) -> bool:
    return any(sign in text for sign in "0123456789")


_LISTS = Lists.beside(__file__)
_THING = _LISTS.compile(
    r"\b<thing>s?(?:'s)?(?: <number>)?\.?\s*<is>*\s*#?(?-i:[A-Z]{0,5}[-#/])?\s*$"
)


def is_thing(text: str, start: int) -> bool:
    """Whether the words before a number say that it is a thing of the firm's, not of a person."""
    return bool(_THING.search(text[max(0, start - 45) : start]))


def edges(text: str, start: int, end: int) -> bool:
    """Whether a number stands by itself: no letter, digit or further group touches it."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before and (before[-1].isalnum() or before[-1] in "_/#£$€"):
        return False
    if len(before) == 2 and before[-1] in "-." and before[0].isalnum():
        return False
    if after and (after[0].isalnum() or after[0] in "_%"):
        return False
    return not (len(after) == 2 and after[0] in "-./" and after[1].isalnum())
