"""Whether a written reply is right: one pure function a check, in a table by its name.

An item names its checks and their parameters (``{"check": "words", "at_most": 10}``), and a reply
is right when all of them hold. What a reader would not count does not count here: case, Markdown's
asterisks, a full stop behind a number. Where the item asks for a form, the form is what counts.

Deviates from published practice in one thing: ``number`` takes the last number of a reply, as
lm-evaluation-harness' "flexible-extract" for GSM8K does, and reads thousands commas in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import re2

from inhouse.reading.strict_json import parse

_NUMBER = re.compile(r"(?<![\w.])[-−]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)")
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_FENCE = re.compile(r"\A```[\w+-]*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)
_END = re.compile(r"""[.!?…]+["'”’)\]*_]*(?=\s|\Z)""")
_ABBREVIATED = frozenset({"mr", "mrs", "ms", "dr", "st", "e.g", "i.e", "vs"})
_NUMBERED = re.compile(r"\A(\d+)[.)][ \t]+\S")
_BULLETED = re.compile(r"\A[-*•+][ \t]+\S")
ARTICLES = ("a", "an", "the")

Check = Callable[..., bool]


def passes(reply: str, checks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a reply keeps all of an item's checks: ``{"check": name, **parameters}`` each."""
    return all(
        CHECKS[one["check"]](reply, **{key: one[key] for key in one if key != "check"})
        for one in checks
    )


# --- what is said -------------------------------------------------------------------------------


def number(reply: str, value: float) -> bool:
    """The last number in the reply is ``value``: "12 + 1,200 = 1,212." says 1212."""
    found = _NUMBER.findall(reply)
    if not found:
        return False
    return Decimal(found[-1].replace(",", "").replace("−", "-")) == Decimal(str(value))


def equals(reply: str, values: Sequence[str]) -> bool:
    """The reply is one of ``values`` and nothing more, but for case, punctuation and articles.

    Rajpurkar et al. (2016), https://arxiv.org/abs/1606.05250, section 6.1: exact match.
    """
    return _bare(reply) in [_bare(value) for value in values]


def exact(reply: str, text: str) -> bool:
    """The reply is ``text``, letter for letter, but for blanks around it."""
    return reply.strip() == text


def states(reply: str, values: Sequence[str], never: Sequence[str] = ()) -> bool:
    """The reply holds one of ``values`` as whole words, and none of ``never``."""
    said = _padded(reply)
    return any(_padded(value) in said for value in values) and without(reply, never)


def mentions(reply: str, words: Sequence[str]) -> bool:
    """The reply holds every one of ``words`` as whole words."""
    said = _padded(reply)
    return all(_padded(word) in said for word in words)


def without(reply: str, words: Sequence[str]) -> bool:
    """The reply says something, and none of ``words`` as whole words."""
    said = _padded(reply)
    return bool(said.strip()) and not any(_padded(word) in said for word in words)


def matches(reply: str, pattern: str) -> bool:
    """The whole reply, without blanks around it, fits an re2 pattern."""
    return re2.fullmatch(pattern, reply.strip()) is not None


# --- how it is written --------------------------------------------------------------------------


def words(reply: str, at_least: int = 1, at_most: int | None = None) -> bool:
    """The reply has so many words; "well-known" and "don't" are one each."""
    count = len(_WORD.findall(reply))
    return at_least <= count and (at_most is None or count <= at_most)


def sentences(reply: str, count: int) -> bool:
    """The reply has so many sentences; a last one without its full stop is one."""
    return len(split_sentences(reply)) == count


def split_sentences(text: str) -> list[str]:
    """A text's sentences: a full stop inside a number or behind "e.g." or "Mr" ends none."""
    made, start = [], 0
    for end in _END.finditer(text):
        before = text[start : end.start()].split()
        if end[0] == "." and before and before[-1].lower().lstrip("(\"'“") in _ABBREVIATED:
            continue
        made.append(text[start : end.end()])
        start = end.end()
    made.append(text[start:])
    return [part.strip() for part in made if _WORD.search(part)]


def lines(reply: str, count: int, most_words: int | None = None) -> bool:
    """The reply has so many lines that are not blank, of at most ``most_words`` words each."""
    return _sized(_lines(reply), count, most_words)


def paragraphs(reply: str, count: int) -> bool:
    """The reply has so many paragraphs, parted by blank lines."""
    return len(re.split(r"\n[ \t]*\n\s*", reply.strip())) == count and bool(_WORD.search(reply))


def numbered(reply: str, count: int) -> bool:
    """Every line is a point, numbered from 1 to ``count``: "1. …" or "1) …"."""
    found = [_NUMBERED.match(line) for line in _lines(reply)]
    return [int(each[1]) if each else 0 for each in found] == list(range(1, count + 1))


def bulleted(reply: str, count: int) -> bool:
    """Every line is a point behind a hyphen, an asterisk or a dot, and there are ``count``."""
    found = _lines(reply)
    return len(found) == count and all(map(_BULLETED.match, found))


def commas(reply: str, count: int, most_words: int | None = None) -> bool:
    """One line of so many parts between commas, none of them empty."""
    return len(_lines(reply)) == 1 and _sized(reply.split(","), count, most_words)


def capitals(reply: str) -> bool:
    """There are letters, and all of them are capitals."""
    return reply.isupper()


def small_letters(reply: str) -> bool:
    """There are letters, and none of them is a capital."""
    return reply.islower()


def starts(reply: str, text: str) -> bool:
    """The reply begins with ``text``, letter for letter."""
    return reply.lstrip().startswith(text)


def ends(reply: str, text: str) -> bool:
    """The reply ends with ``text``, letter for letter."""
    return reply.rstrip().endswith(text)


# --- data ---------------------------------------------------------------------------------------


def json_is(reply: str, value: Any) -> bool:
    """The reply is JSON, alone or in one code fence, and its value is ``value``."""
    # Written out again, because Python takes True for 1. Keys have no order in JSON.
    written = json.dumps(value, sort_keys=True)
    return any(json.dumps(found, sort_keys=True) == written for found in _json(reply))


def json_keys(reply: str, keys: Sequence[str]) -> bool:
    """The reply is a JSON object, alone or in one code fence, with these keys and no others."""
    return any(isinstance(found, dict) and set(found) == set(keys) for found in _json(reply))


def table(reply: str, columns: Sequence[str], rows: int) -> bool:
    """The reply is a Markdown table with these columns and so many rows below its header."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in _lines(reply)]
    if len(cells) != rows + 2 or any(len(row) != len(columns) for row in cells):
        return False
    named = [_bare(cell) for cell in cells[0]] == [_bare(column) for column in columns]
    return named and all(re.fullmatch(r":?-+:?", cell) for cell in cells[1])


# --- shared -------------------------------------------------------------------------------------


def _plain(text: str) -> list[str]:
    """A text's words in small letters: "The baker's" are "the" and "baker"."""
    found = [word.casefold().replace("’", "'") for word in _WORD.findall(text)]
    return [word.removesuffix("'s") for word in found]


def _bare(text: str) -> list[str]:
    """A text's words without articles, where it has others."""
    found = _plain(text)
    return [word for word in found if word not in ARTICLES] or found


def _padded(text: str) -> str:
    """A text's words between blanks, so that a part of a word is not found in it."""
    return f" {' '.join(_plain(text))} "


def _lines(reply: str) -> list[str]:
    return [line.strip() for line in reply.splitlines() if line.strip()]


def _sized(parts: Sequence[str], count: int, most_words: int | None) -> bool:
    sizes = [len(_WORD.findall(part)) for part in parts]
    return len(sizes) == count and all(0 < n <= (most_words or n) for n in sizes)


def _json(reply: str) -> list[Any]:
    """The one value of a reply that is JSON; nothing where it is none."""
    text = reply.strip()
    fenced = _FENCE.match(text)
    try:
        return [parse(fenced[1] if fenced else text)]
    except ValueError:
        return []


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        number,
        equals,
        exact,
        states,
        mentions,
        without,
        matches,
        words,
        sentences,
        lines,
        paragraphs,
        numbered,
        bulleted,
        commas,
        capitals,
        small_letters,
        starts,
        ends,
        json_is,
        json_keys,
        table,
    )
}
