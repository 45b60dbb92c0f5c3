"""Demonstrations as they are learned from: which turns, and as which rows.

SFT trains on these, and an audit of what it remembers makes them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inhouse.chat import render
from inhouse.errors import InputError
from inhouse.records import Demonstration, Message
from inhouse.training.data import Columns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
