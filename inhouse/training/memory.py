"""Whether a run fits: by formula before anything is allocated, then by trying the longest rows.

The formula counts what training keeps: weights, a gradient and Adam's two moments for what is
trained, and what each layer saves for its backward pass. The last is fitted to what torch saves on
Qwen3, Llama, Gemma and GPT-2 shapes, 14 hidden and 3.5 inner widths a token and the mask that each
layer's sdpa keeps; a test holds it to a factor of 1.4. Batches count as they run: padded, laid end
to end or packed, whole or in micro-batches, see ``inhouse.training.batches``. TRL projects to the
vocabulary in tiles, so logits do not enter (``inhouse.training.head``).
"""

from __future__ import annotations

import dataclasses
import math
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from inhouse.errors import InputError
from inhouse.models import sharding
from inhouse.training.batches import Rows

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from inhouse.models.load import Model

GIB = 2**30
SAVED_HIDDEN, SAVED_INNER = 14, 3.5  # widths that a layer saves a token, see above
LORA_SHARE = 0.02  # of the weights, above what any usual rank trains
CGROUP = Path("/sys/fs/cgroup/memory.max")
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Load:
    """What one step puts into memory. Sizes in bytes, widths in values, lengths in tokens.

    ``computed``: tokens that the model runs, for each of ``batch`` times ``length``: above 1 where
    a record is two rows, below where records share a line. ``widened``: a line's width for each
    token of ``length``. ``masked``: attention has a mask, a value for each two tokens of a line.
    """

    weights: int
    trained: int
    layers: int
    hidden: int
    inner: int
    heads: int
    value: int
    eager: bool
    checkpointing: bool
    batch: int
    accumulation: int
    length: int
    computed: float = 1.0
    widened: float = 1.0
    masked: bool = False

    @property
    def tokens(self) -> int:
        """How many the longest batch runs, padding counted."""
        return round(self.batch * self.length * self.computed)

    @property
    def activations(self) -> int:
        """What the forward pass keeps for the backward pass, in bytes."""
        tokens, width = self.tokens, self.length * self.widened
        layer = tokens * (SAVED_HIDDEN * self.hidden + SAVED_INNER * self.inner)
        if self.eager:  # the attention matrix itself
            layer += tokens * self.heads * width
        if self.masked:
            layer += tokens * width
        if self.checkpointing:  # each layer's input, and one layer whole while it is gone through
            return int(self.value * (self.layers * tokens * self.hidden + layer))
        return int(self.value * self.layers * layer)

    @property
    def total(self) -> int:
        """Weights, a gradient and two moments for what is trained, activations: bytes."""
        return self.weights + 3 * self.trained + self.activations


