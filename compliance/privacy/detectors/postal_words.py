"""A text's words as letters, one each, for the part of a postal address that each may be.

    spelt("Mail 14 Birch Lane, Leeds LS1 4AP.")[0]        # "W2WScWz."

1 to 6
    a number of so many digits; ``y`` one that may be a year, ``h`` one with a letter, slash or
    range ("12B", "3/14"), ``o`` an ordinal, ``7`` one that no address has: longer, a sum, a rate
z Z Y p
    a postal code that has letters; one that stands before its town, or behind it; three digits
    and four (a code in Japan, mostly a telephone number elsewhere)
S V s
    what a street is called behind its name; the same where prose has it too; without a capital
Q P O
    what it is called before its name; before or behind it; the same where prose has it too
E e F f G
    a street in one word, its ending as a word; the same where other words end so; a street that
    has no further name
D N T B b A R
    a direction, in letters; a flat or floor; a box, perhaps one; a military post office, its
    region
K X x U W
    a country, a region; perhaps a region; a short word with a capital; any other with a capital
j + m w
    a small word inside names; and, or; a thing or month with a capital; any other word
c l # . |
    comma, end of line, number sign, end of sentence, any other sign
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

from compliance.normalise import Span
from compliance.patterns import Lists
from compliance.privacy.detectors import countries

_TOKEN = re.compile(
    r"(?P<number>[$€£]? ?\d+(?:[.,]\d+)+%?|[$€£] ?\d+|\d+ ?%|\d[^\W_]*(?:[/&-][^\W_]+)*)"
    r"|(?P<word>\b[Cc]/|[^\W_]+(?:['/&-][^\W_]+)*)|(?P<sign>\S|\n)"
)
_SIGNS = {",": "c", "\n": "l", "#": "#", ".": "."}
_LISTS = Lists.beside(__file__)
_BEHIND, _BEHIND_TOO = _LISTS.set_of("street"), _LISTS.set_of("street_or_word")
_BEFORE, _BEFORE_TOO = _LISTS.set_of("street_before"), _LISTS.set_of("street_before_or_word")
_THINGS = _LISTS.set_of("thing")
_ENDS_ONLY = _LISTS.set_of("street_end")
_ENDS_TOO = _LISTS.set_of("street_end_or_word")
# Of lists that share a word the later one has it.
_LETTER_OF = {
    word: letter
    for letter, words in (
        *(("m", _THINGS), ("j", _LISTS.set_of("joint"))),
        *(("+", _LISTS.set_of("and")), ("Q", _BEFORE), ("S", _BEHIND), ("V", _BEHIND_TOO)),
        *(("P", _BEHIND & _BEFORE), ("O", _BEHIND_TOO & _BEFORE)),
        *(("G", _LISTS.set_of("street_alone")), ("D", _LISTS.set_of("direction"))),
        *(("T", _LISTS.set_of("flat")), ("B", _LISTS.set_of("box"))),
        *(("A", _LISTS.set_of("military")), ("R", _LISTS.set_of("military_region"))),
    )
    for word in words
}
# What a word is that has no capital; other letters stay as they are.
_SMALL = {"S": "s", "V": "s", "P": "s", "O": "s", "m": "w", "G": "w", "D": "w", "R": "w"}
_ENDS = tuple(
    (letter, re.compile(rf"(?:\w\w|^)(?:{'|'.join(sorted(_LISTS.set_of(name)))})$"))
    for letter, name in (("E", "street_end"), ("F", "street_end_or_word"))
)
_SHORT = _LISTS.set_of("short")
_YEAR = re.compile(r"(?:19|20)\d\d")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)", re.IGNORECASE)
_THREE_AND_FOUR = re.compile(r"\d{3}-\d{4}")
_HOUSE = re.compile(r"\d{1,5}(?:[A-Za-z]|(?:[-/]\d{1,5}[A-Za-z]?){1,3}|[-/][A-Za-z])")
_LETTERED_CODE = re.compile(  # its first half, or all of it
    r"[A-Za-z]{1,2}\d[A-Za-z\d]?(?:\d?[A-Za-z]{2}|\d[A-Za-z]\d)?|[A-Za-z]+-\d{4,6}"
)
# What may become a number or a code with the word behind it; a sum or rate, which cannot.
_MAY_NUMBER = re.compile("[1-6hyzZYAp7]")
_SUMS = re.compile(r"[^\w]*(?:[$€£]\d+|\d+%|\d+(?:[.,]\d+)+%?)[^\w]*")
# A run without a word of prose, from its start, that has a number.
_WITH_NUMBER = re.compile(r"(?:^|(?<=w))[^wn]*n[^w]*")

_Several = tuple[re.Pattern[str], str]


def spelt(text: str) -> tuple[str, list[Span]]:
    """A letter for each word, number and sign of a text, and where each of them stands."""
    return _spelt(text, _TOKEN.finditer(text), text.islower())


def spelt_near_numbers(text: str) -> tuple[str, list[Span]]:
    """The same, without the prose in which no address can stand: no number is near."""
    small = text.islower()
    return _spelt(text, _near_numbers(text, small), small)


def _spelt(text: str, tokens: Iterable[re.Match[str]], small: bool) -> tuple[str, list[Span]]:
    letters: list[str] = []
    places: list[Span] = []
    letter, begun, end = "l", 0, 0  # of what was read last
    for token in tokens:
        start, after = token.span()
        if start < end:  # the rest of what is called in several words, or read already
            continue
        kind, word = token.lastgroup, token.group()
        if kind == "sign":
            if letter == "l" and word != "\n":  # a bullet, a quoted mail's ">"
                continue
            if word == "." and start == end and _is_short(text[begun:end], letter):
                continue
            letter, end = _SIGNS.get(word, "|"), after
        elif kind == "number":
            letter, end = _of_number(word), after
        else:
            letter, end = _of_word(word, small), after
            if letter == "7":  # a code's first half?
                letter, end = _code(text, start, end, small)
            elif names := _begun_by(word, small):
                letter, end = _called(text, names, end, letter)
        begun = start
        letters.append(letter)
        places.append((begun, end))
    return "".join(letters), places


def _near_numbers(text: str, small: bool) -> Iterator[re.Match[str]]:
    """The tokens around what may be a number or code, as far as a word of prose on either side."""
    pieces = text.split(" ")
    sketch = "".join([_sketched(piece, small) for piece in pieces])
    start = passed = 0
    for run in _WITH_NUMBER.finditer(sketch):
        first = max(run.start() - 1, passed)
        start += sum(map(len, pieces[passed:first])) + first - passed
        end = start + len(" ".join(pieces[first : run.end() + 1]))
        passed = first
        yield from _TOKEN.finditer(text, start, end)


@lru_cache(maxsize=16384)
def _sketched(piece: str, small: bool) -> str:
    """``w`` for a word of prose, ``n`` for what may hold a number or code, ``-`` for others."""
    if piece.isalpha() and _of_word(piece, small) == "w" and piece.lower() not in _in_several():
        return "w"
    letters = _spelt(piece, _TOKEN.finditer(piece), small)[0]
    return "-" if _SUMS.fullmatch(piece) or not _MAY_NUMBER.search(letters) else "n"


def _is_short(word: str, letter: str) -> bool:
    """Whether a word may be an abbreviation, so that the dot behind it ends no sentence."""
    return letter in "SsVQPTDEeFB" or len(word) == 1 or word.lower() in _SHORT


@lru_cache(maxsize=4096)
def _of_number(word: str) -> str:
    if word.isdigit():
        if len(word) == 4 and _YEAR.fullmatch(word):
            return "y"
        return str(min(len(word), 7))
    if _ORDINAL.fullmatch(word):
        return "o"
    if _THREE_AND_FOUR.fullmatch(word):
        return "p"
    if countries.codes_before_towns().fullmatch(word):
        return "Z"
    if countries.codes_behind_towns().fullmatch(word):
        return "Y"
    return "h" if _HOUSE.fullmatch(word) else "7"


@lru_cache(maxsize=16384)
def _of_word(word: str, small: bool) -> str:
    """The letter of one word; ``small``: of a text that has no capitals."""
    plain = word.lower()
    capital = small or word[0] != plain[0]
    if capital and not word.isalpha() and _LETTERED_CODE.fullmatch(word):
        return "7"
    letter = _LETTER_OF.get(plain)
    if letter:
        return _of_listed(word, plain, letter, capital, small)
    for letter, end in _ENDS:
        if end.search(plain):
            if letter == "E":
                return "e" if plain in _ENDS_ONLY else "E"
            return letter if capital else "f" if plain in _ENDS_TOO else "w"
    if not capital:
        return "w"
    if plain in _names_of_countries():
        return "K"
    if len(word) < 4 and (small or word.isupper()):
        if word.upper() in countries.region_codes():
            return "x" if small else "X"
        return "U"
    if plain in countries.regions():
        return "X"
    return "U" if len(word) < 3 else "W"


def _of_listed(word: str, plain: str, letter: str, capital: bool, small: bool) -> str:
    if letter == "D" and len(plain) < 3:
        return "N" if small or word.isupper() else "w"
    if letter == "B":
        return "b" if plain == "box" else "B"
    if letter == "R":
        return "R" if small or word.isupper() else "w"
    if letter == "j" and capital and not small:
        return "m" if plain in _THINGS else "W"
    if letter == "m":
        return "m" if capital and not small else "w"
    if letter == "Q":
        return "Q" if capital or plain not in _BEFORE_TOO else "w"
    return letter if capital else _SMALL.get(letter, letter)


def _code(text: str, start: int, end: int, small: bool) -> tuple[str, int]:
    """The letter of a postal code with letters, of one word or two, and where it ends."""
    behind = _TOKEN.match(text, end + 1) if text[end : end + 1] == " " else None
    for last in (end, *((behind.end(),) if behind else ())):
        shown = text[start:last].upper() if small else text[start:last]
        if countries.codes_behind_towns().fullmatch(shown):
            return "z", last
        if countries.codes_before_towns().fullmatch(shown):
            return "Z", last
    return "7", end


def _called(text: str, names: list[_Several], end: int, letter: str) -> tuple[str, int]:
    """The letter of several words, the first of which ends here, or of that one, and its end."""
    words = text[end : end + 40].replace(".", " ").lower()
    for rest, whose in names:
        if found := rest.match(words):
            return whose, end + found.end()
    return letter, end


@lru_cache(maxsize=16384)
def _begun_by(word: str, small: bool) -> list[_Several]:
    """What has a name of several words, of which this is the first: the others, and its letter."""
    names = _several().get(word.lower(), [])
    return [name for name in names if name[1] == "B" or small or word[0].isupper()]


@cache
def _names_of_countries() -> frozenset[str]:
    return countries.names() | frozenset(_LISTS.words["country"])


@cache
def _in_several() -> frozenset[str]:
    """The words of names that have several."""
    names = (*countries.regions(), *_names_of_countries(), *_LISTS.words["boxes"])
    return frozenset(word for name in names if " " in name for word in name.split())


@cache
def _several() -> dict[str, list[_Several]]:
    """What has a name of several words: by the first the others, and its letter."""
    found: dict[str, list[tuple[str, str]]] = {}
    named = (("X", countries.regions()), ("K", _names_of_countries()), ("B", _LISTS.words["boxes"]))
    for letter, names in named:
        for first, *rest in map(str.split, names):
            if rest:
                found.setdefault(first, []).append((r"\s+".join(map(re.escape, rest)), letter))
    return {
        first: [
            (re.compile(rf"\s+{rest}\b"), letter) for rest, letter in sorted(rests, reverse=True)
        ]
        for first, rests in found.items()
    }
