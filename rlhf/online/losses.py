"""PPO's two losses, token by token.

Pure functions on tensors of Shape: (answers, tokens). They do not mask and do not average: who
calls them divides by the tokens of the whole rollout, so that a token weighs the same whichever
batch or process it falls into.
"""

from __future__ import annotations

import torch
from torch import Tensor


def policy_loss(
    logps: Tensor, old_logps: Tensor, advantages: Tensor, epsilon_low: float, epsilon_high: float
) -> tuple[Tensor, Tensor]:
    """The clipped surrogate, to be minimised, and the ratio of the policy to the one that sampled.

    Args:
        logps: log-probabilities under the policy that is trained.
        old_logps: those under the policy that wrote the answers.
        advantages: how much better a token was than the critic expected.
        epsilon_low: how far below 1 the ratio may still pull.
        epsilon_high: how far above.
    """
    ratio = torch.exp(logps - old_logps)  # r_t, eq. 6 of https://arxiv.org/abs/1707.06347
    clipped = ratio.clamp(1 - epsilon_low, 1 + epsilon_high)
    # L^CLIP = E[min(r A, clip(r) A)], eq. 7 of https://arxiv.org/abs/1707.06347; min(x) = -max(-x)
    return torch.max(-advantages * ratio, -advantages * clipped), ratio


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, cliprange: float | None
) -> tuple[Tensor, Tensor]:
    """Half the squared error, no smaller than with the new value held near the old one.

    Args:
        values: what the critic says now.
        old_values: what it said when the answers were written.
        returns: what came of it.
        cliprange: how far the value may move within one rollout; None does not clip.

    Returns:
        The loss, and a mask in which True means that the clipped error was the larger.
    """
    error = (values - returns) ** 2
    if cliprange is None:
        return 0.5 * error, torch.zeros_like(error, dtype=torch.bool)
    near = old_values + (values - old_values).clamp(-cliprange, cliprange)
    held = (near - returns) ** 2
    # max[(V - R)^2, (clip(V, V_old - eps, V_old + eps) - R)^2], section 3 of
    # https://arxiv.org/abs/2005.12729: what PPO's own code does and its paper does not say
    return 0.5 * torch.max(error, held), held > error


def moved(logps: Tensor, old_logps: Tensor) -> Tensor:
    """How far each token's policy is from the one that sampled it: k3 in nats, never negative."""
    log_ratio = logps - old_logps
    return torch.expm1(log_ratio) - log_ratio  # k3 (http://joschu.net/blog/kl-approx.html)
