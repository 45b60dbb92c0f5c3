"""TRL's RLOOTrainer, watched: each rollout is judged before it is learned from.

What PPO and RLOO share: the order of prompts, the guard and its checkpoints, the last look. RLOO
adds nothing but what its rollouts look like; its arithmetic is TRL's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from trl import RLOOConfig, RLOOTrainer
from trl.trainer.utils import RepeatSampler

from rlhf.online.checks import check_first
from rlhf.online.guard import Guard, KLController
from rlhf.online.reward_function import RewardFunction
from rlhf.online.watch import Health, Watch

if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

Batch = dict[str, Tensor]


class EpochSampler(RepeatSampler):
    """TRL's sampler with each epoch's order drawn from the seed and the epoch's number.

    TRL draws one epoch after another from one generator, which a resumed run begins anew: from its
    second epoch on it would ask other prompts than the run that was not interrupted.
    """

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch, by transformers through accelerate's data loader."""
        if self.shuffle:
            assert self.seed is not None  # TRL's config has one
            self.generator.manual_seed(self.seed + epoch)


def epoch_sampler(trainer: Any, dataset: Dataset | None) -> EpochSampler:
    """TRL's own order of a trainer's rollouts (``RLOOTrainer._get_train_sampler``), by epoch."""
    args = trainer.args
    return EpochSampler(
        data_source=trainer.train_dataset if dataset is None else dataset,
        mini_repeat_count=trainer.num_generations,
        batch_size=args.generation_batch_size // trainer.num_generations,
        repeat_count=trainer.num_iterations * args.steps_per_generation,
        shuffle=trainer.shuffle_dataset,
        seed=args.seed,
    )


class Looked(Protocol):
    """A rollout with its figures."""

    @property
    def health(self) -> Health:
        """The rollout in figures."""


class WatchedTrainer(RLOOTrainer):
    """Goes back to the last good rollout on an alarm; KL costs twice as much from there."""

    args: Any  # an RLOOConfig
    model: Any
    optimizer: Any  # None before training only
    max_completion_length: Any
    num_generations: Any

    def __init__(self, guard: Guard, reward: RewardFunction, args: RLOOConfig, **given: Any):
        args.disable_dropout = True  # or the first ratio is not 1
        super().__init__(args=args, reward_funcs=reward, **given)
        self.reward, self.guard = reward, guard

    def _roll(self, inputs: list[dict[str, Any]]) -> Looked:
        """Let the policy answer, and sum up what it wrote."""
        raise NotImplementedError

    def _as_batch(self, rollout: Any) -> Batch:
        """What is learned from a rollout, in the shape that TRL cuts into mini-batches."""
        raise NotImplementedError

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Batch:
        guard, rollout = self.guard, self._roll(inputs)
        if not guard.watch.history:
            check_first(rollout.health, self.max_completion_length)
        while not guard.stopped and (reasons := guard.watch.alarms(rollout.health)):
            guard.roll_back(reasons, self.model, self.optimizer)
            self.beta = guard.kl.value
            rollout = self._roll(inputs)
        batch = self._as_batch(rollout)
        if guard.stopped:
            self.control.should_training_stop = True
        else:
            guard.accept(rollout.health, self.model, self.optimizer)
        return batch

    def settle(self, rows: Sequence[dict[str, Any]]) -> None:
        """Look at what the last update made; keep it only if it is healthy.

        Args:
            rows: prompts to look with; a rollout's worth is taken.
        """
        set_seed(self.args.seed, device_specific=True)
        share = self.args.generation_batch_size // self.args.world_size // self.num_generations
        inputs = [row for row in rows[:share] for _ in range(self.num_generations)]
        self.guard.conclude(self._roll(inputs).health, self.model, self.optimizer)

    def _held_out_opinion(self) -> float | None:
        """What the head of the reward ensemble that is not climbed says, on average."""
        return self._mean(self.reward.held_out.opinions) if self.reward.held_out else None

    def _mean(self, values: Sequence[float]) -> float:
        """The mean over all processes; each holds equally many."""
        local = torch.tensor(values, device=self.accelerator.device)
        return self.accelerator.gather(local).mean().item()

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        return epoch_sampler(self, dataset)

    def _save_checkpoint(self, model: nn.Module, trial: object) -> None:
        # Before TRL's files: trainer_state.json comes last and says that all of it is there.
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        self.guard.save(folder, self.accelerator.process_index)
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.guard.load(Path(checkpoint), self.accelerator.process_index)
            self.beta = self.guard.kl.value


@dataclass(frozen=True)
class Judged:
    """TRL's batch, and what it says of the policy that wrote it."""

    batch: Batch
    health: Health


class WatchedRLOOTrainer(WatchedTrainer):
    """TRL's arithmetic behind the watch."""

    def __init__(
        self,
        model: Model,
        reward: RewardFunction,
        max_kl: float,
        args: RLOOConfig,
        train_dataset: Dataset,
        processing_class: PreTrainedTokenizerBase,
        peft_config: LoraConfig | None,
    ):
        super().__init__(
            Guard(Watch(max_kl), KLController(args.beta, None)),
            reward,
            args,
            model=model,
            train_dataset=train_dataset,
            processing_class=processing_class,
            peft_config=peft_config,
        )

    def _roll(self, inputs: list[dict[str, Any]]) -> Judged:
        batch = RLOOTrainer._generate_and_score_completions(self, inputs)
        logged = {name: values[-1] for name, values in self._metrics["train"].items() if values}
        tokens = self.accelerator.reduce(batch["completion_mask"].sum().float(), "sum")
        logps = self.accelerator.reduce(batch["old_logps"].sum(), "sum")
        length = logged["completions/mean_length"]
        health = Health(
            rollout=len(self.guard.watch.history),
            score=logged["reward"],
            score_std=logged["reward_std"],
            held_out=self._held_out_opinion(),
            kl=logged["kl"] * length,  # TRL logs nats a token
            kl_error=None,  # and no spread
            kl_k3=None,
            length=length,
            ends=1 - logged["completions/clipped_ratio"],
            entropy=float(-logps / tokens),  # its estimate from what was sampled
        )
        return Judged(batch, health)

    def _as_batch(self, rollout: Judged) -> Batch:
        return rollout.batch
