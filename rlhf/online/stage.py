"""The story of PPO and RLOO: prompts, roles, reward, trainer, train, settle, save."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
from transformers import PreTrainedTokenizerBase, ProgressCallback

from inhouse import run as runs
from inhouse.chat import prompt_ids, text_of
from inhouse.config import Parsed, Stage
from inhouse.errors import InputError, refusals
from inhouse.files import write_atomically
from inhouse.generation.score import Calibration
from inhouse.models.adapters import is_adapter, lora_config
from inhouse.models.folder import context_length, find_base, load_config, locate
from inhouse.models.load import Model, carry_ends, load_causal_lm, load_tokenizer
from inhouse.records import Prompt, plain, read_placed
from inhouse.run import Run, is_main_process
from inhouse.training import loop
from inhouse.training.options import check_settings, find_inputs, open_stage
from rlhf.online import checks
from rlhf.online.guard import Guard, Progress
from rlhf.online.options import OnlineOptions
from rlhf.online.reward_function import RewardFunction, calibration_of, check_fit, check_template
from rlhf.online.rewards import Rewards, Text
from rlhf.online.rewards import read as read_composition
from rlhf.online.watch import plots

if TYPE_CHECKING:
    from peft import LoraConfig

    from rlhf.online.watched import WatchedTrainer


@dataclass(frozen=True)
class Teacher:
    """A reward model that may teach: its folder, and whether it can stand on the policy's base."""

    folder: str
    calibration: Calibration
    shares_base: bool


@dataclass(frozen=True)
class Start:
    """What training starts from. ``lora`` are a new adapter's settings, or None."""

    model: Model
    lora: LoraConfig | None
    adapted: bool
    tokenizer: PreTrainedTokenizerBase
    inputs: dict[str, str | Path]
    teacher: Teacher | None


@dataclass(frozen=True)
class Cast:
    """A model whose parts are given out: the trainer that it gets, and what is left to save."""

    model: Any
    trainer: Callable[[datasets.Dataset], Any]
    policy_alone: Callable[[], Any] = lambda: None


def learn(stage: Stage, parsed: Parsed, cast: Callable[[Start], Cast]) -> None:
    """Prompts, roles, reward, trainer, train, settle, save, finish."""
    options, read, own, *_, training, model_args = parsed
    check_settings(parsed.settings)
    checks.check_settings(parsed.settings, training)
    inputs = find_inputs(
        *(stage, options.run_dir, read.dataset_name, model_args, training),
        rewards=own.rewards,
        house_rules=own.house_rules,
    )
    inputs |= find_reward_model(own, Path(options.run_dir))
    run = open_stage(stage, parsed, inputs)

    name = str(inputs["model_name_or_path"])
    tokenizer = load_tokenizer(name)
    longest = training.max_completion_length
    prompts = read_prompts(str(inputs["dataset_name"]), tokenizer, name, longest)
    steps = checks.check_rollouts(training, len(prompts))
    teacher = find_teacher(inputs, tokenizer)
    lora = lora_config(model_args)
    adapted = lora is not None or is_adapter(name)
    model = load_causal_lm(
        name,
        dtype=model_args.dtype,
        attn_implementation=model_args.attn_implementation,
        trainable=True,
    )
    carry_ends(model, tokenizer)  # TRL reads from there where an answer ends
    first = prompt_ids(tokenizer, Prompt(**prompts[0]).prompt)
    checks.check_padding(model, first, tokenizer.pad_token_id, name)
    players = cast(Start(model, lora, adapted, tokenizer, inputs, teacher))
    if options.dry_run:
        show_plan(training, prompts, steps, players.model, run.folder, text_of(tokenizer, first))
        return

    loop.start(training, run)
    with refusals("the trainer"):
        trainer = players.trainer(datasets.Dataset.from_list(prompts))
    metrics = train(trainer, run, steps)
    trainer.settle(prompts)
    write_results(trainer.guard, run)
    players.policy_alone()
    loop.save(trainer, tokenizer, run)
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics | trainer.guard.metrics(),
        next_command="python -m review",
    )


def find_reward_model(own: OnlineOptions, campaign: Path) -> dict[str, str | Path]:
    """The reward model that is named or the run's, where the composition weighs one.

    Raises:
        InputError: it weighs one, and there is none.
    """
    if "learned" not in read_composition(Path(own.rewards)).weights:
        return {}
    mend = f"run `python -m reward --run_dir {campaign}` first, or give one with --reward_model"
    return {"reward_model": own.reward_model or runs.require(campaign / "reward", mend)}


def read_prompts(
    source: str, tokenizer: PreTrainedTokenizerBase, model: str, longest: int
) -> list[dict[str, Any]]:
    """TRL's rows, ``prompt`` as messages, each with room behind it for an answer.

    Raises:
        InputError: a prompt that cannot be rendered, or leaves no room.
    """
    placed = read_placed(source, Prompt)
    places, prompts = [place for place, _ in placed], [record for _, record in placed]
    lengths = []
    for record, place in zip(prompts, places, strict=True):
        try:
            lengths.append(len(prompt_ids(tokenizer, record.prompt)))
        except InputError as error:
            raise InputError(f"{source}, {place}: {error}") from None
    context = context_length(load_config(find_base(model)))
    checks.check_room(lengths, places, source, longest, context)
    return [{"prompt": plain(record.prompt)} for record in prompts]


def find_teacher(
    inputs: dict[str, str | Path], tokenizer: PreTrainedTokenizerBase
) -> Teacher | None:
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
    return Teacher(folder, calibration, shares)


def load_reward(
    inputs: dict[str, str | Path], assess: Callable[[Sequence[Text]], Any] | None
) -> RewardFunction:
    """The composed reward; ``assess`` is a reward model that is in memory already."""
    rewards = Rewards.load(
        inputs["rewards"], inputs.get("reward_model"), inputs.get("house_rules"), learned=assess
    )
    return RewardFunction(rewards)


def show_plan(
    training: Any, rows: Sequence[Any], steps: int, model: Model, folder: Path, example: str
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


def train(trainer: WatchedTrainer, run: Run, steps: int) -> dict[str, Any]:
    """Train a watched trainer with one bar over all rollouts; return the figures."""
    trainer.remove_callback(ProgressCallback)
    whole = trainer.args.max_steps
    if whole <= 0:
        batches = len(trainer.get_train_dataloader()) // trainer.args.gradient_accumulation_steps
        whole = int(batches * trainer.args.num_train_epochs)
    guard: Guard = trainer.guard
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
