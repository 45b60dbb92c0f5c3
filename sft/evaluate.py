"""What a fine-tuned model does on text it was not trained on: the house's, and general text.

The losses are means over tokens, not over batches as TRL's ``eval_loss`` is, so that they do not
depend on the batch size.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from inhouse import plots
from inhouse.files import write_atomically
from inhouse.generation.perplexity import read_texts
from inhouse.run import is_main_process
from inhouse.training.head import scored_only
from inhouse.training.plan import length_classes
from sft.prepare import Row, topic_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import SFTTrainer


def held_out(trainer: SFTTrainer, rows: Sequence[Row]) -> dict[str, Any]:
    """The loss on held-out demonstrations, whole and by topic, in nats a supervised token."""
    by_topic: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for row, loss in zip(rows, losses(trainer, [row.columns for row in rows]), strict=True):
        by_topic[topic_of(row)].append(loss)
    every = [loss for group in by_topic.values() for loss in group]
    return {**_mean(every), "topics": {name: _mean(by_topic[name]) for name in sorted(by_topic)}}


def _mean(pairs: Sequence[tuple[float, int]]) -> dict[str, Any]:
    tokens = sum(count for _, count in pairs)
    total = math.fsum(loss for loss, _ in pairs)
    return {"loss": total / tokens, "tokens": tokens, "records": len(pairs)}


def losses(trainer: Any, rows: Sequence[dict[str, list[int]]]) -> list[tuple[float, int]]:
    """Each row's summed negative log-likelihood in nats, and over how many tokens it is summed."""
    size = trainer.args.per_device_eval_batch_size
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]["input_ids"]))
    found: dict[int, tuple[float, int]] = {}
    model = trainer.model
    model.eval()
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        longest = max(len(rows[at]["input_ids"]) for at in chosen)
        ids, labels, mask = (torch.full((len(chosen), longest), fill) for fill in (0, -100, 0))
        for line, at in enumerate(chosen):
            length = len(rows[at]["input_ids"])
            ids[line, :length] = torch.tensor(rows[at]["input_ids"])
            labels[line, :length] = torch.tensor(rows[at]["labels"])
            mask[line, :length] = 1
        ids, labels, mask = (part.to(model.device) for part in (ids, labels, mask))
        with torch.no_grad(), trainer.accelerator.autocast(), scored_only(model):
            # TRL's head, which is computed in tiles: log_probs are 0 where nothing is supervised
            out = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        sums = -out.log_probs.double().sum(dim=1)
        counts = (labels[:, 1:] != -100).sum(dim=1)
        for at, total, count in zip(chosen, sums.tolist(), counts.tolist(), strict=True):
            found[at] = (total, count)
    return [found[at] for at in range(len(rows))]


def after_training(
    trainer: SFTTrainer, rows: Sequence[Row], probe: Sequence[dict[str, list[int]]], before: float
) -> dict[str, Any]:
    """What to write into the metrics about held-out demonstrations and general text.

    Args:
        before: the perplexity on ``probe`` of the model that training started from.
    """
    metrics: dict[str, Any] = {}
    if rows:
        metrics |= trainer.evaluate() | {"held_out": held_out(trainer, rows)}
    if trainer.args.load_best_model_at_end:
        metrics["best_step"] = trainer.state.best_global_step
    if probe:
        after = perplexity(trainer, probe)
        metrics["general_perplexity"] = {"before": before, "after": after, "texts": len(probe)}
        if is_main_process():
            print(
                f"general text: perplexity {before:.2f} before, {after:.2f} after "
                f"(x {after / before:.2f}; well above 1 is forgetting)"
            )
    return metrics


def plot(path: Path, lengths: Sequence[int], log: Sequence[dict[str, Any]]) -> None:
    """Draw the rows' lengths and the losses, in training and on what is held out."""
    if not is_main_process():
        return
    classes = [(float(upper), float(count)) for upper, count in length_classes(lengths)]
    loss = {
        name: [(entry["step"], entry[key]) for entry in log if key in entry]
        for name, key in (("training", "loss"), ("held out", "eval_loss"))
    }
    charts = [
        plots.lines({"records": classes}, "Lengths", "records", "tokens, up to"),
        plots.lines(loss, "Loss", "nats a token"),
    ]
    write_atomically(path, plots.page("sft", charts))


def read_probe(
    tokenizer: PreTrainedTokenizerBase, source: str | None, max_length: int | None
) -> list[dict[str, list[int]]]:
    """General text as rows in which every token counts. No source is no rows.

    Raises:
        InputError: as :func:`inhouse.generation.perplexity.read_texts` does.
    """
    texts = read_texts(tokenizer, source, max_length) if source else []
    return [{"input_ids": ids, "labels": ids} for ids in texts]


def perplexity(trainer: SFTTrainer, rows: Sequence[dict[str, list[int]]]) -> float:
    """exp of the mean negative log-likelihood a token; nan of no rows."""
    return math.exp(_mean(losses(trainer, rows))["loss"]) if rows else math.nan
