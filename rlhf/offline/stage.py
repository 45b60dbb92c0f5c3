"""The story of DPO and KTO: load, plan, build the trainer, train while measuring, save."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets

from inhouse.config import Parsed, Stage
from inhouse.errors import refusals
from inhouse.models import sharding
from inhouse.models.adapters import is_adapter, lora_config
from inhouse.models.load import Model
from inhouse.records import Prompt
from inhouse.run import Run
from inhouse.training import loop, memory, plan, preflight, retaining
from inhouse.training.batches import Rows
from inhouse.training.data import (
    Columns,
    Placed,
    TrainingData,
    check_evaluation,
    say,
)
from inhouse.training.options import check_settings, find_inputs, open_stage
from inhouse.training.plan import count_parameters
from inhouse.training.sampler import order_by_epoch
from rlhf.offline import data as preferences
from rlhf.offline import reference
from rlhf.offline.drift import Drift, conclude
from rlhf.offline.rows import answer_tokens, show

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase
    from trl import ModelConfig

    from rlhf.offline.options import OfflineConfig


@dataclass(frozen=True)
class Method:
    """What one method does its own way.

    ``reference_columns`` as :func:`rlhf.offline.reference.prepared` takes them. ``arrange`` orders
    the rows of one side as the trainer wants them, ``count`` says what the metrics tell of them.
    """

    read: Callable[[str], list[Placed[Any]]]
    make_columns: Callable[[Any, Any], Columns]
    wanted: Callable[[Any], str | None]
    reference_columns: tuple[str, ...]
    trainer_for: Callable[[Any, Any, list[Columns]], type]
    rows_of: Callable[[type, list[Columns]], Rows]
    arrange: Callable[[list[Columns]], list[Columns]] = list
    count: Callable[[list[Columns], str], dict[str, Any]] = lambda rows, source: {}
    may_shard: bool = False


def align(stage: Stage, parsed: Parsed, method: Method) -> None:
    """Inputs, records, model and reference, trainer, train, save, finish."""
    options, read, hold_out, privacy, retain, own, *_, training, model_args = parsed
    check_settings(parsed.settings, may_shard=method.may_shard)
    reference.check_settings(training)
    inputs = find_inputs(
        *(stage, options.run_dir, read.dataset_name, model_args, training),
        house_rules=own.house_rules,
        retain_dataset=retain.retain_dataset,
        personal_data_allow=privacy.personal_data_allow,
        personal_data_ner=privacy.personal_data_ner,
    )
    run = open_stage(stage, parsed, inputs)

    tokenizer, context = preflight.tokenizer_for(model_args.model_name_or_path, training)
    source = str(inputs["dataset_name"])
    data = preferences.prepare(
        *(tokenizer, method.read(source), source, method.make_columns, method.wanted),
        *(hold_out, privacy, own.house_rules, training.max_length, context),
    )
    asked = preferences.prompts_of(data.held_out, source)
    general = retaining.conversations(tokenizer, retain.retain_dataset, training)
    beside = retaining.tokens_an_update(general, retain.retain_batch_size)
    counts = method.count(data.columns, source)
    free = memory.free_bytes()
    model, lora = load(model_args, training, tokenizer, data)
    sharding.begin(training)
    kind = method.trainer_for(model, training, data.columns)
    sides = [method.arrange(data.columns), method.arrange(data.held_out_columns)]
    rows = method.rows_of(kind, sides[0])
    need = check_memory(model, lora, model_args, training, rows, free)
    parts = (training, model, model_args, lora, tokenizer, sides)
    if options.dry_run:
        trainer = trial_trainer(kind, method.reference_columns, *parts)
        size = count_parameters(model, lora)
        show_plan(trainer, size, rows, need, tokenizer, data, run.folder, beside)
        return

    loop.start(training, run)
    start = reference.describe(model_args.model_name_or_path)
    say(f"loss: {' + '.join(losses(training))}, beta {training.beta}\nreference: {start}")
    kept = Path(own.ref_cache_dir or run.folder.parent / "cache")
    cache = reference.Cache(kept, start, model_args, training)
    size = count_parameters(model, lora)
    prepared = reference.prepared(kind, method.reference_columns, cache)
    if general:
        prepared = retaining.trainer(
            prepared, general, retain.retain_weight, retain.retain_batch_size
        )
    trainer = make_trainer(prepared, *parts)
    show_plan(trainer, size, rows, need, tokenizer, data, run.folder, beside)
    metrics = train(trainer, run, tokenizer, data, asked[: own.answer_prompts])
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics | data.told | counts | {"reference": asdict(start)},
        next_command="python -m review",
    )


def losses(training: OfflineConfig) -> list[str]:
    """The losses' names: TRL's key holds several for DPO and one for KTO."""
    return [training.loss_type] if isinstance(training.loss_type, str) else training.loss_type


def load(
    model_args: Any,
    training: OfflineConfig,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData[Any],
) -> tuple[Any, Any]:
    """The model to train, and its new adapter's settings or None.

    Raises:
        InputError: the rows have tokens that the model has no embedding for, or would never learn.
    """
    check_evaluation(training, data)
    lora = lora_config(model_args)
    model = reference.load(model_args, trainable=True)
    ids = [ids for row in data.columns for name, ids in row.items() if name.endswith("_ids")]
    preflight.check_vocabulary(model, ids, data.source)
    if lora is not None or is_adapter(model_args.model_name_or_path):
        preflight.check_frozen_tokens(model, tokenizer, ids, data.source, lora)
    return model, lora


def check_memory(
    model: Model,
    lora: LoraConfig | None,
    model_args: Any,
    training: OfflineConfig,
    rows: Rows,
    free: int,
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


def show_plan(
    trainer: Any,
    size: tuple[int, int],
    rows: Rows,
    need: memory.Load,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData[Any],
    folder: Path,
    beside: float,
) -> None:
    """Try a few batches; print what the run will do, and one record.

    Args:
        size: how many parameters there are, and how many train.
        beside: tokens that are read beside every update's rows.

    Raises:
        InputError: the longest batch does not fit; names the settings that would.
    """
    measured = memory.measure(trainer, list(trainer.train_dataset), need, rows)
    answers = sum(map(answer_tokens, data.columns))
    plan.show(
        trainer.args,
        rows=len(data.train),
        tokens=answers + sum(len(row["prompt_ids"]) for row in data.columns),
        supervised=answers,
        parameters=size[0],
        trainable=size[1],
        folder=folder,
        example=show(tokenizer, data.columns[0]),
        details=plan.details(trainer.args, rows, need, measured, beside),
    )


def trial_trainer(kind: type, names: Sequence[str], training: OfflineConfig, *given: Any) -> Any:
    """A trainer that only tries a batch: its reference is not asked, and it writes nothing.

    Args:
        names: as :func:`rlhf.offline.reference.prepared` takes them.
        given: as :func:`make_trainer` takes them, behind ``training``.
    """
    with tempfile.TemporaryDirectory() as unused:  # the trainer wants a folder
        training.output_dir = unused
        return make_trainer(reference.prepared(kind, names, None), training, *given)


def make_trainer(
    kind: type,
    training: OfflineConfig,
    model: Model,
    model_args: ModelConfig,
    lora: LoraConfig | None,
    tokenizer: PreTrainedTokenizerBase,
    sides: Sequence[list[Columns]],
) -> Any:
    """The trainer of that kind, with a live reference where it needs one.

    Args:
        sides: rows to train on, and those that are held out.
    """
    trained, held_out = (datasets.Dataset.from_list(rows) if rows else None for rows in sides)
    with refusals("the trainer"):
        return kind(
            model=model,
            ref_model=reference.load_live(model_args, training, lora),
            args=training,
            train_dataset=trained,
            eval_dataset=held_out,
            processing_class=tokenizer,
            peft_config=lora,
        )


def train(
    trainer: Any,
    run: Run,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData[Any],
    prompts: Sequence[Prompt],
) -> dict[str, Any]:
    """Train, measure, save; return the figures.

    Args:
        prompts: held-out ones that are answered before and after.
    """
    drift = watch(trainer, tokenizer, data, prompts)
    if drift is not None:
        drift.begin(trainer.model)
        trainer.add_callback(drift)
    order_by_epoch(trainer)
    metrics = loop.train(trainer, run)
    metrics = {key: value for key, value in metrics.items() if not key.startswith("answers/")}
    if data.held_out:
        metrics |= trainer.evaluate()
    loop.save(trainer, tokenizer, run)
    return metrics | conclude(trainer.state.log_history, trainer.beta, data.lengths, run.folder)


def watch(
    trainer: Any,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData[Any],
    prompts: Sequence[Prompt],
) -> Drift | None:
    """What measures the policy's answers, or None, and then why not is said."""
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        say("no answers are measured: no process has the whole model")
        return None
    if not prompts:
        say("no answers are measured: no prompt is held out, or answer_prompts is 0")
        return None
    # Twice the longest answer is room enough to see a model that does not stop; and a prompt with
    # its answer stays within what training allows.
    room = 2 * max(row.length - len(row.columns["prompt_ids"]) for row in data.train)
    if trainer.args.max_length:
        longest_prompt = max(len(row["prompt_ids"]) for row in data.held_out_columns)
        room = min(room, trainer.args.max_length - longest_prompt)
    return Drift(tokenizer, prompts, room, trainer.args.seed)
