"""Demonstrations become rows of token ids, and some of them are held out.

Records in: demonstration. Rows out: ``input_ids`` and ``labels``, each of Shape: (tokens,).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compliance import gate
from inhouse.chat import render
from inhouse.config import HoldOutOptions, PrivacyOptions
from inhouse.errors import InputError
from inhouse.records import Demonstration, Message
from inhouse.training import data
from inhouse.training.data import Columns, TrainingData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_TOPIC = "(none)"
Row = data.Row[Demonstration]


def prepare(
    tokenizer: PreTrainedTokenizerBase,
    source: str,
    hold_out: HoldOutOptions,
    privacy: PrivacyOptions,
    house_rules: str | None,
    max_length: int | None,
    context: int | None = None,
) -> TrainingData[Demonstration]:
    """Read, check, render and split demonstrations.

    Args:
        house_rules: demonstrations that break a blocker rule of these are left out.
        context: how many tokens the model takes, None for any number.

    Raises:
        InputError: with the file and the place in it.
    """
    kept, told = gate.admit(
        data.read(source, Demonstration),
        source,
        replies,
        what="demonstration",
        house_rules=house_rules,
        privacy=privacy,
    )
    rows = data.render(tokenizer, kept, columns, source)
    split = len(rows) - len(kept)
    if split:
        data.say(
            f"the chat template renders replies otherwise when more turns follow: {len(kept)} "
            f"demonstrations are {len(rows)} rows, one for each such reply"
        )
    rows, long = data.within_length(
        rows, max_length, source, leave_out=hold_out.leave_out_long, context=context
    )
    train, held_out = data.split(rows, hold_out.held_out_share, source)
    counts = {
        "personal_data": told["personal_data"],
        "dropped_by_house_rules": len(told["vetoed"]),
        "left_out_long": len(long),
        "rows_added_by_the_template": split,
    }
    return TrainingData(source, train, held_out, counts)


def replies(record: Demonstration) -> list[tuple[Sequence[Message], str]]:
    """Every assistant turn that is learned, with what it answers."""
    return [
        (record.messages[:at], turn.content)
        for at, turn in enumerate(record.messages)
        if turn.role == "assistant" and turn.train
    ]


def columns(tokenizer: PreTrainedTokenizerBase, record: Demonstration) -> list[Columns]:
    """What TRL's SFTTrainer takes as already tokenised: ``input_ids`` and ``labels``.

    Raises:
        InputError: a conversation that cannot be rendered, or nothing in it is supervised.
    """
    rendered = render(tokenizer, record.messages)
    if not any(any(each.supervised) for each in rendered):
        raise InputError(
            "the chat template leaves no assistant token to learn from (zero supervised tokens): "
            "check its assistant branch"
        )
    return [{"input_ids": each.ids, "labels": each.labels} for each in rendered]


def topic_of(row: Row) -> str:
    """``metadata.topic``, by which the held-out loss is told apart."""
    return str(row.record.metadata.get("topic") or NO_TOPIC)
