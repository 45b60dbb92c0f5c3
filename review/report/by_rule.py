"""What was found, rule by rule: how often, the rule itself, and answers that break it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from compliance.rules.house_rules import in_context
from compliance.rules.schema import Rule
from review.gate.checker import rate_of
from review.report.campaign import Campaign, Placed
from review.report.marks import Excerpt, excerpt, of_all, segments
from review.report.nearest import Example, Near, examples_of, nearest
from review.report.rows import PARTS, Row

SHOWN, PRINTED = 8, 3  # findings of a rule that stand on the page, and on paper; the list has all
LONGEST = 700  # characters of an answer there
# Answers whose nearest example is looked for, and examples among which: seconds, not minutes.
LOOKED_UP, COMPARED = 2_000, 30_000
SEVERITIES = ("blocker", "major", "minor", "advisory")


@dataclass(frozen=True)
class Found:
    """An answer that breaks a rule, as the page shows it; ``row`` is its place in the list."""

    placed: Placed
    row: int
    part: Excerpt
    asked: str
    where: str
    near: Near | None

    @property
    def pieces(self) -> list[tuple[str, list[str]]]:
        """The excerpt, cut where marks begin and end; what is of the whole answer marks none."""
        output = self.placed.output
        local = [found for found in output.findings if not of_all(found, output.response)]
        return segments(self.part.text, local, self.part.start)

    @property
    def whole(self) -> list[str]:
        """The rules that the answer breaks as a whole, by what it does not say."""
        output = self.placed.output
        return sorted({found.rule for found in output.findings if of_all(found, output.response)})


@dataclass(frozen=True)
class RuleFound:
    """A rule, how often each model breaks it on held-out prompts, and some answers that do.

    ``rates`` has the models on whose answers a machine checked it; ``not_checked`` says why not.
    """

    rule: Rule
    rates: dict[str, dict[str, Any]]
    count: int
    counts: dict[str, int]
    found: list[Found]
    not_checked: str
    overdue: bool

    @property
    def good(self) -> list[str]:
        """Replies that keep it, from the rule itself."""
        return [in_context(example) for example in self.rule.good[:3]]


@dataclass(frozen=True)
class Lookup:
    """The examples that the models were trained on, and the nearest one by an answer's line.

    ``left_out``: how many more there are, where the data is too large to compare all of it.
    """

    examples: list[Example]
    left_out: int
    unread: list[str]
    near: dict[int, Near]


def look_up(campaign: Campaign) -> Lookup:
    """The nearest example of each answer that breaks a rule, the judged model's first."""
    examples, unread = examples_of(campaign.manifests)
    left_out = max(0, len(examples) - COMPARED)
    if left_out:
        examples = Random(0).sample(examples, COMPARED)
    hits = [p for name in campaign.judged_first for p in _of(campaign, name) if p.output.findings]
    hits = hits[:LOOKED_UP]
    texts = [(p.output.prompt[-1].content, p.output.response) for p in hits]
    near = nearest(examples, texts)
    lines = [placed.line for placed in hits]
    return Lookup(
        examples, left_out, unread, {ln: n for ln, n in zip(lines, near, strict=True) if n}
    )


def _of(campaign: Campaign, name: str) -> list[Placed]:
    return [placed for placed in campaign.answers if placed.model == name]


def by_rule(
    campaign: Campaign, rows: Sequence[Row], lookup: Lookup, most: int = SHOWN
) -> list[RuleFound]:
    """Every rule: those with findings first, the severest of them before the others.

    Args:
        most: answers of each rule, the judged model's first.
    """
    at = {p.line: number for number, row in enumerate(rows) for p in row.answers}
    hits: dict[str, list[Placed]] = defaultdict(list)
    order = {name: number for number, name in enumerate(campaign.judged_first)}
    for placed in sorted(campaign.answers, key=lambda p: (order[p.model], at[p.line])):
        for rule in dict.fromkeys(f.rule for f in placed.output.findings):
            hits[rule].append(placed)
    not_checked = campaign.rules.not_checked()
    late = {rule.id for rule in campaign.rules.overdue()}
    made = [
        RuleFound(
            rule=rule,
            rates=_rates(campaign, rule.id),
            count=len(hits[rule.id]),
            counts=_counts(campaign.judged_first, hits[rule.id]),
            found=[_found(p, rule.id, at, rows, lookup.near) for p in hits[rule.id][:most]],
            not_checked=not_checked.get(rule.id, ""),
            overdue=rule.id in late,
        )
        for rule in campaign.rules.rules
    ]
    return sorted(made, key=lambda each: (not each.count, SEVERITIES.index(each.rule.severity)))


def _counts(names: Sequence[str], hits: Sequence[Placed]) -> dict[str, int]:
    return {name: sum(placed.model == name for placed in hits) for name in names}


def _rates(campaign: Campaign, rule: str) -> dict[str, dict[str, Any]]:
    """By model, as :func:`review.gate.checker.rate_of` has it; empty if no machine checks it."""
    models: Mapping[str, Any] = campaign.summary["models"]
    raw = {name: measured["rules"].get(rule) for name, measured in models.items()}
    known = campaign.known.get(rule)
    return {name: rate_of(round(r["rate"] * r["n"]), r["n"], known) for name, r in raw.items() if r}


def _found(
    placed: Placed, rule: str, at: Mapping[int, int], rows: Sequence[Row], near: Mapping[int, Near]
) -> Found:
    o = placed.output
    row = rows[at[placed.line]]
    mine = [finding for finding in o.findings if finding.rule == rule]
    where = " · ".join(filter(None, (PARTS.get(row.split, row.split), row.part.replace("_", " "))))
    asked = o.prompt[-1].content
    return Found(
        placed=placed,
        row=at[placed.line],
        part=excerpt(o.response, mine, LONGEST),
        asked=asked if len(asked) <= LONGEST else f"{asked[:LONGEST]}…",
        where=where,
        near=near.get(placed.line),
    )
