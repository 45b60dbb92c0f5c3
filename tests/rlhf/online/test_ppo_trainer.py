"""PPO's loop on two layers: what is sampled is what is scored, and who learns from what."""

import itertools

import pytest
import torch
from transformers import TrainerCallback

from rlhf.online.roles import CRITIC, POLICY, REFERENCE

MODES = ["lora", "full"]


def parameters(trainer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}


def roll(trainer):
    """A rollout outside training."""
    trainer.model.train()
    share = trainer.args.generation_batch_size
    return trainer._roll([dict(row) for row in trainer.train_dataset.select(range(share))])


# --- what is sampled is what is scored --------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_prompts_are_rendered_as_everywhere_else(make_trainer, tokenizer, mode):
    from inhouse.chat import prompt_ids
    from inhouse.records import Message

    trainer = make_trainer(mode)
    rollout = roll(trainer)
    for row, question in zip(
        zip(rollout.prompt_ids, rollout.prompt_mask, strict=True),
        trainer.train_dataset,
        strict=False,
    ):
        ids = [int(token) for token, real in zip(*row, strict=True) if real]
        assert ids == prompt_ids(tokenizer, [Message(**m) for m in question["prompt"]])


@pytest.mark.parametrize("mode", MODES)
def test_the_samplers_log_probabilities_are_the_trainers_on_padded_rows(make_trainer, mode):
    trainer = make_trainer(mode)
    rollout = roll(trainer)
    # The sampler's own logits, cached and left-padded, at each token that it went on with.
    torch.manual_seed(3)
    with torch.no_grad():
        written = trainer.model.generate(
            input_ids=rollout.prompt_ids,
            attention_mask=rollout.prompt_mask,
            generation_config=trainer.generation_config,
            return_dict_in_generate=True,
            output_logits=True,
        )
    width = rollout.prompt_ids.shape[1]
    tokens = written.sequences[:, width:]
    sampled = torch.log_softmax(torch.stack(written.logits, 1).float(), -1)
    sampled = sampled.gather(2, tokens[..., None]).squeeze(2)
    stop = torch.isin(tokens, torch.tensor(trainer.eos_token_ids)).int()
    mask = (stop.cumsum(1) - stop == 0).long()  # up to the first end token, itself included
    seen = torch.cat([rollout.prompt_mask, mask], 1)
    assert seen.sum(1).unique().numel() > 3, "rows of different length, so that padding matters"
    with torch.no_grad():
        logps, entropy, _, _ = trainer._read(written.sequences, seen, tokens.shape[1])
    assert torch.allclose(logps * mask, sampled * mask, atol=1e-5, rtol=0)
    everything = torch.log_softmax(torch.stack(written.logits, 1).float(), -1)
    true = -(everything.exp() * everything).sum(-1)
    assert torch.allclose(entropy * mask, true * mask, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_kl_is_zero_at_the_start(make_trainer, mode):
    health = roll(make_trainer(mode)).health
    assert abs(health.kl) < 1e-6 and health.kl_k3 < 1e-6


def test_the_reference_is_the_policy_as_it_was_not_the_base(make_trainer):
    trainer = make_trainer("lora")
    before = roll(trainer)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B.default" in name:
                weight.add_(0.3)
    ids = torch.cat([before.prompt_ids, before.completion_ids], 1)
    seen = torch.cat([before.prompt_mask, before.completion_mask], 1)
    with torch.no_grad():
        logps, _, reference, _ = trainer._read(ids, seen, before.completion_ids.shape[1])
    assert torch.equal(reference, before.ref_logps)
    assert (logps - reference).abs().max() > 0.01


def test_masks_come_from_lengths_not_from_tokens(make_trainer):
    # A sampled padding token is an action like any other.
    trainer = make_trainer()
    ids, mask = trainer._padded([[5, trainer._tokenizer.pad_token_id, 6], [7]], "right")
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]] and ids[0, 1] == trainer._tokenizer.pad_token_id


