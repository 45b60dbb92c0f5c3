"""Direct preference optimisation on TRL's trainer, full or LoRA.

    python -m rlhf.dpo
    python -m rlhf.dpo --run_dir runs/mine --dataset_name preferences.jsonl

Starts from ``runs/<name>/sft``, which is also the reference: what the policy may not stray from is
what it started from (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7).

Records in: preference. Out: ``runs/<name>/dpo/``: the model or adapter, its tokenizer with the
chat template, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inhouse import run as runs
from inhouse.chat import reply_ids
from inhouse.config import Stage, parse
from inhouse.errors import InputError
from inhouse.records import Preference

STAGE = Stage("dpo", "python -m rlhf.dpo", "the model learns to prefer what raters preferred")


@dataclass
class DPOOptions:
    """What this stage adds to TRL's keys."""

    dataset_name: str | None = field(
        default=None,
        metadata={"help": "Preferences; else RUN_DIR/preferences/preferences.jsonl."},
    )
    allow_unscrubbed: bool = field(
        default=False,
        metadata={"help": "Train on personal data that the scan finds; the manifest says so."},
    )


def main() -> None:
    """Config, records, model and reference, trainer, train, save, finish."""
    parsed = parse(STAGE, DPOOptions, trl=("DPOConfig", "ModelConfig"))
    options, own, training, model_args = parsed

    import datasets  # these take seconds, and --help must not

    from inhouse import models, records, scrubbing
    from inhouse import training as trainers

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
    scan = scrubbing.check_training_data(preferences, str(source), own.allow_unscrubbed)
    rows = tokenise(tokenizer, preferences, str(source))
    lengths = [longest(row) for row in rows]
    trainers.check_lengths(lengths, training.max_length, str(source), "preferences")
    lora = models.lora_config(model_args)
    model = load(model_args, trainable=True)
    if options.dry_run:
        every, trained = trainers.count_parameters(model, lora)
        trainers.print_plan(
            training,
            rows=len(rows),
            tokens=sum(sum(len(ids) for ids in row.values()) for row in rows),
            supervised=sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows),
            parameters=every,
            trainable=trained,
            folder=folder,
            example=show(tokenizer, rows[0]),
        )
        return

    run.start()
    training.output_dir = str(run.path(runs.CHECKPOINTS))
    # An adapter's reference is a frozen copy of itself, a new adapter's the model below it: TRL
    # keeps both. Full training needs the model once more, unless it is asked beforehand.
    whole = lora is None and not models.is_adapter(model_args.model_name_or_path)
    reference = load(model_args) if whole and not training.precompute_ref_log_probs else None
    trainer = trainer_class()(
        model=model,
        ref_model=reference,
        args=training,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
    )
    metrics = trainers.train(trainer, run) | {"personal_data": scan}
    trainers.save(trainer, tokenizer, run.folder)
    run.finish(
        config=tuple(parsed), seed=training.seed, metrics=metrics, next_command="python -m review"
    )


def load(model_args: Any, trainable: bool = False) -> Any:
    """The model that DPO starts from, or once more as its reference."""
    from inhouse import models

    return models.load_causal_lm(
        model_args.model_name_or_path,
        dtype=model_args.dtype,
        attn_implementation=model_args.attn_implementation,
        trainable=trainable,
    )


def tokenise(
    tokenizer: Any, preferences: Sequence[Preference], source: str
) -> list[dict[str, list[int]]]:
    """``prompt_ids``, ``chosen_ids`` and ``rejected_ids``, each of Shape: (tokens,).

    Raises:
        InputError: a conversation that cannot be rendered.
    """
    rows = []
    for number, record in enumerate(preferences, start=1):
        try:
            prompt, chosen = reply_ids(tokenizer, record.prompt, record.chosen[0])
            _, rejected = reply_ids(tokenizer, record.prompt, record.rejected[0])
        except InputError as error:
            raise InputError(f"{source}, record {number}: {error}") from None
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    return rows


def longest(row: dict[str, list[int]]) -> int:
    """Tokens of the longer of a pair's two conversations."""
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def show(tokenizer: Any, row: dict[str, list[int]]) -> str:
    """A pair as text, what counts in the loss between ⟦ and ⟧."""
    prompt, chosen, rejected = (
        tokenizer.decode(row[f"{part}_ids"]) for part in ("prompt", "chosen", "rejected")
    )
    return f"{prompt}\n  chosen   ⟦{chosen}⟧\n  rejected ⟦{rejected}⟧"


def trainer_class() -> type:
    """TRL's trainer, taking rows that ``inhouse.chat`` has made into token ids.

    TRL's own preparation would render the messages once more, its own way. Its collator reads the
    three columns of :func:`tokenise` and no others.
    """
    from trl import DPOTrainer

    class PreparedDPOTrainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    return PreparedDPOTrainer


if __name__ == "__main__":
    runs.command(main)
