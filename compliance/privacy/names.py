"""Names of a firm's own customers, found in text: whole, in part, inflected, without accents.

    Names(["Grace Whitfield"]).find("Ms Whitfield's form")     # [(3, 13)]

The list decides who is a customer; nothing is guessed from a word's looks. Words that are also
ordinary ones (Will, Grace, Mark) count alone only where they are written and used as a name; which
these are, and what tells a name, stands in names.toml.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from compliance.normalise import Span, normalise
from compliance.patterns import Lists
from inhouse.errors import InputError
from inhouse.files import read_utf8

_LISTS = Lists.beside(__file__)
_ORDINARY = _LISTS.set_of("ordinary") | _LISTS.set_of("ordinary_short")
_MONTHS = _LISTS.set_of("month")
_SPELT_OUT = str.maketrans(dict(pair.split() for pair in _LISTS.words["spelt_out"]))
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*(?:'[^\W\d_]{2,})?")
_POSSESSIVE = re.compile(r"(?:'[^\W\d_]*)$")
_ENDING = re.compile(_LISTS.fill("<ending>?"))


def _any_case(pattern: str) -> re.Pattern[str]:
    return re.compile(_LISTS.fill(pattern), re.IGNORECASE)


# What stands before a name, and what behind it.
_TITLE = _any_case(r"\b<title>\.?\s+$")
_NO_NAME = _any_case("<no_name>")
_LEADS = _any_case(r"(?:\b<lead>|,|\(|\"|:|-)\s*$")
_MONTH_BEFORE = _any_case(r"(?:\b<before_month>|,|-|\()\s*$")
_VERB_NEXT = re.compile(_LISTS.fill(r"(?:'s [a-z]| and [A-Z]| <verb>\b)"))
_PERSON_VERB = re.compile(_LISTS.fill(r" <person_verb>\b"))
_NOT_NAME = _any_case(r"<no_name_opens>\b")
_THING_NEXT = _any_case(r" <thing_next>\b|-|\d")


class Names:
    """A customer list, ready to look for."""

    def __init__(self, names: Iterable[str]):
        self._full: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        self._firsts: set[str] = set()
        self._lasts: set[str] = set()
        for name in (spelt for given in names for spelt in _spellings(given)):
            parts = tuple(_parts(normalise(name).text))
            if not parts:
                continue
            self._full[parts[0]].add(parts)
            if len(parts) > 1:
                self._full[parts[-1]].add(parts)
                self._firsts.add(parts[0])
                self._lasts.add(parts[-1])
            elif len(parts[0]) > 2:
                self._lasts.add(parts[0])
        self._known = self._firsts | self._lasts | set(self._full)

    @classmethod
    def read(cls, path: Path) -> Names:
        """One name a line; empty lines and ``#`` comments are passed over.

        Raises:
            InputError: no such file, not UTF-8, or no name in it.
        """
        names = [line.strip() for line in read_utf8(path).splitlines()]
        names = [name for name in names if name and not name.startswith("#")]
        if not names:
            raise InputError(f"{path} holds no name: expected one a line")
        return cls(names)

    def find(self, text: str) -> list[Span]:
        """Where customers are named, in order. Linear in the text."""
        words = [(m.start(), m.end(), m.group()) for m in _WORD.finditer(text)]
        stems = [_stem(word, self._known) for _, _, word in words]
        spans: list[Span] = []
        at = 0
        while at < len(words):
            taken = self._full_at(text, words, stems, at) or self._part_at(text, words, stems, at)
            if taken:
                last = at + taken - 1
                spans.append((words[at][0], words[last][0] + _bare(words, last)))
                at += taken
            else:
                at += 1
        return spans

    def _full_at(self, text: str, words: list, stems: list[str], at: int) -> int:
        """How many words from here are a customer's whole name, in either order, or 0."""
        for parts in self._full.get(stems[at], ()):
            if len(parts) < 2:
                continue
            for order in (parts, (parts[-1], *parts[:-1]), (parts[0], parts[-1])):
                here = tuple(stems[at : at + len(order)])
                if here == order and _joined(text, words, at, len(order)):
                    ordinary = all(part in _ORDINARY for part in order)
                    if not ordinary or all(w[2][0].isupper() for w in words[at : at + len(order)]):
                        return len(order)
            # a middle name or initial between the two
            here = tuple(stems[at : at + 3])
            if len(here) == 3 and (here[0], here[2]) == (parts[0], parts[-1]):
                middle = words[at + 1][2]
                if middle[0].isupper() and _joined(text, words, at, 3):
                    return 3
        return 0

    def _part_at(self, text: str, words: list, stems: list[str], at: int) -> int:
        """How many words from here name a customer in part: a surname, "G. Whitfield"."""
        start, _, word = words[at]
        stem = stems[at]
        if at + 1 < len(words) and len(word) == 1 and word.isupper():
            following = stems[at + 1]
            known = any(p[0][0] == word.lower() for p in self._full.get(following, ()))
            capital = words[at + 1][2][0].isupper()
            if known and following in self._lasts and capital and _joined(text, words, at, 2):
                return 2
        if stem not in self._firsts and stem not in self._lasts:
            return 0
        if not word[0].isupper() or len(stem) < 2:
            return 0
        titled = bool(_TITLE.search(text[max(0, start - 12) : start]))
        if self._is_other(text, words, stems, at) and not titled:
            return 0
        if titled:
            return 1
        if stem in _ORDINARY or len(stem) <= 3:
            return int(self._used_as_name(text, words, at))
        return 1

    def _is_other(self, text: str, words: list, stems: list[str], at: int) -> bool:
        """Whether a name goes on with a word that no customer of that name has."""
        if at + 1 < len(words) and _joined(text, words, at, 2):
            following = words[at + 1][2]
            named = following[0].isupper() and following.isalpha() and len(following) > 1
            if named and (not following.isupper() or words[at][2].isupper()):
                return stems[at + 1] not in self._known or stems[at] in _ORDINARY
        if at > 0 and _joined(text, words, at - 1, 2) and stems[at] in self._lasts:
            before = words[at - 1][2]
            if before[0].isupper() and len(before) > 2 and not _starts(text, words[at - 1][0]):
                return not _NO_NAME.fullmatch(before) and stems[at - 1] not in self._known
        return False

    def _used_as_name(self, text: str, words: list, at: int) -> bool:
        start, end, word = words[at]
        if word.isupper() and len(word) > 1 and text[max(0, start - 20) : end + 20].isupper():
            return False
        after = text[end : end + 24]
        if word.lower() in _MONTHS and (
            _starts(text, start) or _MONTH_BEFORE.search(text[max(0, start - 14) : start])
        ):
            return bool(_PERSON_VERB.match(after))
        if _starts(text, start):
            return bool(_VERB_NEXT.match(after)) and not _NOT_NAME.match(word + after)
        before = text[max(0, start - 14) : start]
        return bool(_LEADS.search(before)) and not _THING_NEXT.match(after)