@pytest.mark.parametrize("mode", MODES)
def test_what_is_read_does_not_depend_on_the_batch(make_trainer, mode):
    trainer = make_trainer(mode)
    rollout = roll(trainer)
    ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
    seen = torch.cat([rollout.prompt_mask, rollout.completion_mask], 1)
    read = {}
    for size in (1, 16):
        trainer.args.per_device_train_batch_size = size
        with torch.no_grad():
            read[size] = trainer._read(ids, seen, rollout.completion_ids.shape[1])
    for one, other in zip(read[1], read[16], strict=True):
        kept = rollout.completion_mask
        assert torch.allclose(one * kept, other * kept, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_rows_laid_end_to_end_have_the_loss_and_gradients_of_padded_ones(make_trainer, mode):
    trainer = make_trainer(mode)
    assert not trainer.padded, "on a CPU rows are laid end to end"
    batch = trainer._as_batch(roll(trainer))
    assert batch["prompt_mask"].sum(1).unique().numel() > 1, "prompts of different length"
    trainer.model.double()  # so that what differs is not rounding
    found = {}
    for trainer.padded in (True, False):
        trainer.model.zero_grad()
        loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
        gradients = [w.grad for w in trainer.model.parameters() if w.grad is not None]
        found[trainer.padded] = [loss.detach(), *(gradient.clone() for gradient in gradients)]
    assert len(found[True]) == len(found[False]) > 2
    for padded, dense in zip(found[True], found[False], strict=True):
        assert (padded - dense).norm() <= 1e-5 * padded.norm().clamp(min=1e-3)


def test_a_model_that_heeds_no_mask_of_ours_keeps_its_padding(make_trainer):
    from rlhf.online.checks import why_padded

    trainer = make_trainer()
    base = trainer.model.get_base_model()
    assert why_padded(trainer.model, trainer.args) == ""
    base.config._attn_implementation = "flash_attention_2"
    assert "takes no mask" in why_padded(trainer.model, trainer.args)


# --- the reward -------------------------------------------------------------------------------


def test_an_answer_without_its_end_token_pays_and_pays_at_its_last_token(make_trainer):
    trainer = make_trainer(missing_eos_penalty=10.0, lam=1.0, max_completion_length=8)
    rollout = roll(trainer)
    assert 0 < rollout.ended.sum() < len(rollout.ended)
    batch = trainer._as_batch(rollout)
    first = batch["returns"][:, 0]  # lambda 1, KL 0: the whole return, from the first token on
    expected = rollout.scores - 10.0 * ~rollout.ended
    assert torch.allclose(first, expected, atol=1e-5)


def test_rewards_are_clipped_before_the_penalty(make_trainer):
    trainer = make_trainer(score=lambda text: len(text), reward_clip_range=(0.0, 1.0), lam=1.0)
    rollout = roll(trainer)
    assert rollout.scores.max() > 1
    returns = trainer._as_batch(rollout)["returns"][:, 0]
    assert torch.allclose(returns, rollout.scores.clamp(0, 1) - 1.0 * ~rollout.ended, atol=1e-5)


def test_an_empty_answer_earns_what_a_broken_blocker_earns(composed):
    reward = composed(lambda text: 1.0)
    prompt = [{"role": "user", "content": "?"}]
    answers = [[{"role": "assistant", "content": text}] for text in ("Yes.", " \n")]
    assert reward([prompt, prompt], answers) == [1.0, reward.rewards.blocked_total]


# --- who learns from what ---------------------------------------------------------------------


def gradients(trainer, batch) -> dict[str, torch.Tensor]:
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, batch).backward()
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in trainer.model.named_parameters()
        if weight.requires_grad
    }


def pushed(trainer) -> dict[str, torch.Tensor]:
    """A batch whose ratios are not 1, so that the surrogate's gradient is no accident."""
    batch = trainer._as_batch(roll(trainer))
    generator = torch.Generator().manual_seed(4)
    noise = 0.05 * torch.randn(batch["old_logps"].shape, generator=generator)
    return batch | {"old_logps": batch["old_logps"] + noise}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_each_loss_touches_its_own_role_and_nothing_else(make_trainer, mode, checkpointing):
    trainer = make_trainer(mode)
    batch = pushed(trainer)
    if checkpointing:
        trainer.model.activation_checkpointing_enable()
    both = gradients(trainer, batch)
    is_critic = trainer.roles.is_critic
    assert {is_critic(name) for name in both} == {True, False}
    trainer.held = {POLICY}
    for name, gradient in gradients(trainer, batch).items():
        # The value loss alone: the policy's gradient is nil, the critic's what it was.
        assert torch.equal(gradient, both[name]) if is_critic(name) else not gradient.any(), name
    trainer.held, trainer.settings.vf_coef = set(), 0.0
    for name, gradient in gradients(trainer, batch).items():
        assert not gradient.any() if is_critic(name) else torch.equal(gradient, both[name]), name
    assert any(both[name].any() for name in both if is_critic(name))
    assert any(both[name].any() for name in both if not is_critic(name))


@pytest.mark.parametrize("mode", MODES)
def test_checkpointing_changes_no_gradient(make_trainer, mode):
    trainer = make_trainer(mode)
    batch = pushed(trainer)
    plain = gradients(trainer, batch)
    trainer.model.activation_checkpointing_enable()
    assert any(
        module.gradient_checkpointing
        for module in trainer.model.modules()
        if hasattr(module, "gradient_checkpointing")
    )
    for name, gradient in gradients(trainer, batch).items():
        assert torch.equal(gradient, plain[name]), name


