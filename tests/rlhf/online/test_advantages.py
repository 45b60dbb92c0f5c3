"""Advantages against numbers worked out by hand, and against a second way to compute them."""

import math

import pytest
import torch

from rlhf.online.arithmetic import (
    explained_variance,
    gae,
    kl_terms,
    masked_mean,
    token_rewards,
    whiten,
)


def ragged(seed: int, rows: int = 6, width: int = 9) -> tuple[torch.Tensor, ...]:
    """Rewards, values and a mask of rows of different length, in float64."""
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, rows, width, dtype=torch.float64, generator=generator)
    lengths = torch.randint(1, width + 1, (rows, 1), generator=generator)
    return rewards, values, torch.arange(width) < lengths


# --- KL and rewards ---------------------------------------------------------------------------


def test_both_kl_estimates_by_hand_and_nothing_on_padding():
    logps = torch.log(torch.tensor([[0.5, 0.2, 0.9]]))
    reference = torch.log(torch.tensor([[0.25, 0.4, 0.1]]))
    k1, k3 = kl_terms(logps, reference, torch.tensor([[1, 1, 0]]))
    # k1: log(.5/.25) = log 2 and log(.2/.4) = -log 2.
    # k3 with r = 1/2: -1/2 + log 2; with r = 2: 1 - log 2.
    assert k1.tolist() == [pytest.approx([math.log(2), -math.log(2), 0])]
    assert k3.tolist() == [pytest.approx([math.log(2) - 0.5, 1 - math.log(2), 0])]


def test_both_estimates_have_the_true_kl_as_their_mean():
    policy, reference = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    true = (policy * (policy / reference).log()).sum()
    # The expectation under the policy, exactly: each token weighted by its probability.
    for estimate in kl_terms(policy.log()[None], reference.log()[None], torch.ones(1, 3)):
        assert (policy * estimate[0]).sum().item() == pytest.approx(true.item())


def test_the_score_falls_on_the_last_real_token_and_each_token_pays_its_kl():
    kl = torch.tensor([[0.5, 1.0, 9.0], [0.1, 0.2, 0.3]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    rewards = token_rewards(torch.tensor([2.0, -1.0]), kl, mask, beta=0.1)
    expected = [[-0.05, 1.9, 0.0], [-0.01, -0.02, -1.03]]
    assert rewards.tolist() == [pytest.approx(row) for row in expected]


def test_an_answer_of_one_token_gets_all_of_its_score():
    rewards = token_rewards(torch.tensor([3.0]), torch.zeros(1, 4), torch.tensor([[1, 0, 0, 0]]), 1)
    assert rewards.tolist() == [[3.0, 0.0, 0.0, 0.0]]


# --- GAE --------------------------------------------------------------------------------------


def test_gae_by_hand():
    # gamma 0.5, lambda 0.5; deltas from the right: 3 - 1 = 2; 2 + .5*1 - 2 = .5; 1 + .5*2 - 1 = 1.
    # A_2 = 2; A_1 = .5 + .25*2 = 1; A_0 = 1 + .25*1 = 1.25. Returns are A + V.
    rewards, values = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 1.0]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3), gamma=0.5, lam=0.5)
    assert advantages.tolist() == [[1.25, 1.0, 2.0]]
    assert returns.tolist() == [[2.25, 3.0, 3.0]]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.99, 0.9), (1.0, 1.0), (0.9, 0.0)])
def test_gae_is_the_double_sum(gamma, lam):
    # Row by row and unpadded: A_t = sum over l of (gamma lambda)^l delta_t+l.
    rewards, values, mask = ragged(seed=1)
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    for row, length in enumerate(mask.sum(1).tolist()):
        r, v = rewards[row, :length].tolist(), [*values[row, :length].tolist(), 0.0]
        deltas = [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            worth = sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length))
            assert advantages[row, t].item() == pytest.approx(worth, abs=1e-10)
            assert returns[row, t].item() == pytest.approx(worth + v[t], abs=1e-10)
    assert not advantages[~mask].any() and not returns[~mask].any()


