"""What a model said in general conversations before training, it is held to while it trains.

    total loss = the trainer's own + weight x mean over tokens of D_KL(before || now)

Fine-tuning moves a model on all that it is asked, not on the house's business alone. Learning
without forgetting (Li and Hoiem 2016, https://arxiv.org/abs/1606.09282, eq. 1) keeps its outputs
where they were by distillation. Where this differs from the paper: the inputs are general ones, not
the new task's; the temperature is 1; of each token's distribution the :data:`LIKELIEST` words are
kept, and all others count as one more outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from inhouse.chat import render
from inhouse.errors import InputError
from inhouse.models import sharding
from inhouse.records import Demonstration, read
from inhouse.training.plan import count_steps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

LONGEST = 256  # tokens of a conversation that are kept: their logits are held at once
LIKELIEST = 128
FIGURE = "retain_kl"  # nats a token, among what the trainer logs


@dataclass(frozen=True)
class Known:
    """A conversation, and what the model expected behind each of its tokens before training.

    ``ids``: Shape: (tokens,). ``words``, ``log_probs``: Shape: (tokens, LIKELIEST). They wait in
    main memory, words as int32.
    """

    ids: torch.Tensor
    words: torch.Tensor
    log_probs: torch.Tensor


def conversations(
    tokenizer: PreTrainedTokenizerBase, source: str | None, training: Any
) -> list[list[int]]:
    """General conversations as token ids, as the chat template renders them. No source is none.

    Raises:
        InputError: a record that is no conversation; or settings under which no gradients can be
            added to those of an update.
    """
    if source is None:
        return []
    if sharding.asked():
        raise InputError("retain_dataset does not go with FSDP: use configs/accelerate/ddp.yaml")
    if training.fp16:
        raise InputError("retain_dataset does not go with fp16: use bf16, or leave both out")
    records = read(source, Demonstration)
    longest = min(LONGEST, training.max_length or LONGEST)
    return [each.ids[:longest] for record in records for each in render(tokenizer, record.messages)]


def tokens_an_update(conversations: Sequence[Sequence[int]], batch_size: int) -> float:
    """How many tokens of general talk each process reads beside an update's own rows."""
    if not conversations:
        return 0.0
    return batch_size * sum(map(len, conversations)) / len(conversations)


def remember(
    model: Model, texts: Sequence[Sequence[int]], autocast: AbstractContextManager[None]
) -> list[Known]:
    """What the model predicts as it is now. Shape of ``texts``: (tokens,) each."""
    known = []
    training = model.training
    model.eval()
    with torch.no_grad(), autocast:
        for text in tqdm(texts, desc="general talk", unit="text"):
            ids = torch.tensor([text], device=model.device)
            log_probs = model(input_ids=ids).logits[0].float().log_softmax(-1)
            kept, words = log_probs.topk(min(LIKELIEST, log_probs.shape[-1]))
            known.append(Known(ids[0].cpu(), words.int().cpu(), kept.cpu()))
    model.train(training)
    return known


def divergence(logits: torch.Tensor, known: Known) -> torch.Tensor:
    """D_KL(before || now) of each token in nats. Shape: (tokens, vocabulary) to (tokens,)."""
    before = known.log_probs.to(logits.device)
    now = logits.float().log_softmax(-1).gather(-1, known.words.to(logits.device).long())
    found = (before.exp() * (before - now)).sum(-1)
    rest_before, rest_now = (
        (1 - log_probs.exp().sum(-1)).clamp(min=1e-6) for log_probs in (before, now)
    )
    return found + rest_before * (rest_before / rest_now).log()


def trainer(kind: type, texts: Sequence[Sequence[int]], weight: float, batch_size: int) -> Any:
    """A trainer of that kind which holds the model to what it says of ``texts``.

    Every update reads the next ``batch_size`` of them, in each process its own; with an update's
    number, so that a run that was killed goes on with the same ones.
    """

    class Retaining(kind):
        known: Sequence[Known] = ()

        def train(self, *args: Any, **kwargs: Any) -> Any:
            # Before a checkpoint is loaded: the weights are those that training began with.
            needed = count_steps(self.args, len(self.train_dataset)) * self._read_an_update()
            self.known = remember(self.model, texts[:needed], self.accelerator.autocast())
            return super().train(*args, **kwargs)

        def training_step(self, model: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            loss = super().training_step(model, *args, **kwargs)
            if not self.accelerator.sync_gradients:  # once an update
                return loss
            first = self.state.global_step * self._read_an_update()
            first += batch_size * self.accelerator.process_index
            chosen = [self.known[(first + n) % len(self.known)] for n in range(batch_size)]
            drifted = self._hold(model, chosen)
            self._metrics["train"][FIGURE].append(drifted)
            return loss

        def _read_an_update(self) -> int:
            return batch_size * self.accelerator.num_processes

        def _hold(self, model: Any, chosen: Sequence[Known]) -> float:
            """Add the gradients of these texts; their mean divergence in nats a token."""
            tokens = sum(len(each.ids) for each in chosen)
            drifted = 0.0
            for each in chosen:  # one at a time: a batch would hold the logits of all
                with self.accelerator.autocast():
                    logits = model(input_ids=each.ids[None].to(self.model.device)).logits[0]
                mean = divergence(logits, each).sum() / tokens
                (weight * mean).backward()
                drifted += mean.item()
            return drifted

    Retaining.__name__ = f"Retaining{kind.__name__}"
    return Retaining
