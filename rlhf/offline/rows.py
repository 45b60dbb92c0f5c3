"""Rows for DPO and KTO: the columns of token ids that TRL's collators read, Shape: (tokens,) each.

All token ids come from ``inhouse.chat``: what is trained on is what the model is asked with.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import field_validator, model_validator

from inhouse.chat import reply_ids, text_of
from inhouse.errors import InputError
from inhouse.records import Message, Preference, Prompt, check_reply
from inhouse.training.data import Columns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Verdict(Prompt):
    """TRL's unpaired preference: one answer, and whether it was liked (``label`` true) or not."""

    completion: list[Message]
    label: bool

    @field_validator("completion", mode="before")
    @classmethod
    def _text(cls, value: object) -> Any:
        return [{"role": "assistant", "content": value}] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_reply(self) -> Verdict:
        check_reply("completion", self.completion)
        return self


def pair_row(tokenizer: PreTrainedTokenizerBase, record: Preference) -> Columns:
    """``prompt_ids``, ``chosen_ids`` and ``rejected_ids``.

    Raises:
        InputError: a conversation that cannot be rendered, or two answers that render alike.
    """
    prompt, chosen = reply_ids(tokenizer, record.prompt, record.chosen[0])
    _, rejected = reply_ids(tokenizer, record.prompt, record.rejected[0])
    if chosen == rejected:
        raise InputError(
            "chosen and rejected are the same answer once the chat template has rendered them "
            "(they differ in blanks only): give two answers that differ"
        )
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def verdict_row(tokenizer: PreTrainedTokenizerBase, record: Verdict) -> Columns:
    """``prompt_ids`` and ``completion_ids``, and the ``label``."""
    prompt, completion = reply_ids(tokenizer, record.prompt, record.completion[0])
    return {"prompt_ids": prompt, "completion_ids": completion, "label": record.label}


def answer_tokens(columns: Columns) -> int:
    """Tokens of a row that count in the loss."""
    return sum(
        len(ids) for name, ids in columns.items() if name.endswith("_ids") and name != "prompt_ids"
    )


def with_mismatched(rows: Sequence[Columns], batch_size: int, seed: int) -> list[Columns]:
    """Verdicts in the order they are trained in, each with the answer of its batch's neighbour.

    KTO estimates the KL term z_0 on prompts with answers to others (Ethayarajh et al. 2024,
    https://arxiv.org/abs/2402.01306, section 4.1): TRL reads them from ``KL_completion_ids``, and
    takes the rows in their order. They are shuffled here, once, by the seed: a file sorted by
    verdict would otherwise make batches of one kind.
    """
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    made = []
    for at in range(0, len(shuffled), batch_size):
        batch = shuffled[at : at + batch_size]
        made += [
            row | {"KL_completion_ids": batch[number - 1]["completion_ids"]}
            for number, row in enumerate(batch)
        ]
    return made


def show(tokenizer: PreTrainedTokenizerBase, row: Columns) -> str:
    """A row as text, what counts in the loss between ⟦ and ⟧, on a terminal in green."""
    green, plain = ("\x1b[32m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    text = {name: text_of(tokenizer, ids) for name, ids in row.items() if name.endswith("_ids")}
    prompt = text.pop("prompt_ids")
    answers = (
        f"  {name.removesuffix('_ids'):<10} {green}⟦{words}⟧{plain}" for name, words in text.items()
    )
    return "\n".join([prompt, *answers])
