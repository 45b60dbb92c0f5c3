"""How well a model still predicts general text: what training on a house's tone may cost it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inhouse.errors import InputError
from inhouse.generation.sample import log_probabilities
from inhouse.reading.rows import rows
from inhouse.reading.strict_json import Fault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

BATCH = 4  # texts whose logits are held at once


def read_texts(
    tokenizer: PreTrainedTokenizerBase, source: str | Path, max_length: int | None
) -> list[list[int]]:
    """General text as token ids, cut to ``max_length``. Shape: (tokens,) each.

    Plain text, without the chat template: what the base was trained on. One JSON object a line
    with ``text``.

    Raises:
        InputError: a line without text, or nothing long enough to have a loss.
    """
    made = []
    for row in rows(Path(source)):
        text = None if isinstance(row.value, Fault) else row.value.get("text")
        if not isinstance(text, str):
            found = f"; {row.value}" if isinstance(row.value, Fault) else ""
            raise InputError(
                f'{source}, {row.place}: a probe has one JSON object a line, {{"text": "…"}}{found}'
            )
        ids = tokenizer(text).input_ids[:max_length]
        if len(ids) > 1:
            made.append(ids)
    if not made:
        raise InputError(f"{source} holds no text of two tokens or more: nothing to probe with")
    return made


def perplexity(model: Model, texts: Sequence[list[int]], pad_token_id: int) -> float:
    """exp of the mean negative log-likelihood a token, each text's first token given."""
    pairs = [(ids[:1], ids[1:]) for ids in texts]
    total = math.fsum(log_probabilities(model, pairs, pad_token_id=pad_token_id, batch_size=BATCH))
    return math.exp(-total / sum(len(rest) for _, rest in pairs))
