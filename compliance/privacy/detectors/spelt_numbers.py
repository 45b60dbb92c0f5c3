"""Numbers that are spelt out, as digits, so that whatever looks for numbers finds them, too.

    read = in_digits("It is oh seven seven double zero, nine hundred one two three.")
    read.text                      # "It is 07700 900123."
    read.original(6, 18)           # the span of the words

Only runs of four words or more count: "one or two of the three" stays as it is. The words are
English, and the digits German, French, Spanish, Italian and Dutch, too, without their accents.
"""

from __future__ import annotations

import re

from compliance.normalise import Normalised, rewritten
from compliance.patterns import compile_pattern

_DIGITS = (
    "zero oh o nought null nul cero",
    "one eins uno une un een",
    "two zwei zwo deux dos due twee",
    "three drei trois tres tre drie",
    "four vier quatre cuatro quattro",
    "five funf fuenf cinq cinco cinque vijf",
    "six sechs seis sei zes",
    "seven sieben sept siete sette zeven",
    "eight acht huit ocho otto",
    "nine neun neuf nueve nove negen",
)
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUE = {word: str(digit) for digit, words in enumerate(_DIGITS) for word in words.split()}
_VALUE |= {word: str(number) for number, word in enumerate(_TEENS.split(), start=10)}
_VALUE |= {word: str(10 * tens) for tens, word in enumerate(_TENS.split(), start=2)}
_REPEATS = {"double": 2, "triple": 3, "treble": 3}

_ANY = "|".join(sorted([*_VALUE, *_REPEATS, "hundred"], key=len, reverse=True))
_RUN = compile_pattern(rf"\b(?:{_ANY})(?:[ ,;.–-]{{1,3}}(?:and |und )?(?:{_ANY})){{3,}}\b")
_WORD = re.compile(r"([^A-Za-z]*)([A-Za-z]+)")
_AMOUNT = re.compile(
    r"[ -](?:thousand|million|billion|per ?cent|dollars|pounds|euros|cents|days|years)", re.I
)


def in_digits(text: str) -> Normalised | None:
    """The text with its spelt-out numbers in digits; None if there is none."""
    changes = [
        (*found.span(), _as_digits(found.group()))
        for found in _RUN.finditer(text)
        if not _AMOUNT.match(text, found.end())
    ]
    return rewritten(text, changes) if changes else None


def _as_digits(words: str) -> str:
    """The digits of a run; a pause in it is a blank."""
    made, repeat, tens = "", 1, False
    for gap, word in _WORD.findall(words.lower()):
        if word in ("and", "und"):
            continue
        if any(sign in ",;.–" for sign in gap):
            made, tens = made + " ", False
        if word in _REPEATS:
            repeat = _REPEATS[word]
            continue
        value = "00" if word == "hundred" else _VALUE[word]
        if tens and len(value) == 1:  # "twenty-one"
            made = made[:-1]
        made += value * repeat
        repeat, tens = 1, word in _TENS.split()
    return made
