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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from inhouse import run as runs
from inhouse.config import Stage, parse
from inhouse.errors import InputError

if TYPE_CHECKING:
    from rlhf.online.stage import Judge

STAGE = Stage("ppo", "python -m rlhf.ppo", "the model learns from a reward on its own answers")


@dataclass
class PPOOptions:
    """What is read, and how the critic starts."""

    dataset_name: str | None = field(
        default=None, metadata={"help": "Prompts; else RUN_DIR/data/prompts.jsonl."}
    )
    reward_model: str | None = field(
        default=None, metadata={"help": "The reward model; else RUN_DIR/reward."}
    )
    rewards: str = field(
        default="configs/rewards.yaml",
        metadata={"help": "What the reward is composed of, and by which weights."},
    )
    house_rules: str | None = field(
        default=None, metadata={"help": "House rules that count in the reward, and block."}
    )
    critic: Literal["zero", "reward"] = field(
        default="zero",
        metadata={"help": "Start the critic as the policy with a head of zeros, or as the reward."},
    )


@dataclass
class PPOSettings:
    """PPO's own settings; TRL's keys hold the rest (beta, epsilon, num_iterations …)."""

    gamma: float = field(default=1.0, metadata={"help": "Discount a token."})
    lam: float = field(default=0.95, metadata={"help": "GAE's lambda: 1 is Monte Carlo."})
    vf_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    # Off: a range of 0.2 presumes rewards of unit scale. The composed reward goes down to -8.5,
    # and a critic that is held near its last values follows it slowly (docs/decisions/0009).
    cliprange_value: float | None = field(
        default=None, metadata={"help": "How far a value may move in one rollout; null: any."}
    )
    value_learning_rate: float = field(default=1e-5, metadata={"help": "The critic's own rate."})
    value_warmup: int = field(
        default=1, metadata={"help": "Rollouts at first in which only the critic learns."}
    )
    target_kl: float | None = field(
        default=None,
        metadata={"help": "Nats an answer that beta adapts to hold; null: beta is fixed."},
    )
    max_kl: float = field(
        default=20.0, metadata={"help": "Nats an answer above which the policy is rolled back."}
    )
    max_step_kl: float = field(
        default=0.1,
        metadata={"help": "Nats a token that the policy may move in one rollout before it holds."},
    )
    missing_eos_penalty: float = field(
        default=1.0, metadata={"help": "What an answer loses that does not end by itself."}
    )

    def __post_init__(self) -> None:
        for name, low, high in (("gamma", 0, 1), ("lam", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}: give {low} to {high}")
        for name in ("target_kl", "max_kl", "max_step_kl", "cliprange_value"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: give more than 0")
        if self.target_kl is not None and not self.target_kl < self.max_kl:
            raise ValueError(f"target_kl {self.target_kl} is not below max_kl {self.max_kl}")


def main() -> None:
    """Config, prompts, roles, reward, trainer, train, settle, save, finish."""
    parsed = parse(STAGE, PPOOptions, PPOSettings, trl=("RLOOConfig", "ModelConfig"))
    options, own, settings, training, model_args = parsed

    import datasets  # these take seconds, and --help must not

    from inhouse import chat, records
    from inhouse.models.adapters import is_adapter, lora_config
    from inhouse.models.load import load_causal_lm, load_tokenizer
    from inhouse.training import loop
    from inhouse.training.options import check_settings, stage_folder
    from rlhf.online import checks
    from rlhf.online import stage as online
    from rlhf.online.trainer import PPOTrainer

    check_settings(parsed.settings)
    checks.check_settings(parsed.settings, training)
    one_answer_a_prompt(parsed.settings, training)
    inputs = online.find_inputs(options, own, model_args, training)
    folder = stage_folder(parsed, options, STAGE.name)
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)

    start = str(inputs["model_name_or_path"])
    tokenizer = load_tokenizer(start)
    longest = training.max_completion_length
    prompts = online.read_prompts(str(inputs["dataset_name"]), tokenizer, start, longest)
    steps = checks.check_rollouts(training, len(prompts))
    judge = online.find_judge(inputs, tokenizer)
    lora = lora_config(model_args)
    adapted = lora is not None or is_adapter(start)
    checks.check_checkpointing(training, adapted)
    model = load_causal_lm(
        start,
        dtype=model_args.dtype,
        attn_implementation=model_args.attn_implementation,
        trainable=True,
    )
    first = chat.prompt_ids(tokenizer, records.Prompt(**prompts[0]).prompt)
    checks.check_padding(model, first, tokenizer.pad_token_id, start)
    play = cast_adapters if adapted else cast_full
    roles, reward = play(model, lora, tokenizer, inputs, judge, own.critic, training.seed)
    if options.dry_run:
        example = tokenizer.decode(first)
        online.print_plan(training, prompts, steps, roles.model, folder, example)
        return

    run.start()
    training.output_dir = str(run.path(runs.CHECKPOINTS))
    trainer = PPOTrainer(
        roles, reward, settings, training, datasets.Dataset.from_list(prompts), tokenizer
    )
    metrics = online.train(trainer, trainer.guard, run, steps)
    trainer.settle(prompts)
    online.write_results(trainer.guard, run)
    roles.policy_alone()
    loop.save(trainer, tokenizer, run)
    run.finish(
        config=tuple(parsed),
        seed=training.seed,
        metrics=metrics | trainer.guard.metrics(),
        next_command="python -m review",
    )


def one_answer_a_prompt(settings: dict[str, Any], training: Any) -> None:
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


def cast_adapters(
    model: Any,
    lora: Any,
    tokenizer: Any,
    inputs: dict[str, Any],
    judge: Judge | None,
    critic: str,
    seed: int,
) -> tuple[Any, Any]:
    """Policy, critic and reference as adapters on one base, and the reward model where it can.

    Raises:
        InputError: a critic that is to start as a reward model on another base.
    """
    from rlhf.online import roles
    from rlhf.online import stage as online

    shared = judge if judge is not None and judge.shares_base else None
    if critic == "reward" and shared is None:
        raise InputError(
            "critic is 'reward', and the reward model is no adapter on the policy's base: leave "
            "critic out, or train the reward model with `python -m reward --use_peft`"
        )
    players = roles.adapters(
        model,
        lora,
        seed=seed,
        reward=shared.folder if shared else None,
        calibration=shared.calibration if shared else None,
        critic=critic,
    )
    if shared is None:
        return players, online.load_reward(inputs, None)
    scorer = roles.SharedScorer(players, tokenizer, shared.calibration)
    return players, online.load_reward(inputs, scorer.assess)


def cast_full(
    model: Any,
    lora: Any,
    tokenizer: Any,
    inputs: dict[str, Any],
    judge: Judge | None,
    critic: str,
    seed: int,
) -> tuple[Any, Any]:
    """Policy and critic with all their parameters, and the reward model on its own base.

    Raises:
        InputError: a critic that is to start as a reward model which it cannot be.
    """
    from inhouse.generation.score import Scorer
    from inhouse.models.adapters import is_adapter
    from rlhf.online import roles
    from rlhf.online import stage as online

    if critic == "reward" and (judge is None or is_adapter(judge.folder)):
        raise InputError(
            "critic is 'reward', and there is no whole reward model that a critic with all its "
            "parameters could start as: leave critic out"
        )
    scorer = Scorer(judge.folder) if judge else None
    reward = online.load_reward(inputs, scorer.assess if scorer else None)
    if critic == "zero":
        return roles.full(model), reward
    assert scorer is not None and judge is not None
    roles.check_same_shape(model, scorer.model, judge.folder)
    return roles.full(model, scorer), reward


if __name__ == "__main__":
    runs.command(main)
