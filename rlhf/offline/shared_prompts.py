"""DPO with the prompt of a pair run once, and no padding between pairs.

Both answers of a pair see the same prompt, so its hidden states need computing once, with their
gradients from both (Deepseek and others; measured in https://arxiv.org/abs/2410.20305). TRL's
losses, figures and reference passes are kept as they are: see :mod:`inhouse.training.unpadded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from trl import DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from inhouse.models import sharding
from inhouse.training.batches import Rows
from inhouse.training.data import Columns, longest, say
from inhouse.training.unpadded import pairs_by_labels, unpadded, why_not

if TYPE_CHECKING:
    from inhouse.models.load import Model
    from rlhf.offline.options import OfflineConfig

PROBE = 8  # tokens of each prompt and answer that are tried


class SharedPromptsTrainer(DPOTrainer):
    """TRL's DPO trainer; wherever it runs policy or reference, prompts are shared."""

    def compute_ref_log_probs(self, model: nn.Module, inputs: dict[str, Tensor]) -> Any:
        with self.sharing():
            return super().compute_ref_log_probs(model, inputs)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with self.sharing():
            return super().compute_loss(*args, **kwargs)

    def sharing(self) -> ExitStack:
        """Both models while prompts are shared."""
        stack = ExitStack()
        for model in filter(None, (self.model, self.ref_model)):
            stack.enter_context(unpadded(model, pairs_by_labels))
        return stack


def rows_of(kind: type, rows: Sequence[Columns]) -> Rows:
    """Pairs as a trainer of that kind runs them."""
    laid = [sum(map(len, row.values())) + 1 for row in rows]  # the prompt's last token twice
    return Rows(
        [longest(row) for row in rows],
        laid=laid if issubclass(kind, SharedPromptsTrainer) else (),
        each=2,
    )


def trainer_for(model: Model, training: OfflineConfig, rows: Sequence[Columns]) -> type[DPOTrainer]:
    """The trainer that shares prompts, or TRL's own where that cannot be, and then why is said."""
    if sharding.asked():
        say("prompts are run twice, once for each answer: the model is in shards")
        return DPOTrainer
    tried = [{name: ids[:PROBE] for name, ids in row.items()} for row in rows[:2]]
    batch = DataCollatorForPreference(pad_token_id=0)(tried)
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    batch["labels"] = labels
    most = max(longest(row) for row in rows)
    reason = why_not(model, training, most, batch, pairs_by_labels(batch["attention_mask"], labels))
    if reason:
        say(f"prompts are run twice, once for each answer: {reason}")
    return DPOTrainer if reason else SharedPromptsTrainer
