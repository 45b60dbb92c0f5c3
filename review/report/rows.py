"""Every answer as data for the page's list: one row a prompt and seed, the models side by side.

The page may have so many bytes. Answers that break a rule come first: the others are shortened
before them. A shortened text says so, and on which line of ``outputs.jsonl`` it stands whole.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inhouse.records import Output, content_id, is_blank, plain
from review.red_team.mutations import MUTATIONS
from review.red_team.plan import COUNTERFACTUAL, RED_TEAM, TWIN
from review.report.campaign import Campaign, Placed
from review.report.marks import excerpt
from review.report.nearest import Example, Near
from review.summary import HELD_OUT, STORY, STORY_GREEDY

BUDGET = 12_000_000  # bytes of all that was said; with all else the page keeps below 15 MB
LENGTHS = (100_000, 4_000, 2_000, 1_000, 600, 400, 300, 200, 120, 60)  # characters that are kept
PARTS = {
    HELD_OUT: "held-out prompts",
    RED_TEAM: "red team",
    TWIN: "benign twins",
    COUNTERFACTUAL: "counterfactual pairs",
    STORY_GREEDY: "about the firm, greedy",
    STORY: "about the firm",
}
ENDED, FACTS, STATED, BLANK, BEFORE, BEHIND = (1 << bit for bit in range(6))  # of an answer


@dataclass(frozen=True)
class Row:
    """A prompt with a seed, and what each model answered."""

    split: str
    part: str
    seed: int
    answers: list[Placed]

    @property
    def first(self) -> Output:
        """Any of its answers: the prompt is the same in all."""
        return self.answers[0].output


def rows_of(campaign: Campaign) -> list[Row]:
    """The rows in the order of the parts; attacks by the seed that they were made from."""
    order = campaign.names
    found: dict[tuple[str, str, int], dict[str, Placed]] = defaultdict(dict)
    for placed in campaign.answers:
        o = placed.output
        at = (o.split, content_id(plain(o.prompt)), o.seed)
        found[at][placed.model] = placed
    rows = []
    for by_model in found.values():
        said = [by_model[name] for name in order if name in by_model]
        rows.append(Row(said[0].output.split, part_of(said), said[0].output.seed, said))
    return sorted(rows, key=_place)


def part_of(answers: Sequence[Placed]) -> str:
    """What a row belongs to within its split: a slice, a mutation, a trait."""
    about = answers[0].output.metadata
    if answers[0].output.split == RED_TEAM:
        return str(about.get("mutation", ""))
    return str(about.get("trait") or about.get("slice") or "")


def _place(row: Row) -> tuple[int, str, int, str]:
    """Stable: what is alike stays as it was answered."""
    splits, mutations = list(PARTS), list(MUTATIONS)
    about = row.first.metadata
    if row.split not in (RED_TEAM, TWIN, COUNTERFACTUAL):
        return (splits.index(row.split) if row.split in splits else len(splits), "", 0, "")
    mutation = str(about.get("mutation", ""))
    at = mutations.index(mutation) if mutation in mutations else len(mutations)
    return (splits.index(row.split), str(about.get("seed", "")), at, str(about.get("side", "")))


def as_data(
    campaign: Campaign,
    rows: Sequence[Row],
    near: Mapping[int, Near],
    examples: Sequence[Example],
    budget: int = BUDGET,
) -> dict[str, Any]:
    """What the page's script reads (``row.js`` names the places of its arrays).

    Args:
        near: the nearest training example by an answer's line.
    """
    shown = sorted({each.example for each in near.values()})
    learned = [_example(examples[number]) for number in shown]
    clean, broken = lengths(rows, budget - sum(map(_size, itertools.chain(*learned))))
    systems = {text: at for at, text in enumerate(_systems(rows))}
    at = {example: number for number, example in enumerate(shown)}
    rules = campaign.rules.rules
    context = _Context(
        {name: number for number, name in enumerate(campaign.names)},
        {rule.id: number for number, rule in enumerate(rules)},
        {line: [at[each.example], each.cosine] for line, each in near.items()},
        campaign.verdicts.by_output if campaign.verdicts else {},
        systems,
    )
    return {
        "models": campaign.names,
        "rules": [[r.id, r.title, r.severity, r.group, r.fix] for r in rules],
        "splits": {row.split: PARTS.get(row.split, row.split) for row in rows},
        "examples": learned,
        "systems": [_cut(text, broken if hit else clean) for text, hit in _systems(rows).items()],
        "rows": [_row(row, context, broken if breaks(row) else clean) for row in rows],
    }


@dataclass(frozen=True)
class _Context:
    """Numbers of models, rules and system turns; nearest examples by line, verdicts by answer."""

    models: dict[str, int]
    rules: dict[str, int]
    near: Mapping[int, list[float]]
    verdicts: Mapping[str, Sequence[Mapping[str, Any]]]
    systems: Mapping[str, int]


def breaks(row: Row) -> bool:
    """Whether any of a row's answers breaks a rule."""
    return any(placed.output.findings for placed in row.answers)


