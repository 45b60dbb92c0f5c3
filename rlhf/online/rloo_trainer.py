"""TRL's RLOOTrainer, watched: its arithmetic, each rollout judged before it is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from trl import RLOOTrainer

from rlhf.online.checks import check_first
from rlhf.online.guard import Guard
from rlhf.online.kl_control import KLController
from rlhf.online.reward_function import RewardFunction
from rlhf.online.sampler import EpochSampler, epoch_sampler
from rlhf.online.watch import Health, Watch


class WatchedRLOOTrainer(RLOOTrainer):
    """Goes back to the last good rollout on an alarm; KL costs twice as much from there."""

    args: Any  # an RLOOConfig
    model: Any
    max_completion_length: Any
    num_generations: Any

    def __init__(
        self,
        model: Any,
        reward: RewardFunction,
        max_kl: float,
        args: Any,
        train_dataset: Any,
        processing_class: Any,
        peft_config: Any,
    ):
        args.disable_dropout = True  # or the first ratio is not 1
        super().__init__(
            model=model,
            reward_funcs=reward,
            args=args,
            train_dataset=train_dataset,
            processing_class=processing_class,
            peft_config=peft_config,
        )
        self.reward = reward
        self.guard = Guard(Watch(max_kl), KLController(args.beta, None))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        guard = self.guard
        batch, now = self._judged(inputs)
        if not guard.watch.history:
            check_first(now, self.max_completion_length)
        while not guard.stopped and (reasons := guard.watch.alarms(now)):
            guard.roll_back(reasons, self.model, self.optimizer)
            self.beta = guard.kl.value
            batch, now = self._judged(inputs)
        if guard.stopped:
            self.control.should_training_stop = True
        else:
            guard.accept(now, self.model, self.optimizer)
        return batch

    def _judged(self, inputs: list[dict[str, Any]]) -> tuple[dict[str, Any], Health]:
        """TRL's batch, and what it says of the policy that wrote it."""
        batch = super()._generate_and_score_completions(inputs)
        logged = {name: values[-1] for name, values in self._metrics["train"].items() if values}
        tokens = self.accelerator.reduce(batch["completion_mask"].sum().float(), "sum")
        logps = self.accelerator.reduce(batch["old_logps"].sum(), "sum")
        length = logged["completions/mean_length"]
        opinions = self.reward.held_out.opinions if self.reward.held_out else None
        return batch, Health(
            rollout=len(self.guard.watch.history),
            score=logged["reward"],
            score_std=logged["reward_std"],
            held_out=self._mean(opinions) if opinions is not None else None,
            kl=logged["kl"] * length,  # TRL logs nats a token
            kl_error=None,  # and no spread
            kl_k3=None,
            length=length,
            ends=1 - logged["completions/clipped_ratio"],
            entropy=float(-logps / tokens),  # its estimate from what was sampled
        )

    def _mean(self, values: Sequence[float]) -> float:
        local = torch.tensor(values, device=self.accelerator.device)
        return self.accelerator.gather(local).mean().item()

    def settle(self, rows: Sequence[dict[str, Any]]) -> None:
        """Look at what the last update made; keep it only if it is healthy."""
        set_seed(self.args.seed, device_specific=True)
        share = self.args.generation_batch_size // self.args.world_size // self.num_generations
        inputs = [row for row in rows[:share] for _ in range(self.num_generations)]
        _, now = self._judged(inputs)
        self.guard.conclude(now, self.model, self.optimizer)

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        return epoch_sampler(self, dataset)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
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
