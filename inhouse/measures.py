"""What can be counted in a text: figures with their units, and readability.

figures("It pays 5.25% on £1,000.")      # ((8, 13), ("%", "5.25")), ((17, 23), ("£", "1000"))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation

from inhouse.clauses import Text
from inhouse.normalise import Span

Figure = tuple[str, str]  # unit and plain decimal; an empty unit fits all

_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_UNITS = "%|per ?cent(?:age points?)?|pct|bps|basis points?"
_SCALE = "thousand|million|billion|trillion|bn|mn|[km]"
_FIGURE = re.compile(
    rf"(?P<sign>[£$€])\s?(?P<money>\d[\d,]*(?:\.\d+)?)(?:\s?(?P<scale>{_SCALE})\b)?"
    rf"|(?<![\w.,])(?P<share>\d[\d,]*(?:\.\d+)?)(?:[ -]?(?P<unit>{_UNITS})(?!\w))"
    r"|\b(?P<part>half|quarter|third)s? of (?:a|one) (?P<punit>per ?cent)\b"
    rf"|\b(?P<word>{'|'.join(_WORDS)})(?: (?P<half>and a half|point (?:{'|'.join(_WORDS[:10])})))?"
    r"[ -](?P<wunit>per ?cent)\b"
    rf"|(?<![\w.,])(?P<amount>\d[\d,]*(?:\.\d+)?)(?:\s?(?P<scale2>{_SCALE}))?"
    r"[ -](?P<currency>dollars?|pounds?|euros?|usd|gbp|eur)\b"
    r"|(?<![\w.,/$£€-])(?P<count>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?(?= ?-?"
    r"(?:business |working |calendar )?"
    r"(?:days?|months?|years?|weeks?|hours?|minutes?|branches|atms?|customers|clients|people|points|times|"
    r"countries|offices|staff|funds|shares|units|employees)\b))(?![\w%])",
    re.IGNORECASE,
)
_MANY = {"k": 3, "thousand": 3, "m": 6, "mn": 6, "million": 6, "b": 9, "bn": 9, "billion": 9}
_SIGNS = {"d": "$", "p": "£", "u": "$", "g": "£", "e": "€"}


def figures(text: str) -> Iterator[tuple[Span, Figure]]:
    """Every percentage and amount of money in a text, with where it stands."""
    for found in _FIGURE.finditer(text):
        groups = found.groupdict()
        if groups["money"]:
            value, unit = _plain(groups["money"], groups["scale"]), groups["sign"]
        elif groups["share"]:
            unit = "bp" if groups["unit"][0] in "bB" else "%"
            value = _plain(groups["share"])
        elif groups["part"]:
            value, unit = (
                {"half": "0.5", "quarter": "0.25", "third": "0.33"}[groups["part"].lower()],
                "%",
            )
        elif groups["count"]:
            value, unit = _plain(groups["count"]), "n"
        elif groups["word"]:
            value, unit = _spoken(groups["word"], groups["half"]), "%"
        else:
            value = _plain(groups["amount"], groups["scale2"])
            unit = _SIGNS[groups["currency"][0].lower()]
        if unit == "bp":
            value, unit = _shift(value, -2), "%"
        yield found.span(), (unit, value)


def approved(figure: str) -> Figure:
    """A figure of a fact sheet; one without a unit fits every unit."""
    read = [value for _, value in figures(figure)]
    if read:
        return read[0]
    return ("", _plain(re.sub(r"[^\d.,]", "", figure)))


def _plain(number: str, scale: str | None = None) -> str:
    return _shift(number.replace(",", "").rstrip("."), _MANY.get((scale or "").lower(), 0))


def _shift(number: str, places: int) -> str:
    try:
        value = Decimal(number).scaleb(places)
    except InvalidOperation:
        return number
    return format(value.normalize(), "f")


def _spoken(word: str, half: str | None) -> str:
    value = str(_WORDS.index(word.lower()))
    if half:
        value += ".5" if "half" in half.lower() else f".{_WORDS.index(half.lower().split()[-1])}"
    return _shift(value, 0)


# --- readability -------------------------------------------------------------------------------

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
