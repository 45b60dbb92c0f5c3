"""What PPO and RLOO read, and PPO's own settings, beside TRL's keys."""

from __future__ import annotations

from dataclasses import dataclass

from inhouse.config import setting


@dataclass
class OnlineOptions:
    """What the reward is made of."""

    reward_model: str | None = setting(None, "The reward model; else RUN_DIR/reward.")
    rewards: str = setting(
        "configs/rewards.yaml", "What the reward is composed of, and by which weights."
    )
    house_rules: str | None = setting(None, "House rules that count in the reward, and block.")


@dataclass
class PPOSettings:
    """PPO's own settings; TRL's keys hold the rest (beta, epsilon, num_iterations …)."""

    gamma: float = setting(1.0, "Discount a token.")
    lam: float = setting(0.95, "GAE's lambda: 1 is Monte Carlo.")
    vf_coef: float = setting(0.1, "Weight of the value loss.")
    # Off: a range of 0.2 presumes rewards of unit scale. The composed reward goes down to -8.5,
    # and a critic that is held near its last values follows it slowly (docs/decisions/0009).
    cliprange_value: float | None = setting(
        None, "How far a value may move in one rollout; null: any."
    )
    value_learning_rate: float = setting(1e-5, "The critic's own rate.")
    value_warmup: int = setting(1, "Rollouts at first in which only the critic learns.")
    target_kl: float | None = setting(
        None, "Nats an answer that beta adapts to hold; null: beta is fixed."
    )
    max_kl: float = setting(20.0, "Nats an answer above which the policy is rolled back.")
    max_step_kl: float = setting(
        0.1, "Nats a token that the policy may move in one rollout before it holds."
    )
    missing_eos_penalty: float = setting(1.0, "What an answer loses that does not end by itself.")

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
