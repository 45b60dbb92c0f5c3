"""What DPO and KTO do alike: load, plan, build the trainer, train while measuring, save."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets

from inhouse import memory, models, preflight
from inhouse import training as trainers
from inhouse.epochs import order_by_epoch
from inhouse.run import Run
from rlhf import reference
from rlhf.drift import Drift, conclude
from rlhf.prepare import Data, say
from rlhf.rows import longest, show


def load(
    model_args: Any, training: Any, tokenizer: Any, data: Data
) -> tuple[Any, Any, memory.Load]:
    """The model to train, its new adapter's settings or None, and the memory that a step takes.

    Raises:
        InputError: the rows have tokens that the model has no embedding for, or would never learn,
            or a step does not fit by formula.
    """
    free = memory.free_bytes()
    lora = models.lora_config(model_args)
    model = reference.load(model_args, trainable=True)
    rows = [ids for row in data.rows for column, ids in row.items() if column.endswith("_ids")]
    preflight.check_vocabulary(model, rows, data.source)
    adapter = lora is not None or models.is_adapter(model_args.model_name_or_path)
    if adapter:
        preflight.check_frozen_tokens(model, tokenizer, rows, data.source, lora)
    _, trained = trainers.count_parameters(model, lora)
    need = memory.load_of(
        model, training, trained=trained, length=max(longest(row) for row in data.rows)
    )
    if "chosen_ids" in data.rows[0]:  # a pair is two sequences, so each of its values counts twice
        need = replace(need, value=2 * need.value)
    if not adapter and not training.precompute_ref_log_probs:
        need = replace(need, weights=2 * need.weights)  # the live reference
    memory.check_estimate(need, free)
    return model, lora, need


def print_plan(
    training: Any,
    model: Any,
    lora: Any,
    need: memory.Load,
    tokenizer: Any,
    data: Data,
    folder: Path,
) -> None:
    """Print what a run would do, and one record."""
    every, trained = trainers.count_parameters(model, lora)
    trainers.print_plan(
        training,
        rows=len(data.rows),
        tokens=data.tokens,
        supervised=data.answer_tokens,
        parameters=every,
        trainable=trained,
        folder=folder,
        example=show(tokenizer, data.rows[0]),
        details=[
            f"memory       about {need.total / memory.GIB:.2f} GiB by formula",
            *trainers.length_table([longest(row) for row in data.rows]),
        ],
    )


def make_trainer(
    kind: type, model: Any, model_args: Any, lora: Any, training: Any, tokenizer: Any, data: Data
) -> Any:
    """The trainer of that kind, with a live reference where it needs one."""
    return kind(
        model=model,
        ref_model=reference.load_live(model_args, training, lora),
        args=training,
        train_dataset=datasets.Dataset.from_list(data.rows),
        eval_dataset=datasets.Dataset.from_list(data.held_out) if data.held_out else None,
        processing_class=tokenizer,
        peft_config=lora,
    )


def train(
    trainer: Any, run: Run, need: memory.Load, tokenizer: Any, data: Data, answer_prompts: int
) -> dict[str, Any]:
    """Try the longest batch, train, measure, save; return the figures.

    Raises:
        InputError: the longest batch does not fit; names the settings that would.
    """
    # The length by which it is chosen stands in a column that TRL's collators do not read.
    rows = [row | {"input_ids": range(longest(row))} for row in trainer.train_dataset]
    measured = memory.measure(trainer, rows, need)
    say("\n".join(memory.lines(need, measured)))
    drift = watch(trainer, tokenizer, data, answer_prompts)
    if drift is not None:
        drift.begin(trainer.model)
        trainer.add_callback(drift)
    order_by_epoch(trainer)
    metrics = trainers.train(trainer, run)
    metrics = {key: value for key, value in metrics.items() if not key.startswith("answers/")}
    if data.held_out:
        metrics |= trainer.evaluate()
    trainers.save(trainer, tokenizer, run)
    return metrics | conclude(trainer.state.log_history, trainer.beta, run.folder)


def watch(trainer: Any, tokenizer: Any, data: Data, answer_prompts: int) -> Drift | None:
    """What measures the policy's answers, or None, and then why not is said."""
    prompts = data.prompts[:answer_prompts]
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        say("no answers are measured: no process has the whole model")
        return None
    if not prompts:
        say("no answers are measured: no prompt is held out, or answer_prompts is 0")
        return None
    # Twice the longest answer is room enough to see a model that does not stop; and a prompt with
    # its answer stays within what training allows.
    room = 2 * data.longest_answer
    if trainer.args.max_length:
        longest_prompt = max(len(row["prompt_ids"]) for row in data.held_out)
        room = min(room, trainer.args.max_length - longest_prompt)
    return Drift(tokenizer, prompts, room, trainer.args.seed)
