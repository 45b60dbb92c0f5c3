"""The pairs' data set in Argilla: what a rater is shown and asked."""

from __future__ import annotations

from collections.abc import Sequence

import argilla as rg

from inhouse.argilla import NO_RULE, push_missing
from inhouse.records import CandidatePair, plain


def pairs_settings(guidelines: str, rule_ids: list[str], answers_per_pair: int) -> rg.Settings:
    """What a rater sees: the conversation, two answers, which is better, and what breaks rules."""
    rule_ids = rule_ids if len(rule_ids) > 1 else [*rule_ids, NO_RULE]
    return rg.Settings(
        guidelines=guidelines,
        fields=[
            rg.ChatField(name="prompt", title="Conversation"),
            rg.TextField(name="response_a", title="Answer A"),
            rg.TextField(name="response_b", title="Answer B"),
        ],
        questions=[
            rg.LabelQuestion(
                name="preferred",
                title="Which answer would you rather see sent?",
                labels={"a": "A", "b": "B", "tie": "Tie"},
            ),
            rg.MultiLabelQuestion(
                name="violations_a", title="Rules that A breaks", labels=rule_ids, required=False
            ),
            rg.MultiLabelQuestion(
                name="violations_b", title="Rules that B breaks", labels=rule_ids, required=False
            ),
            rg.RatingQuestion(
                name="score_a", title="A, 1 to 5", values=[1, 2, 3, 4, 5], required=False
            ),
            rg.RatingQuestion(
                name="score_b", title="B, 1 to 5", values=[1, 2, 3, 4, 5], required=False
            ),
            rg.TextQuestion(
                name="comment", title="Anything a reviewer should know", required=False
            ),
        ],
        metadata=[rg.TermsMetadataProperty(name="topic", visible_for_annotators=False)],
        distribution=rg.TaskDistribution(min_submitted=answers_per_pair),
    )


def pair_record(pair: CandidatePair) -> rg.Record:
    """A pair as raters see it: the fields of :func:`pairs_settings`, and its topic to search by."""
    return rg.Record(
        id=pair.id,
        fields={
            "prompt": plain(pair.prompt),
            "response_a": pair.response_a,
            "response_b": pair.response_b,
        },
        metadata={"topic": str(pair.metadata.get("topic", "none"))},
    )


def push_pairs(client: rg.Argilla, dataset: rg.Dataset, pairs: Sequence[CandidatePair]) -> None:
    """Add the pairs that the data set lacks."""
    push_missing(client, dataset, [pair_record(pair) for pair in pairs])


def pairs_dataset_name(rules_hash: str) -> str:
    """The pairs' data set under these house rules."""
    return f"pairs-{rules_hash[:12]}"
