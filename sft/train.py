"""Supervised fine-tuning on TRL's trainer: full, some layers alone, LoRA, or QLoRA.

    python -m sft
    python -m sft --model_name_or_path DIR --dataset_name demonstrations.jsonl --run_dir runs/mine

Records in: demonstration. Out: ``runs/<name>/sft/``: the model or adapter, its tokenizer with the
chat template, ``training.svg``, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.config import (
    DataOptions,
    HoldOutOptions,
    PrivacyOptions,
    RetainOptions,
    RunOptions,
    Stage,
    parse,
    setting,
)
from inhouse.errors import InputError, refusals

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase
    from trl import ModelConfig, SFTConfig

    from inhouse.models.load import Model
    from inhouse.training.batches import Rows
    from inhouse.training.data import TrainingData
    from inhouse.training.memory import Load, Measured

STAGE = Stage(
    "sft",
    "python -m sft",
    "a model learns the house's tone from demonstrations",
    reads="data/demonstrations.jsonl",
    mend="give your demonstrations with --dataset_name (the demonstration house makes its own: "
    "`python -m examples.asdfg.prepare`)",
)


@dataclass
class SFTOptions:
    """What this stage adds to TRL's keys."""

    train_layers: str | None = setting(
        None,
        "Train these alone, all else frozen: last:N, layers' numbers from 0, "
        "embeddings, norm, head, with commas between them.",
    )
    train_new_tokens: bool = setting(
        False,
        "Beside an adapter, train the rows of control tokens that the model never "
        "learned; without it they stop the run.",
    )
    early_stopping_patience: int = setting(
        0,
        "Stop after so many evaluations in a row without a lower held-out loss; 0: "
        "never. Needs load_best_model_at_end and eval_strategy.",
    )
    probe_dataset: str | None = setting(
        None,
        'General text, one {"text": "…"} a line: its perplexity before and after '
        "training shows what was forgotten.",
    )
    drop_findings: str | None = setting(
        None, "House rules: demonstrations that break a blocker rule are left out."
    )
    chat_template: str | None = setting(
        None, "A file with the chat template to train with, where the model has none or another."
    )
    pad_batches: bool = setting(
        False, "Pad batches on a CPU too, as TRL does, not lay rows end to end."
    )

    def __post_init__(self) -> None:
        if self.early_stopping_patience < 0:
            raise ValueError(f"early_stopping_patience is {self.early_stopping_patience}: give 0+")


def main() -> None:
    """Config, records, model, trainer, plan, train, evaluate, save, finish."""
    kinds = (DataOptions, HoldOutOptions, PrivacyOptions, RetainOptions, SFTOptions)
    parsed = parse(STAGE, *kinds, trl=("SFTConfig", "ModelConfig"))
    options, read, hold_out, privacy, retain, own, training, model_args = parsed

    # Seconds, which --help must not take.
    from inhouse.training import loop, memory, preflight, retaining
    from inhouse.training.options import check_settings, open_stage
    from inhouse.training.sampler import order_by_epoch
    from sft import evaluate, load, prepare
    from sft.unpadded_trainer import trainer_for

    check_settings(parsed.settings, may_shard=True)
    check_together(own, hold_out, training, model_args)
    inputs = find_inputs(options, read, privacy, retain, own, model_args, training)
    run = open_stage(STAGE, parsed, inputs)

    tokenizer, context = preflight.tokenizer_for(
        str(inputs["model_name_or_path"]), training, own.chat_template
    )
    source = str(inputs["dataset_name"])
    data = prepare.prepare(
        tokenizer, source, hold_out, privacy, own.drop_findings, training.max_length, context
    )
    probe = evaluate.read_probe(tokenizer, own.probe_dataset, training.max_length)
    general = retaining.conversations(tokenizer, retain.retain_dataset, training)
    free = memory.free_bytes()
    model, lora = load.load(model_args, training, own.train_layers)
    if own.train_new_tokens:
        load.add_new_tokens(model, lora, tokenizer, data)
    size = load.check(model, lora, tokenizer, data, training.packing)
    ids = [row["input_ids"] for row in data.columns]
    kind = trainer_for(model, training, ids, padded=own.pad_batches)
    rows = load.rows_of(kind, data.lengths, training)
    if general:
        kind = retaining.trainer(kind, general, retain.retain_weight, retain.retain_batch_size)
    need = memory.load_of(model, training, trained=size["trained_parameters"], rows=rows)
    memory.check_estimate(need, free)
    trainer = new_trainer(kind, model, lora, tokenizer, data, training, own.early_stopping_patience)
    measured = memory.measure(trainer, list(trainer.train_dataset), need, rows)
    beside = retaining.tokens_an_update(general, retain.retain_batch_size)
    show_plan(trainer, tokenizer, data, rows, size, run.folder, need, measured, beside)
    if options.dry_run:
        return

    loop.start(training, run)
    before = evaluate.perplexity(trainer, probe)
    order_by_epoch(trainer)
    metrics = loop.train(trainer, run)
    metrics |= evaluate.after_training(trainer, data.held_out, probe, before)
    metrics |= {**size, **data.told, "memory_peak_bytes": measured.peak if measured else None}
    loop.save(trainer, tokenizer, run)
    evaluate.plot(run.path("training.svg"), data.lengths, trainer.state.log_history)
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics,
        next_command="python -m labeling.candidates",
    )