def test_at_lambda_1_returns_are_what_came_afterwards():
    rewards, values, mask = ragged(seed=2)
    _, returns = gae(rewards, values, mask, gamma=1.0, lam=1.0)
    after = (rewards * mask).flip(1).cumsum(1).flip(1) * mask
    assert torch.allclose(returns, after, atol=1e-10, rtol=0)


def test_what_stands_on_padding_changes_nothing():
    rewards, values, mask = ragged(seed=3)
    noise = torch.where(mask, 0.0, 1e6)
    for one, other in zip(
        gae(rewards, values, mask, 1.0, 0.95),
        gae(rewards + noise, values - noise, mask, 1.0, 0.95),
        strict=True,
    ):
        assert torch.equal(one, other)


# --- whitening and statistics -----------------------------------------------------------------


def test_whitening_is_torchs_over_the_real_tokens():
    values, _, mask = ragged(seed=4)
    values = 3 * values + 7
    real = values[mask]
    expected = (real - real.mean()) / real.std()
    whitened = whiten(values, mask)
    assert torch.allclose(whitened[mask], expected, atol=1e-5, rtol=0)
    assert not whitened[~mask].any()


def test_whitening_does_not_see_padding():
    values, _, mask = ragged(seed=5)
    wider = torch.nn.functional.pad(values, (0, 5), value=1e4)
    whitened = whiten(wider, torch.nn.functional.pad(mask, (0, 5)))
    assert torch.allclose(whitened[:, :9], whiten(values, mask), atol=1e-5, rtol=0)


def on_two_ranks(function, *tensors):
    """Two processes in one: ``total`` adds what the other half sent as its message of that number.

    What a rank sends may depend on what it got before, so the messages settle one pass at a time.
    """
    halves = [[t[:2] for t in tensors], [t[2:] for t in tensors]]
    sent: list[list[torch.Tensor]] = [[], []]
    results: list = []
    for _ in range(3):
        passed = [run_rank(function, half, sent[1 - rank]) for rank, half in enumerate(halves)]
        results, sent = [result for result, _ in passed], [messages for _, messages in passed]
    return results


def run_rank(function, half, received):
    messages: list[torch.Tensor] = []

    def total(tensor):
        messages.append(tensor)
        return tensor + received[len(messages) - 1] if len(messages) <= len(received) else tensor

    return function(*half, total), messages


def test_every_statistic_is_that_of_the_whole_rollout_however_it_is_split():
    rewards, values, mask = ragged(seed=6)
    whole = whiten(values, mask)
    split = torch.cat(on_two_ranks(whiten, values, mask))
    assert torch.allclose(split, whole, atol=1e-5, rtol=0)
    for function, tensors in (
        (masked_mean, (values, mask)),
        (explained_variance, (values, rewards, mask)),
    ):
        for found in on_two_ranks(function, *tensors):
            assert found == pytest.approx(function(*tensors), abs=1e-5)


def test_explained_variance_by_hand():
    mask = torch.tensor([[1, 1, 1, 1, 0]])
    returns = torch.tensor([[0.0, 2.0, 4.0, 6.0, 50.0]])
    assert explained_variance(returns, returns, mask) == pytest.approx(1)
    assert explained_variance(torch.full((1, 5), 9.0), returns, mask) == pytest.approx(0)
    # Errors 0, 1, 2, 3: a quarter of the returns' variance remains, so three quarters are foreseen.
    assert explained_variance(returns / 2, returns, mask) == pytest.approx(0.75)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3)


def test_the_mean_is_over_real_tokens():
    assert masked_mean(torch.tensor([[1.0, 2.0], [6.0, 9.0]]), torch.tensor([[1, 1], [1, 0]])) == 3
