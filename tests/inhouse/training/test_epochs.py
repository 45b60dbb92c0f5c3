"""The order of rows: the same for an epoch begun and one gone on with, another in each epoch."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import RandomSampler, SequentialSampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from inhouse.training.sampler import order_by_epoch

ROWS = range(40)
CHOSEN = {
    "random": lambda: RandomSampler(ROWS),
    "by length": lambda: LengthGroupedSampler(2, lengths=[row % 7 for row in ROWS]),
}


def order(make, epoch: float, seed: int = 0) -> list[int]:
    trainer = SimpleNamespace(
        state=SimpleNamespace(epoch=epoch),
        args=SimpleNamespace(seed=seed),
        _get_train_sampler=lambda dataset: make(),
    )
    order_by_epoch(trainer)
    sampler = trainer._get_train_sampler()
    assert len(sampler) == len(ROWS)
    return list(sampler)


@pytest.mark.parametrize("name", CHOSEN)
def test_an_epoch_has_one_order_whatever_was_drawn_before(name):
    torch.manual_seed(1)
    begun = order(CHOSEN[name], 1.0)
    torch.rand(3)
    gone_on_with = order(CHOSEN[name], 1.75)
    assert begun == gone_on_with and sorted(begun) == list(ROWS)
    assert order(CHOSEN[name], 0.0) != begun != order(CHOSEN[name], 1.0, seed=5)


def test_drawing_an_order_leaves_the_global_generator_as_it_was():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    order(CHOSEN["random"], 2.0)
    assert torch.equal(torch.rand(1), expected)


def test_an_order_that_is_not_drawn_stays():
    assert order(lambda: SequentialSampler(ROWS), 3.0) == list(ROWS)
