"""A pair's prompt run once for both of its answers, and no padding between pairs.

TRL runs a pair as two rows, the prompt twice, each padded to the batch's longest. Here the same
batch is laid out anew (:mod:`inhouse.training.unpadded`) just before the layers below the heads
run, and what they make of each row's last token is put back where transformers' own head looks for
it. Loss and figures are TRL's, and equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from transformers import TrainingArguments
from trl import RewardTrainer

from inhouse.training.unpadded import lay_out, model_inputs, pairs_by_prefix, refusal

if TYPE_CHECKING:
    from inhouse.models.load import Model

SIDES = ("chosen_ids", "rejected_ids")
PROBE = 8  # tokens at each end of a row that is tried
Batch = dict[str, torch.Tensor]  # input_ids and attention_mask, Shape: (2 · pairs, tokens) each


class SharedPromptsTrainer(RewardTrainer):
    """TRL's reward trainer, which runs each prompt once where the model lets it."""

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **named)
        prepared: Any = self.train_dataset
        rows = [{side: row[side] for side in SIDES} for row in prepared]
        self.reason = why_not(self.model, self.args, rows, self.data_collator)
        if self.reason:
            self.accelerator.print(f"prompts are run twice, once for each answer: {self.reason}")

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        if "length" not in columns:  # group_by_length looks for it
            columns.append("length")

    def compute_loss(self, model: torch.nn.Module, inputs: Batch, *rest: Any, **named: Any) -> Any:
        below = below_the_heads(self.model)
        with nullcontext() if self.reason else shared_prompts(below, inputs):
            return super().compute_loss(model, inputs, *rest, **named)


def below_the_heads(model: Any) -> Any:
    """The layers whose last hidden states the heads read."""
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return inner.base_model


@contextmanager
def shared_prompts(below: Any, batch: Batch) -> Iterator[None]:
    """While it lasts, the layers below the heads run this batch with each prompt once."""
    ids, lengths = batch["input_ids"], batch["attention_mask"].sum(1)
    every = torch.arange(len(ids), device=ids.device)
    wider = torch.nn.functional.pad(ids, (0, 1))  # the place behind a row's last token is scored
    labels = torch.full_like(wider, -100)
    labels[every, lengths] = 0
    layout = lay_out(labels.cpu(), pairs_by_prefix(batch["attention_mask"], ids))
    given, scored = model_inputs(below, wider, layout), layout.scored.to(ids.device)

    def laid_out(_module: Any, _positional: Any, named: dict[str, Any]) -> Any:
        return (), named | given

    def put_back(_module: Any, _inputs: Any, out: Any) -> Any:
        last = out.last_hidden_state.flatten(0, 1)[scored]
        out.last_hidden_state = last.new_zeros(*ids.shape, last.shape[1])
        out.last_hidden_state[every, lengths - 1] = last
        return out

    hooks = [
        below.register_forward_pre_hook(laid_out, with_kwargs=True),
        below.register_forward_hook(put_back),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# --- where it holds ---------------------------------------------------------------------------


def why_not(
    model: Any,
    training: TrainingArguments,
    rows: Sequence[dict[str, list[int]]],
    collate: Callable[..., Batch],
) -> str:
    """What keeps a model from running batches laid out anew; empty where it can."""
    tried = [{side: ids[:PROBE] + ids[-PROBE:] for side, ids in row.items()} for row in rows[:2]]
    longest = max(len(ids) for row in rows for ids in row.values())
    return refusal(
        below_the_heads(model),
        training,
        longest,
        "scores",
        lambda: largest_difference(model, collate(tried)),
    )


def largest_difference(model: Model, batch: Batch) -> float:
    """How far scores are from those of the padded batch, as a share of the largest."""
    batch = {name: values.to(model.device) for name, values in batch.items()}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            padded = model(**batch, use_cache=False).logits
            with shared_prompts(below_the_heads(model), batch):
                dense = model(**batch, use_cache=False).logits
    finally:
        model.train(was_training)
    return ((dense - padded).abs().max() / padded.abs().max()).item()
