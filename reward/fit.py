"""One training of a reward model on TRL's trainer, and what its scores then mean."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import datasets
from transformers.trainer_utils import SaveStrategy

from inhouse.errors import InputError, refusals
from inhouse.generation.score import Calibration, Scorer, head_scores, template_hash
from inhouse.models.load import Model, new_reward_model
from inhouse.statistics import rate
from reward.calibrate import fit_temperature, share_of_votes
from reward.evaluate import Measured
from reward.shared_prompts import SharedPromptsTrainer
from reward.split import Row, Split, shuffled

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase
    from trl import RewardConfig

SAMPLED = 128  # training answers whose scores give mean and standard deviation


def fresh(model_args: Any, seed: int, heads: int) -> Model:
    """The model that training starts from: the same one for the same seed."""
    return new_reward_model(
        model_args.model_name_or_path, dtype=model_args.dtype, seed=seed, heads=heads
    )


def trainer_of(
    model: Model,
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    training: RewardConfig,
    lora: LoraConfig | None,
) -> SharedPromptsTrainer:
    """TRL's trainer on rows that ``inhouse.chat`` has made.

    Its loss, -log σ(r_chosen - r_rejected), is a mean over pairs, and so over an ensemble's heads:
    each learns from every pair, from a start of its own.
    """
    heads = model.config.num_labels
    model.config.num_labels = 1  # TRL asks for one when it is built, and never looks again
    with refusals("the trainer"):
        trainer = SharedPromptsTrainer(
            model=model,
            args=training,
            train_dataset=datasets.Dataset.from_list(
                [{**row, "length": max(map(len, row.values()))} for row in rows]
            ),
            processing_class=tokenizer,
            peft_config=lora,
        )
    model.config.num_labels = heads
    return trainer


def without_traces(training: RewardConfig) -> RewardConfig:
    """The same settings for a run that leaves nothing: no checkpoints, no reports."""
    quiet = copy.copy(training)
    quiet.save_strategy, quiet.report_to = SaveStrategy.NO, []
    quiet.resume_from_checkpoint = None
    return quiet


def control(
    model: Model,
    split: Split,
    tokenizer: PreTrainedTokenizerBase,
    training: RewardConfig,
    lora: LoraConfig | None,
) -> dict[str, float]:
    """Train as before, but on winners drawn by chance, and count how many are found: one half.

    The split is turned round, the held-out prompts train, because it takes some 400 pairs to
    measure one half to within 0.05.
    """
    learned = shuffled(split.held_out, training.seed)
    asked = shuffled(split.train, training.seed)
    print("control run: the same training, on winners drawn by chance", flush=True)
    trainer = trainer_of(model, learned, tokenizer, without_traces(training), lora)
    trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model)
    rows = [row[side] for side in ("chosen_ids", "rejected_ids") for row in asked]
    scores = head_scores(model, rows, tokenizer.pad_token_id, title="scoring the control").mean(1)
    winners, losers = scores.chunk(2)
    return rate(int((winners > losers).sum()), len(asked))


def calibrated(
    model: Model, tokenizer: PreTrainedTokenizerBase, split: Split, min_confidence: float
) -> tuple[Scorer, Measured, Measured]:
    """A scorer that knows what its scores mean, and held-out and training pairs scored by it.

    Mean and standard deviation are each head's over training answers; the temperature is what the
    held-out votes give; the range is that of all scores seen, a standard deviation wider.

    Raises:
        InputError: scores that are not numbers, or a head that scores all answers alike.
    """
    sample = split.train[: SAMPLED // 2]
    rows = [row for pair in sample for row in pair.row.values()]
    raw = head_scores(model, rows, tokenizer.pad_token_id, title="scoring training answers")
    mean, std = raw.mean(0), raw.std(0)
    if float(std.min()) < 1e-6:
        raise InputError(
            f"the trained model scores all {len(rows)} training answers alike (standard deviation "
            f"{float(std.min()):.1g}): its training diverged or did not begin; change "
            "--learning_rate and use --overwrite"
        )
    means = Calibration.none(len(mean), template_hash(tokenizer))
    means = replace(means, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    scorer = Scorer.around(model, tokenizer, means)
    rows = [row for pair in split.held_out for row in pair.row.values()]
    unseen = head_scores(model, rows, tokenizer.pad_token_id, title="scoring held-out answers")
    held_out = Measured.read(scorer, split.held_out, unseen)
    seen = [scorer.read(row).score for row in (*raw.tolist(), *unseen.tolist())]
    scorer.calibration = replace(
        means,
        temperature=fit_temperature(held_out.differences, share_of_votes(held_out.votes)),
        lowest=min(seen) - 1,
        highest=max(seen) + 1,
        min_confidence=min_confidence,
    )
    return (
        scorer,
        Measured.read(scorer, split.held_out, unseen),
        Measured.read(scorer, sample, raw),
    )
