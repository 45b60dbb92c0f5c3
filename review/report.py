"""The report a compliance reviewer reads: one HTML file, nothing fetched, nothing run.

What models said is text from outside: Jinja escapes every bit of it.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compliance.rules.house_rules import HouseRules
from inhouse import pages
from inhouse.records import Output, content_id, is_blank, plain
from review.summary import HELD_OUT, STORY_GREEDY

TITLES = {
    "any_violation": ("Breaks a compliance rule", "lower is better"),
    "tone_violation": ("Breaks a tone rule", "lower is better"),
    "helpful": ("Helpful: ends properly and states what was asked for", "higher is better"),
    "end_token": ("Ends by itself", "higher is better"),
}


def render_report(
    campaign: str,
    summary: dict[str, Any],
    outputs: Sequence[Output],
    rules: HouseRules,
    provenance: dict[str, Any],
) -> str:
    """The whole page as text."""
    names = list(summary["models"])
    told = compare(outputs, STORY_GREEDY, names, 0)
    return pages.render(
        Path(__file__).with_name("report.html.jinja"),
        campaign=campaign,
        summary=summary,
        names=names,
        measures=TITLES,
        rules=rules,
        rule_by_id={rule.id: rule for rule in rules.rules},
        comparisons=compare(outputs, HELD_OUT, names, summary["seeds"][0]),
        story=[row for row in told if row["prompt"] == provenance["opening"]],
        judged=any("hidden_standard" in measured for measured in summary["models"].values()),
        provenance=provenance,
        segments=segments,
        is_blank=is_blank,
    )


def compare(
    outputs: Sequence[Output], split: str, names: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Every prompt of a split with each model's answer to it, side by side, for one seed."""
    by_prompt: dict[str, dict[str, Output]] = defaultdict(dict)
    for output in outputs:
        if output.split == split and output.seed == seed:
            by_prompt[content_id(plain(output.prompt))][output.model["name"]] = output
    rows = []
    for number, answers in enumerate(by_prompt.values(), start=1):
        said = [answers[name] for name in names if name in answers]
        found = sum(len(output.findings) for output in said)
        rows.append(
            {"number": number, "prompt": said[0].prompt, "answers": said, "findings": found}
        )
    return rows


def segments(output: Output) -> list[tuple[str, list[str]]]:
    """The response cut where findings begin and end: each piece with the rules it breaks."""
    text = output.response
    if not text:  # an empty answer may lack what is always due
        return [("", list(dict.fromkeys(f.rule for f in output.findings)))]
    cuts = {0, len(text)}.union(*((f.start, f.end) for f in output.findings))
    pieces = []
    for start, end in itertools.pairwise(sorted(cuts)):
        broken = [f.rule for f in output.findings if f.start <= start and end <= f.end]
        pieces.append((text[start:end], list(dict.fromkeys(broken))))
    return pieces
