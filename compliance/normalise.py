"""Text as a reader sees it, with every span mapped back to the text as it was written.

    seen = normalise("gua\\u200branteed")
    seen.text                      # "guaranteed"
    seen.original(0, 10)           # (0, 11)

A reply may hide a word from a pattern: invisible characters inside it, Cyrillic or Greek letters
that look like Latin ones, full-width forms, stacked accents. Rules and personal-data detectors look
at the normalised text; findings always carry spans of the original.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

Span = tuple[int, int]

_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
# What a reader takes a character for, by the character.
_LOOK_ALIKE, _PLAIN = (
    {character: shown for shown, characters in _DATA[name].items() for character in characters}
    for name in ("look_alike", "plain")
)
_KEPT, _INVISIBLE = (_DATA["characters"][name] for name in ("kept", "invisible"))
_OTHER = re.compile(r"[^\x00-\x7f]|`")
_LETTERS = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")
_IN_NUMBER = re.compile(r"(?<=\d)[–—](?=\w)|(?<=\w)[–—](?=\d)|(?<=\d )[–—](?= ?\d)")
_BLANKS = str.maketrans("\t\v\f", "   ")
_OTHER_SCRIPT = re.compile(f"[{''.join(_DATA['other_script'].values())}]")
_WORDS = {language: frozenset(words.split()) for language, words in _DATA["function_words"].items()}
_ENGLISH = _WORDS.pop("English")
_NEIGHBOURS = frozenset().union(*_WORDS.values())


@dataclass(frozen=True)
class Normalised:
    """A text to look at, and the one ``written``. ``_breaks`` and ``_places`` map one to the other.

    Runs alternate: plain stretches at even places, replaced ones at odd ones.
    """

    text: str
    written: str
    _breaks: tuple[int, ...] = (0,)
    _places: tuple[int, ...] = (0,)

    def original(self, start: int, end: int) -> Span:
        """The span of the original text that reads as ``text[start:end]``.

        An accent that is a character of its own belongs to the letter that it stands on.
        """
        first = self._place(start)
        last = self._after(end - 1) if end > start else first
        while first < last < len(self.written) and _is_accent(self.written[last]):
            last += 1
        return first, last

    def _place(self, at: int) -> int:
        run = bisect_right(self._breaks, at) - 1
        moved = 0 if run % 2 else at - self._breaks[run]
        return self._places[run] + moved

    def _after(self, at: int) -> int:
        """Where what follows the original of the character at ``at`` begins."""
        run = bisect_right(self._breaks, at) - 1
        return self._places[run + 1] if run % 2 else self._place(at) + 1


def _is_accent(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me")


def normalise(text: str) -> Normalised:
    """The text as it reads: look-alikes become Latin, invisible characters go. Linear in it."""
    if text.isascii() and "`" not in text:
        return Normalised(text, text)
    changes = (
        (found.start(), found.end(), shown)
        for found in _OTHER.finditer(text)
        if (shown := _shown(found.group())) != found.group()
    )
    return rewritten(text, changes)


def with_plain_numbers(text: str) -> str:
    """A normalised text with the dashes and blanks inside its numbers plain; as long as it was.

    Prose keeps its dashes, which mean something in it; between digits every dash is a hyphen.
    """
    if "–" in text or "—" in text:  # most texts have none, and the search costs a tenth of a check
        text = _IN_NUMBER.sub("-", text)
    return text.translate(_BLANKS)


def rewritten(text: str, changes: Iterable[tuple[int, int, str]]) -> Normalised:
    """A text with other words at some places: ``(start, end, words)``, in order and apart."""
    pieces: list[str] = []
    breaks, places = [0], [0]
    written = read = 0
    for start, end, shown in changes:
        pieces += [text[read:start], shown]
        written += start - read
        breaks += [written, written + len(shown)]
        places += [start, end]
        written += len(shown)
        read = end
    pieces.append(text[read:])
    return Normalised("".join(pieces), text, tuple(breaks), tuple(places))


@lru_cache(maxsize=8192)
def _shown(character: str) -> str:
    """What one character reads as: itself, another, several, or nothing."""
    if character in _PLAIN:
        return _PLAIN[character]
    if character in _LOOK_ALIKE:
        return _LOOK_ALIKE[character]
    if character in _KEPT:
        return character
    kind = unicodedata.category(character)
    if kind == "Nd":  # a digit of any script
        return str(unicodedata.decimal(character))
    if kind == "Zs":
        return " "
    if kind == "Cs":  # half a character, which cannot be written as UTF-8
        return "\ufffd"
    if kind in ("Cf", "Mn", "Me", "Cc") or 0xFE00 <= ord(character) <= 0xFE0F:
        return ""
    if character in _INVISIBLE:
        return ""
    if kind.startswith("S"):
        return character if unicodedata.decomposition(character) == "" else _folded(character)
    return _folded(character)


def _folded(character: str) -> str:
    split = unicodedata.normalize("NFKD", character)
    bare = "".join(part for part in split if unicodedata.category(part) != "Mn")
    return "".join(_LOOK_ALIKE.get(part, _PLAIN.get(part, part)) for part in bare) or character


def is_english(text: str) -> bool:
    """Whether a text is in the language of the rules; short texts count as English.

    Nothing is guessed about what else it is: by its script, by how few of its words are English
    function words, and in a text of a few words by those of other languages.
    """
    letters = _LETTERS.findall(text[:5000])
    if len(letters) < 20:
        return True
    if len(_OTHER_SCRIPT.findall(text[:5000])) > len(letters) / 2:
        return False
    words = [word.lower() for word in _WORD.findall(text[:5000])]
    english = sum(word in _ENGLISH for word in words)
    other = sum(word in _NEIGHBOURS for word in words)
    if len(words) < 12:
        return other < max(2, 0.2 * len(words)) or other <= english
    return english >= 0.1 * len(words) or english > other
