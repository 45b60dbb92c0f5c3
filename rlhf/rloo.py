"""REINFORCE leave-one-out on TRL's own trainer, with PPO's reward, watch and manifest.

    python -m rlhf.rloo

No critic: several answers to each prompt are compared with one another (Ahmadian et al. 2024,
https://arxiv.org/abs/2402.14740). The arithmetic is TRL's; what is added is the composed reward
and the watch of ``rlhf.online.watch``, so that it can be compared with ``python -m rlhf.ppo``.

Records in: prompt. Out: ``runs/<name>/rloo/``: the model or adapter, its tokenizer with the chat
template, ``rollouts.jsonl``, ``rollouts.svg``, ``metrics.json``, ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass

from inhouse import run as runs
from inhouse.config import DataOptions, Stage, parse, setting
from rlhf.online.options import OnlineOptions

STAGE = Stage(
    "rloo",
    "python -m rlhf.rloo",
    "the model learns by comparing its own answers",
    reads="data/prompts.jsonl",
    mend="give your prompts with --dataset_name",
)


@dataclass
class RLOOOptions:
    """What the watch allows."""

    max_kl: float = setting(20.0, "Nats an answer above which the policy is rolled back.")

    def __post_init__(self) -> None:
        if not self.max_kl > 0:
            raise ValueError(f"max_kl is {self.max_kl}: give more than 0")


def main() -> None:
    """Config, and the trainer: the rest is as in PPO."""
    kinds = (DataOptions, OnlineOptions, RLOOOptions)
    parsed = parse(STAGE, *kinds, trl=("RLOOConfig", "ModelConfig"))
    *_, own, training, _ = parsed

    from rlhf.online import stage  # takes seconds, and --help must not
    from rlhf.online.watched import WatchedRLOOTrainer

    def cast(start: stage.Start) -> stage.Cast:
        reward = stage.load_reward(start.inputs, None)
        return stage.Cast(
            start.model,
            lambda rows: WatchedRLOOTrainer(
                start.model, reward, own.max_kl, training, rows, start.tokenizer, start.lora
            ),
        )

    stage.learn(STAGE, parsed, cast)


if __name__ == "__main__":
    runs.command(main)
