"""The order in which prompts are asked, the same whether an epoch is gone on with or begun."""

from __future__ import annotations

from typing import Any

from trl.trainer.utils import RepeatSampler


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


def epoch_sampler(trainer: Any, dataset: Any) -> EpochSampler:
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
