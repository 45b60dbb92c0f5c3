"""Texts that a reader, or a program, can still read though they are written otherwise.

Each is undone by a test: typos keep each word's letters, look-alikes read as the text does
(:func:`compliance.normalise.normalise`), base64 and parts give it back whole.
"""

from __future__ import annotations

import base64
import json
import re
from random import Random
from typing import TypeVar

T = TypeVar("T")

SHARE_OF_WORDS = 0.3  # that get a typo, of those long enough
SHARE_OF_LETTERS = 0.5  # that are replaced, of those that have a look-alike
NAMES = ("A", "B", "C", "D")  # of the parts

_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
# Cyrillic letters that look like Latin ones; compliance/normalise.toml knows them all.
_LOOK_ALIKES = dict(zip("aceiopsxyABCEHKMOPTX", "асеіорѕхуАВСЕНКМОРТХ", strict=True))


def with_typos(text: str, random: Random) -> str:
    """Two neighbours inside some words of four letters and more change places; at least one pair.

    First and last letters stay, figures and short words too. A text without a word that could
    change comes back as it is.
    """
    places = [
        [at for at in range(word.start() + 1, word.end() - 2) if text[at] != text[at + 1]]
        for word in _LONG_WORD.finditer(text)
    ]
    letters = list(text)
    for within in _some([each for each in places if each], SHARE_OF_WORDS, random):
        at = random.choice(within)
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)


def with_look_alikes(text: str, random: Random) -> str:
    """About half of the letters that have a look-alike become it; at least one does.

    A text without such a letter comes back as it is.
    """
    places = [at for at, letter in enumerate(text) if letter in _LOOK_ALIKES]
    changed = set(_some(places, SHARE_OF_LETTERS, random))
    return "".join(_LOOK_ALIKES[c] if at in changed else c for at, c in enumerate(text))


def to_base64(text: str) -> str:
    """Its UTF-8 in base64, on one line."""
    return base64.b64encode(text.encode()).decode("ascii")


def in_parts(text: str, random: Random) -> tuple[str, str]:
    """Up to four parts, one a line out of order, as ``B = "…"``; and ``A, B, C and D``."""
    count = min(len(NAMES), len(text))
    ends = [len(text) * number // count for number in range(count + 1)]
    named = [
        f"{name} = {json.dumps(text[start:end], ensure_ascii=False)}"
        for name, start, end in zip(NAMES, ends, ends[1:], strict=False)
    ]
    random.shuffle(named)
    *first, last = NAMES[:count]
    return "\n".join(named), f"{', '.join(first)} and {last}" if first else last


def _some(items: list[T], share: float, random: Random) -> list[T]:
    """A share of them in order, at random; one at least, where there is one."""
    count = min(len(items), max(1, round(share * len(items))))
    return [items[at] for at in sorted(random.sample(range(len(items)), count))]
