"""The watch, the KL coefficient, the reward function and the checks, in numbers made by hand."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

from rlhf.online.guard import KLController, Snapshot
from rlhf.online.watch import Health, Watch, plots, sampling_error

FIRST = Health(
    rollout=0,
    score=0.5,
    score_std=1.0,
    held_out=0.4,
    kl=0.0,
    kl_error=0.0,
    kl_k3=0.0,
    length=40.0,
    ends=0.9,
    entropy=2.0,
)


def watched(**changes) -> list[str]:
    """The alarms of a rollout that follows a healthy first one."""
    watch = Watch(max_kl=10.0)
    watch.accept(FIRST)
    return watch.alarms(dataclasses.replace(FIRST, rollout=1, **changes))


def test_a_rollout_like_the_first_is_healthy():
    assert watched() == []
    assert Watch(max_kl=10.0).alarms(FIRST) == []


@pytest.mark.parametrize(
    ("healthy", "ill", "said"),
    [
        ({"kl": 10.0}, {"kl": 10.1}, "KL to the reference is 10.10"),
        ({"length": 80.0}, {"length": 81.0}, "81 tokens on average, 40 at first"),
        ({"length": 20.0}, {"length": 19.0}, "19 tokens"),
        ({"ends": 0.66}, {"ends": 0.64}, "64% of the answers end, 90% at first"),
        ({"entropy": 0.5}, {"entropy": 0.49}, "entropy is 0.490"),
        # Less believed, but not while the reward rises: the policy is merely worse.
        ({"held_out": -0.2, "score": 0.4}, {"held_out": -0.2, "score": 0.6}, "exploited"),
        ({"held_out": -0.05, "score": 0.9}, {"held_out": -0.15, "score": 0.9}, "fell by 0.55"),
        ({"held_out": None, "score": 9.0}, {"kl": math.nan}, "diverged"),
    ],
)
def test_each_alarm_rings_just_past_its_bound(healthy, ill, said):
    assert watched(**healthy) == []
    (alarm,) = watched(**ill)
    assert said in alarm


def test_kl_below_zero_is_an_alarm_only_when_it_lasts_and_is_no_chance():
    def after(*values: tuple[float, float]) -> list[str]:
        watch = Watch(max_kl=10.0)
        watch.accept(FIRST)
        for kl, error in values[:-1]:
            watch.accept(dataclasses.replace(FIRST, kl=kl, kl_error=error))
        return watch.alarms(dataclasses.replace(FIRST, kl=values[-1][0], kl_error=values[-1][1]))

    assert after((-1.0, 0.1), (-1.0, 0.1)) == []
    assert after((-1.0, 0.1), (-1.0, 0.6), (-1.0, 0.1)) == []  # within two standard errors
    (alarm,) = after((-1.0, 0.1), (-1.0, 0.1), (-1.0, 0.1))
    assert "below 0 in 3 rollouts" in alarm


def test_the_history_survives_json():
    import json

    watch = Watch(max_kl=1.0)
    watch.accept(FIRST)
    other = Watch(max_kl=1.0)
    other.load(json.loads(json.dumps(watch.state())))
    assert other.history == watch.history


def test_the_standard_error_by_hand():
    # 1, 2, 3: deviation 1, over the root of 3.
    assert sampling_error([1.0, 2.0, 3.0]) == pytest.approx(1 / math.sqrt(3))
    assert sampling_error([1.0]) == math.inf


def test_the_charts_hold_every_series():
    drawn = plots("ppo", [FIRST, dataclasses.replace(FIRST, rollout=1, held_out=None)])
    assert drawn.count("<polyline") == 7 and "held out" in drawn


# --- the KL coefficient -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kl", "value"),
    [
        (4.0, 0.1),  # on target
        (4.4, 0.105),  # a tenth above: half of a tenth more
        (9.0, 0.11),  # far above: the error is cut off at 0.2
        (0.0, 0.09),  # far below
    ],
)
def test_the_coefficient_follows_kl(kl, value):
    controller = KLController(0.1, target=4.0)
    controller.update(kl)
    assert controller.value == pytest.approx(value)


def test_a_fixed_coefficient_moves_only_on_an_alarm():
    controller = KLController(0.1, target=None)
    controller.update(100.0)
    assert controller.value == 0.1
    controller.double()
    assert controller.value == 0.2


# --- the last good weights --------------------------------------------------------------------


def test_a_snapshot_brings_back_weights_and_moments_and_leaves_the_rate():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    optimizer = torch.optim.AdamW([model.weight], lr=0.1)

    def step():
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()

    step()
    good = Snapshot.take(model, optimizer)
    before = model.weight.clone(), optimizer.state_dict()["state"][0]["exp_avg"].clone()
    for _ in range(3):
        step()
    optimizer.param_groups[0]["lr"] = 0.05
    good.restore(model, optimizer)
    assert torch.equal(model.weight, before[0])
    assert torch.equal(optimizer.state_dict()["state"][0]["exp_avg"], before[1])
    assert optimizer.param_groups[0]["lr"] == 0.05 and "bias" not in good.weights
    step()  # and what was put back is a copy of its own
    good.restore(model, optimizer)
    assert torch.equal(model.weight, before[0])


# --- the held-out head ------------------------------------------------------------------------


class Ensemble:
    """Three heads: the reply's number, twice it, and minus it."""

    def __init__(self, heads: int):
        self.calibration = SimpleNamespace(mean=(0.0,) * heads)
        self.heads = heads

    def assess(self, texts):
        from inhouse.generation.score import Scored

        found = [[n, 2 * n, -n][: self.heads] for n in (float(reply) for _, reply in texts)]
        return [Scored(sum(h) / len(h), tuple(h), 0.5, 0.9, False) for h in found]


def rewarded(heads: int):
    from rlhf.online.reward_function import RewardFunction
    from rlhf.online.rewards import Composition, Rewards

    costs = {"blocker": 3.0, "major": 1.0, "minor": 0.5, "advisory": 0.2}
    composition = Composition(weights={"learned": 1.0}, costs=costs, limit=9.0)
    function = RewardFunction(Rewards(composition, None, Ensemble(heads).assess, {}))
    prompts = [[{"role": "user", "content": "?"}]] * 2
    answers = [[{"role": "assistant", "content": text}] for text in ("1", "3")]
    return function, function(prompts, answers)


def test_the_last_head_of_an_ensemble_is_not_climbed_but_watched():
    function, totals = rewarded(3)
    assert totals == [1.5, 4.5]  # the mean of n and 2n
    assert function.held_out.opinions == [-1.0, -3.0]


def test_a_single_head_is_climbed_and_nothing_is_held_out():
    function, totals = rewarded(1)
    assert totals == [1.0, 3.0] and function.held_out is None
