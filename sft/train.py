"""Supervised fine-tuning on TRL's trainer: full, some layers alone, LoRA, or QLoRA.

    python -m sft
    python -m sft --model_name_or_path DIR --dataset_name demonstrations.jsonl --run_dir runs/mine

Records in: demonstration. Out: ``runs/<name>/sft/``: the model or adapter, its tokenizer with the
chat template, ``training.svg``, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inhouse import run as runs
from inhouse.config import Stage, parse
from inhouse.errors import InputError

STAGE = Stage("sft", "python -m sft", "a model learns the house's tone from demonstrations")


@dataclass
class SFTOptions:
    """What this stage adds to TRL's keys."""

    dataset_name: str | None = field(
        default=None,
        metadata={"help": "Demonstrations; else RUN_DIR/data/demonstrations.jsonl."},
    )
    held_out_share: float = field(
        default=0.05,
        metadata={"help": "Share of demonstrations kept out of training, for the loss on them."},
    )
    train_layers: str | None = field(
        default=None,
        metadata={
            "help": "Train these alone, all else frozen: last:N, layers' numbers from 0, "
            "embeddings, norm, head, with commas between them."
        },
    )
    train_new_tokens: bool = field(
        default=False,
        metadata={
            "help": "Beside an adapter, train the rows of control tokens that the model never "
            "learned; without it they stop the run."
        },
    )
    early_stopping_patience: int = field(
        default=0,
        metadata={
            "help": "Stop after so many evaluations in a row without a lower held-out loss; 0: "
            "never. Needs load_best_model_at_end and eval_strategy."
        },
    )
    probe_dataset: str | None = field(
        default=None,
        metadata={
            "help": 'General text, one {"text": "…"} a line: its perplexity before and after '
            "training shows what was forgotten."
        },
    )
    leave_out_long: bool = field(
        default=False,
        metadata={"help": "Leave out demonstrations over max_length, counted, not refuse them."},
    )
    token_cache: str | None = field(
        default=None,
        metadata={"help": "Folder that keeps token ids, so that a second run need not render."},
    )
    drop_findings: str | None = field(
        default=None,
        metadata={"help": "House rules: demonstrations that break a blocker rule are left out."},
    )
    allow_unscrubbed: bool = field(
        default=False,
        metadata={"help": "Train on personal data that the scan finds; the manifest says so."},
    )
    personal_data_allow: str | None = field(
        default=None,
        metadata={"help": "The firm's own public contacts, one a line: nobody's personal data."},
    )
    personal_data_ner: str | None = field(
        default=None,
        metadata={"help": "A folder with a model that labels names, for the scan of the data."},
    )
    pad_batches: bool = field(
        default=False,
        metadata={"help": "Pad batches on a CPU too, as TRL does, not lay rows end to end."},
    )

    def __post_init__(self) -> None:
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share is {self.held_out_share}: give 0 or more, below 1")
        if self.early_stopping_patience < 0:
            raise ValueError(f"early_stopping_patience is {self.early_stopping_patience}: give 0+")


