"""DPO with the prompt of a pair run once, and no padding between pairs.

Both answers of a pair see the same prompt, so its hidden states need computing once, with their
gradients from both (Deepseek and others; measured in https://arxiv.org/abs/2410.20305). TRL's
losses, figures and reference passes are kept as they are: see :mod:`inhouse.training.unpadded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from inhouse.models import sharding
from inhouse.training.batches import Rows
from inhouse.training.unpadded import Item, unpadded, why_not
from rlhf.offline.data import say
from rlhf.offline.rows import Row, longest

PROBE = 8  # tokens of each prompt and answer that are tried


def pairs(attention_mask: torch.Tensor, labels: torch.Tensor) -> list[Item]:
    """The items of TRL's batch, whose first half is chosen and second half rejected answers.

    The last token of a prompt is asked for the first one of either answer, and a place for one
    next token only: each answer has a copy of its own.
    """
    lengths = attention_mask.sum(dim=1).tolist()
    answers = (labels != -100).int().argmax(dim=1).tolist()
    half = len(lengths) // 2
    items: list[Item] = []
    for chosen, rejected in zip(range(half), range(half, 2 * half), strict=True):
        shared = max(answers[chosen] - 1, 0)
        items.append(
            [
                (chosen, 0, shared),
                (chosen, shared, lengths[chosen]),
                (rejected, shared, lengths[rejected]),
            ]
        )
    return items


class SharedPromptsTrainer(DPOTrainer):
    """TRL's DPO trainer; wherever it runs policy or reference, prompts are shared."""

    def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
        with self.sharing():
            return super().compute_ref_log_probs(model, inputs)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with self.sharing():
            return super().compute_loss(*args, **kwargs)

    def sharing(self) -> ExitStack:
        """Both models while prompts are shared."""
        stack = ExitStack()
        for model in filter(None, (self.model, self.ref_model)):
            stack.enter_context(unpadded(model, pairs))
        return stack


def rows_of(kind: type, rows: Sequence[Row]) -> Rows:
    """Pairs as a trainer of that kind runs them."""
    laid = [sum(map(len, row.values())) + 1 for row in rows]  # the prompt's last token twice
    return Rows(
        [longest(row) for row in rows],
        laid=laid if issubclass(kind, SharedPromptsTrainer) else (),
        each=2,
    )


def trainer_for(model: Any, training: Any, rows: Sequence[Row]) -> type[DPOTrainer]:
    """The trainer that shares prompts, or TRL's own where that cannot be, and then why is said."""
    if sharding.asked():
        say("prompts are run twice, once for each answer: the model is in shards")
        return DPOTrainer
    tried = [{name: ids[:PROBE] for name, ids in row.items()} for row in rows[:2]]
    batch = DataCollatorForPreference(pad_token_id=0)(tried)
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    batch["labels"] = labels
    most = max(longest(row) for row in rows)
    reason = why_not(model, training, most, batch, pairs(batch["attention_mask"], labels))
    if reason:
        say(f"prompts are run twice, once for each answer: {reason}")
    return DPOTrainer if reason else SharedPromptsTrainer
