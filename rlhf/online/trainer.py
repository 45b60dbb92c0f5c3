"""PPO as a trainer: TRL's RLOOTrainer with a rollout and a loss of its own.

Proximal policy optimisation (https://arxiv.org/abs/1707.06347) on answers to prompts
(https://arxiv.org/abs/2009.01325). TRL brings sampling, buffering, mini-batches × epochs, devices
and checkpoints; what is overridden is named in ``tests/test_trl_contract.py``, and nothing of it
calls TRL's for its arithmetic.

An answer's tokens are actions. Its reward falls on the last of them, KL to the reference on each.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.models.utils import disable_gradient_checkpointing, unwrap_model_for_generation
from trl.trainer.utils import pad

from inhouse.generation import decode
from inhouse.training.data import say
from inhouse.training.head import below_adapters
from inhouse.training.unpadded import (
    each_row,
    lay_out,
    model_inputs,
    put_back,
    unpadded,
)
from rlhf.online.arithmetic import (
    explained_variance,
    gae,
    kl_terms,
    masked_mean,
    moved,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)
from rlhf.online.checks import why_padded
from rlhf.online.guard import Guard, KLController
from rlhf.online.options import PPOSettings
from rlhf.online.reward_function import RewardFunction
from rlhf.online.rewards import averages
from rlhf.online.roles import CRITIC, POLICY, REFERENCE, VALUE_HEAD, Roles
from rlhf.online.watch import Health, Watch, sampling_error
from rlhf.online.watched import WatchedTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import RLOOConfig


@dataclass
class Rollout:
    """Answers, and what policy, reference and critic said of them as they were written.

    Tensors have Shape: (answers, tokens); prompts are padded on the left, answers on the right.
    ``scores`` has Shape: (answers,).
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor
    logps: Tensor
    ref_logps: Tensor
    values: Tensor
    scores: Tensor
    ended: Tensor
    health: Health


