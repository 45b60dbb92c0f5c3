"""One pure function per kind of house rule, in a table.

A checker takes a rule's compiled patterns and the text it looks at, and returns the spans that
break the rule, as character offsets. Patterns are google-re2: linear in the text whatever a rule's
author writes, where ``re`` takes seconds for ``(a+)+$``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import re2

Span = tuple[int, int]


@dataclass(frozen=True)
class Patterns:
    """A rule's compiled patterns. What each does depends on the rule's kind."""

    match: list[Any]
    unless: list[Any] = field(default_factory=list)
    requires: list[Any] = field(default_factory=list)


def compile_pattern(pattern: str) -> Any:
    """A case-insensitive pattern.

    Raises:
        re2.error: the pattern is not one that re2 takes.
    """
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile(pattern, options)


def existence(patterns: Patterns, text: str) -> list[Span]:
    """Every match of a pattern, unless an exempting pattern covers it ("not guaranteed")."""
    exempt = [found.span() for pattern in patterns.unless for found in pattern.finditer(text)]
    spans = [found.span() for pattern in patterns.match for found in pattern.finditer(text)]
    return sorted(
        (start, end)
        for start, end in spans
        if not any(low <= start and end <= high for low, high in exempt)
    )


def requires(patterns: Patterns, text: str) -> list[Span]:
    """The triggers in the text, if what they call for is nowhere in it.

    Without a trigger pattern the whole text is the trigger: the disclosure is always due.
    """
    if any(pattern.search(text) for pattern in patterns.requires):
        return []
    return existence(patterns, text) if patterns.match else [(0, len(text))]


CHECKERS: dict[str, Callable[[Patterns, str], list[Span]]] = {
    "existence": existence,
    "requires": requires,
}
