"""A reward model on TRL's trainer, full or LoRA, from the fine-tuned model.

    python -m reward

The loss is Bradley and Terry's, -log σ(r_chosen - r_rejected) (Ouyang et al. 2022,
https://arxiv.org/abs/2203.02155, equation 1). All pairs of a prompt stand on one side of the
split, so that the held-out accuracy is not that of prompts already seen.

Records in: preference. Out: ``runs/<name>/reward/``: a sequence-classification model or adapter,
its tokenizer with the chat template, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from inhouse import run as runs
from inhouse.config import Stage, parse

STAGE = Stage("reward", "python -m reward", "a scorer learns what raters prefer")


@dataclass
class RewardOptions:
    """What this stage adds to TRL's keys."""

    dataset_name: str | None = field(
        default=None,
        metadata={"help": "Preferences; else RUN_DIR/preferences/preferences.jsonl."},
    )
    held_out_share: float = field(
        default=0.2, metadata={"help": "Share of prompts whose pairs only measure the accuracy."}
    )

    def __post_init__(self) -> None:
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share is {self.held_out_share}: give more than 0, below 1")


def main() -> None:
    """Config, records, model, trainer, train, save, evaluate what was saved, finish."""
    parsed = parse(STAGE, RewardOptions, trl=("RewardConfig", "ModelConfig"))
    options, own, training, model_args = parsed

    import datasets  # these take seconds, and --help must not
    from trl import RewardTrainer

    from inhouse import models, records, scoring
    from inhouse import training as trainers
    from reward import evaluate

    trainers.check_settings(parsed.settings)
    campaign = Path(options.run_dir)
    if model_args.model_name_or_path is None:
        model_args.model_name_or_path = str(
            runs.require(campaign / "sft", f"run `python -m sft --run_dir {campaign}` first")
        )
    models.check_arguments(model_args, training)
    source = own.dataset_name or runs.require(
        campaign / "preferences" / "preferences.jsonl",
        "run `python -m labeling.preferences` first, or give your own with --dataset_name",
    )
    inputs = {"model_name_or_path": model_args.model_name_or_path, "dataset_name": source}
    folder = trainers.stage_folder(parsed, options, STAGE.name)
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)

    tokenizer = models.load_tokenizer(model_args.model_name_or_path)
    preferences = records.read(source, records.Preference)
    every_row = evaluate.tokenise(tokenizer, preferences, str(source))
    longest = [max(len(ids) for ids in row.values()) for row in every_row]
    trainers.check_lengths(longest, training.max_length, str(source), "preferences")
    rows, held_out = evaluate.split(preferences, every_row, own.held_out_share)
    lora = models.lora_config(model_args, task_type="SEQ_CLS")
    model = models.new_reward_model(
        model_args.model_name_or_path, dtype=model_args.dtype, seed=training.seed
    )
    if options.dry_run:
        every, trained = trainers.count_parameters(model, lora)
        trainers.print_plan(
            training,
            rows=len(rows),
            tokens=sum(len(ids) for row in rows for ids in row.values()),
            supervised=2 * len(rows),  # the score at the last token of each answer
            parameters=every,
            trainable=trained,
            folder=folder,
            example=tokenizer.decode(rows[0]["chosen_ids"]),
        )
        return

    run.start()
    training.output_dir = str(run.path(runs.CHECKPOINTS))
    trainer = RewardTrainer(
        model=model,
        args=training,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
    )
    metrics = trainers.train(trainer, run)
    trainers.save(trainer, tokenizer, run.folder)
    metrics["held_out"] = evaluate.accuracy(scoring.Scorer(str(run.folder)), held_out)
    run.finish(
        config=tuple(parsed), seed=training.seed, metrics=metrics, next_command="python -m rlhf.dpo"
    )