def main() -> None:
    """Config, records, model, trainer, plan, train, evaluate, save, finish."""
    parsed = parse(STAGE, SFTOptions, trl=("SFTConfig", "ModelConfig"))
    options, own, training, model_args = parsed

    from trl import SFTTrainer  # these take seconds, and --help must not

    from compliance.privacy.supplied import Supplied
    from inhouse.models.folder import check_arguments
    from inhouse.models.load import load_tokenizer
    from inhouse.token_cache import TokenCache
    from inhouse.training import loop, memory
    from inhouse.training.options import check_settings, stage_folder
    from inhouse.training.sampler import order_by_epoch
    from sft import evaluate, load, prepare
    from sft.unpadded_trainer import trainer_for

    check_settings(parsed.settings, may_shard=True)
    check_arguments(model_args, training, may_quantise=True)
    check_together(own, training, model_args)
    inputs = find_inputs(own, options.run_dir, model_args.model_name_or_path)
    folder = stage_folder(parsed, options, STAGE.name)
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)

    tokenizer = load_tokenizer(model_args.model_name_or_path)
    cache = TokenCache(own.token_cache)
    data = prepare.prepare(
        tokenizer,
        str(inputs["dataset_name"]),
        cache,
        house_rules=own.drop_findings,
        allow_unscrubbed=own.allow_unscrubbed,
        search=Supplied.read(ner_model=own.personal_data_ner, allow=own.personal_data_allow),
        max_length=training.max_length,
        leave_out_long=own.leave_out_long,
        held_out_share=own.held_out_share,
    )
    probe = evaluate.read_probe(tokenizer, own.probe_dataset, training.max_length)
    free = memory.free_bytes()
    model, lora = load.load(model_args, training, own.train_layers)
    if own.train_new_tokens:
        load.add_new_tokens(model, lora, tokenizer, data)
    size = load.check(model, lora, tokenizer, data, training.packing)
    kind = SFTTrainer if own.pad_batches else trainer_for(model, training, data.ids)
    rows = load.rows_of(kind, data.lengths, training)
    need = memory.load_of(model, training, trained=size["trained_parameters"], rows=rows)
    memory.check_estimate(need, free)
    with tempfile.TemporaryDirectory() as unused:  # the trainer wants a folder before we have one
        training.output_dir = unused
        patience = own.early_stopping_patience
        trainer = new_trainer(kind, model, lora, tokenizer, data, training, patience)
    measured = memory.measure(trainer, list(trainer.train_dataset), need)
    show_plan(trainer, tokenizer, data, rows, size, folder, need, measured)
    if options.dry_run:
        return

    run.start()
    cache.write()
    training.output_dir = str(run.path(runs.CHECKPOINTS))
    before = evaluate.perplexity(trainer, probe)
    order_by_epoch(trainer)
    metrics = loop.train(trainer, run)
    metrics |= evaluate.after_training(trainer, data.held_out, probe, before)
    metrics |= {**size, **data.counts, "memory_peak_bytes": measured.peak if measured else None}
    loop.save(trainer, tokenizer, run)
    evaluate.plot(run.path("training.svg"), data.lengths, trainer.state.log_history)
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics,
        next_command="python -m labeling.candidates",
    )


def find_inputs(own: SFTOptions, run_dir: str, model: str) -> dict[str, str | Path]:
    """What is read, by the setting that names it.

    Raises:
        InputError: no demonstrations are named, and there are none in ``run_dir``.
    """
    source = own.dataset_name or runs.require(
        Path(run_dir) / "data" / "demonstrations.jsonl",
        "give your demonstrations with --dataset_name (the demonstration house makes its own: "
        "`python -m examples.asdfg.prepare`)",
    )
    inputs: dict[str, str | Path] = {"model_name_or_path": model, "dataset_name": source}
    more = ("drop_findings", "probe_dataset", "personal_data_allow", "personal_data_ner")
    return inputs | {name: getattr(own, name) for name in more if getattr(own, name)}


def check_together(own: SFTOptions, training: Any, model_args: Any) -> None:
    """Refuse settings that need another one.

    Raises:
        InputError: names both.
    """
    from inhouse.models import sharding

    if training.eval_strategy != "no" and not own.held_out_share:
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
    kind: type, model: Any, lora: Any, tokenizer: Any, data: Any, training: Any, patience: int
) -> Any:
    """A trainer of that kind on rows that are token ids already."""
    import datasets
    from transformers import EarlyStoppingCallback

    from inhouse.models import sharding
    from sft.prepare import columns

    sharding.begin(training)
    if patience:  # else a killed run would count from nought again when it goes on
        training.restore_callback_states_from_checkpoint = True
    return kind(
        model=model,
        args=training,
        train_dataset=datasets.Dataset.from_list(columns(data.train)),
        eval_dataset=datasets.Dataset.from_list(columns(data.held_out)) if data.held_out else None,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[EarlyStoppingCallback(patience)] if patience else None,
    )


def show_plan(
    trainer: Any,
    tokenizer: Any,
    data: Any,
    rows: Any,
    size: dict[str, int],
    folder: Path,
    need: Any,
    measured: Any,
) -> None:
    """Print what the run will do, with one example as the model will see it."""
    from inhouse import chat
    from inhouse.training import memory, plan
    from inhouse.training.plan import length_table

    training, first = trainer.args, data.train[0].rendered
    time_line = (
        [plan.time_line(training, rows, measured.seconds, measured.tokens)] if measured else []
    )
    plan.show(
        training,
        rows=len(data.train),
        tokens=sum(data.lengths),
        supervised=sum(sum(row.rendered.supervised) for row in data.train),
        parameters=size["parameters"],
        trainable=size["trained_parameters"],
        folder=folder,
        example=chat.show_supervised(tokenizer, first, colour=sys.stdout.isatty()),
        drawn=len(trainer.train_dataset) if training.packing else 0,
        details=[
            *memory.lines(need, measured),
            *length_table(data.lengths),
            *time_line,
        ],
    )
