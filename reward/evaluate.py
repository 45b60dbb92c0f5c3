"""How far a reward model can be trusted: its accuracy on prompts it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inhouse.chat import reply_ids
from inhouse.errors import InputError
from inhouse.records import Preference, content_id, plain
from inhouse.scoring import Scorer
from inhouse.statistics import rate

Row = dict[str, list[int]]


def split(
    preferences: Sequence[Preference], rows: Sequence[Row], held_out_share: float
) -> tuple[list[Row], list[Preference]]:
    """Rows to train on and held-out pairs, by a hash of the prompt: its pairs stay together.

    Raises:
        InputError: one side would be empty.
    """
    kept: list[Row] = []
    held_out: list[Preference] = []
    for record, row in zip(preferences, rows, strict=True):
        if int(content_id(plain(record.prompt)), 16) / 16**12 < held_out_share:
            held_out.append(record)
        else:
            kept.append(row)
    if not kept or not held_out:
        raise InputError(
            f"{len(preferences)} preferences split into {len(kept)} to train on and "
            f"{len(held_out)} held out: both are needed; add preferences or change "
            "--held_out_share"
        )
    return kept, held_out


def tokenise(tokenizer: Any, preferences: Sequence[Preference], source: str) -> list[Row]:
    """``chosen_ids`` and ``rejected_ids``: prompt and answer as one row. Shape: (tokens,).

    Raises:
        InputError: a conversation that cannot be rendered.
    """
    rows = []
    for number, record in enumerate(preferences, start=1):
        try:
            prompt, chosen = reply_ids(tokenizer, record.prompt, record.chosen[0])
            _, rejected = reply_ids(tokenizer, record.prompt, record.rejected[0])
        except InputError as error:
            raise InputError(f"{source}, record {number}: {error}") from None
        rows.append({"chosen_ids": prompt + chosen, "rejected_ids": prompt + rejected})
    return rows


def accuracy(scorer: Scorer, preferences: Sequence[Preference]) -> dict[str, float]:
    """How often the chosen answer scores higher, with exact bounds."""
    chosen = scorer.score([(record.prompt, record.chosen[0].content) for record in preferences])
    rejected = scorer.score([(record.prompt, record.rejected[0].content) for record in preferences])
    right = sum(1 for c, r in zip(chosen, rejected, strict=True) if c > r)
    return rate(right, len(preferences))
