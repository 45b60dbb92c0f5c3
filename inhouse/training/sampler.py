"""The order of training rows, the same whether an epoch is begun or gone on with after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from transformers import Trainer


class EpochSampler(Sampler[int]):
    """A sampler whose order is drawn from the seed and the epoch's number alone.

    transformers tells an epoch's number to accelerate's sampler, but not through the one that skips
    what was trained on before a kill, and samplers by length draw from the global generator: from
    the second epoch on, a resumed run would see other rows than one that was never interrupted.
    """

    def __init__(self, sampler: Any, trainer: Trainer) -> None:
        self.sampler, self.trainer = sampler, trainer

    def __iter__(self) -> Iterator[int]:
        epoch = int(self.trainer.state.epoch or 0)  # whole at its beginning; where to go on, else
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.trainer.args.seed + epoch)
            return iter(list(self.sampler))

    def __len__(self) -> int:
        return len(self.sampler)


def order_by_epoch(trainer: Any) -> None:
    """Put an :class:`EpochSampler` around the one that the trainer will choose."""
    choose = trainer._get_train_sampler

    def chosen(dataset: Any = None) -> EpochSampler:
        return EpochSampler(choose(dataset), trainer)

    trainer._get_train_sampler = chosen
