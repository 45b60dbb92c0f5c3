"""SFT on a CPU: the head on supervised tokens only, without padding, a few rows at a time.

On a GPU TRL leaves the other positions out of the head by itself, and ``packing`` has attention
kernels made for it. On a CPU neither holds. The loss is TRL's: see
:mod:`inhouse.training.head` and :mod:`inhouse.training.unpadded`.

A GPU needs a large batch to be busy; a CPU does not, and holding every row's activations until the
last one has run is what most of its memory would go to. The loss is a sum over supervised tokens,
divided by how many the update has in all, so that the gradients of a batch's micro-batches add up
to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from inhouse.models import sharding
from inhouse.training.batches import micro_batches
from inhouse.training.data import say
from inhouse.training.head import scored_only
from inhouse.training.unpadded import each_row, unpadded, why_not

if TYPE_CHECKING:
    from inhouse.models.load import Model

PROBE = (16, 8, 8)  # tokens of each row that is tried: the last two come to stand in one line
FIGURES = ("entropy", "mean_token_accuracy")  # TRL's means over a batch's supervised tokens
Batch = dict[str, torch.Tensor]  # Shape: (rows, tokens) each


class ScoredSFTTrainer(SFTTrainer):
    """TRL's SFT trainer, whose head leaves unsupervised tokens out."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with scored_only(self.model):
            return super().compute_loss(*args, **kwargs)


class UnpaddedSFTTrainer(SFTTrainer):
    """TRL's SFT trainer, which runs its batches laid end to end, and in micro-batches."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with unpadded(self.model, each_row):
            return super().compute_loss(*args, **kwargs)

    def training_step(
        self, model: Any, inputs: Batch, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        groups = self.agreed_groups(inputs["attention_mask"].sum(1).tolist())
        if num_items_in_batch is None or len(groups) == 1:  # a mean, or nothing to part
            return super().training_step(model, inputs, num_items_in_batch)
        parts = [rows_of_batch(inputs, group) for group in groups]
        losses = []
        for number, part in enumerate(parts, 1):
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        self.join_figures([int((part["labels"][:, 1:] != -100).sum()) for part in parts])
        return torch.stack(losses).sum()

    def agreed_groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """A batch's rows in groups, as many in each process: they wait for one another at each."""
        own = micro_batches(lengths)
        if self.accelerator.num_processes == 1:
            return own
        counts = torch.tensor([[len(own), len(lengths)]], device=self.accelerator.device)
        most, fewest_rows = self.accelerator.gather(counts).T
        count = min(int(most.max()), int(fewest_rows.min()))
        return own if count == len(own) else micro_batches(lengths, count)

    def join_figures(self, supervised: Sequence[int]) -> None:
        """Make one of the figures that TRL filed for each micro-batch, by supervised tokens."""
        counts = torch.tensor([list(supervised)], device=self.accelerator.device)
        weights = self.accelerator.gather_for_metrics(counts).sum(0).tolist()
        for name in FIGURES:
            filed = self._metrics["train"][name]
            parts, filed[-len(weights) :] = filed[-len(weights) :], []
            total = sum(weight * part for weight, part in zip(weights, parts, strict=True))
            filed.append(total / max(sum(weights), 1))


def rows_of_batch(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch, no wider than they need."""
    seen = batch["attention_mask"][list(rows)].any(0)
    return {name: values[list(rows)][:, seen] for name, values in batch.items()}


def trainer_for(
    model: Model, training: SFTConfig, rows: Sequence[Sequence[int]], *, padded: bool = False
) -> type[SFTTrainer]:
    """The trainer without padding, or TRL's own: where it is faster, or the other cannot be.

    Args:
        rows: token ids. Shape: (tokens,) each
        padded: the user asks for TRL's.
    """
    if training.device.type != "cpu" or sharding.asked():
        return SFTTrainer
    if padded or training.packing or training.padding_free:
        return ScoredSFTTrainer
    tried = [list(ids[:length]) for ids, length in zip(rows, PROBE, strict=False)]
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(
        [{"input_ids": ids, "labels": ids} for ids in tried]
    )
    items = each_row(batch["attention_mask"], batch["labels"])
    reason = why_not(model, training, max(map(len, rows)), batch, items)
    if reason:
        say(f"batches are padded: {reason}")
    return ScoredSFTTrainer if reason else UnpaddedSFTTrainer
