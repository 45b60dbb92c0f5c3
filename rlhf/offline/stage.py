"""What DPO and KTO do alike: load, plan, build the trainer, train while measuring, save."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets

from inhouse.models.adapters import is_adapter, lora_config
from inhouse.run import Run
from inhouse.training import loop, memory, plan, preflight
from inhouse.training.batches import Rows
from inhouse.training.plan import count_parameters, length_table
from inhouse.training.sampler import order_by_epoch
from rlhf.offline import reference
from rlhf.offline.data import Data, say
from rlhf.offline.drift import Drift, conclude
from rlhf.offline.rows import longest, show


def load(model_args: Any, training: Any, tokenizer: Any, data: Data) -> tuple[Any, Any]:
    """The model to train, and its new adapter's settings or None.

    Raises:
        InputError: the rows have tokens that the model has no embedding for, or would never learn.
    """
    lora = lora_config(model_args)
    model = reference.load(model_args, trainable=True)
    rows = [ids for row in data.rows for column, ids in row.items() if column.endswith("_ids")]
    preflight.check_vocabulary(model, rows, data.source)
    if lora is not None or is_adapter(model_args.model_name_or_path):
        preflight.check_frozen_tokens(model, tokenizer, rows, data.source, lora)
    return model, lora


def check_memory(
    model: Any, lora: Any, model_args: Any, training: Any, rows: Rows, free: int
) -> memory.Load:
    """The memory that a step takes by formula, with the live reference where there is one.

    Args:
        free: bytes, before the model was loaded.

    Raises:
        InputError: it does not fit; names the settings that would.
    """
    _, trained = count_parameters(model, lora)
    need = memory.load_of(model, training, trained=trained, rows=rows)
    adapter = lora is not None or is_adapter(model_args.model_name_or_path)
    if not adapter and not training.precompute_ref_log_probs:
        need = replace(need, weights=2 * need.weights)
    memory.check_estimate(need, free)
    return need


def print_plan(
    trainer: Any,
    size: tuple[int, int],
    rows: Rows,
    need: memory.Load,
    tokenizer: Any,
    data: Data,
    folder: Path,
) -> None:
    """Try the longest batch; print what the run will do, and one record.

    Args:
        size: how many parameters there are, and how many train.

    Raises:
        InputError: the longest batch does not fit; names the settings that would.
    """
    # The length by which it is chosen stands in a column that TRL's collators do not read.
    lengths = [row | {"input_ids": range(longest(row))} for row in trainer.train_dataset]
    measured = memory.measure(trainer, lengths, need)
    details = [*memory.lines(need, measured), *length_table(rows.lengths)]
    if measured:
        details.append(plan.time_line(trainer.args, rows, measured.seconds, measured.tokens))
    plan.show(
        trainer.args,
        rows=len(data.rows),
        tokens=data.tokens,
        supervised=data.answer_tokens,
        parameters=size[0],
        trainable=size[1],
        folder=folder,
        example=show(tokenizer, data.rows[0]),
        details=details,
    )


def trial_trainer(kind: type, names: Sequence[str], training: Any, *given: Any) -> Any:
    """A trainer that only tries a batch: its reference is not asked, and it writes nothing.

    Args:
        names: as :func:`rlhf.offline.reference.prepared` takes them.
        given: as :func:`make_trainer` takes them, without ``training``.
    """
    with tempfile.TemporaryDirectory() as unused:  # the trainer wants a folder
        training.output_dir = unused
        return make_trainer(reference.prepared(kind, names, None), training, *given)


def make_trainer(
    kind: type, training: Any, model: Any, model_args: Any, lora: Any, tokenizer: Any, data: Data
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
    trainer: Any, run: Run, tokenizer: Any, data: Data, answer_prompts: int
) -> dict[str, Any]:
    """Train, measure, save; return the figures."""
    drift = watch(trainer, tokenizer, data, answer_prompts)
    if drift is not None:
        drift.begin(trainer.model)
        trainer.add_callback(drift)
    order_by_epoch(trainer)
    metrics = loop.train(trainer, run)
    metrics = {key: value for key, value in metrics.items() if not key.startswith("answers/")}
    if data.held_out:
        metrics |= trainer.evaluate()
    loop.save(trainer, tokenizer, run)
    lengths = [longest(row) for row in data.rows]
    return metrics | conclude(trainer.state.log_history, trainer.beta, lengths, run.folder)


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
