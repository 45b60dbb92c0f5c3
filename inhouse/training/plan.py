"""What a run would do, printed before it does it: records, steps, memory, lengths, time, disk."""

from __future__ import annotations

import collections
import copy
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from inhouse.errors import refusals
from inhouse.run import is_main_process
from inhouse.training import memory
from inhouse.training.batches import Rows

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from inhouse.models.load import Model


datasets.disable_progress_bars()  # TRL's preparation of rows that are ready: seconds at most


def show(
    training: TrainingArguments,
    *,
    rows: int,
    tokens: int,
    supervised: int,
    parameters: int,
    trainable: int,
    folder: Path,
    example: str,
    drawn: int = 0,
    details: Sequence[str] = (),
) -> None:
    """Print what a run would do: records, tokens, steps, memory, disk, and one example.

    Args:
        drawn: how many rows the trainer draws from, if records are packed into fewer.
        details: from :func:`details`; by default what weights and optimiser take.
    """
    if not is_main_process():
        return
    # fp32 weights; a gradient and Adam's two moments for what is trained
    gigabytes = (4 * parameters + 12 * trainable) / 2**30
    rough = (
        f"memory       {gigabytes:.2f} GiB for weights, gradients and optimiser, plus activations"
    )
    above = next(parent for parent in [folder, *folder.parents] if parent.exists())
    lines = [
        f"records      {rows}",
        f"tokens       {tokens} ({supervised} supervised)",
        f"steps        {count_steps(training, drawn or rows)} of {rows_a_step(training)} "
        + ("packed rows" if drawn else "records"),
        f"parameters   {parameters:,} ({trainable:,} trained)",
        *(details or [rough]),
        f"free disk    {shutil.disk_usage(above).free / 2**30:.0f} GiB at {above}",
        f"example, supervised between ⟦ and ⟧:\n{example}",
    ]
    print("\n".join(lines), flush=True)


def details(
    training: TrainingArguments,
    rows: Rows,
    need: memory.Load,
    measured: memory.Measured | None,
    beside: float = 0.0,
) -> list[str]:
    """Lines for the plan on memory, lengths and time; no time where no batch was tried.

    Args:
        beside: tokens that each process reads beside every update's rows.
    """
    lines = [*memory.lines(need, measured), *length_table(rows.lengths)]
    if measured:
        lines.append(time_line(training, rows, measured.seconds, measured.tokens, beside))
    return lines


def rows_a_step(training: TrainingArguments) -> int:
    """Rows between two updates, over all processes."""
    return training.train_batch_size * training.gradient_accumulation_steps * training.world_size


def count_steps(training: TrainingArguments, rows: int) -> int:
    """Updates of a whole run."""
    if training.max_steps > 0:
        return training.max_steps
    return math.ceil(math.ceil(rows / rows_a_step(training)) * training.num_train_epochs)


def length_table(lengths: Sequence[int]) -> list[str]:
    """Lines for the plan: how long the rows are, in up to eight equal classes of tokens."""
    ordered = sorted(lengths)
    middle, most = ordered[len(ordered) // 2], ordered[int(0.95 * (len(ordered) - 1))]
    lines = [
        f"lengths      {ordered[0]} to {ordered[-1]} tokens, median {middle}, 95 % up to {most}"
    ]
    classes = length_classes(lengths)
    widest = max(count for _, count in classes)
    for upper, count in classes:
        lines.append(f"  up to {upper:>5} {count:>6} {'█' * math.ceil(30 * count / widest)}")
    return lines


def length_classes(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(upper bound, number of rows) of up to eight classes, bounds in steps of 16 tokens."""
    width = 16 * math.ceil(max(lengths) / 8 / 16)
    counts = collections.Counter(math.ceil(length / width) for length in lengths)
    return [(number * width, counts[number]) for number in range(min(counts), max(counts) + 1)]


def time_line(
    training: TrainingArguments, rows: Rows, seconds: float, tokens: int, beside: float = 0.0
) -> str:
    """A line for the plan: about how long training takes if ``tokens`` tokens take ``seconds``."""
    steps = count_steps(training, rows.count)
    epochs = steps * rows_a_step(training) / rows.count
    computed = rows.tokens(training) * epochs / training.world_size + beside * steps
    minutes = computed * seconds / tokens / 60
    return f"time         about {minutes:.1f} min at {tokens / seconds:,.0f} tokens a second"


def count_parameters(model: Model, lora: LoraConfig | None = None) -> tuple[int, int]:
    """All parameters, and those that are trained, once ``lora``'s adapter is on the model."""
    if isinstance(model, PeftModel):  # peft knows how many numbers four bits each are packed into
        trained, whole = model.get_nb_trainable_parameters()
        return whole, trained
    if lora is not None:  # on a shell without weights: the model itself is left as it is
        with torch.device("meta"), refusals("the adapter"):
            model = get_peft_model(type(model)(model.config), copy.deepcopy(lora))
    every = list(model.parameters())
    return sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)
