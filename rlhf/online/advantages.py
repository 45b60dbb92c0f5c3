"""From scores and log-probabilities to what each token is worth: the arithmetic of PPO's rollouts.

Pure functions on padded tensors of Shape: (answers, tokens). True (or 1) in every ``mask`` means
the token was sampled; padding stands on the right and counts nowhere. ``total`` sums a tensor over
all processes, so that every statistic is that of the whole rollout, whoever holds which answers.

Deviations from the papers: the KL enters the reward token by token, not once an answer; rewards
are undiscounted unless ``gamma`` says otherwise; a truncated answer is treated as ended, because
nothing after it is ever seen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]


def alone(tensor: Tensor) -> Tensor:
    """``total`` for a single process: what it holds is all there is."""
    return tensor


def kl_terms(logps: Tensor, ref_logps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Two estimates of KL(policy || reference) in nats, token by token, from the policy's samples.

    Returns:
        k1, unbiased, of either sign; and k3, unbiased too, never negative and of lower variance.
        Both are 0 where ``mask`` is 0.
    """
    log_ratio = (ref_logps - logps) * mask
    k1 = -log_ratio  # k1 = -log r, r = ref/policy (http://joschu.net/blog/kl-approx.html)
    k3 = torch.expm1(log_ratio) - log_ratio  # k3 = (r - 1) - log r (same page)
    return k1, k3


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Each token's reward: minus its KL, and the answer's score at its last real token.

    Args:
        scores: Shape: (answers,).
        kl: per-token KL in nats, Shape: (answers, tokens).
        beta: the KL's price, score for each nat.
    """
    # R = score - beta log(policy/ref), section 3.4 of https://arxiv.org/abs/2009.01325
    rewards = -beta * kl * mask
    last = mask.sum(1).long() - 1
    rewards[torch.arange(len(last), device=last.device), last] += scores.to(rewards.dtype)
    return rewards


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates, and the returns that the critic is to predict.

    The value after an answer's last token is 0. Both results are 0 where ``mask`` is 0.
    """
    mask = mask.to(values.dtype)
    rewards, values = rewards * mask, values * mask
    following = torch.zeros_like(values)
    following[:, :-1] = values[:, 1:]
    # delta_t = r_t + gamma V(s_t+1) - V(s_t), eq. 12 of https://arxiv.org/abs/1707.06347
    deltas = rewards + gamma * following - values
    advantages = torch.zeros_like(values)
    ahead = torch.zeros_like(values[:, 0])
    for step in reversed(range(values.shape[1])):
        # A_t = delta_t + gamma lambda A_t+1, eq. 16 of https://arxiv.org/abs/1506.02438
        ahead = (deltas[:, step] + gamma * lam * ahead) * mask[:, step]
        advantages[:, step] = ahead
    return advantages, (advantages + values) * mask


def whiten(values: Tensor, mask: Tensor, total: Total = alone) -> Tensor:
    """Mean 0 and variance 1 over all real tokens of all processes; 0 where ``mask`` is 0."""
    mask = mask.to(values.dtype)
    summed, count = total(torch.stack([(values * mask).sum(), mask.sum()]))
    mean = summed / count
    # The sample variance, as torch.var has it: (n - 1), Bessel's correction.
    variance = total((((values - mean) ** 2) * mask).sum()) / (count - 1).clamp(min=1)
    return (values - mean) * torch.rsqrt(variance + 1e-8) * mask


def masked_mean(values: Tensor, mask: Tensor, total: Total = alone) -> float:
    """The mean over all real tokens of all processes."""
    mask = mask.to(torch.float32)
    summed, count = total(torch.stack([(values * mask).sum(), mask.sum()]))
    return float(summed / count.clamp(min=1))


def explained_variance(
    values: Tensor, returns: Tensor, mask: Tensor, total: Total = alone
) -> float:
    """The share of the returns' variance that the critic foresees: 1 all, 0 none, below 0 worse."""
    mask = mask.to(torch.float64)
    returns = returns.to(torch.float64)
    errors = returns - values.to(torch.float64)
    sums = [mask, returns * mask, returns**2 * mask, errors * mask, errors**2 * mask]
    # float32 on the way: not every accelerator's reduction knows float64
    count, r, rr, e, ee = total(torch.stack([part.sum() for part in sums]).float()).double()
    spread = rr / count - (r / count) ** 2
    # 1 - Var[R - V] / Var[R] (https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/)
    return float(1 - (ee / count - (e / count) ** 2) / spread.clamp(min=1e-8))
