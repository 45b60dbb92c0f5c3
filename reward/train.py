"""A reward model on TRL's trainer, full or LoRA, and how far it can be trusted.

    python -m reward
    python -m reward --ensemble 4 --use_peft true --learning_rate 1e-4

The loss is Bradley and Terry's, -log σ(r_chosen - r_rejected) (Ouyang et al. 2022,
https://arxiv.org/abs/2203.02155, equation 1). All pairs of a prompt stand on one side of the
split, and one rater's votes are kept out of training, so that accuracy is that on prompts and
raters not yet seen. A model below ``--floor`` is saved, but says of itself that PPO may not use it.

Records in: preference, and the ratings they were made from. Out: ``runs/<name>/reward/``: a
sequence-classification model or adapter whose ``config.json`` says what its scores mean, its
tokenizer with the chat template, ``evaluation.json``, ``evaluation.html``, ``metrics.json``,
``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse import run as runs
from inhouse.config import DataOptions, PrivacyOptions, RunOptions, Stage, parse, setting

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase
    from trl import ModelConfig, RewardConfig

    from inhouse.models.load import Model
    from reward.split import Split

STAGE = Stage(
    "reward",
    "python -m reward",
    "a scorer learns what raters prefer",
    reads="preferences/preferences.jsonl",
    mend="run `python -m labeling.preferences` first, or give your own with --dataset_name",
)


@dataclass
class RewardOptions:
    """What this stage adds to TRL's keys."""

    ratings: str | None = setting(
        None, "ratings.jsonl; else the one that the preferences were made from."
    )
    held_out_share: float = setting(0.2, "Share of prompts whose pairs only measure.")
    held_out_rater: str | None = setting(
        None, "A rater who only measures; else the one with the median agreement."
    )
    ensemble: int = setting(1, "Heads on one base, which may disagree.")
    floor: float = setting(
        0.65, "Accuracy on held-out prompts below which PPO may not use the model."
    )
    min_confidence: float = setting(0.6, "Confidence below which a score counts as not known.")
    truncate: bool = setting(False, "Cut the oldest prompt tokens of records over max_length.")
    shuffled_control: bool = setting(
        True, "Train once more on drawn winners: must find half of them."
    )
    house_rules: str | None = setting(
        None, "The house rules: a YAML file or a folder, for accuracy by rule."
    )
    best_of: int = setting(0, "Answers to a held-out prompt for the best-of-n curve; 0: none.")
    max_new_tokens: int = setting(128, "Tokens such an answer may have.")
    judge: str | None = setting(
        None, "A standard that nothing was optimised on, as module:function."
    )

    def __post_init__(self) -> None:
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share is {self.held_out_share}: give more than 0, below 1")
        if not 0.5 <= self.min_confidence < 1:
            raise ValueError(f"min_confidence is {self.min_confidence}: give 0.5 or more, below 1")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor is {self.floor}: give an accuracy from 0 to 1")
        for name, least in (("ensemble", 1), ("max_new_tokens", 1), ("best_of", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: give {least} or more")
        if self.best_of == 1:
            raise ValueError("best_of is 1: a choice needs 2 answers or more; 0 leaves it out")
        if self.judge and not self.best_of:
            raise ValueError("judge is set and best_of is not: the judge compares those answers")


def main() -> None:
    """Config, pairs, model, train, control, evaluate, save, finish."""
    kinds = (DataOptions, PrivacyOptions, RewardOptions)
    parsed = parse(STAGE, *kinds, trl=("RewardConfig", "ModelConfig"))
    options, read, privacy, own, training, model_args = parsed

    from inhouse.models.adapters import lora_config  # these take seconds, and --help must not
    from inhouse.training import loop, preflight
    from inhouse.training.options import check_settings, open_stage
    from inhouse.training.sampler import order_by_epoch
    from reward import evaluate, fit, prepare, split
    from reward.report import verdict

    check_settings(parsed.settings)
    inputs = find_inputs(options, read, privacy, own, model_args, training)
    run = open_stage(STAGE, parsed, inputs)

    start = model_args.model_name_or_path
    tokenizer, context = preflight.tokenizer_for(start, training)
    prepare.check_padding(tokenizer, start)
    prepare.check_template(tokenizer, start, Path(options.run_dir) / "sft")
    yardsticks = evaluate.Yardsticks.load(
        own.house_rules, own.judge, own.best_of, own.max_new_tokens, start
    )
    source, ratings = str(inputs["dataset_name"]), inputs.get("ratings")
    data = prepare.load(
        *(tokenizer, source, ratings, training.max_length, own.truncate, privacy, context)
    )
    parts = split.split(data.pairs, own.held_out_share, own.held_out_rater)
    leaked = split.leaks(parts)
    lora = lora_config(model_args, task_type="SEQ_CLS")
    model = fit.fresh(model_args, training.seed, own.ensemble)
    if options.dry_run:
        show_plan(training, model, lora, tokenizer, parts, run.folder)
        return

    loop.start(training, run)
    rows = [pair.row for pair in parts.train]
    trainer = fit.trainer_of(model, rows, tokenizer, training, lora)
    order_by_epoch(trainer)
    metrics = loop.train(trainer, run)
    model = trainer.accelerator.unwrap_model(trainer.model)
    scorer, held_out, seen = fit.calibrated(model, tokenizer, parts, own.min_confidence)
    evaluation = evaluate.evaluate(scorer, parts, held_out, seen, yardsticks, training.seed)
    evaluation |= {"leak_check": leaked} | data.told
    if own.shuffled_control:
        again = fit.fresh(model_args, training.seed, own.ensemble)
        evaluation["shuffled_control"] = fit.control(again, parts, tokenizer, training, lora)
    evaluation |= verdict(evaluation, own.floor)
    if runs.is_main_process():
        write(run, scorer, evaluation, parts.held_out)
    trainer.accelerator.wait_for_everyone()
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics | summary(evaluation),
        next_command="python -m rlhf.dpo",
    )


def find_inputs(
    options: RunOptions,
    read: DataOptions,
    privacy: PrivacyOptions,
    own: RewardOptions,
    model_args: ModelConfig,
    training: RewardConfig,
) -> dict[str, str | Path]:
    """What is read, by the setting that names it.

    Raises:
        InputError: a stage before this one has not run.
    """
    from inhouse.training import options as shared
    from reward.votes import snapshot_of

    found = shared.find_inputs(
        *(STAGE, options.run_dir, read.dataset_name, model_args, training),
        house_rules=own.house_rules,
        personal_data_allow=privacy.personal_data_allow,
        personal_data_ner=privacy.personal_data_ner,
    )
    ratings = own.ratings or snapshot_of(Path(found["dataset_name"]))
    return found | ({"ratings": ratings} if ratings else {})


def show_plan(
    training: RewardConfig,
    model: Model,
    lora: LoraConfig | None,
    tokenizer: PreTrainedTokenizerBase,
    parts: Split,
    folder: Path,
) -> None:
    """Print what the run will do, and the first pair's chosen answer."""
    from inhouse.chat import text_of
    from inhouse.training import plan

    rows = [pair.row for pair in parts.train]
    every, trained = plan.count_parameters(model, lora)
    plan.show(
        training,
        rows=len(rows),
        tokens=sum(len(ids) for row in rows for ids in row.values()),
        supervised=2 * len(rows),  # the score at the last token of each answer
        parameters=every,
        trainable=trained,
        folder=folder,
        example=text_of(tokenizer, rows[0]["chosen_ids"]),
    )


def write(run: runs.Run, scorer: Any, evaluation: dict[str, Any], held_out: list[Any]) -> None:
    """The model, checked by loading it again, and what is known of it."""
    from inhouse.files import write_atomically, write_json
    from reward import report, save

    fit, reason = evaluation["fit_for_ppo"], evaluation["reason"]
    calibration = replace(scorer.calibration, fit_for_ppo=fit, reason=reason)
    probes = [ids for pair in held_out[:16] for ids in pair.row.values()]
    evaluation["reload_difference"] = save.save(
        scorer.model, scorer.tokenizer, calibration, run.folder, probes
    )
    write_json(run.path("evaluation.json"), evaluation)
    write_atomically(run.path("evaluation.html"), report.render(str(run.folder), evaluation))
    for said in evaluation["warnings"]:
        print(f"note: {said}")
    print(f"fit for PPO: {'yes' if fit else 'no, ' + reason}")


def summary(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What of the evaluation stands in the manifest."""
    names = (
        *("agreement_ceiling", "shuffled_control", "ece", "fit_for_ppo", "reason", "split"),
        *("personal_data", "truncated"),
    )
    accuracy = evaluation["accuracy"]
    return {
        "held_out": accuracy["held_out_prompts"],
        "held_out_rater": accuracy["held_out_raters"],
        **{name: evaluation[name] for name in names},
    }