def test_without_our_context_checkpointing_would_be_wrong(make_trainer, monkeypatch):
    # What the test above guards against: a layer recomputed under whoever acts by then.
    trainer = make_trainer("lora")
    batch = pushed(trainer)
    plain = gradients(trainer, batch)
    base = trainer.model.get_base_model()
    del base._set_gradient_checkpointing
    trainer.model.activation_checkpointing_enable()
    wrong = gradients(trainer, batch)
    assert any(not torch.allclose(wrong[name], plain[name]) for name in plain)


def test_each_token_of_a_rollout_weighs_the_same_however_rows_fall_into_batches(make_trainer):
    trainer = make_trainer("lora")
    batch = pushed(trainer)
    share = len(batch["tokens"]) // 4

    def summed(order):
        total = None
        for at in range(0, len(order), share):
            part = {key: value[order[at : at + share]] for key, value in batch.items()}
            found = gradients(trainer, part)
            total = {k: v + total[k] for k, v in found.items()} if total else found
        return total

    one, other = summed(torch.arange(16)), summed(torch.randperm(16))
    for name, gradient in one.items():  # rounding goes by the largest number that was added
        most = gradient.abs().max().item()
        assert torch.allclose(gradient, other[name], atol=1e-5 * most), name


# --- a short training -------------------------------------------------------------------------


class Steps(TrainerCallback):
    """Counts optimiser steps as they are taken."""

    def __init__(self):
        self.taken = 0

    def on_optimizer_step(self, args, state, control, **_):
        self.taken += 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_training_moves_policy_and_critic_and_not_a_bit_of_anything_else(make_trainer, mode):
    trainer = make_trainer(mode)
    before = parameters(trainer)
    reference = (
        {name: weight.clone() for name, weight in trainer.ref_model.state_dict().items()}
        if trainer.ref_model is not None
        else {}
    )
    steps = Steps()
    trainer.add_callback(steps)
    trainer.train()
    # 2 rollouts, each of 2 epochs x 4 mini-batches.
    assert steps.taken == 16 == trainer.state.global_step
    after = parameters(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    trained = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert moved <= trained
    assert {trainer.roles.is_critic(name) for name in moved} == {True, False}
    if mode == "lora":
        assert not any(f".{REFERENCE}." in name for name in moved)
        assert all(".default." in name or ".critic." in name for name in moved)
    for name, weight in reference.items():
        assert torch.equal(weight, trainer.ref_model.state_dict()[name])
    # Every trained weight is in the optimiser once, the critic's at a rate of their own.
    groups = trainer.optimizer.param_groups
    held = [id(weight) for group in groups for weight in group["params"]]
    named = {id(weight): name for name, weight in trainer.model.named_parameters()}
    assert sorted(named[key] for key in held) == sorted(trained)
    for group in groups:
        assert len({trainer.roles.is_critic(named[id(w)]) for w in group["params"]}) == 1
    # Before each rollout's first update the ratio is 1.
    errors = [e["first_ratio_error"] for e in trainer.state.log_history if "first_ratio_error" in e]
    assert len(errors) == 2 and max(errors) < 1e-5


@pytest.mark.slow
def test_the_critic_has_a_rate_of_its_own(make_trainer):
    trainer = make_trainer(learning_rate=1e-3, value_learning_rate=5e-3, max_steps=8)
    trainer.train()
    named = {id(weight): name for name, weight in trainer.model.named_parameters()}
    for group in trainer.optimizer.param_groups:
        critic = trainer.roles.is_critic(named[id(group["params"][0])])
        assert group["initial_lr"] == (5e-3 if critic else 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"value_warmup": 2}, {"max_step_kl": 1e-12}])
