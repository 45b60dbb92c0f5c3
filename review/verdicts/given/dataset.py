"""The verdicts' data sets in Argilla: what a reviewer is shown and asked."""

from __future__ import annotations

from collections.abc import Sequence

import argilla as rg

from compliance.rules.house_rules import HouseRules
from inhouse.argilla import NO_RULE
from inhouse.records import content_id, is_blank, plain
from review.verdicts.given.placing import Shown
from review.verdicts.placed import Placed

OPENING = (
    "# Verdicts on answers of {house}",
    "",
    "Read each answer as if it were about to be sent to the customer above it.",
    "",
    "- **pass**: it may be sent as it stands.",
    "- **fail**: it may not be sent. Mark the rules that it breaks; the words, too, if you like.",
    "- **escalate**: it is not for you to decide. Say in the comment who should, and why.",
    "",
    "Mark a rule whenever it is broken, also a small one in an answer that may be sent. If you "
    "fail an answer that no rule forbids, say why in the comment. A rewrite is the answer as you "
    "would send it, whole: the model learns from it. Which model answered, and why you are asked, "
    "is not shown on purpose.",
    "",
)
EMPTY = "(an empty answer)"  # shown where nothing was said


def name_of(rules: HouseRules, placed: Sequence[Placed], second: int) -> str:
    """The data set of these very records under these rules: another push is another data set.

    So is one that has others of them, the first ``second``, read by two people: in the same data
    sets a record would stand in both, and one person could read it twice.
    """
    twice, once = (
        sorted(each.record + each.hash for each in part)
        for part in (placed[:second], placed[second:])
    )
    return f"verdicts-{content_id(rules.hash, twice, once)}"


def settings(guidelines: str, rules: HouseRules, readers: int) -> rg.Settings:
    """The conversation, the answer, and five questions; nothing is suggested."""
    titles = {rule.id: f"{rule.id} — {rule.title}" for rule in rules.rules}
    labels = titles if len(titles) > 1 else {**titles, NO_RULE: "no rule"}
    return rg.Settings(
        guidelines=guidelines,
        fields=[
            rg.ChatField(name="prompt", title="Conversation"),
            rg.TextField(name="response", title="Answer"),
        ],
        questions=[
            rg.LabelQuestion(
                name="verdict",
                title="May it be sent?",
                labels={"pass": "pass", "fail": "fail", "escalate": "escalate"},
            ),
            rg.MultiLabelQuestion(
                name="rules", title="Rules that it breaks", labels=labels, required=False
            ),
            rg.SpanQuestion(
                name="spans",
                field="response",
                title="Words that break a rule",
                labels=labels,
                allow_overlapping=True,
                required=False,
            ),
            rg.TextQuestion(
                name="rewrite", title="The answer as you would send it", required=False
            ),
            rg.TextQuestion(name="comment", title="Comment", required=False),
        ],
        distribution=rg.TaskDistribution(min_submitted=readers),
    )


def record(shown: Shown) -> rg.Record:
    """A record without metadata: whatever is in it, a reviewer can see."""
    words = EMPTY if is_blank(shown.response) else shown.response
    return rg.Record(id=shown.record, fields={"prompt": plain(shown.prompt), "response": words})
