"""Reviewers' rewrites as records of the next round: preferences and demonstrations."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from compliance.rules.house_rules import HouseRules
from inhouse.records import (
    Demonstration,
    Message,
    Output,
    Preference,
    Record,
    Verdict,
    content_id,
    is_blank,
    plain,
)
from review.checked import approved_figures
from review.verdicts.taken.settled import Settled


class Refused(Record):
    """A rewrite that is not learned from, and the blocker rules that it breaks."""

    output_id: str
    reviewer: str
    rules: list[str]
    rewrite: str


@dataclass
class NextRound:
    """What is learned from rewrites, what is kept apart, and how many there were of each kind."""

    preferences: list[Preference] = field(default_factory=list)
    demonstrations: list[Demonstration] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def next_round(settled: Sequence[Settled], rules: HouseRules) -> NextRound:
    """Every rewrite of a model's answer, once.

    Left out and counted: those that are blank, the same as the answer or given already for it, and
    those of planted replies. One that breaks a blocker rule itself is kept apart. Where a model
    said nothing there is nothing to reject: the rewrite is a demonstration alone.
    """
    made, seen = NextRound(), set[tuple[str, str]]()
    for each in settled:
        for verdict in each.verdicts:
            if verdict.rewrite is None:
                continue
            words = verdict.rewrite.strip()
            output = each.output
            if output is None:
                made.counts["planted"] += 1
            elif is_blank(words):
                made.counts["blank"] += 1
            elif _same(words, output.response):
                made.counts["unchanged"] += 1
            elif (output.id, words) in seen:
                made.counts["repeated"] += 1
            else:
                seen.add((output.id, words))
                _add(made, output, verdict, words, rules)
    return made


def _add(made: NextRound, output: Output, verdict: Verdict, words: str, rules: HouseRules) -> None:
    facts = approved_figures(output.metadata)
    findings = rules.check(output.prompt, words, facts=facts)
    if broken := sorted({f.rule for f in findings if f.severity == "blocker"}):
        made.counts["breaks a blocker"] += 1
        made.refused.append(
            Refused(output_id=output.id, reviewer=verdict.reviewer, rules=broken, rewrite=words)
        )
        return
    metadata: dict[str, Any] = {
        "topic": output.metadata.get("topic"),
        "source": "rewrite",
        "output_id": output.id,
        "held_out": True,  # asked in a review, whatever the split: `python -m review` refuses it
        "split": output.split,
    }
    chosen = [Message(role="assistant", content=words)]
    made.counts["used"] += 1
    # What the red team put into the assistant's mouth before is read and not learned.
    asked = [
        turn.model_copy(update={"train": False}) if turn.role == "assistant" else turn
        for turn in output.prompt
    ]
    made.demonstrations.append(Demonstration(messages=[*asked, *chosen], metadata=metadata))
    if not is_blank(output.response):
        made.preferences.append(
            Preference(
                prompt=output.prompt,
                chosen=chosen,
                rejected=[Message(role="assistant", content=output.response)],
                pair_id=content_id(plain(output.prompt), words, output.response),
                raters=[verdict.reviewer],
                source="rewrite",
                metadata=metadata,
            )
        )


def _same(one: str, other: str) -> bool:
    return unicodedata.normalize("NFC", one).strip() == unicodedata.normalize("NFC", other).strip()
