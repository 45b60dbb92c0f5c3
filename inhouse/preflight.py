"""What is looked at before a model trains: where a record stands, and whether its tokens can learn.

``inhouse.chat`` refuses what a template gets wrong in one conversation; here is what takes the
model's weights, or the user's file, to see.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from inhouse.chat import control_tokens
from inhouse.errors import InputError

# Shares of the median embedding's length. A row that nothing ever trained is nil, or (as
# ``resize_token_embeddings`` draws it) lies all but on the mean of the others, or equals another.
NIL, NEAR = 0.01, 0.05


def places(source: str | Path, count: int) -> list[str]:
    """Where each of ``count`` records stands: its line in a JSON Lines file, else its number."""
    path = Path(source)
    if path.suffix not in (".jsonl", ".json"):
        return [f"record {number}" for number in range(1, count + 1)]
    lines = enumerate(path.read_bytes().split(b"\n"), start=1)
    return [f"line {number}" for number, line in lines if line.strip()]


def check_vocabulary(model: Any, rows: Iterable[list[int]], source: str) -> None:
    """Refuse token ids that the model has no embedding for: indexing them would crash, or worse.

    Raises:
        InputError: names the id and the model's vocabulary.
    """
    size = model.get_input_embeddings().weight.shape[0]
    highest = max(max(ids) for ids in rows)
    if highest >= size:
        raise InputError(
            f"{source} becomes token ids up to {highest}, and the model has embeddings for {size} "
            "tokens: its tokenizer has tokens that the model never got. Call "
            "`model.resize_token_embeddings(len(tokenizer))` and save both again"
        )


def untrained_tokens(model: Any, tokenizer: Any, rows: Iterable[list[int]]) -> list[int]:
    """Ids of the control tokens in ``rows`` whose embedding was never trained.

    Found by what fresh rows look like: nil, on the mean of all rows, or equal to another control
    token's. A row drawn at random at the others' length cannot be told from a trained one.
    """
    used = {token for ids in rows for token in ids}
    control = sorted(used & set(tokenizer.convert_tokens_to_ids(list(control_tokens(tokenizer)))))
    weight = model.get_input_embeddings().weight.detach().float()
    typical = weight.norm(dim=1).median()
    mean = weight.mean(dim=0)
    vectors = {token: weight[token] for token in control}
    return [
        token
        for token, row in vectors.items()
        if row.norm() <= NIL * typical
        or (row - mean).norm() <= NEAR * typical
        or any(torch.equal(row, twin) for other, twin in vectors.items() if other != token)
    ]


def check_frozen_tokens(model: Any, tokenizer: Any, rows: Iterable[list[int]], source: str) -> None:
    """Refuse to train around control tokens that are new to the model while embeddings stand still.

    Raises:
        InputError: names the tokens and the ways to train them.
    """
    found = untrained_tokens(model, tokenizer, rows)
    if found:
        named = ", ".join(tokenizer.convert_ids_to_tokens(found))
        raise InputError(
            f"the model never learned {named}, which stands in the rendering of {source}, and "
            "frozen embeddings never will, so that it could not tell where a turn ends. Train it "
            "whole (without use_peft), or with --train_layers last:2,embeddings,head, and put an "
            "adapter on the result"
        )