def find_inputs(
    options: RunOptions,
    read: DataOptions,
    privacy: PrivacyOptions,
    retain: RetainOptions,
    own: SFTOptions,
    model_args: ModelConfig,
    training: SFTConfig,
) -> dict[str, str | Path]:
    """What is read, by the setting that names it.

    Raises:
        InputError: no demonstrations are named, and there are none in ``run_dir``.
    """
    from inhouse.training import options as shared

    return shared.find_inputs(
        *(STAGE, options.run_dir, read.dataset_name, model_args, training),
        may_quantise=True,
        drop_findings=own.drop_findings,
        probe_dataset=own.probe_dataset,
        retain_dataset=retain.retain_dataset,
        chat_template=own.chat_template,
        personal_data_allow=privacy.personal_data_allow,
        personal_data_ner=privacy.personal_data_ner,
    )


def check_together(
    own: SFTOptions, hold_out: HoldOutOptions, training: Any, model_args: ModelConfig
) -> None:
    """Refuse settings that need another one.

    Raises:
        InputError: names both.
    """
    from inhouse.models import sharding

    if training.eval_strategy != "no" and not hold_out.held_out_share:
        raise InputError(
            f"eval_strategy {training.eval_strategy.value} needs held-out demonstrations, and "
            "held_out_share is 0: give a share above 0"
        )
    if own.early_stopping_patience and not training.load_best_model_at_end:
        raise InputError(
            f"early_stopping_patience {own.early_stopping_patience} needs the best checkpoint to "
            "go back to: add --load_best_model_at_end --eval_strategy steps --eval_steps 50 "
            "--save_steps 50 (the two steps equal, or one a multiple of the other)"
        )
    if own.train_new_tokens and not model_args.use_peft:
        raise InputError(
            "train_new_tokens trains rows of the vocabulary beside an adapter: add --use_peft, or "
            "leave it out, and all rows train with the model"
        )
    if own.train_new_tokens and sharding.asked():
        raise InputError("train_new_tokens does not go with FSDP: use configs/accelerate/ddp.yaml")
    if training.packing and training.packing_strategy != "bfd":
        raise InputError(
            f"packing_strategy {training.packing_strategy} cuts conversations in two: use bfd"
        )
    if training.packing and training.max_length is None:
        raise InputError("packing fills rows up to max_length, and it is unset: set it")


def new_trainer(
    kind: type,
    model: Model,
    lora: LoraConfig | None,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData,
    training: SFTConfig,
    patience: int,
) -> Any:
    """A trainer of that kind on rows that are token ids already."""
    import datasets
    from transformers import EarlyStoppingCallback

    from inhouse.models import sharding
    from inhouse.training.data import check_evaluation

    check_evaluation(training, data)
    sharding.begin(training)
    if patience:  # else a killed run would count from nought again when it goes on
        training.restore_callback_states_from_checkpoint = True
    held_out = datasets.Dataset.from_list(data.held_out_columns) if data.held_out else None
    # The trainer wants a folder before we have one.
    with tempfile.TemporaryDirectory() as unused, refusals("the trainer"):
        training.output_dir = unused
        return kind(
            model=model,
            args=training,
            train_dataset=datasets.Dataset.from_list(data.columns),
            eval_dataset=held_out,
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[EarlyStoppingCallback(patience)] if patience else None,
        )


def show_plan(
    trainer: Any,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData,
    rows: Rows,
    size: dict[str, int],
    folder: Path,
    need: Load,
    measured: Measured | None,
    beside: float,
) -> None:
    """Print what the run will do, with one example as the model will see it.

    Args:
        beside: tokens that are read beside every update's rows.
    """
    from inhouse import chat
    from inhouse.training import plan

    labels = [row["labels"] for row in data.columns]
    example = chat.Rendered(
        data.columns[0]["input_ids"], [label != chat.IGNORED for label in labels[0]]
    )
    plan.show(
        trainer.args,
        rows=len(data.train),
        tokens=sum(data.lengths),
        supervised=sum(label != chat.IGNORED for row in labels for label in row),
        parameters=size["parameters"],
        trainable=size["trained_parameters"],
        folder=folder,
        example=chat.show_supervised(tokenizer, example, colour=sys.stdout.isatty()),
        drawn=len(trainer.train_dataset) if trainer.args.packing else 0,
        details=plan.details(trainer.args, rows, need, measured, beside),
    )
