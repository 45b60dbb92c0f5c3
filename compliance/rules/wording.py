"""What a rule looks for: words, or words apart that stand in one sentence.

    fund ... will rise        the one and, later in the same sentence, the other
    [will rise, fund]         under ``together``: two or three, in any order

Between words apart no negation may stand: "The fund does not say what is certain" says nothing of
what is certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, permutations, repeat

from compliance.normalise import Span
from compliance.patterns import Match, Pattern, any_of, compile_pattern
from compliance.rules.clauses import negates

# From one word to a later one of the same sentence: decimals do not end a sentence.
_GAP = r"[^\w.;!?\n](?:(?:[^.;!?\n]|\.\d)*?[^\w.;!?\n])?"
# Whole words: "£5" and "5%" have no word boundary at their sign, but a character beside it.
_BEFORE, _BEHIND = r"(?:\b|^|\W)", r"(?:\b|\W|$)"
_AROUND = " \t\r\n,;:.!?\"'()[]{}*_/–—-"  # beside whole words
_BETWEEN = "between_"  # begins the name of a group that is what stands between two parts


def parts_of(written: str) -> list[str]:
    """The words apart that an author wrote as ``first ... then``, or the one pattern it is."""
    return written.split(" ... ")


@dataclass(frozen=True)
class Wording:
    """A pattern, or the patterns of words apart, which all must be there."""

    parts: tuple[str, ...]
    any_order: bool = False

    @cached_property
    def pattern(self) -> str:
        """It as one pattern."""
        return self._with_gaps(repeat(f"(?:{_GAP})"))

    @cached_property
    def compiled(self) -> Pattern:
        """It ready to be searched for; of words apart what stands between them are groups.

        Raises:
            re2.error: it is not one that re2 takes.
        """
        return compile_pattern(self._with_gaps(f"(?P<{_BETWEEN}{n}>{_GAP})" for n in count(1)))

    @property
    def needs(self) -> list[str]:
        """The patterns that a text all must match for it to be there."""
        if len(self.parts) == 1:
            return list(self.parts)
        return [_in_order([part], iter(())) for part in self.parts]

    def places(self, text: str) -> Iterator[tuple[Span, Span]]:
        """Where it stands, and where its last words do, with no negation between words apart."""
        for found in self.compiled.finditer(text):
            start, end = found.span()
            if len(self.parts) == 1:
                if start < end:
                    yield (start, end), (start, end)
                continue
            between = self._between(found)
            if not any(negates(text[slice(*at)]) for at in between):
                words = text[start:end]
                start += len(words) - len(words.lstrip(_AROUND))
                end -= len(words) - len(words.rstrip(_AROUND))
                yield (start, end), (max(at[1] for at in between), end)

    def _between(self, found: Match) -> list[Span]:
        """What stands between its parts; of the orders only one was found."""
        return [at for group in self._gaps if (at := found.span(group))[0] >= 0]

    @cached_property
    def _gaps(self) -> list[int]:
        named = self.compiled.groupindex.items()
        return sorted(group for name, group in named if name.startswith(_BETWEEN))

    def _with_gaps(self, gaps: Iterator[str]) -> str:
        if len(self.parts) == 1:
            return self.parts[0]
        orders = permutations(self.parts) if self.any_order else [self.parts]
        return any_of(_in_order(order, gaps) for order in orders)


def _in_order(parts: Sequence[str], gaps: Iterator[str]) -> str:
    first, *others = (f"(?:{part})" for part in parts)
    return "".join([_BEFORE, first, *(next(gaps) + part for part in others), _BEHIND])
