"""PPO's arithmetic: from scores and log-probabilities to advantages, and the two losses.

Pure functions on padded tensors of Shape: (answers, tokens). True (or 1) in every ``mask`` means
the token was sampled; padding stands on the right and counts nowhere. ``total`` sums a tensor over
all processes, so that every statistic is that of the whole rollout, whoever holds which answers.

Deviations from the papers: the KL enters the reward token by token, not once an answer; rewards
are undiscounted unless ``gamma`` says otherwise; a truncated answer is treated as ended, because
nothing after it is ever seen. The losses do not mask and do not average: who calls them divides by
the tokens of the whole rollout, so that a token weighs the same whichever batch or process it
falls into.
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


# --- the losses ---------------------------------------------------------------------------------


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
