"""What PPO and RLOO refuse before they load a model, and what only the loaded model shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from inhouse.errors import InputError
from inhouse.models import sharding
from inhouse.training.unpadded import each_row, why_not
from rlhf.online.watch import Health

if TYPE_CHECKING:
    from trl import RLOOConfig

    from inhouse.models.load import Model

# What keeps the sampler at exactly the distribution that is scored, and TRL's keys for it.
UNCUT = {"top_k": 0, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0}
# TRL's keys that change what a rollout means, and why they stay as they are.
FIXED = {
    "generation_kwargs": (
        None,
        "it could cut the distribution (min_new_tokens, suppress_tokens …)",
    ),
    "use_transformers_continuous_batching": (False, "it downcasts adapters and heads for good"),
    "use_vllm": (False, "its weight transfer would send the critic and heads along"),
    "mask_truncated_completions": (False, "a truncated answer is charged, not left out"),
    "sync_ref_model": (False, "KL is measured to the model that training started from"),
    "disable_dropout": (True, "with dropout the first ratio would not be 1"),
    "reward_weights": (None, "weights stand in the file that --rewards names"),
}
SMALLEST_ROLLOUT = 8  # answers: below this, whitening turns single answers' luck into ±1
TRIED = (16, 8, 8)  # tokens of each row laid end to end, to see whether a model minds
PADDED, CLOSE = 7, 1e-2  # positions of padding to try, and nats of log-probability it may cost


def check_settings(settings: dict[str, Any], training: RLOOConfig) -> None:
    """Refuse samplers that differ from the scored distribution, and what would break a rollout.

    Args:
        settings: what the user set.

    Raises:
        InputError: names the key, its value and the only one that holds.
    """
    for key, value in UNCUT.items():
        if getattr(training, key) != value:
            raise InputError(
                f"{key} is {getattr(training, key)}: answers must come from exactly the "
                f"distribution that is scored, which is {key} {value}; leave it out"
            )
    for key, (value, why) in FIXED.items():
        if key in settings and getattr(training, key) != value:
            raise InputError(f"{key} cannot be {getattr(training, key)}: {why}; leave it out")
    if not 0 < training.temperature < float("inf"):
        raise InputError(f"temperature is {training.temperature}: answers are sampled, above 0")
    if training.beta <= 0:
        raise InputError(
            f"beta is {training.beta}: without a price for KL there is no reference to watch the "
            "policy by; give a small one, such as 0.01"
        )
    if str(training.eval_strategy) not in ("no", "IntervalStrategy.NO"):
        raise InputError("eval_strategy cannot be set: `python -m review` measures the result")


def check_rollouts(training: Any, prompts: int) -> int:
    """Optimiser steps in a rollout; checkpoints and the end of training must fall between two.

    Raises:
        InputError: a value that would cut a rollout, with the next valid one; too few prompts.
    """
    size, micro = training.generation_batch_size, training.steps_per_generation
    accumulation = training.gradient_accumulation_steps
    if micro % accumulation:
        raise InputError(
            f"steps_per_generation {micro} is no multiple of gradient_accumulation_steps "
            f"{accumulation}, so an optimiser step would straddle two rollouts: give "
            f"--steps_per_generation {_next(micro, accumulation)}"
        )
    if size < SMALLEST_ROLLOUT:
        raise InputError(
            f"a rollout has {size} answers (per_device_train_batch_size × steps_per_generation × "
            f"processes), too few to tell a good one from a lucky one: give {SMALLEST_ROLLOUT} or "
            "more"
        )
    needed = size // training.num_generations
    if prompts < needed:
        raise InputError(
            f"{prompts} prompts are fewer than one rollout's {needed}: add prompts, or lower "
            "--steps_per_generation"
        )
    steps = training.num_iterations * micro // accumulation
    for key in ("save_steps", "max_steps"):
        value = getattr(training, key)
        used = key == "max_steps" or str(training.save_strategy).lower().endswith("steps")
        if used and value > 0 and value % steps:
            raise InputError(
                f"{key} {value} would cut a rollout of {steps} optimiser steps in two, and what "
                f"is gone on from there differs: give --{key} {_next(value, steps)}"
            )
    return steps


def _next(value: float, multiple: int) -> int:
    return int(-(-value // multiple)) * multiple


def check_room(
    lengths: Sequence[int], places: Sequence[str], source: str, longest: int, context: int | None
) -> None:
    """Refuse prompts behind which an answer of full length does not fit.

    Args:
        lengths: tokens of each prompt.
        longest: max_completion_length.
        context: how many tokens the model takes, None for any number.

    Raises:
        InputError: which prompt, and what would fit.
    """
    if context is None or max(lengths) + longest <= context:
        return
    over = max(range(len(lengths)), key=lambda index: lengths[index])
    count = sum(length + longest > context for length in lengths)
    room = context - lengths[over]
    mend = f"set --max_completion_length {room}, or take them out" if room > 0 else "take them out"
    raise InputError(
        f"{count} prompts of {source} leave no room to answer: the longest ({places[over]}) has "
        f"{lengths[over]} tokens, an answer up to {longest}, and the model takes {context}: {mend}"
    )


def check_checkpointing(training: Any, adapted: bool) -> None:
    """Refuse checkpointed layers that would forget which adapter acted in them.

    Raises:
        InputError: reentrant checkpointing of adapters, which TRL forces under ZeRO-3.
    """
    if not adapted or not training.gradient_checkpointing:
        return
    plugin = training.deepspeed_plugin
    if plugin is not None and plugin.zero_stage == 3:
        raise InputError(
            "ZeRO-3 with adapters checkpoints activations reentrantly, which would recompute the "
            "critic's layers as the policy's: add --activation_checkpointing false, or use FSDP2"
        )
    if (training.gradient_checkpointing_kwargs or {}).get("use_reentrant"):
        raise InputError(
            "use_reentrant checkpointing would recompute the critic's layers as the policy's: "
            "leave it out"
        )


@torch.no_grad()
def check_padding(model: Model, ids: list[int], pad_token_id: int, source: str) -> None:
    """Refuse a model to which padding on the left moves positions: its log-probabilities change.

    Args:
        ids: one prompt's tokens, Shape: (tokens,).

    Raises:
        InputError: by how much they change.
    """
    was_training = model.training
    model.eval()
    alone = torch.tensor([ids], device=model.device)
    padded = torch.tensor([[pad_token_id] * PADDED + ids], device=model.device)
    mask = torch.tensor([[0] * PADDED + [1] * len(ids)], device=model.device)
    one, other = (
        torch.log_softmax(model(input_ids=rows, attention_mask=seen).logits[0, -1].float(), -1)
        for rows, seen in ((alone, torch.ones_like(alone)), (padded, mask))
    )
    model.train(was_training)
    off = (one.exp() * (one - other).abs()).sum().item()
    if off > CLOSE:
        raise InputError(
            f"padding changes what the model in {source} says by {off:.2f} nats: it counts "
            "positions from the padding (learned position embeddings), so that batches of prompts "
            "cannot be sampled and scored alike; use a model with rotary positions"
        )


def why_padded(model: Model, training: RLOOConfig) -> str:
    """What keeps policy and critic from reading rows laid end to end; empty where they can.

    On a CPU only: on a GPU it was never measured.
    """
    if training.device.type != "cpu" or sharding.asked():
        return "rows are laid end to end on a CPU only, and not in shards"
    ids = torch.arange(TRIED[0]).repeat(len(TRIED), 1)
    mask = (ids < torch.tensor(TRIED)[:, None]).long()
    batch = {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": ids.masked_fill(mask == 0, -100),
    }
    longest = model.config.get_text_config().max_position_embeddings
    return why_not(model, training, longest, batch, each_row(mask, mask))


def check_first(now: Health, longest: int) -> None:
    """Refuse a first rollout from which nothing can be learned.

    Args:
        now: the rollout in figures.
        longest: max_completion_length.

    Raises:
        InputError: every answer is truncated, or all have one reward.
    """
    if now.ends == 0:
        raise InputError(
            f"no answer of the first rollout ended within max_completion_length {longest}: raise "
            "it, or fine-tune on replies with their end token first (`python -m sft`)"
        )
    if now.score_std == 0:
        raise InputError(
            f"the reward is {now.score:g} for every answer of the first rollout, so nothing tells "
            "a better one from a worse: look at the weights in the file that --rewards names"
        )
