"""RLOO with our reward and watch: what a resumed run and one that is rolled back come to."""

import pytest
import torch


def parameters(trainer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("step", [8, 12])
def test_resumed_at_a_rollout_equals_uninterrupted_to_the_last_bit(
    make_rloo, questions, tmp_path, step
):
    # An epoch has two rollouts: step 8 lies between two epochs, 12 in the middle of one.
    changes = {"rows": questions[:8], "max_steps": 16, "lr_scheduler_type": "linear"}
    straight = make_rloo(folder=tmp_path / "straight", **changes)
    straight.train()
    resumed = make_rloo(folder=tmp_path / "resumed", **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / f"checkpoint-{step}"))
    one, other = parameters(straight), parameters(resumed)
    assert max((one[name] - other[name]).abs().max().item() for name in one) == 0.0
    assert straight.guard.watch.state() == resumed.guard.watch.state()
    assert all(
        torch.equal(weight, resumed.guard.good.weights[name])
        for name, weight in straight.guard.good.weights.items()
    )


@pytest.mark.slow
def test_resuming_keeps_the_price_of_kl_that_an_alarm_has_raised(make_rloo, tmp_path):
    straight = make_rloo(folder=tmp_path / "straight", max_steps=4)
    straight.guard.kl.value = 0.4
    straight.train()
    resumed = make_rloo(folder=tmp_path / "resumed", max_steps=8)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-4"))
    assert resumed.beta == resumed.guard.kl.value == 0.4


@pytest.mark.slow
def test_a_cap_on_kl_holds(make_rloo):
    # A rate far too hot, KL all but free: without the cap the policy runs away.
    hot = {"learning_rate": 1e-2, "beta": 1e-3, "max_steps": 40}
    trainer = make_rloo(max_kl=1.0, **hot)
    trainer.train()
    trainer.settle(list(trainer.train_dataset))
    guard = trainer.guard
    assert any("KL to" in reason for back in guard.roll_backs for reason in back["reasons"])
    assert all(health.kl <= 1.0 for health in guard.watch.history)
    assert guard.kl.value == 1e-3 * 2 ** len(guard.roll_backs)  # each time twice as dear


@pytest.mark.slow
def test_a_rollout_that_raises_an_alarm_is_not_learned_from(make_rloo):
    trainer = make_rloo(max_steps=8)
    alarms, written_by = trainer.guard.watch.alarms, []
    roll = trainer._roll

    def look(inputs):
        written_by.append(parameters(trainer))
        return roll(inputs)

    def once(now):  # the second rollout is refused the first time it is looked at
        refused = now.rollout == 1 and not trainer.guard.roll_backs
        return ["not this one"] if refused else alarms(now)

    trainer._roll, trainer.guard.watch.alarms = look, once
    trainer.train()
    first, refused, again = written_by
    assert any(not torch.equal(first[name], refused[name]) for name in first)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert trainer.guard.roll_backs == [{"rollout": 1, "reasons": ["not this one"]}]
    assert trainer.beta == trainer.guard.kl.value == 0.1  # twice TRL's 0.05
    assert trainer.state.global_step == 8


@pytest.mark.slow
def test_after_too_many_roll_backs_training_stops(make_rloo):
    trainer = make_rloo(max_steps=32)
    alarms = trainer.guard.watch.alarms
    trainer.guard.watch.alarms = lambda now: ["never good"] if now.rollout else alarms(now)
    first = parameters(trainer)
    trainer.train()
    assert trainer.guard.stopped and len(trainer.guard.roll_backs) == 6
    assert trainer.state.global_step == 5  # the first rollout's 4, and the one it stopped in
    trainer.settle(list(trainer.train_dataset))  # as the stage does: back to the last good weights
    last = parameters(trainer)
    assert all(torch.equal(first[name], last[name]) for name in first)


@pytest.mark.slow
def test_padding_with_the_end_token_changes_nothing(make_rloo, tmp_path):
    learned = []
    for token in ("<|pad|>", "<|im_end|>"):
        trainer = make_rloo(folder=tmp_path / token.strip("<|>"), pads_with=token, max_steps=8)
        trainer.train()
        learned.append(parameters(trainer))
    assert all(torch.equal(weight, learned[1][name]) for name, weight in learned[0].items())