def test_a_policy_that_is_held_does_not_move_a_bit(make_trainer, changes):
    # Adam's momentum would carry it on if its gradients were only zero.
    trainer = make_trainer("lora", **changes)
    snapshots = []

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            snapshots.append((set(trainer.held), parameters(trainer)))

    trainer.add_callback(Look())
    trainer.train()
    held = [
        (one, other) for (_, one), (who, other) in itertools.pairwise(snapshots) if POLICY in who
    ]
    assert len(held) >= 8
    for one, other in held:
        same = {name: torch.equal(one[name], other[name]) for name in one}
        assert all(same[name] for name in same if not trainer.roles.is_critic(name))
        assert not all(same.values()), "the critic learns on"


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "step"), [("lora", 16), ("lora", 24), ("full", 8)])
def test_resumed_at_a_rollout_equals_uninterrupted_to_the_last_bit(
    make_trainer, tmp_path, mode, step
):
    # An epoch has two rollouts: step 16 lies between two epochs, 8 and 24 in the middle of one.
    changes = {"max_steps": 32, "save_steps": 8, "target_kl": 0.05, "lr_scheduler_type": "linear"}
    straight = make_trainer(mode, folder=tmp_path / "straight", **changes)
    straight.train()
    checkpoint = str(tmp_path / "straight" / f"checkpoint-{step}")
    resumed = make_trainer(mode, folder=tmp_path / "resumed", **changes)
    resumed.train(resume_from_checkpoint=checkpoint)
    one, other = parameters(straight), parameters(resumed)
    assert max((one[name] - other[name]).abs().max().item() for name in one) == 0.0
    assert straight.guard.kl.value == resumed.guard.kl.value != 0.05
    assert straight.guard.watch.state() == resumed.guard.watch.state()
    for ours, theirs in (
        (straight.guard.good.weights, resumed.guard.good.weights),
        (straight.guard.good.moments[0], resumed.guard.good.moments[0]),
    ):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


# --- rolling back -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_cap_on_kl_holds(make_trainer, mode):
    # Rates far too hot, KL all but free: without the cap the policy runs away.
    hot = {"learning_rate": 1e-2, "beta": 1e-3, "max_steps": 40, "max_step_kl": 10.0}
    capped = make_trainer(mode, max_kl=1.0, **hot)
    capped.train()
    capped.settle(list(capped.train_dataset))
    assert any("KL to" in reason for back in capped.guard.roll_backs for reason in back["reasons"])
    assert all(health.kl <= 1.0 for health in capped.guard.watch.history)
    assert capped.guard.kl.value >= 2e-3  # each time twice as dear


@pytest.mark.slow
def test_rolling_back_restores_every_bit_and_training_goes_on(make_trainer):
    trainer = make_trainer("lora")
    trainer.train()
    guard = trainer.guard
    good = {name: weight.clone() for name, weight in guard.good.weights.items()}
    assert any(not torch.equal(parameters(trainer)[name], good[name]) for name in good)
    guard.roll_back(["a reason"], trainer.model, trainer.optimizer)
    now = parameters(trainer)
    assert all(torch.equal(now[name], good[name]) for name in good)
    for key, state in trainer.optimizer.state_dict()["state"].items():
        for name, value in state.items():
            assert torch.equal(
                torch.as_tensor(value), torch.as_tensor(guard.good.moments[key][name])
            )
    assert guard.roll_backs == [{"rollout": 2, "reasons": ["a reason"]}]


@pytest.mark.slow
def test_after_too_many_roll_backs_training_stops_where_it_was_good(make_trainer):
    trainer = make_trainer("lora", max_steps=32)
    alarms = trainer.guard.watch.alarms
    trainer.guard.watch.alarms = lambda now: ["never good"] if now.rollout else alarms(now)
    first = {n: w.clone() for n, w in parameters(trainer).items()}
    trainer.train()
    assert trainer.guard.stopped and len(trainer.guard.roll_backs) == 6
    assert trainer.state.global_step == 9  # the first rollout's 8, and the one it stopped in
    last = parameters(trainer)
    assert all(torch.equal(first[name], last[name]) for name in first)


# --- heads are no part of what is saved -------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_critic_reads_the_state_before_each_token(make_trainer, mode):
    # One answer, unbatched: the value of token t is the head on the hidden state before it.
    trainer = make_trainer(mode)
    rollout = roll(trainer)
    length = int(rollout.completion_mask[0].sum())
    prompt = rollout.prompt_ids[0][rollout.prompt_mask[0].bool()]
    ids = torch.cat([prompt, rollout.completion_ids[0, :length]])[None]
    model = trainer.model if mode == "full" else trainer.model.get_base_model()
    body, head = (
        (model.critic.body, model.critic.v_head) if mode == "full" else (model.model, model.v_head)
    )
    with torch.no_grad(), trainer.roles.acting(CRITIC):
        hidden = body(ids).last_hidden_state[0]
        expected = head(hidden).squeeze(1)[len(prompt) - 1 : -1]
    assert torch.allclose(rollout.values[0, :length], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_padding_with_the_end_token_changes_nothing(make_trainer, tmp_path, mode):
    learned = []
    for token in ("<|pad|>", "<|im_end|>"):
        folder = tmp_path / token.strip("<|>")
        trainer = make_trainer(mode, folder=folder, pads_with=token, max_steps=8)
        trainer.train()
        learned.append(parameters(trainer))
    assert all(torch.equal(weight, learned[1][name]) for name, weight in learned[0].items())
