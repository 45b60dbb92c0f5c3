"""Which rules a machine checks on an answer, and by which approved figures.

A rule about figures that have to be traced says nothing where nobody told which are approved, and a
rule that only people can judge says nothing anywhere: what is not checked is never counted as kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from compliance.rules.figures import Figure, approved, figures
from compliance.rules.house_rules import HouseRules

IsChecked = Callable[[str, Mapping[str, Any]], bool]


def approved_figures(metadata: Mapping[str, Any]) -> frozenset[Figure] | None:
    """The figures that a prompt's metadata approves; None where it names none."""
    return frozenset(map(approved, approved_words(metadata))) or None


def approved_words(metadata: Mapping[str, Any]) -> list[str]:
    """The same as they are written, each with what it takes to read it.

    ``figures`` are those of a sheet. ``facts``, what a right answer states, approve the figures in
    them; facts without any, such as a product's name, say nothing about figures.
    """
    found = [str(figure) for figure in metadata.get("figures") or []]
    for fact in map(str, metadata.get("facts") or []):
        within = [(fact[start:], fact[start:end], read) for (start, end), read in figures(fact)]
        # "3" of "3 months" is read by the word behind it.
        found += [words if approved(words) == read else rest for rest, words, read in within]
        if not within and re.search(r"\d", fact):
            found.append(fact)
    return found


def checked_by(rules: HouseRules) -> IsChecked:
    """Whether a rule is checked on the answer to a prompt with that metadata, as a function."""
    never, without_figures = rules.not_checked(facts=True), rules.not_checked()

    def is_checked(rule: str, metadata: Mapping[str, Any]) -> bool:
        if rule in never:
            return False
        return rule not in without_figures or approved_figures(metadata) is not None

    return is_checked
