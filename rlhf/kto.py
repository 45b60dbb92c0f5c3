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
from typing import TYPE_CHECKING, Any

from inhouse import run as runs
from inhouse.config import DataOptions, HoldOutOptions, PrivacyOptions, RetainOptions, Stage, parse
from inhouse.errors import InputError
from rlhf.offline.options import OfflineOptions

if TYPE_CHECKING:
    from trl import KTOConfig

    from inhouse.training.data import Columns

STAGE = Stage(
    "kto",
    "python -m rlhf.kto",
    "the model learns from answers liked or disliked",
    reads="preferences/preferences.jsonl",
    mend="run `python -m labeling.preferences` first, or give your own with --dataset_name",
)
# Equation 8 of the paper: the weighted number of liked answers to that of disliked ones.
BALANCE = (1.0, 4 / 3)


def main() -> None:
    """Config, and how verdicts are learned from: the rest is as in DPO."""
    kinds = (DataOptions, HoldOutOptions, PrivacyOptions, RetainOptions, OfflineOptions)
    parsed = parse(STAGE, *kinds, trl=("KTOConfig", "ModelConfig"))
    *_, training, _ = parsed

    from trl import KTOTrainer  # these take seconds, and --help must not

    from inhouse.training.batches import Rows
    from inhouse.training.data import say
    from rlhf.offline import data, rows, stage

    check_training(training)

    def count(verdicts: Sequence[Columns], source: str) -> dict[str, Any]:
        counts = count_verdicts(verdicts, source)
        say(balance(counts, training.desirable_weight, training.undesirable_weight))
        return {"verdicts": counts}

    def arrange(verdicts: Sequence[Columns]) -> list[Columns]:
        size = training.per_device_train_batch_size
        return rows.with_mismatched(verdicts, size, training.seed)

    method = stage.Method(
        read=data.read_verdicts,
        make_columns=rows.verdict_row,
        wanted=lambda verdict: verdict.completion[0].content if verdict.label else None,
        reference_columns=("ref_logps", "ref_KL_logps"),
        trainer_for=lambda *_: KTOTrainer,
        rows_of=lambda _, verdicts: Rows([verdict_length(verdict) for verdict in verdicts]),
        arrange=arrange,
        count=count,
    )
    stage.align(STAGE, parsed, method)


def check_training(training: KTOConfig) -> None:
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


def verdict_length(verdict: Columns) -> int:
    """Tokens of an answer with its prompt, whatever answer it is paired with for the KL term."""
    return len(verdict["prompt_ids"]) + len(verdict["completion_ids"])


def count_verdicts(verdicts: Sequence[Columns], source: str) -> dict[str, int]:
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
