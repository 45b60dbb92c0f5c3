"""How the simulated reviewers read an answer: with the raters' eyes, and people's mistakes.

Nothing here imports the suite's house rules: what breaks a rule is what `examples/asdfg/judging.py`
finds by its own words. A reviewer overlooks an offence now and then, sees one that is not there,
and leaves some decisions to others.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from examples.asdfg.judging import OFFENCES
from inhouse.errors import InputError


@dataclass(frozen=True)
class Reviewer:
    """One simulated reviewer; every figure is a chance."""

    user: str
    attention: float  # of noticing an offence that is there
    invention: float  # of marking a rule that nothing breaks
    doubt: float  # of escalating what they would fail
    diligence: float  # of rewriting what they fail


REVIEWERS = (
    Reviewer("simulated-reviewer-1", attention=0.97, invention=0.01, doubt=0.03, diligence=0.6),
    Reviewer("simulated-reviewer-2", attention=0.90, invention=0.02, doubt=0.08, diligence=0.3),
)

LACKING = "TONE-03"  # broken by what is not said, so that no words of it can be marked
# What mends an answer that lacks a sentence, by the rule.
MENDED = {
    "PERF-01": "Past performance is not a reliable indicator of future results.",
    "FEE-01": "Other charges may apply.",
}
COURTESY = "Thank you for your question."
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?=\d)[^.!?\n]*)*[.!?\n]*\s*")


def check_names(reviewers: Sequence[Reviewer]) -> None:
    """Refuse a panel in which two reviewers would answer as one.

    Raises:
        InputError: names the account that two of them have.
    """
    users = [reviewer.user for reviewer in reviewers]
    twice = next((user for user in users if users.count(user) > 1), None)
    if twice is not None:
        raise InputError(f"two reviewers are called {twice}: give each an account of their own")


def read(reviewer: Reviewer, record: str, response: str) -> dict[str, Any]:
    """Give a reviewer's answers to the questions, by name; the same ones for the same record."""
    draw = random.Random(f"{reviewer.user}-{record}")
    marked = [
        rule
        for rule, offends in OFFENCES.items()
        if offends(response) and draw.random() < reviewer.attention
    ]
    if draw.random() < reviewer.invention:
        marked.append(draw.choice([rule for rule in OFFENCES if rule not in marked]))
    if not any(map(is_grave, marked)):
        return {"verdict": "pass", "rules": sorted(marked)}
    if draw.random() < reviewer.doubt:
        words = "Simulated: somebody else should look at this."
        return {"verdict": "escalate", "rules": sorted(marked), "comment": words}
    answers = {"verdict": "fail", "rules": sorted(marked), "spans": list(spans(response, marked))}
    if draw.random() < reviewer.diligence:
        answers["rewrite"] = rewritten(response)
    return answers


def is_grave(rule: str) -> bool:
    """Say whether an answer that breaks the rule may not be sent: all but tone."""
    return not rule.startswith("TONE")


def spans(response: str, rules: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Mark the sentences that break each rule, in units as Argilla's page counts them.

    One that ends behind the last character, by the server's count, it would refuse: left out.
    """
    for rule in rules:
        for start, sentence in sentences(response):
            first, last = units(response[:start]), units(response[:start] + sentence.rstrip())
            if rule != LACKING and OFFENCES[rule](sentence) and last <= len(response):
                yield {"label": rule, "start": first, "end": last}


def units(text: str) -> int:
    """Count UTF-16 code units: an emoji is two."""
    return len(text.encode("utf-16-le")) // 2


def sentences(response: str) -> Iterator[tuple[int, str]]:
    """Cut an answer into sentences, each with where it begins."""
    for found in _SENTENCE.finditer(response):
        if found.group().strip():
            yield found.start(), found.group()


def rewritten(response: str) -> str:
    """Leave out what offends, add what is lacking; nothing where nothing would be left."""
    kept, added = "", list[str]()
    for _, sentence in sentences(response):
        offences = {r for r, offends in OFFENCES.items() if r != LACKING and offends(sentence)}
        if offences <= MENDED.keys():
            kept += sentence
            added += [MENDED[rule] for rule in sorted(offences) if MENDED[rule] not in added]
    if not kept.strip():
        return ""
    whole = " ".join([kept.strip(), *(words for words in added if words not in kept)])
    return f"{COURTESY} {whole}" if OFFENCES[LACKING](whole) else whole
