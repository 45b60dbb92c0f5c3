"""What the training stages share: settings that are not TRL's to decide here, the plan, resuming.

The stages bring their own data as token ids made by ``inhouse.chat``, so TRL's trainers are handed
finished rows. Keys of TRL's that would change how rows are made are refused rather than ignored.
"""

from __future__ import annotations

import collections
import copy
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import PeftModel, get_peft_model

from inhouse import model_card, models, sharding
from inhouse.batches import Rows
from inhouse.config import Parsed, RunOptions
from inhouse.errors import InputError
from inhouse.run import CHECKPOINTS, Run, is_main_process

datasets.disable_progress_bars()  # TRL's preparation of rows that are ready: seconds at most

# TRL's keys that the suite decides elsewhere, and where.
DECIDED_ELSEWHERE = {
    "assistant_only_loss": "every assistant turn is supervised, and nothing else, always",
    "completion_only_loss": "every assistant turn is supervised, and nothing else, always",
    "chat_template_path": "the chat template is the one in the model's folder",
    "dataset_kwargs": "inhouse.chat makes the token ids",
    "dataset_text_field": "records have the fields of inhouse.records",
    "eos_token": "the end token is the one in the model's folder",
    "pad_token": "the padding is the one in the model's folder",
    "model_init_kwargs": "use the keys dtype and attn_implementation",
    "truncation_mode": "records over max_length are refused, never cut",
}


def check_settings(settings: dict[str, Any], *, may_shard: bool = False) -> None:
    """Refuse keys that would be ignored, two keys that name one folder, and FSDP.

    Args:
        may_shard: the stage carries out FSDP2.

    Raises:
        InputError: names the key and who decides it.
    """
    for key, where in DECIDED_ELSEWHERE.items():
        if key in settings:
            raise InputError(f"{key} cannot be set: {where}")
    lora = [key for key in settings if key.startswith("lora_") or key in ("use_dora", "use_rslora")]
    if lora and not settings.get("use_peft"):
        raise InputError(f"{lora[0]} is set, but use_peft is not: add use_peft, or leave it out")
    if sharding.asked() and not may_shard:
        raise InputError(
            "FSDP is carried out by `python -m sft` and `python -m rlhf.dpo` only: use "
            "configs/accelerate/ddp.yaml here"
        )
    sharding.check()
    if {"output_dir", "run_dir"} <= settings.keys():
        raise InputError("output_dir and run_dir both name where to write: give one of them")


def stage_folder(parsed: Parsed, options: RunOptions, name: str) -> Path:
    """Where a training stage writes: ``run_dir/<stage>``, or TRL's ``output_dir`` if only that."""
    named = parsed.settings.get("output_dir")
    return Path(named) if named else Path(options.run_dir) / name


def check_lengths(lengths: Sequence[int], max_length: int | None, source: str, what: str) -> None:
    """Refuse rows over ``max_length``: TRL would cut them, end token first, or drop them.

    Raises:
        InputError: how many, which is the longest, and the value that would hold it.
    """
    over = [
        number for number, length in enumerate(lengths, start=1) if length > (max_length or 1e9)
    ]
    if over:
        longest = max(lengths)
        named = ", ".join(str(number) for number in over[:5]) + (" …" if len(over) > 5 else "")
        raise InputError(
            f"{len(over)} {what} of {source} are longer than max_length {max_length} "
            f"(record {named}; the longest has {longest} tokens): set --max_length {longest}, or "
            "take them out"
        )


def print_plan(
    training: Any,
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
        details: lines on memory, lengths and time, each with its name in the first 13 columns; by
            default what weights and optimiser take.
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


def rows_a_step(training: Any) -> int:
    """Rows between two updates, over all processes."""
    return training.train_batch_size * training.gradient_accumulation_steps * training.world_size


def count_steps(training: Any, rows: int) -> int:
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


def time_line(training: Any, rows: Rows, seconds: float, tokens: int) -> str:
    """A line for the plan: about how long training takes if ``tokens`` tokens take ``seconds``."""
    epochs = count_steps(training, rows.count) * rows_a_step(training) / rows.count
    computed = rows.tokens(training) * epochs / training.world_size
    minutes = computed * seconds / tokens / 60
    return f"time         about {minutes:.1f} min at {tokens / seconds:,.0f} tokens a second"


def count_parameters(model: Any, lora: Any = None) -> tuple[int, int]:
    """All parameters, and those that are trained, once ``lora``'s adapter is on the model."""
    if isinstance(model, PeftModel):  # peft knows how many numbers four bits each are packed into
        trained, whole = model.get_nb_trainable_parameters()
        return whole, trained
    if lora is not None:  # on a shell without weights: the model itself is left as it is
        with torch.device("meta"):
            model = get_peft_model(type(model)(model.config), copy.deepcopy(lora))
    every = list(model.parameters())
    return sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)


def train(trainer: Any, run: Run) -> dict[str, Any]:
    """Train to the end, from the last whole checkpoint if there is one; return the last figures."""
    checkpoint = trainer.args.resume_from_checkpoint or last_checkpoint(run.path(CHECKPOINTS))
    if checkpoint:
        print(f"going on from {checkpoint}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    logged: dict[str, Any] = {}
    for entry in trainer.state.log_history:
        logged |= entry
    logged.pop("total_flos", None)
    return logged | {"steps": trainer.state.global_step} | sharding.figures(trainer)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole; a half one, left by a kill, is removed."""
    found = sorted(
        folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True
    )
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))  # written last
            return path
        except (OSError, ValueError):
            if is_main_process():
                shutil.rmtree(path)
    return None


def save(trainer: Any, tokenizer: Any, run: Run) -> None:
    """Write the trained model or adapter and its card, once, whatever the number of processes."""
    weights = sharding.whole_weights(trainer)
    if is_main_process():
        model = trainer.accelerator.unwrap_model(trainer.model)
        models.save(model, tokenizer, run.folder, weights)
        model_card.write(run.folder, run.stage.name, run.inputs)
    trainer.accelerator.wait_for_everyone()
