"""Who says what in a sentence: negation, questions, and words that are somebody else's.

    text = Text("Nothing is guaranteed, whatever the advert says.")
    text.negated((11, 21))        # True

House rules look for words; these functions say whether the words are the firm's own claim. They
follow the idea of NegEx (Chapman et al. 2001, https://doi.org/10.1006/jbin.2001.1029): cues open a
scope, conjunctions end it, and pseudo-cues ("not only") open none. The words stand in clauses.toml.
All patterns are re2's and run on one sentence at a time, only where a rule has found something.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import Any

from compliance.normalise import Normalised, Span, normalise
from compliance.patterns import Lists, Pattern

REACH = 600  # characters of a sentence that are looked at either side of a place
_END = re.compile(r"[.!?]+[\"')\]*_]*\s+|\n\s*")

_LISTS = Lists.beside(__file__)
_SHORT, _SHORT_BEFORE_FIGURE = (
    re.compile(_LISTS.fill(rf"<{name}>\Z"), re.IGNORECASE)
    for name in ("abbreviation", "abbreviation_before_figure")
)

# Negation: cues open a scope, stops end it.
_CUE = _LISTS.compile(r"\b<cue>(?:\W|$)")
_PSEUDO = _LISTS.compile(r"\b<pseudo_cue>\b")
_SUBJECT = _LISTS.compile(r"\b<negative_subject>\b")
_NOUN_ONLY = _LISTS.compile(r"\b<negative_noun>\b")
_GOVERNS = _LISTS.compile(r"^(?:that\b|(?:[\w'-]+ ){0,4}?<governing>\b)")
_STOPS = _LISTS.compile("<stop>")
_WHY = _LISTS.compile(r"\b<reason>\b")
_AFTERWARDS = _LISTS.compile(r"^[^;:.!?]{0,70}?<taken_back>")

# Somebody else's words, and one's own.
_SPEAKER = _LISTS.compile("<spoken>")
_ABOUT_WORDS = _LISTS.compile("<spoken_about>")
_OWN_AGAIN = _LISTS.compile("<own_again>")
_OWN_VOICE = _LISTS.compile("<own_voice>")
_AS_THEY_SAY = _LISTS.compile(r"\bas <as_they_say>(?:[\w' -]{0,40}?)$")
_BACKGROUND = _LISTS.compile("<background>")
_LEAVES = _LISTS.compile("<leaves_frame>")

_QUESTION = _LISTS.compile(r"(?:^|[,;:–—-]\s*|\b(?:so|and|or|but|well|ok|okay),? )\W*<question>\b")
_LURE = _LISTS.compile(r"^\W*<lure>")
_YES = _LISTS.compile(r"^\W*<yes>")
_SO = _LISTS.compile(r"^\W*<so>\b")
_GOES_BACK = _LISTS.compile(r"^\W*<goes_back>\b")

_DENYING = _LISTS.compile("<denying>")
_NO_RISK = _LISTS.compile(r"\b<no_risk>(?: real)? risks?\b")
_UNDONE = _LISTS.compile(r"^[^.;!?,]{0,30}\b<undone>\b")
_IF = _LISTS.compile(r"\b<supposing>\b")


class Text:
    """A text to check: how it reads, its sentences, and whose words stand where."""

    def __init__(self, written: str):
        self.written = written
        self.seen: Normalised = normalise(written)
        self.text = self.seen.text
        # The match patterns that may have a hit here, by the id of the list that they are from,
        # once one search for all has told them.
        self.live: dict[int, list[Any]] | None = None

    @cached_property
    def sentences(self) -> list[Span]:
        """Where each sentence or line stands, in order, without gaps."""
        ends = [
            found.end()
            for found in _END.finditer(self.text)
            if not self._abbreviates(found.start(), found.group())
        ]
        starts = [0, *ends]
        return [(a, b) for a, b in zip(starts, [*ends, len(self.text)], strict=True) if a < b]

    def _abbreviates(self, at: int, mark: str) -> bool:
        """Whether a full stop only ends an abbreviation."""
        if not mark.startswith(".") or not mark[1:].isspace():
            return False
        word = self.text[max(0, at - 12) : at].rpartition(" ")[2]
        if self.text[at + len(mark) :][:1].isdigit() and _SHORT_BEFORE_FIGURE.match(word):
            return True
        return bool(_SHORT.match(word))

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self.sentences]

    def sentence(self, at: int) -> Span:
        """The sentence that a place is in; of an endless one, what is within reach of the place."""
        if not self.sentences:
            return 0, len(self.text)
        start, end = self.sentences[max(0, bisect_right(self._starts, at) - 1)]
        return max(start, at - REACH), min(end, at + REACH)

    def following(self, at: int) -> str:
        """The sentence behind the one that a place is in, or nothing."""
        number = bisect_right(self._starts, at)
        return self.text[slice(*self.sentences[number])] if number < len(self.sentences) else ""

    def exchange(self, at: int) -> Span:
        """The sentence that a place is in, with the question it affirms, or its affirmation.

        What follows from it is part of it, too, and what it is the reason for: "You are over 70.
        That is why …", "We declined. The reason is …"; and what its pronoun stands for: "The fund
        is safe. It is insured …".
        """
        start, end = self.sentence(at)
        number = bisect_right(self._starts, at) - 1
        if number > 0:
            before = self.sentences[number - 1]
            if "?" in self.text[slice(*before)][-4:] and _YES.search(self.text[start:end]):
                start = before[0]
        if number > 0 and _GOES_BACK.search(self.text[start:end]):
            start = self.sentences[number - 1][0]
        following = self.following(at)
        if ("?" in self.text[start:end][-4:] and _YES.search(following)) or _SO.search(following):
            end = self.sentences[number + 1][1]
        end = min(end, at + REACH)
        return start, end

    # --- whose claim it is -------------------------------------------------------------------

    def negated(self, span: Span) -> bool:
        """Whether the words stand in the scope of a negation: "we do not promise a …"."""
        start, end = self.sentence(span[0])
        before, after = self.text[start : span[0]], self.text[span[1] : end]
        # A clause may begin with the words themselves: "if you don't pay, your wages are taken".
        stops = [
            min(found.end(), len(before))
            for found in _STOPS.finditer(self.text[start : min(span[0] + 12, end)])
            if found.start() < len(before)
        ]
        scope = before[stops[-1] :] if stops else before
        blanked = _blank(_PSEUDO, scope)
        for cue in _CUE.finditer(blanked):
            rest = blanked[cue.end() :]
            words = rest.split()
            leads = not blanked[: cue.start()].split() and bool(_SUBJECT.search(cue.group()))
            if leads and len(words) <= 9:
                return True
            if _NOUN_ONLY.search(cue.group()) and " and " in f"{rest} ":
                continue  # "no deposit and …", "pay nothing now and …"
            if len(words) <= 4 or _GOVERNS.search(rest):
                return True
        reason = _WHY.search(after)
        after = after[: reason.start()] if reason else after
        return bool(_AFTERWARDS.search(after)) and not _STOPS.search(after[:3])

    def denied(self, span: Span) -> bool:
        """Whether a negation stands among the words themselves: "the SEC does not approve"."""
        return negates(self.text[span[0] : span[1]])

    def asked(self, span: Span) -> bool:
        """Whether the words are part of a question that the next sentence does not affirm."""
        start, end = self.sentence(span[0])
        sentence = self.text[start:end]
        if "?" not in sentence[-6:] or _LURE.search(sentence) or span[1] > end:
            return False
        begin = sentence.find(
            " ", span[0] - start
        )  # the hit's first word may be the verb asked with
        asked = _QUESTION.search(sentence[: begin + 1 or None])
        return bool(asked) and not _YES.search(self.following(span[0]))

    def reported(self, span: Span) -> bool:
        """Whether the words are somebody else's, or are spoken about, and not made one's own."""
        start, end = self.sentence(span[0])
        before, after = self.text[start : span[0]], self.text[span[1] : end]
        cut = max((m.end() for m in _OWN_AGAIN.finditer(before)), default=0)
        near = _blank(_BACKGROUND, before[cut:])
        framed = _last(_SPEAKER, near), _last(_ABOUT_WORDS, near)
        at = max(framed)
        if at < 0 or _OWN_AGAIN.search(after) or _YES.search(self.following(span[0])):
            return False
        own = max((found.end() for found in _OWN_VOICE.finditer(near)), default=0)
        if _AS_THEY_SAY.search(near[:at]) or own > at:
            return False
        return '"' in near[at:] or not _LEAVES.search(near[at:])

    def supposed(self, span: Span) -> bool:
        """Whether a sentence only supposes what it goes on to say: "if he is overdrawn"."""
        return bool(_IF.search(self.text[self.sentence(span[0])[0] : span[0]]))


def negates(words: str) -> bool:
    """Whether words hold a negation, and not only what looks like one ("not only")."""
    return bool(_CUE.search(_blank(_PSEUDO, words)))


def denies_risk(text: str, span: Span) -> bool:
    """Whether a risk is named only to be denied: "no risk of loss", "any loss is ours"."""
    return bool(
        _NO_RISK.search(text[slice(*span)])
        or _DENYING.search(text[max(0, span[0] - 60) : span[0]])
        or _UNDONE.search(text[span[1] : span[1] + 50])
    )


def _last(pattern: Pattern, text: str) -> int:
    """Where the last match begins, or -1."""
    return max((found.start() for found in pattern.finditer(text)), default=-1)


def _blank(pattern: Pattern, text: str) -> str:
    """The text with every match replaced by as many neutral words as it had."""
    pieces, read = [], 0
    for found in pattern.finditer(text):
        pieces += [text[read : found.start()], "_" * (found.end() - found.start())]
        read = found.end()
    return "".join([*pieces, text[read:]])


FRAMES: dict[str, Callable[[Text, Span], bool]] = {
    "negated": Text.negated,
    "denied": Text.denied,
    "question": Text.asked,
    "reported": Text.reported,
}
