"""KTO on TRL's trainer, full or LoRA: single answers, each liked or disliked, no pairs needed.

    python -m rlhf.kto --run_dir runs/mine --dataset_name verdicts.jsonl

Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306. Starts from ``runs/<name>/sft``, which is
also the reference. Without ``dataset_name`` the campaign's preferences are read, each pair as two
verdicts.

Records in: TRL's unpaired preference (``prompt``, ``completion``, ``label``), or preference. Out:
``runs/<name>/kto/``: the model or adapter, its tokenizer with the chat template, ``training.svg``,
``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse import run as runs
from inhouse.config import Stage, parse
from inhouse.errors import InputError
from rlhf.dpo import check_shares

if TYPE_CHECKING:
    from rlhf.offline.rows import Row

STAGE = Stage("kto", "python -m rlhf.kto", "the model learns from answers liked or disliked")
# Equation 8 of the paper: the weighted number of liked answers to that of disliked ones.
BALANCE = (1.0, 4 / 3)


@dataclass
class KTOOptions:
    """What this stage adds to TRL's keys."""

    dataset_name: str | None = field(
        default=None,
        metadata={"help": "Verdicts or preferences; else RUN_DIR/preferences/preferences.jsonl."},
    )
    house_rules: str | None = field(
        default=None,
        metadata={"help": "House rules: liked answers that break a blocker are left out."},
    )
    held_out_share: float = field(
        default=0.05,
        metadata={"help": "Share of prompts kept out of training, to measure on."},
    )
    answer_prompts: int = field(
        default=16,
        metadata={"help": "Held-out prompts that are answered before and after; 0 for none."},
    )
    leave_out_long: bool = field(
        default=False,
        metadata={"help": "Leave out verdicts over max_length, counted, instead of stopping."},
    )
    ref_cache_dir: str | None = field(
        default=None,
        metadata={"help": "Reference log-probabilities of all runs; else RUN_DIR/cache."},
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

    def __post_init__(self) -> None:
        check_shares(self.held_out_share, self.answer_prompts)


def main() -> None:
    """Config, records, model and reference, trainer, train, save, finish."""
    parsed = parse(STAGE, KTOOptions, trl=("KTOConfig", "ModelConfig"))
    options, own, training, model_args = parsed

    from trl import KTOTrainer  # these take seconds, and --help must not

    from compliance.privacy.supplied import Supplied
    from inhouse.models.load import load_tokenizer
    from inhouse.training import memory
    from inhouse.training.batches import Rows
    from inhouse.training.options import check_settings, stage_folder
    from inhouse.training.plan import count_parameters
    from rlhf.offline import data as data_of
    from rlhf.offline import reference, rows
    from rlhf.offline import stage as offline

    check_settings(parsed.settings)
    check_training(training)
    reference.check_settings(training)
    campaign = Path(options.run_dir)
    inputs = data_of.find_inputs(campaign, model_args, training, own)
    folder = stage_folder(parsed, options, STAGE.name)
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)

    tokenizer = load_tokenizer(model_args.model_name_or_path)
    source = str(inputs["dataset_name"])
    verdicts, places = data_of.read_verdicts(source)
    data = data_of.make_data(
        tokenizer,
        verdicts,
        places,
        source,
        rows.verdict_row,
        lambda verdict: verdict.completion[0].content if verdict.label else None,
        house_rules=own.house_rules,
        max_length=training.max_length,
        leave_out_long=own.leave_out_long,
        held_out_share=own.held_out_share,
        allow_unscrubbed=own.allow_unscrubbed,
        search=Supplied.read(ner_model=own.personal_data_ner, allow=own.personal_data_allow),
    )
    counts = count_verdicts(data.rows, source)
    data_of.say(balance(counts, training.desirable_weight, training.undesirable_weight))
    size, seed = training.per_device_train_batch_size, training.seed
    mixed = replace(
        data,
        rows=rows.with_mismatched(data.rows, size, seed),
        held_out=rows.with_mismatched(data.held_out, size, seed),
    )
    free = memory.free_bytes()
    model, lora = offline.load(model_args, training, tokenizer, data)
    run_as, names = Rows([rows.longest(row) for row in data.rows]), ("ref_logps", "ref_KL_logps")
    need = offline.check_memory(model, lora, model_args, training, run_as, free)
    parameters = count_parameters(model, lora)
    parts = (model, model_args, lora, tokenizer, mixed)
    if options.dry_run:
        trainer = offline.trial_trainer(KTOTrainer, names, training, *parts)
        offline.print_plan(trainer, parameters, run_as, need, tokenizer, data, folder)
        return

    run.start()
    training.output_dir = str(run.path(runs.CHECKPOINTS))
    start = reference.describe(model_args.model_name_or_path)
    data_of.say(f"loss: {training.loss_type}, beta {training.beta}\nreference: {start}")
    kept = Path(own.ref_cache_dir or folder.parent / "cache")
    cache = reference.Cache(kept, start, model_args, training)
    trainer = offline.make_trainer(reference.prepared(KTOTrainer, names, cache), training, *parts)
    offline.print_plan(trainer, parameters, run_as, need, tokenizer, data, folder)
    metrics = offline.train(trainer, run, tokenizer, data, own.answer_prompts)
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics | data.told | {"verdicts": counts, "reference": asdict(start)},
        next_command="python -m review",
    )


