"""PPO's losses against numbers worked out by hand."""

import math

import pytest
import torch

from rlhf.online.arithmetic import moved, policy_loss, value_loss


def policy(ratio: float, advantage: float) -> tuple[float, float]:
    """One token's loss, and its gradient with respect to the log-probability."""
    logp = torch.tensor(math.log(ratio), dtype=torch.float64, requires_grad=True)
    loss, found = policy_loss(logp, torch.zeros(()), torch.tensor(advantage), 0.2, 0.3)
    loss.backward()
    assert found.item() == pytest.approx(ratio)
    return loss.item(), logp.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),  # nothing clipped: -rA, and d(-rA)/dlogp = -rA
        (1.5, 2.0, -2.6, 0.0),  # over 1.3 and good: held at 1.3, no further pull
        (0.5, 2.0, -1.0, -1.0),  # under 0.8 but good: pulled back up
        (0.5, -2.0, 1.6, 0.0),  # under 0.8 and bad: held at 0.8
        (1.5, -2.0, 3.0, 3.0),  # over 1.3 and bad: pushed down, unclipped
    ],
)
def test_the_surrogate_is_clipped_on_the_side_that_would_gain(ratio, advantage, loss, gradient):
    assert policy(ratio, advantage) == (pytest.approx(loss), pytest.approx(gradient))


@pytest.mark.parametrize(
    ("value", "old", "target", "cliprange", "loss", "clipped"),
    [
        (1.0, 0.0, 2.0, None, 0.5, False),  # half of (1 - 2)^2
        (1.0, 0.0, 2.0, 0.2, 1.62, True),  # held at 0.2: half of 1.8^2
        (0.1, 0.0, 2.0, 0.2, 1.805, False),  # within the range: half of 1.9^2, either way
        (-1.0, 0.0, 2.0, 0.2, 4.5, False),  # the wrong way: half of 3^2 is larger than of 2.2^2
    ],
)
def test_the_value_loss_is_the_larger_of_both(value, old, target, cliprange, loss, clipped):
    tensors = (torch.tensor(x, dtype=torch.float64) for x in (value, old, target))
    found, mask = value_loss(*tensors, cliprange)
    assert found.item() == pytest.approx(loss) and mask.item() is clipped


def test_how_far_the_policy_moved_is_never_negative_and_by_hand():
    found = moved(torch.log(torch.tensor([2.0, 0.5, 1.0])), torch.zeros(3))
    # r - 1 - log r: 1 - log 2, -1/2 + log 2, 0.
    assert found.tolist() == pytest.approx([1 - math.log(2), math.log(2) - 0.5, 0], abs=1e-7)
