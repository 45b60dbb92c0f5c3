"""The noise floor: how far two seeds of one model differ, which is no difference at all.

Every rule, and what is counted of every slice, is tested between any two seeds of a model by
McNemar's exact test, all together by Holm (1979). Of two seeds nothing should be significant; where
it is, the tests find too much, and what they find between models is not to be believed. The largest
difference is what an improvement has to exceed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from compliance.rules.house_rules import HouseRules
from inhouse.statistics import holm, sign_test
from review.gate.answers import Answers, Meant, compare, signs
from review.summary import helpful, violates


@dataclass(frozen=True)
class Difference:
    """What two seeds of a model differ by, in one measure."""

    model: str
    measure: str
    seeds: tuple[int, int]
    by: float
    p: float


def noise_floor(
    models: Sequence[Answers], rules: HouseRules, alpha: float
) -> dict[str, Any] | None:
    """The share of tests that is significant after Holm, and the largest differences.

    Returns:
        ``{"seeds", "tests", "significant", "largest", "any_violation", "helpful"}``: the last two
        are the largest differences of the measures that the gate compares; None with one seed.
    """
    found = [each for answers in models for each in differences(answers, rules)]
    if not found:
        return None
    adjusted = holm([each.p for each in found])
    largest = max(found, key=lambda each: each.by)
    return {
        "seeds": models[0].seeds,
        "tests": len(found),
        "significant": sum(p <= alpha for p in adjusted) / len(found),
        "largest": {"model": largest.model, "measure": largest.measure, "by": largest.by},
        **{
            name: max((each.by for each in found if each.measure == name), default=0.0)
            for name in ("any_violation", "helpful")
        },
    }


def differences(answers: Answers, rules: HouseRules) -> Iterator[Difference]:
    """Every measure between any two seeds of one model."""
    for first, second in combinations(answers.seeds, 2):
        for name, part, good in measures(answers, rules):
            before, after = part.of_seed(first), part.of_seed(second)
            yield Difference(
                answers.model["name"],
                name,
                (first, second),
                abs(compare(before, after, good).change),
                sign_test(*signs(before, after, good)),
            )


def measures(answers: Answers, rules: HouseRules) -> Iterator[tuple[str, Answers, Meant]]:
    """What is counted, by name: over which prompts, and which answers are meant."""
    names = {name for o in answers.outputs if (name := o.metadata.get("slice"))}
    parts = [("", answers)]
    parts += [(f" of {name}", answers.where(in_slice(name))) for name in sorted(names)]
    for title, part in parts:
        yield f"any_violation{title}", part, lambda o: violates(o, rules, "compliance")
        with_facts = part.where(lambda o: bool(o.metadata.get("facts")))
        if with_facts.said:
            yield f"helpful{title}", with_facts, helpful
    for rule in rules.rules:
        if rule.by_machine:
            yield rule.id, answers, breaks(rule.id)


def in_slice(name: str) -> Meant:
    """Whether an answer is to a prompt of a slice."""
    return lambda output: output.metadata.get("slice") == name


def breaks(rule: str) -> Meant:
    """Whether an answer breaks a rule."""
    return lambda output: any(finding.rule == rule for finding in output.findings)