def check_training(training: Any) -> None:
    """Refuse what TRL would refuse only once the run has begun.

    Raises:
        InputError: names the value, what was expected, and the key to change.
    """
    for key in ("desirable_weight", "undesirable_weight"):
        weight = vars(training)[key]
        if not weight > 0:
            raise InputError(
                f"{key} is {weight}: give more than 0, or KTO learns from one kind only"
            )
    if training.loss_type == "apo_zero_unpaired":
        return  # it estimates no KL term
    if training.per_device_train_batch_size < 2:
        raise InputError(
            "per_device_train_batch_size is 1: loss_type kto estimates its KL term from the other "
            "answers of a batch, so give 2 or more"
        )
    if training.train_sampling_strategy != "sequential":
        raise InputError(
            f"train_sampling_strategy is {training.train_sampling_strategy}: loss_type kto pairs "
            "the answers of a batch beforehand, so leave it at sequential (rows are shuffled once, "
            "by the seed)"
        )


def count_verdicts(verdicts: Sequence[Row], source: str) -> dict[str, int]:
    """How many answers were liked and disliked.

    Raises:
        InputError: one of the two has none.
    """
    liked = sum(row["label"] for row in verdicts)
    counts = {"liked": liked, "disliked": len(verdicts) - liked}
    for verdict, count in counts.items():
        if not count:
            raise InputError(
                f"{source} has no {verdict} answer to train on ({counts}): KTO learns from the "
                "difference. Add some, or use `python -m sft` if you have liked answers only"
            )
    return counts


def balance(counts: dict[str, int], desirable: float, undesirable: float) -> str:
    """The weights of both kinds in words, and one that would balance them where they do not."""
    ratio = desirable * counts["liked"] / (undesirable * counts["disliked"])
    low, high = BALANCE
    said = (
        f"{counts['liked']} answers liked (desirable_weight {desirable:g}), {counts['disliked']} "
        f"disliked (undesirable_weight {undesirable:g}): weighted {ratio:.2f} to 1"
    )
    if low <= ratio <= high:
        return said
    # Raise the weight of the side that is short.
    if ratio < low:
        better = f"--desirable_weight {desirable / ratio:.2f}"
    else:
        better = f"--undesirable_weight {undesirable * ratio:.2f}"
    return f"{said}. The paper advises 1 to 1.33: {better} would give 1.00"


if __name__ == "__main__":
    runs.command(main)
