"""Load a reward model and score conversations with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from inhouse.chat import reply_ids
from inhouse.models import load_reward_model, load_tokenizer
from inhouse.records import Message


class Scorer:
    """A reward model with its tokenizer: one scalar for a prompt and its reply."""

    def __init__(self, name_or_path: str):
        self.tokenizer = load_tokenizer(name_or_path)
        self.model = load_reward_model(name_or_path).eval()

    def score(
        self, conversations: Sequence[tuple[Sequence[Message], str]], batch_size: int = 64
    ) -> list[float]:
        """The reward of each (prompt, reply), read at the reply's last token.

        Conversations of like length share a batch; a score does not depend on its neighbours.
        """
        rows = []
        for prompt, reply in conversations:
            message = Message(role="assistant", content=reply)
            before, after = reply_ids(self.tokenizer, prompt, message)
            rows.append(before + after)
        return score_ids(self.model, rows, self.tokenizer.pad_token_id, batch_size)


@torch.inference_mode()
def score_ids(
    model: Any, rows: Sequence[list[int]], pad_token_id: int, batch_size: int = 64
) -> list[float]:
    """Score token rows of Shape: (tokens,), right-padded in batches of like length."""
    model.eval()
    model.config.pad_token_id = pad_token_id  # the head reads the last token that is not padding
    scores = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for at in range(0, len(order), batch_size):
        batch = order[at : at + batch_size]
        width = max(len(rows[index]) for index in batch)
        ids = torch.full((len(batch), width), pad_token_id)
        mask = torch.zeros((len(batch), width), dtype=torch.long)
        for row, index in enumerate(batch):
            ids[row, : len(rows[index])] = torch.tensor(rows[index])
            mask[row, : len(rows[index])] = 1
        output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
        for index, value in zip(batch, output.logits.squeeze(1).float().tolist(), strict=True):
            scores[index] = value
    return scores