def load_of(model: Model, training: TrainingArguments, *, trained: int, rows: Rows) -> Load:
    """What a step on the longest batch takes, read off a model and TRL's arguments.

    Args:
        trained: how many parameters are trained, adapters counted.
        rows: the records to train on, as batches of them run.

    With FSDP a process has its share of gradients and moments, and all weights while it loads.
    """
    config = model.config.get_text_config()
    known = config.to_dict()
    hidden = config.hidden_size
    size = next(model.parameters()).element_size()
    batch, length = training.per_device_train_batch_size, max(rows.lengths)
    accumulation = training.gradient_accumulation_steps
    lines, width = rows.longest(batch)
    if rows.parted:  # a micro-batch is what another batch size must be smaller than
        together = len(rows.heaviest(batch))
        batch, accumulation = together, -(-batch * accumulation // together)
    return Load(
        weights=sum(weight.numel() * weight.element_size() for weight in model.parameters()),
        trained=trained * size // (training.world_size if sharding.asked() else 1),
        layers=config.num_hidden_layers,
        hidden=hidden,
        inner=known.get("intermediate_size") or known.get("n_inner") or 4 * hidden,
        heads=config.num_attention_heads,
        value=2 if training.bf16 or training.fp16 else size,
        eager=config._attn_implementation == "eager",
        checkpointing=bool(training.activation_checkpointing),
        batch=batch,
        accumulation=accumulation,
        length=length,
        computed=lines * width / (batch * length),
        widened=width / length,
        masked=config._attn_implementation == "sdpa",
    )


def settings_that_fit(load: Load, free: int) -> list[str]:
    """Changes of settings after which the formula stays below ``free`` bytes, the mildest first.

    Each stands alone; only if none is enough are they put together.
    """
    single: list[tuple[str, dict[str, Any]]] = []
    if not load.checkpointing:
        single.append(("--activation_checkpointing true", {"checkpointing": True}))
    batch = load.batch
    while batch > 1:
        batch //= 2
        steps = -(-load.batch * load.accumulation // batch)
        words = f"--per_device_train_batch_size {batch} --gradient_accumulation_steps {steps}"
        single.append((words, {"batch": batch}))
    if load.trained > LORA_SHARE * load.weights:
        single.append(("--use_peft", {"trained": int(LORA_SHARE * load.weights)}))
    fitting = [
        words for words, change in single if dataclasses.replace(load, **change).total <= free
    ]
    # Of the batch sizes the largest that fits says it all.
    batches = [words for words in fitting if words.startswith("--per_device")]
    fitting = [words for words in fitting if words not in batches[1:]]
    length = _longest_that_fits(load, free)
    if length:
        fitting.append(f"--max_length {length} --leave_out_long")
    if fitting:
        return fitting
    together = {key: value for _, change in single for key, value in change.items()}
    least = dataclasses.replace(load, **together)
    length = least.length if least.total <= free else _longest_that_fits(least, free)
    if not length:
        return []
    alone = [words for words, _ in single if not words.startswith("--per_device")]
    steps = load.batch * load.accumulation
    alone.append(f"--per_device_train_batch_size 1 --gradient_accumulation_steps {steps}")
    if length < least.length:
        alone.append(f"--max_length {length} --leave_out_long")
    return [" ".join(alone)]


def _longest_that_fits(load: Load, free: int) -> int:
    """The longest row, in steps of 64 tokens, with which a load fits; 0 if there is none."""
    for length in range((load.length - 1) // 64 * 64, 0, -64):
        if dataclasses.replace(load, length=length).total <= free:
            return length
    return 0


def refusal(load: Load, free: int, how: str) -> InputError:
    """What to say when a step does not fit: how that is known, and the settings that would."""
    settings = settings_that_fit(load, free)
    mend = (
        "these settings would fit: " + "; or ".join(settings)
        if settings
        else "no batch size or length would: start from a smaller model"
    )
    return InputError(
        f"{how} for a batch of {load.batch} rows of {load.length} tokens, and "
        f"{free / GIB:.2f} GiB are free: {mend}"
    )


def check_estimate(load: Load, free: int) -> None:
    """Refuse what the formula says will not fit, before the machine finds out.

    Raises:
        InputError: names the settings that would fit.
    """
    if load.total > free:
        raise refusal(load, free, f"training would take about {load.total / GIB:.2f} GiB")


def free_bytes() -> int:
    """Memory that a model and its training may take on this machine, in bytes."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if MEMINFO.exists():
        line = next(s for s in MEMINFO.read_text().splitlines() if s.startswith("MemAvailable"))
        available = int(line.split()[1]) * 1024
    if CGROUP.exists() and (limit := CGROUP.read_text().strip()).isdigit():
        used = int(CGROUP.with_name("memory.current").read_text())
        available = min(available, int(limit) - used)
    return available


@dataclass(frozen=True)
class Measured:
    """Forward and backward passes before the run, and unlearned.

    ``peak`` in bytes, of the longest rows that run at once: the process's on a CPU, the device's on
    a GPU. ``seconds`` for the ``tokens`` that run at once of a batch of the median size, padding
    counted.
    """

    seconds: float
    peak: int
    tokens: int


def lines(load: Load, measured: Measured | None) -> list[str]:
    """Lines for the plan: the formula's parts, and what the longest batch took if it was tried."""
    parts = {
        "weights": load.weights,
        "gradients": load.trained,
        "optimiser": 2 * load.trained,
        "activations": load.activations,
    }
    named = ", ".join(f"{name} {size / GIB:.2f}" for name, size in parts.items())
    formula = f"memory       about {load.total / GIB:.2f} GiB by formula ({named})"
    if measured is None:
        return [formula, "  measured   not: the model is sharded when training begins"]
    return [
        formula,
        f"  measured   {measured.peak / GIB:.2f} GiB at most, with the optimiser to come: the "
        f"longest {load.batch} rows that run at once, of up to {load.length} tokens",
    ]


def measure(
    trainer: Any, columns: Sequence[dict[str, Any]], load: Load, rows: Rows
) -> Measured | None:
    """Try a trainer that has not begun, and leave no trace of it.

    Three times: on the shortest record, as a process's first pass is slower; on the longest that
    run at once, for the memory; on what runs at once of a batch of the median size, for the time.
    The generators are put back and gradients and running figures dropped, so that a run that was
    measured equals one that was not. With FSDP nothing is tried, and None comes back: the model is
    cut into pieces only when training begins.

    Args:
        columns: the trainer's own rows.
        rows: the same as they run. Where records are packed, those.

    Raises:
        InputError: it does not fit; names the settings that would.
    """
    if trainer.is_fsdp_enabled:
        return None
    free = free_bytes() + load.weights  # they are in memory already
    if rows.packed:
        rows = dataclasses.replace(rows, lengths=[len(row["input_ids"]) for row in columns])
    longest = rows.heaviest(trainer.args.per_device_train_batch_size)
    typical = rows.together(rows.typical(trainer.args))[0]
    shortest = min(range(len(rows.lengths)), key=rows.lengths.__getitem__)
    if trainer.args.activation_checkpointing:
        trainer.model.activation_checkpointing_enable(trainer.args.activation_checkpointing_kwargs)

    def seconds(records: Sequence[int]) -> float:
        began = time.perf_counter()
        _pass(trainer, [columns[record] for record in records])
        return time.perf_counter() - began

    try:
        with torch.random.fork_rng():
            trainer.model.train()
            seconds([shortest])
            seconds(longest)
            taken = seconds(typical)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise refusal(load, free, "the longest batch ran out of memory") from error
    finally:
        trainer.model.zero_grad(set_to_none=True)
        trainer._metrics["train"].clear()
        trainer._total_train_tokens = 0
    peak = (
        torch.cuda.max_memory_allocated()
        if trainer.args.device.type == "cuda"
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    moments = 2 * load.trained
    if moments > free_bytes():
        raise refusal(load, free, f"Adam's moments take {moments / GIB:.2f} GiB more")
    return Measured(taken, peak + moments, math.prod(rows.shape(typical)))


def _pass(trainer: Any, columns: Sequence[dict[str, Any]]) -> None:
    """Forward and backward; gradients of passes before it stay, as they do in an update of many."""
    batch = trainer._prepare_inputs(trainer.data_collator(columns))
    with trainer.accelerator.autocast():
        loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    if trainer.args.device.type == "cuda":
        torch.cuda.synchronize()
