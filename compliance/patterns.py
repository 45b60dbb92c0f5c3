"""re2, as the suite uses it: linear in the text whatever a pattern's author writes.

Python's ``re`` takes seconds for ``(a+)+$``. Patterns are case-insensitive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import re2


def compile_pattern(pattern: str) -> Any:
    """A case-insensitive re2 pattern.

    Raises:
        re2.error: the pattern is not one that re2 takes.
    """
    return re2.compile(pattern, _options())


def either(patterns: Iterable[str]) -> Any:
    """One pattern that matches where any of several does, to be asked for once."""
    options = _options()
    options.never_capture = True
    unnamed = (pattern.replace(f"(?P<{GAPS}>)", "") for pattern in patterns)
    return re2.compile("|".join(f"(?:{pattern})" for pattern in unnamed), options)


def new_set() -> Any:
    """A set of re2 patterns that are searched for together, as empty; ``Add`` checks each."""
    options = _options()
    options.max_mem = 1 << 28
    return re2.Set.SearchSet(options)


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    # With re2's 8 MB the longest patterns have no room for an automaton: ten times slower.
    options.max_mem = 1 << 26
    return options


class Several:
    """Patterns that are searched for together: one search tells which of them match."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._together = new_set()
        # One that matches every text: it tells that the search came to its end.
        self.places = {ALWAYS: self._together.Add(ALWAYS)}
        for pattern in patterns:
            self.add(pattern)

    def add(self, pattern: str) -> int:
        """Where the pattern stands among them."""
        if pattern not in self.places:
            self.places[pattern] = self._together.Add(pattern)
        return self.places[pattern]

    def compile(self) -> Several:
        """Itself, ready for the search; none is added after it."""
        self._together.Compile()
        return self

    def found(self, text: str) -> frozenset[int] | None:
        """Where those stand that match; None where the automaton outgrew its memory."""
        hits = frozenset(self._together.Match(text) or ())
        return hits if self.places[ALWAYS] in hits else None


ALWAYS = r"\A"

# Names an empty group in a pattern whose other groups are what stands between its parts.
GAPS = "gaps"
