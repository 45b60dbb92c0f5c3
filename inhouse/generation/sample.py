"""Batched sampling behind one function, from exactly the distribution that is scored.

Samplers that cut the distribution (top-k, top-p, repetition penalties, a minimum length) hide what
a model would say and part the sampler from the log-probabilities: none is applied, whatever the
model's own generation config says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from inhouse.chat import said
from inhouse.errors import InputError
from inhouse.generation.decode import LEFT, pad_left, read, write
from inhouse.models.folder import context_length
from inhouse.special_tokens import stop_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model


@dataclass(frozen=True)
class Reply:
    """One sampled answer. ``ended`` is True when the model wrote its end token."""

    text: str
    ids: list[int]
    ended: bool


@torch.inference_mode()
def replies(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    *,
    samples: int = 1,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    done: Collection[int] = (),
    title: str | None = "sampling",
) -> Iterator[dict[int, list[Reply]]]:
    """Sample ``samples`` replies to each prompt, in batches of prompts of like length.

    Temperature 0 is greedy. Yields one dict a batch, from the prompt's index to its replies. A
    batch's randomness depends on ``seed`` and its number only, so that a killed run goes on with
    the same replies: batches whose prompts are all in ``done`` are passed over.

    Args:
        title: of the bar that is shown; None shows none.
    """
    model.eval()
    check_room(context_length(model.config), prompts, max_new_tokens)
    stops = stop_ids(tokenizer, model.generation_config)
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
    bar = tqdm(total=len(prompts), desc=title, unit="prompt", disable=title is None)
    for number, batch in enumerate(batches):
        bar.update(len(batch))
        if all(index in done for index in batch):
            continue
        torch.manual_seed(seed * 1_000_003 + number)
        ids, mask = pad_left([prompts[index] for index in batch], tokenizer.pad_token_id)
        ids, mask = ids.to(model.device), mask.to(model.device)
        cache, logits = read(model, ids, mask)
        written = write(
            model,
            cache,
            logits,
            mask,
            stops,
            samples,
            max_new_tokens,
            temperature,
            LEFT,
            draw_for_ended=True,
        )
        made = [_reply(tokenizer, tokens, set(stops)) for tokens in written]
        yield {index: made[at * samples : (at + 1) * samples] for at, index in enumerate(batch)}
    bar.close()


@torch.inference_mode()
def log_probabilities(
    model: Model,
    pairs: Sequence[tuple[list[int], list[int]]],
    *,
    pad_token_id: int,
    batch_size: int = 32,
) -> list[float]:
    """The summed log-probability, in nats, of each reply given its prompt, at temperature 1.

    ``pairs`` holds (prompt ids, reply ids), the reply with its end token where it has one.
    """
    model.eval()
    results = [0.0] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index][0]) + len(pairs[index][1]))
    for at in range(0, len(order), batch_size):
        batch = order[at : at + batch_size]
        ids, mask = pad_left([pairs[i][0] + pairs[i][1] for i in batch], pad_token_id)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        written = max(len(pairs[i][1]) for i in batch)  # the head is run on what is scored
        logits = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=positions.to(model.device),
            logits_to_keep=written + 1,
        ).logits
        logps = torch.log_softmax(logits[:, :-1].float(), dim=-1)
        scored = ids[:, ids.shape[1] - written :, None].to(model.device)
        chosen = logps.gather(2, scored).squeeze(2)
        for row, index in enumerate(batch):
            length = len(pairs[index][1])  # left padded: a reply is the row's last tokens
            results[index] = float(chosen[row, -length:].sum()) if length else 0.0
    return results


def _reply(tokenizer: PreTrainedTokenizerBase, tokens: list[int], stops: set[int]) -> Reply:
    end = next((at for at, token in enumerate(tokens) if token in stops), None)
    kept = tokens if end is None else tokens[: end + 1]
    return Reply(said(tokenizer, kept), kept, end is not None)


def check_room(context: int | None, prompts: Sequence[list[int]], max_new_tokens: int) -> None:
    """Refuse prompts that leave too little room: learned positions crash, others degrade unseen.

    Args:
        context: the tokens that the model takes; None where it has no limit.

    Raises:
        InputError: names the longest, and what the model takes.
    """
    longest = max(map(len, prompts), default=0)
    if context is not None and longest + max_new_tokens > context:
        raise InputError(
            f"the longest of {len(prompts)} prompts has {longest} tokens, an answer up to "
            f"{max_new_tokens}, and the model takes {context}: "
            + (
                f"set --max_new_tokens {context - longest}, or shorten the prompts"
                if longest < context
                else "shorten the prompts"
            )
        )
