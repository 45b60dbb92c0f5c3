"""Proximal policy optimisation of the fine-tuned model against the composed reward, full or LoRA.

    python -m rlhf.ppo
    python -m rlhf.ppo --run_dir runs/mine --use_peft --learning_rate 1e-5

Starts from ``runs/<name>/sft``, which is also the reference. With LoRA the policy, critic,
reference and reward model are adapters on one frozen base (``rlhf.online.roles``); the reward model
joins them if it is an adapter on the same base, and otherwise keeps a base and a tokenizer of its
own. The loop is in ``rlhf.online.trainer``, its arithmetic in ``rlhf.online.advantages`` and
``rlhf.online.losses``.

Every rollout is watched (``rlhf.online.watch``): answers' length, end tokens, entropy, KL, and a
head of the reward ensemble that is not trained on. On an alarm the policy returns to the last good
rollout, and KL costs twice as much from there.

Records in: prompt. Out: ``runs/<name>/ppo/``: the model or adapter, its tokenizer with the chat
template, ``rollouts.jsonl``, ``rollouts.svg``, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from inhouse import run as runs
from inhouse.config import DataOptions, Stage, parse, setting
from inhouse.errors import InputError
from rlhf.online.options import OnlineOptions, PPOSettings

if TYPE_CHECKING:
    from trl import RLOOConfig

    from rlhf.online.stage import Start

STAGE = Stage(
    "ppo",
    "python -m rlhf.ppo",
    "the model learns from a reward on its own answers",
    reads="data/prompts.jsonl",
    mend="give your prompts with --dataset_name",
)


@dataclass
class PPOOptions:
    """How the critic starts."""

    critic: Literal["zero", "reward"] = setting(
        "zero", "Start the critic as the policy with a head of zeros, or as the reward."
    )


def main() -> None:
    """Config, and how policy, critic and reward are cast: the rest is as in RLOO."""
    kinds = (DataOptions, OnlineOptions, PPOOptions, PPOSettings)
    parsed = parse(STAGE, *kinds, trl=("RLOOConfig", "ModelConfig"))
    *_, own, settings, training, _ = parsed

    from rlhf.online import checks, stage  # takes seconds, and --help must not
    from rlhf.online.trainer import PPOTrainer

    one_answer_a_prompt(parsed.settings, training)

    def cast(start: stage.Start) -> stage.Cast:
        checks.check_checkpointing(training, start.adapted)
        play = cast_adapters if start.adapted else cast_full
        roles, reward = play(start, own.critic, training.seed)
        return stage.Cast(
            roles.model,
            lambda rows: PPOTrainer(roles, reward, settings, training, rows, start.tokenizer),
            roles.policy_alone,
        )

    stage.learn(STAGE, parsed, cast)


def one_answer_a_prompt(settings: dict[str, Any], training: RLOOConfig) -> None:
    """A learned critic needs no group of answers to compare; TRL's config insists on two.

    Raises:
        InputError: the user asks for a group.
    """
    if "num_generations" in settings:
        raise InputError(
            f"num_generations is {training.num_generations}: PPO's critic takes the place of a "
            "group of answers; leave it out, or use `python -m rlhf.rloo`"
        )
    training.num_generations = 1


def cast_adapters(start: Start, critic: str, seed: int) -> tuple[Any, Any]:
    """Policy, critic and reference as adapters on one base, and the reward model where it can.

    Raises:
        InputError: a critic that is to start as a reward model on another base.
    """
    from rlhf.online import roles, stage

    teacher = start.teacher
    shared = teacher if teacher is not None and teacher.shares_base else None
    if critic == "reward" and shared is None:
        raise InputError(
            "critic is 'reward', and the reward model is no adapter on the policy's base: leave "
            "critic out, or train the reward model with `python -m reward --use_peft`"
        )
    players = roles.adapters(
        start.model,
        start.lora,
        seed=seed,
        reward=shared.folder if shared else None,
        calibration=shared.calibration if shared else None,
        critic=critic,
    )
    if shared is None:
        return players, stage.load_reward(start.inputs, None)
    scorer = roles.SharedScorer(players, start.tokenizer, shared.calibration)
    return players, stage.load_reward(start.inputs, scorer.assess)


def cast_full(start: Start, critic: str, seed: int) -> tuple[Any, Any]:
    """Policy and critic with all their parameters, and the reward model on its own base.

    Raises:
        InputError: a critic that is to start as a reward model which it cannot be.
    """
    from inhouse.generation.score import Scorer
    from inhouse.models.adapters import is_adapter
    from rlhf.online import roles, stage

    teacher = start.teacher
    if critic == "reward" and (teacher is None or is_adapter(teacher.folder)):
        raise InputError(
            "critic is 'reward', and there is no whole reward model that a critic with all its "
            "parameters could start as: leave critic out"
        )
    scorer = Scorer(teacher.folder) if teacher else None
    reward = stage.load_reward(start.inputs, scorer.assess if scorer else None)
    if critic == "zero":
        return roles.full(start.model), reward
    assert scorer is not None and teacher is not None
    roles.check_same_shape(start.model, scorer.model, teacher.folder)
    return roles.full(start.model, scorer), reward


if __name__ == "__main__":
    runs.command(main)
