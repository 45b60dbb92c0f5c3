"""SFT on a CPU without padding, and with the head on supervised tokens only.

On a GPU TRL leaves the other positions out of the head by itself, and ``packing`` has attention
kernels made for it. On a CPU neither holds. The loss is TRL's: see
:mod:`inhouse.training.unpadded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from inhouse.models import sharding
from inhouse.training.data import say
from inhouse.training.unpadded import each_row, unpadded, why_not

if TYPE_CHECKING:
    from inhouse.models.load import Model

PROBE = (16, 8, 8)  # tokens of each row that is tried: the last two come to stand in one line


class UnpaddedSFTTrainer(SFTTrainer):
    """TRL's SFT trainer, which runs its batches laid end to end."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with unpadded(self.model, each_row):
            return super().compute_loss(*args, **kwargs)


def trainer_for(
    model: Model, training: SFTConfig, rows: Sequence[Sequence[int]], *, padded: bool = False
) -> type[SFTTrainer]:
    """The trainer without padding, or TRL's own: where it is faster, or the other cannot be.

    Args:
        rows: token ids. Shape: (tokens,) each
        padded: the user asks for TRL's.
    """
    packed = training.packing or training.padding_free
    if padded or packed or training.device.type != "cpu" or sharding.asked():
        return SFTTrainer
    tried = [list(ids[:length]) for ids, length in zip(rows, PROBE, strict=False)]
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(
        [{"input_ids": ids, "labels": ids} for ids in tried]
    )
    items = each_row(batch["attention_mask"], batch["labels"])
    reason = why_not(model, training, max(map(len, rows)), batch, items)
    if reason:
        say(f"batches are padded: {reason}")
    return SFTTrainer if reason else UnpaddedSFTTrainer
