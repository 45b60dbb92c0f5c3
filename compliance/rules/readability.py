"""How a text reads and what form it has: sentence length, school grade; a list, a table, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from compliance.rules.clauses import Text

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_VOWELS = re.compile(r"[aeiouy]+")
_PASSIVE = re.compile(
    r"\b(?:is|are|was|were|be|been|being)\s+(?:\w+ly\s+)?(?:\w{3,}ed|made|given|taken|paid|held|"
    r"sent|kept|told|shown|known|done|seen|found|built|set|put|written|chosen)\b",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:might|maybe|perhaps|possibly|probably|somewhat|sort of|kind of|arguably|presumably)\b",
    re.IGNORECASE,
)
ENOUGH = 30  # words below which a measure of style says nothing


def _words(text: Text) -> list[str]:
    return _WORD.findall(text.text)


def _spoken_sentences(text: Text) -> int:
    return max(1, sum(bool(_WORD.search(text.text[a:b])) for a, b in text.sentences))


def syllables(word: str) -> int:
    """Groups of vowels, less a silent e; at least one."""
    word = word.lower()
    count = len(_VOWELS.findall(word))
    if word.endswith("e") and not word.endswith(("le", "ee")) and count > 1:
        count -= 1
    return max(1, count)


def flesch_kincaid(text: Text) -> float | None:
    """The US school grade that reads it (Kincaid et al. 1975), or None for a short text."""
    words = _words(text)
    if len(words) < ENOUGH:
        return None
    per_sentence = len(words) / _spoken_sentences(text)
    return 0.39 * per_sentence + 11.8 * sum(map(syllables, words)) / len(words) - 15.59


def words_per_sentence(text: Text) -> float | None:
    """Words in a sentence, on average."""
    words = _words(text)
    return len(words) / _spoken_sentences(text) if words else None


def longest_sentence(text: Text) -> float | None:
    """Words in the longest sentence."""
    return max((len(_WORD.findall(text.text[a:b])) for a, b in text.sentences), default=None)


def passive_ratio(text: Text) -> float | None:
    """Passive verbs to a sentence, or None for a short text."""
    if len(_words(text)) < ENOUGH:
        return None
    return len(_PASSIVE.findall(text.text)) / _spoken_sentences(text)


def hedging(text: Text) -> float | None:
    """Hedging words to 100 words, or None for a short text."""
    words = len(_words(text))
    return 100 * len(_HEDGE.findall(text.text)) / words if words >= ENOUGH else None


def words(text: Text) -> float | None:
    """Words in all."""
    return float(len(_words(text)))


METRICS: dict[str, Callable[[Text], float | None]] = {
    "flesch_kincaid": flesch_kincaid,
    "words_per_sentence": words_per_sentence,
    "longest_sentence": longest_sentence,
    "passive_ratio": passive_ratio,
    "hedging": hedging,
    "words": words,
}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


_ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+\S", re.MULTILINE)
_TABLE = re.compile(r"^\s*\|?.+\|.+\n\s*\|?\s*:?-{2,}[-:| ]*$", re.MULTILINE)
_MARKUP = re.compile(r"^\s{0,3}#{1,6}\s|\*\*\S|`|^\s*\|.*\|\s*$", re.MULTILINE)

FORMATS: dict[str, Callable[[str], bool]] = {
    "json": _is_json,
    "list": lambda text: len(_ITEM.findall(text)) >= 2,
    "table": lambda text: bool(_TABLE.search(text)),
    "plain": lambda text: not _MARKUP.search(text) and not _ITEM.search(text),
    "one_paragraph": lambda text: not re.search(r"\n\s*\n", text.strip()),
    "one_sentence": lambda text: len(Text(text.strip()).sentences) == 1,
}