def _spellings(name: str) -> set[str]:
    """A name as it stands and with its umlauts spelt out."""
    return {name, unicodedata.normalize("NFC", name).translate(_SPELT_OUT)}


def _parts(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _stem(word: str, known: set[str]) -> str:
    """The listed word that this one is a form of, or the word itself, in lower case."""
    low = word.lower()
    if low in known:
        return low
    bare = _POSSESSIVE.sub("", low)
    if bare in known:
        return bare
    if len(bare) > 4 and word[0].isupper():
        for cut in range(1, 4):
            base = bare[:-cut]
            if len(base) >= 4 and base in known and _ENDING.fullmatch(bare[-cut:]):
                return base
    return low


def _bare(words: list, at: int) -> int:
    """Length of a word without its possessive ending."""
    word = words[at][2]
    cut = word.lower().find("'s")
    return cut if cut > 0 and cut == len(word) - 2 else len(word)


def _joined(text: str, words: list, at: int, count: int) -> bool:
    """Whether words stand side by side: blanks, a comma after a surname, a dot after an initial."""
    for one, two in zip(words[at : at + count - 1], words[at + 1 : at + count], strict=False):
        between = text[one[1] : two[0]]
        if between.strip(" \t\n") not in ("", ",", ".") or len(between) > 3:
            return False
        if "." in between and len(one[2]) > 1:
            return False
    return True


def _starts(text: str, start: int) -> bool:
    """Whether a word opens a sentence, where any word has a capital."""
    before = text[max(0, start - 40) : start].rstrip(" \t\"'(*-")
    return not before or before[-1] in ".!?:\n;"
