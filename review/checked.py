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
    """The figures that a prompt's metadata approves; None where it names none.

    ``figures`` are those of a sheet. ``facts``, what a right answer states, approve the figures in
    them; facts without any, such as a product's name, say nothing about figures.
    """
    found = {approved(str(figure)) for figure in metadata.get("figures") or []}
    for fact in map(str, metadata.get("facts") or []):
        within = {figure for _, figure in figures(fact)}
        found |= within or ({approved(fact)} if re.search(r"\d", fact) else set())
    return frozenset(found) or None


def checked_by(rules: HouseRules) -> IsChecked:
    """Whether a rule is checked on the answer to a prompt with that metadata, as a function."""
    never, without_figures = rules.not_checked(facts=True), rules.not_checked()

    def is_checked(rule: str, metadata: Mapping[str, Any]) -> bool:
        if rule in never:
            return False
        return rule not in without_figures or approved_figures(metadata) is not None

    return is_checked