def lengths(rows: Sequence[Row], budget: int) -> tuple[int, int]:
    """How many characters of a text are kept, in rows that break no rule and in those that do."""
    texts = [(text, breaks(row)) for row in rows for text in _texts(row)]
    texts += _systems(rows).items()
    count = np.array([len(text) for text, _ in texts])
    size = np.array([_size(text) for text, _ in texts])
    found = np.array([hit for _, hit in texts], dtype=bool)

    def cost(mine: np.ndarray, most: int) -> float:
        return float((size[mine] * np.minimum(1.0, most / np.maximum(count[mine], 1))).sum())

    for broken in LENGTHS:
        for clean in (length for length in LENGTHS if length <= broken):
            if cost(~found, clean) + cost(found, broken) <= budget:
                return clean, broken
    return LENGTHS[-1], LENGTHS[-1]


def _texts(row: Row) -> list[str]:
    said = [placed.output.response for placed in row.answers]
    return said + [turn.content for turn in row.first.prompt if turn.role != "system"]


def _size(text: str) -> int:
    """Bytes of a text as JSON."""
    return len(json.dumps(text, ensure_ascii=False).encode())


def _systems(rows: Sequence[Row]) -> dict[str, bool]:
    """Every system turn once, and whether an answer to it breaks a rule."""
    found: dict[str, bool] = {}
    for row in rows:
        for turn in row.first.prompt:
            if turn.role == "system":
                found[turn.content] = found.get(turn.content, False) or breaks(row)
    return found


def _row(row: Row, context: _Context, most: int) -> list[Any]:
    about = row.first.metadata
    turns = [
        f"s{context.systems[turn.content]}"
        if turn.role == "system"
        else f"{turn.role[0]}{_cut(turn.content, most)}"
        for turn in row.first.prompt
    ]
    tempts = about.get("rule") if row.split in (RED_TEAM, TWIN, COUNTERFACTUAL) else None
    label = " ".join(str(p) for p in (about.get("seed"), about.get("side")) if p) if tempts else ""
    facts = [str(fact) for fact in about.get("facts") or []]
    answers = [_answer(placed, context, most) for placed in row.answers]
    return [row.split, row.part, row.seed, label, turns, facts, answers]


def _answer(placed: Placed, context: _Context, most: int) -> list[Any]:
    o = placed.output
    part = excerpt(o.response, o.findings, most)
    flags = sum(
        bit
        for bit, holds in (
            (ENDED, o.end_token),
            (FACTS, bool(o.metadata.get("facts"))),
            (STATED, o.facts_ok),
            (BLANK, is_blank(o.response)),
            (BEFORE, part.before),
            (BEHIND, part.behind),
        )
        if holds
    )
    units = utf16(part.text)
    findings = []
    for found in o.findings:
        a, b = (min(max(0, at - part.start), len(part.text)) for at in (found.start, found.end))
        findings.append([context.rules[found.rule], units(a), units(b)])
    verdicts = [
        [v["reviewer"], v["verdict"], v.get("rules") or [], v.get("comment") or ""]
        for v in context.verdicts.get(o.id, ())
    ]
    answer: list[Any] = [context.models[placed.model], placed.line, part.text, flags, findings]
    return [*answer, context.near.get(placed.line, 0), verdicts]


def utf16(text: str) -> Callable[[int], int]:
    """From a place in a text as Python counts it, in characters, to JavaScript's UTF-16 units."""
    if text.isascii() or max(text) <= "\uffff":
        return lambda at: at
    return lambda at: len(text[:at].encode("utf-16-le")) // 2


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _example(example: Example) -> list[str]:
    return [example.kind, example.place, _cut(example.asked, 600), _cut(example.answered, 600)]
