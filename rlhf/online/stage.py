"""What PPO and RLOO do alike: inputs, prompts, the reward, one bar, what is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import ProgressCallback

from inhouse import run as runs
from inhouse.chat import prompt_ids
from inhouse.config import RunOptions
from inhouse.errors import InputError
from inhouse.files import write_atomically
from inhouse.generation.score import Calibration
from inhouse.models.adapters import is_adapter
from inhouse.models.folder import check_arguments, context_length, find_base, load_config, locate
from inhouse.models.load import load_tokenizer
from inhouse.records import Prompt, plain, positions, read
from inhouse.run import Run, is_main_process
from inhouse.training import loop
from rlhf.online import checks
from rlhf.online.guard import Guard
from rlhf.online.progress import Progress
from rlhf.online.reward_function import RewardFunction, calibration_of, check_fit, check_template
from rlhf.online.rewards import Rewards, Text
from rlhf.online.rewards import read as read_composition
from rlhf.online.watch import plots


def find_inputs(
    options: RunOptions, own: Any, model_args: Any, training: Any
) -> dict[str, str | Path]:
    """What the stage reads: named, or else found in the campaign. Fills in the model's place.

    Raises:
        InputError: a parent stage is missing, or the model is none.
    """
    campaign = Path(options.run_dir)
    if model_args.model_name_or_path is None:
        model_args.model_name_or_path = str(
            runs.require(campaign / "sft", f"run `python -m sft --run_dir {campaign}` first")
        )
    check_arguments(model_args, training)
    found: dict[str, str | Path] = {
        "model_name_or_path": model_args.model_name_or_path,
        "dataset_name": own.dataset_name
        or runs.require(
            campaign / "data" / "prompts.jsonl", "give your prompts with --dataset_name"
        ),
        "rewards": own.rewards,
    }
    if "learned" in read_composition(Path(own.rewards)).weights:
        found["reward_model"] = own.reward_model or runs.require(
            campaign / "reward",
            f"run `python -m reward --run_dir {campaign}` first, or give a reward model with "
            "--reward_model",
        )
    return found | ({"house_rules": own.house_rules} if own.house_rules else {})


def read_prompts(source: str, tokenizer: Any, model: str, longest: int) -> list[dict[str, Any]]:
    """TRL's rows, ``prompt`` as messages, each with room behind it for an answer.

    Raises:
        InputError: a prompt that cannot be rendered, or leaves no room.
    """
    prompts = read(source, Prompt)
    places = positions(source, len(prompts))
    lengths = []
    for record, place in zip(prompts, places, strict=True):
        try:
            lengths.append(len(prompt_ids(tokenizer, record.prompt)))
        except InputError as error:
            raise InputError(f"{source}, {place}: {error}") from None
    context = context_length(load_config(find_base(model)))
    checks.check_room(lengths, places, source, longest, context)
    return [{"prompt": plain(record.prompt)} for record in prompts]


@dataclass(frozen=True)
class Judge:
    """A reward model that may teach: its folder, and whether it can stand on the policy's base."""

    folder: str
    calibration: Calibration
    shares_base: bool


def find_judge(inputs: dict[str, str | Path], tokenizer: Any) -> Judge | None:
    """The reward model among the inputs, if the composition weighs one.

    Raises:
        GateError: it is marked unfit.
        InputError: it reads conversations through another chat template.
    """
    if "reward_model" not in inputs:
        return None
    folder, policy = locate(str(inputs["reward_model"])), str(inputs["model_name_or_path"])
    reward_tokenizer = load_tokenizer(folder)
    same_tokens = check_template(tokenizer, reward_tokenizer, folder)
    calibration = calibration_of(folder, reward_tokenizer)
    check_fit(calibration, folder)
    stands_on = Path(find_base(folder)).resolve()
    shares = same_tokens and is_adapter(folder) and stands_on == Path(find_base(policy)).resolve()
    return Judge(folder, calibration, shares)


def load_reward(
    inputs: dict[str, str | Path], assess: Callable[[Sequence[Text]], Any] | None
) -> RewardFunction:
    """The composed reward; ``assess`` is a reward model that is in memory already."""
    rewards = Rewards.load(
        inputs["rewards"], inputs.get("reward_model"), inputs.get("house_rules"), learned=assess
    )
    return RewardFunction(rewards)


def print_plan(
    training: Any, rows: Sequence[Any], steps: int, model: Any, folder: Path, example: str
) -> None:
    """Print what a run would do: rollouts, steps, what is trained, and one prompt."""
    if not is_main_process():
        return
    size = training.generation_batch_size
    per_epoch = len(rows) * training.num_generations // size
    rollouts = (
        training.max_steps // steps
        if training.max_steps > 0
        else int(per_epoch * training.num_train_epochs)
    )
    weights = list(model.parameters())
    print(
        f"prompts      {len(rows)}\n"
        f"rollouts     {rollouts} of {size} answers, {rollouts * size} answers in all\n"
        f"steps        {rollouts * steps}, {steps} a rollout\n"
        f"parameters   {sum(w.numel() for w in weights):,} "
        f"({sum(w.numel() for w in weights if w.requires_grad):,} trained)\n"
        f"results      {folder}\n"
        f"example:\n{example}"
    )


def train(trainer: Any, guard: Guard, run: Run, steps: int) -> dict[str, Any]:
    """Train with one bar over all rollouts; return the figures."""
    trainer.remove_callback(ProgressCallback)
    whole = trainer.args.max_steps
    if whole <= 0:
        batches = len(trainer.get_train_dataloader()) // trainer.args.gradient_accumulation_steps
        whole = int(batches * trainer.args.num_train_epochs)
    guard.progress = Progress(run.stage.name, whole // steps)
    metrics = loop.train(trainer, run)
    guard.progress.close()
    return metrics


def write_results(guard: Guard, run: Run) -> None:
    """Each rollout's figures, as JSON Lines and as charts."""
    if is_main_process():
        lines = [json.dumps(row) + "\n" for row in guard.watch.state()]
        write_atomically(run.path("rollouts.jsonl"), "".join(lines))
        write_atomically(run.path("rollouts.svg"), plots(run.stage.name, guard.watch.history))
