"""Demonstrations become rows of token ids, and some of them are held out.

Records in: demonstration. Rows out: ``input_ids`` and ``labels``, each of Shape: (tokens,).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inhouse.chat import Rendered, render
from inhouse.errors import InputError
from inhouse.records import Demonstration, content_id, plain


def without_findings(
    demonstrations: Sequence[Demonstration], house_rules: str, source: str
) -> list[Demonstration]:
    """The demonstrations in which no assistant turn breaks a blocker rule.

    Raises:
        InputError: none is left.
    """
    from inhouse import house_rules as rules_of  # loads re2 and runs every rule's examples

    rules = rules_of.load(house_rules)

    def keeps(record: Demonstration) -> bool:
        return not any(
            finding.severity == "blocker"
            for at, turn in enumerate(record.messages)
            if turn.role == "assistant"
            for finding in rules.check(record.messages[:at], turn.content)
        )

    kept = [record for record in demonstrations if keeps(record)]
    if not kept:
        raise InputError(f"every demonstration of {source} breaks a blocker rule of {house_rules}")
    print(f"{len(demonstrations) - len(kept)} demonstrations break a blocker rule and are left out")
    return kept


def split(
    demonstrations: Sequence[Demonstration], rendered: Sequence[Rendered], held_out_share: float
) -> tuple[list[Rendered], list[Rendered]]:
    """What to train on and what to hold out, by a hash of each demonstration's content.

    The same conversation falls on the same side whatever stands beside it.

    Raises:
        InputError: nothing is left to train on.
    """
    kept: list[Rendered] = []
    held_out: list[Rendered] = []
    for record, row in zip(demonstrations, rendered, strict=True):
        place = int(content_id(plain(record.messages)), 16) / 16**12
        (held_out if place < held_out_share else kept).append(row)
    if not kept:
        raise InputError(
            f"held_out_share {held_out_share} holds out all of {len(held_out)} demonstrations: "
            "lower it, or add demonstrations"
        )
    return kept, held_out


def render_all(
    tokenizer: Any, demonstrations: Sequence[Demonstration], source: str
) -> list[Rendered]:
    """Every demonstration as token ids with its supervised mask.

    Raises:
        InputError: a conversation that cannot be rendered, or nothing in it is supervised.
    """
    rendered = []
    for number, record in enumerate(demonstrations, start=1):
        try:
            row = render(tokenizer, record.messages)
        except InputError as error:
            raise InputError(f"{source}, record {number}: {error}") from None
        if not any(row.supervised):
            raise InputError(
                f"{source}, record {number}: the chat template leaves no assistant token to "
                "learn from (zero supervised tokens): check its assistant branch"
            )
        rendered.append(row)
    return rendered


def rows(rendered: Sequence[Rendered]) -> list[dict[str, list[int]]]:
    """What TRL's SFTTrainer takes as already tokenised."""
    return [{"input_ids": row.ids, "labels": row.labels} for row in rendered]