class PPOTrainer(WatchedTrainer):
    """Learned critic, GAE, clipped losses, KL in the reward, and a watch that rolls back."""

    _tag_names = ["trl", "ppo"]  # noqa: RUF012
    _name = "PPO"
    pad_to_multiple_of: Any

    def __init__(
        self,
        roles: Roles,
        reward: RewardFunction,
        settings: PPOSettings,
        args: RLOOConfig,
        train_dataset: Dataset,
        processing_class: PreTrainedTokenizerBase,
    ):
        args.ddp_find_unused_parameters = False  # two forwards, one backward: DDP must not look
        super().__init__(
            Guard(Watch(settings.max_kl), KLController(args.beta, settings.target_kl)),
            reward,
            args,
            model=roles.model,
            train_dataset=train_dataset,
            processing_class=processing_class,
        )
        self.roles, self.settings = roles, settings
        roles.mark_trained()  # TRL has added the reference, and peft marks what it likes
        self.held: set[str] = set()  # the roles whose weights must not move
        reason = why_padded(self.model, args)
        self.padded = bool(reason)  # whether batches run with their padding
        if reason:
            say(f"batches are padded: {reason}")
        self.add_callback(_Hold(self))

    # --- a rollout ----------------------------------------------------------------------------

    def _roll(self, inputs: list[dict[str, Any]]) -> Rollout:
        """Sample an answer to each prompt; let reference, critic and reward read it."""
        prompts = [row["prompt"] for row in inputs]
        prompt_ids, answers, completions = self._generate(prompts)
        prompt, prompt_mask = self._padded(prompt_ids, "left")
        answer, mask = self._padded(answers, "right")
        ids, seen = torch.cat([prompt, answer], 1), torch.cat([prompt_mask, mask], 1)
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs),
        ):
            logps, entropy, ref_logps, values = self._read(ids, seen, answer.shape[1])
            every_score = self._calculate_rewards(inputs, prompts, completions, answers)[:, 0]
        first = self.accelerator.process_index * len(prompts)
        scores = every_score[first : first + len(prompts)]
        ended = torch.tensor([row[-1] in self.eos_token_ids for row in answers], device=ids.device)
        k1, k3 = kl_terms(logps, ref_logps, mask)
        gathered = self.accelerator.gather
        kl = gathered(k1.sum(1)).tolist()
        health = Health(
            rollout=len(self.guard.watch.history),
            score=every_score.mean().item(),
            score_std=every_score.std().item(),
            held_out=self._held_out_opinion(),
            kl=sum(kl) / len(kl),
            kl_error=sampling_error(kl),
            kl_k3=gathered(k3.sum(1)).mean().item(),
            length=gathered(mask.sum(1)).float().mean().item(),
            ends=gathered(ended).float().mean().item(),
            entropy=masked_mean(entropy, mask, self._total),
        )
        return Rollout(
            prompt, prompt_mask, answer, mask, logps, ref_logps, values, scores, ended, health
        )

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: Any
    ) -> list[list[int]]:
        """An answer to each prompt, from the distribution that is scored."""
        with unwrap_model_for_generation(
            self.model_wrapped,
            self.accelerator,
            gather_deepspeed3_params=self.args.ds3_gather_for_generation,
            gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
        ) as model:
            return decode.answers(
                model,
                prompt_ids,
                pad_token_id=self._tokenizer.pad_token_id,
                stops=self.eos_token_ids,
                max_new_tokens=self.max_completion_length,
                temperature=self.temperature,
            )

    def _padded(self, rows: list[list[int]], side: str) -> tuple[Tensor, Tensor]:
        """Token ids and their mask. The mask comes from lengths: an answer may hold any token."""
        device, multiple = self.accelerator.device, self.pad_to_multiple_of

        def padded(tensors: list[Tensor], value: int) -> Tensor:
            return pad(
                tensors, padding_value=value, padding_side=side, pad_to_multiple_of=multiple
            ).to(device)

        ids = [torch.tensor(row) for row in rows]
        return padded(ids, self._tokenizer.pad_token_id), padded(
            [torch.ones_like(x) for x in ids], 0
        )

    def _read(self, ids: Tensor, mask: Tensor, width: int) -> tuple[Tensor, ...]:
        """Log-probabilities, entropy, the reference's log-probabilities, values of every token.

        In batches of like length, each cut to its own length. Shapes: (answers, ``width``).
        """
        out = [torch.zeros(len(ids), width, device=ids.device) for _ in range(4)]
        reference = self.ref_model if self.ref_model is not None else self.model
        for rows in mask.sum(1).argsort().split(self.args.per_device_train_batch_size):
            cut = _columns(mask[rows])
            kept = cut.stop - (ids.shape[1] - width)
            short, seen = ids[rows, cut], mask[rows, cut]
            with self.roles.acting(POLICY):
                logps, entropy = self._logps(self.model, short, seen, kept)
            with self.roles.acting(REFERENCE):
                ref_logps, _ = self._logps(reference, short, seen, kept)
            with self.roles.acting(CRITIC):
                values = self._values(self.model, short, seen, kept)
            for whole, part in zip(out, (logps, entropy, ref_logps, values), strict=True):
                whole[rows, :kept] = part.float()
        return tuple(out)

    def _logps(
        self, model: nn.Module, ids: Tensor, mask: Tensor, kept: int
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies of the last ``kept`` tokens, at TRL's temperature."""
        bare = self.accelerator.unwrap_model(model)
        with nullcontext() if self.padded else unpadded(bare, each_row):
            logps, entropy, _ = self._get_per_token_logps_and_entropies(
                model, ids, mask, kept, compute_entropy=model is not self.ref_model
            )
        return logps, logps if entropy is None else entropy

    def _values(self, model: nn.Module, ids: Tensor, mask: Tensor, kept: int) -> Tensor:
        """What the critic expects before each of the last ``kept`` tokens."""
        if self.padded:
            with self.accelerator.autocast():
                values = model(input_ids=ids, attention_mask=mask, head=VALUE_HEAD)
            return values[:, -kept - 1 : -1, 0]
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, :-kept] = -100
        layout = lay_out(labels.cpu(), each_row(mask, labels))
        given = model_inputs(below_adapters(self.accelerator.unwrap_model(model)), ids, layout)
        with self.accelerator.autocast():
            values = model(**given, head=VALUE_HEAD)
        return put_back(values[..., 0], layout, labels)[:, -kept:]

    def _as_batch(self, rollout: Rollout) -> dict[str, Tensor]:
        """Advantages and returns of a rollout, which is logged; and who is held while it trains."""
        self._log_rollout(rollout)
        self.held = {POLICY} if rollout.health.rollout < self.settings.value_warmup else set()
        if self.guard.stopped:  # the step that TRL is in must run, and must change nothing
            self.held = {POLICY, CRITIC}
        mask, settings = rollout.completion_mask, self.settings
        scores = rollout.scores
        if self.reward_clip_range:
            scores = scores.clamp(*self.reward_clip_range)
        scores = scores - settings.missing_eos_penalty * ~rollout.ended
        k1, _ = kl_terms(rollout.logps, rollout.ref_logps, mask)
        rewards = token_rewards(scores, k1, mask, self.guard.kl.value)
        advantages, returns = gae(rewards, rollout.values, mask, settings.gamma, settings.lam)
        self._log(explained_variance=explained_variance(rollout.values, returns, mask, self._total))
        # Tokens of an average batch of an average process: with it each token of the rollout
        # weighs the same, however rows fall into batches.
        shares = self.accelerator.num_processes * self.args.steps_per_generation
        tokens = self._total(mask.sum().float()) / shares
        return {
            "prompt_ids": rollout.prompt_ids,
            "prompt_mask": rollout.prompt_mask,
            "completion_ids": rollout.completion_ids,
            "completion_mask": mask,
            "old_logps": rollout.logps,
            "old_values": rollout.values,
            "advantages": whiten(advantages, mask, self._total),
            "returns": returns,
            "tokens": tokens.expand(len(mask)),
        }

    # --- the loss -----------------------------------------------------------------------------

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        seen = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        cut = _columns(seen)
        kept = cut.stop - inputs["prompt_ids"].shape[1]
        ids, seen = ids[:, cut], seen[:, cut]
        mask, old_logps, old_values, advantages, returns = (
            inputs[key][:, :kept]
            for key in ("completion_mask", "old_logps", "old_values", "advantages", "returns")
        )
        with self.roles.acting(POLICY):
            logps, entropy = self._logps(model, ids, seen, kept)
        with self.roles.acting(CRITIC):
            values = self._values(model, ids, seen, kept)
        by_token, ratio = policy_loss(
            logps, old_logps, advantages, self.epsilon_low, self.epsilon_high
        )
        by_value, value_clipped = value_loss(
            values, old_values, returns, self.settings.cliprange_value
        )
        tokens = inputs["tokens"][0]
        policy, value = (by_token * mask).sum() / tokens, (by_value * mask).sum() / tokens
        with torch.no_grad():
            self._watch_step(ratio, moved(logps, old_logps), entropy, value_clipped, mask)
            self._log(loss_policy=policy.item(), loss_value=value.item())
        # One sum, one backward pass; a policy that is held keeps its place in the graph.
        return (POLICY not in self.held) * policy + self.settings.vf_coef * value

    def _watch_step(
        self, ratio: Tensor, distance: Tensor, entropy: Tensor, value_clipped: Tensor, mask: Tensor
    ) -> None:
        """Log a mini-batch; hold the policy where it is once it is far enough from its rollout."""
        outside = (ratio < 1 - self.epsilon_low) | (ratio > 1 + self.epsilon_high)
        step_kl = masked_mean(distance, mask, self._total)
        self._log(
            step_kl=step_kl,
            ratio_clipped=masked_mean(outside.float(), mask, self._total),
            value_clipped=masked_mean(value_clipped.float(), mask, self._total),
            entropy=masked_mean(entropy, mask, self._total),
        )
        into = self._step % (self.args.steps_per_generation * self.num_iterations)
        if into < self.args.gradient_accumulation_steps:  # before the rollout's first update
            self._log(first_ratio_error=((ratio - 1).abs() * mask).max().item())
        if step_kl > self.settings.max_step_kl:  # the same on every process: it was summed over all
            self.held.add(POLICY)

    # --- watching -----------------------------------------------------------------------------

    def _log_rollout(self, rollout: Rollout) -> None:
        health, figures = rollout.health, averages(self.reward.last)
        assert health.kl_k3 is not None
        self._log(
            score=health.score,
            kl=health.kl,
            kl_k3=health.kl_k3,
            kl_coefficient=self.guard.kl.value,
            length=health.length,
            ends=health.ends,
            **{name: self._mean([figure]) for name, figure in figures.items()},
        )

    def _total(self, tensor: Tensor) -> Tensor:
        return self.accelerator.reduce(tensor, "sum")

    def _log(self, **figures: float) -> None:
        for name, figure in figures.items():
            self._metrics["train"][name].append(figure)

    # --- optimiser and checkpoints ------------------------------------------------------------

    def create_optimizer(self, model: nn.Module | None = None) -> Any:
        """The critic's weights in groups of their own, at their own rate."""
        self.roles.mark_trained()  # reloading adapters from a checkpoint freezes the critic
        optimizer = super().create_optimizer(model)
        named = (model or self.model).named_parameters()
        critics = {id(parameter) for name, parameter in named if self.roles.is_critic(name)}
        groups, optimizer.param_groups = optimizer.param_groups, []
        for group in groups:
            for belongs, rate in ((False, group["lr"]), (True, self.settings.value_learning_rate)):
                chosen = [p for p in group["params"] if (id(p) in critics) is belongs]
                if chosen:
                    optimizer.add_param_group({**group, "params": chosen, "lr": rate})
        return optimizer


class _Hold(TrainerCallback):
    """Drops the gradients of who is held: with zeros instead, Adam's momentum would move on."""

    def __init__(self, trainer: PPOTrainer):
        self.trainer = trainer

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        held, is_critic = self.trainer.held, self.trainer.roles.is_critic
        if held:
            for name, parameter in self.trainer.model.named_parameters():
                if (CRITIC if is_critic(name) else POLICY) in held:
                    parameter.grad = None


def _columns(mask: Tensor) -> slice:
    """From the first to the last column that holds any real token."""
    used = mask.any(0).nonzero().flatten()
    return slice(int(used[0]), int(used[-1]) + 1)
