"""Supervised fine-tuning on TRL's trainer, full or LoRA.

    python -m sft
    python -m sft --model_name_or_path DIR --dataset_name demonstrations.jsonl --run_dir runs/mine

Records in: demonstration. Out: ``runs/<name>/sft/``: the model or adapter, its tokenizer with the
chat template, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from inhouse import run as runs
from inhouse.config import Stage, parse

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

    drop_findings: str | None = field(
        default=None,
        metadata={"help": "House rules: demonstrations that break a blocker rule are left out."},
    )
    allow_unscrubbed: bool = field(
        default=False,
        metadata={"help": "Train on personal data that the scan finds; the manifest says so."},
    )

    def __post_init__(self) -> None:
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share is {self.held_out_share}: give 0 or more, below 1")


def main() -> None:
    """Config, records, model, trainer, train, save, finish."""
    parsed = parse(STAGE, SFTOptions, trl=("SFTConfig", "ModelConfig"))
    options, own, training, model_args = parsed

    import datasets  # these take seconds, and --help must not
    from trl import SFTTrainer

    from inhouse import chat, models, records, scrubbing
    from inhouse import training as trainers
    from sft import prepare

    trainers.check_settings(parsed.settings)
    models.check_arguments(model_args, training)
    source = own.dataset_name or runs.require(
        Path(options.run_dir) / "data" / "demonstrations.jsonl",
        "give your demonstrations with --dataset_name (the demonstration house makes its own: "
        "`python -m examples.asdfg.prepare`)",
    )
    inputs = {"model_name_or_path": model_args.model_name_or_path, "dataset_name": source}
    if own.drop_findings:
        inputs["drop_findings"] = own.drop_findings
    folder = trainers.stage_folder(parsed, options, STAGE.name)
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)

    tokenizer = models.load_tokenizer(model_args.model_name_or_path)
    demonstrations = records.read(source, records.Demonstration)
    read = len(demonstrations)
    if own.drop_findings:
        demonstrations = prepare.without_findings(demonstrations, own.drop_findings, str(source))
    scan = scrubbing.check_training_data(demonstrations, str(source), own.allow_unscrubbed)
    every_row = prepare.render_all(tokenizer, demonstrations, str(source))
    lengths = [len(row.ids) for row in every_row]
    trainers.check_lengths(lengths, training.max_length, str(source), "demonstrations")
    rendered, checked = prepare.split(demonstrations, every_row, own.held_out_share)

    lora = models.lora_config(model_args)
    model = models.load_causal_lm(
        model_args.model_name_or_path,
        dtype=model_args.dtype,
        attn_implementation=model_args.attn_implementation,
        trainable=True,
    )
    if options.dry_run:
        every, trained = trainers.count_parameters(model, lora)
        trainers.print_plan(
            training,
            rows=len(rendered),
            tokens=sum(len(row.ids) for row in rendered),
            supervised=sum(sum(row.supervised) for row in rendered),
            parameters=every,
            trainable=trained,
            folder=folder,
            example=chat.show_supervised(tokenizer, rendered[0]),
        )
        return

    run.start()
    training.output_dir = str(run.path(runs.CHECKPOINTS))
    trainer = SFTTrainer(
        model=model,
        args=training,
        train_dataset=datasets.Dataset.from_list(prepare.rows(rendered)),
        eval_dataset=datasets.Dataset.from_list(prepare.rows(checked)) if checked else None,
        processing_class=tokenizer,
        peft_config=lora,
    )
    metrics = trainers.train(trainer, run)
    if checked:
        metrics |= trainer.evaluate()
    metrics |= {"personal_data": scan, "dropped_by_house_rules": read - len(demonstrations)}
    trainers.save(trainer, tokenizer, run.folder)
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics,
        next_command="python -m labeling.candidates",
    )
