"""Demonstrations become rows of token ids, and some of them are held out.

Records in: demonstration. Rows out: ``input_ids`` and ``labels``, each of Shape: (tokens,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compliance import gate
from inhouse.config import HoldOutOptions, PrivacyOptions
from inhouse.records import Demonstration
from inhouse.training import data
from inhouse.training.data import TrainingData
from inhouse.training.demonstrations import columns, replies

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


def topic_of(row: Row) -> str:
    """``metadata.topic``, by which the held-out loss is told apart."""
    return str(row.record.metadata.get("topic") or NO_TOPIC)
