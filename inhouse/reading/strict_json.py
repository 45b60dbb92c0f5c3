"""JSON as RFC 8259 has it, and nothing that would be lost or fail further on.

Python's own parser keeps the last of two equal keys, takes NaN, and passes on half a character.
A message never says what stands there, only where: a record may hold personal data.
"""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100  # levels of nesting: far above any record's, far below Python's own limit
MOST_DIGITS = 300  # of an integer; a float holds as many


class Fault(ValueError):
    """What is wrong with one row, in words for its reader; ``line`` where that is known."""

    def __init__(self, words: str, line: int | None = None):
        super().__init__(words)
        self.line = line


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise Fault(f"the key {twice!r} stands there twice, and one of the two would be lost")
    return made


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise Fault(f"a number of {len(digits):,} digits: expected {MOST_DIGITS} at most")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer)


def parse(text: str) -> Any:
    """The value of a whole text.

    Raises:
        Fault: it is no JSON, or holds what :func:`check` refuses.
    """
    start = len(text) - len(text.lstrip(" \t\r\n"))
    value, end = parse_at(text, start)
    rest = text[end:].lstrip(" \t\r\n")
    if rest:
        column = len(text) - len(rest) - text.rfind("\n", 0, len(text) - len(rest))
        hint = ": the lines end in CR alone, save them with LF" if "\r" in text else ""
        raise Fault(f"not JSON: more behind its end at column {column}{hint}")
    return value


def parse_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at ``start``, and where it ends.

    Raises:
        Fault: see :func:`parse`.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise Fault(f"nested too deep: expected {DEEPEST} levels at most") from None
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise Fault(f"not JSON: {what} at column {error.colno}", error.lineno) from None
    check(value)
    return value, end


def check(value: Any) -> None:
    """Refuse what Python can hold and a record cannot.

    Raises:
        Fault: half a character, NUL, NaN, Infinity, bytes inside the row, nesting beyond
            :data:`DEEPEST`.
    """
    left: list[tuple[Any, tuple[Any, ...]]] = [(value, ())]
    while left:
        part, at = left.pop()
        if isinstance(part, str):
            _check_text(part, at)
        elif isinstance(part, float) and not math.isfinite(part):
            raise Fault(f"{_where(at)} is {part}, which is no number in JSON: leave it out")
        elif isinstance(part, dict):
            for key in part:
                _check_text(key, (*at, key))
            left += [(inner, (*at, key)) for key, inner in reversed(part.items())]
        elif isinstance(part, list | tuple):
            left += [(inner, (*at, number)) for number, inner in enumerate(part)][::-1]
        elif isinstance(part, bytes) and len(at) > 1:
            raise Fault(f"{_where(at)} holds bytes: expected a text")
        if len(at) > DEEPEST:
            raise Fault(f"nested too deep: expected {DEEPEST} levels at most")


def _check_text(text: str, at: tuple[Any, ...]) -> None:
    if text.isascii():
        if "\0" in text:
            raise Fault(f"a NUL character (\\u0000) in {_where(at)}: take it out")
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Fault(
            f"half a character (\\ud800 to \\udfff by itself) in {_where(at)}, which no text can "
            "hold: write it anew from its source"
        ) from None
    if "\0" in text:
        raise Fault(f"a NUL character (\\u0000) in {_where(at)}: take it out")


def _where(at: tuple[Any, ...]) -> str:
    return f"field {'.'.join(map(str, at))!r}" if at else "the value"
