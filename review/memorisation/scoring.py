"""How likely a model finds each token of a text, and how that stands among what it could say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from inhouse.chat import IGNORED
from inhouse.errors import InputError
from inhouse.generation.score import batches

if TYPE_CHECKING:
    from inhouse.models.load import Model

LOGITS = 2**25  # that are held at once: 128 MiB


class Text(NamedTuple):
    """Token ids, and the labels that say which of them are scored. Shape: (tokens,) each."""

    ids: list[int]
    labels: list[int]


class Tokens(NamedTuple):
    """Of each scored token: log p in nats, and its mean and deviation over the vocabulary.

    Mean and deviation are those of log p(z) where z is drawn from p. Shape: (scored,) each.
    """

    logps: np.ndarray
    means: np.ndarray
    deviations: np.ndarray


@torch.inference_mode()
def score_tokens(
    model: Model, texts: Sequence[Text], pad_token_id: int, title: str
) -> list[Tokens]:
    """The scored tokens of each text.

    Raises:
        InputError: a log-probability that is not a number.
    """
    model.eval()
    vocabulary: Any = model.config.get_text_config().vocab_size
    found: list[Any] = [None] * len(texts)
    planned = batches([len(text.ids) for text in texts], max(1, LOGITS // vocabulary))
    with tqdm(total=len(texts), desc=title, unit="text") as bar:
        for batch in planned:
            width = max(len(texts[at].ids) for at in batch)
            # Padded on the right, where a causal model's tokens do not look.
            rows = [texts[at].ids + [pad_token_id] * (width - len(texts[at].ids)) for at in batch]
            logits = model(
                input_ids=torch.tensor(rows, device=model.device), use_cache=False
            ).logits
            for row, at in enumerate(batch):
                found[at] = _tokens(logits[row], texts[at])
            bar.update(len(batch))
    broken = sum(not np.isfinite(tokens.logps).all() for tokens in found)
    if broken:
        raise InputError(
            f"{broken} of {len(texts)} texts have log-probabilities that are not numbers: the "
            "model's weights are damaged, or its training diverged; train it again with a lower "
            "--learning_rate and --overwrite"
        )
    return found


def _tokens(logits: torch.Tensor, text: Text) -> Tokens:
    """One text's scored tokens. Shape of ``logits``: (tokens, vocabulary)."""
    scored = [at for at, label in enumerate(text.labels) if at and label != IGNORED]
    logp = torch.log_softmax(logits[[at - 1 for at in scored]].float(), dim=-1)
    said = torch.tensor([text.ids[at] for at in scored], device=logits.device)
    chosen = logp.gather(1, said[:, None])[:, 0]
    p, finite = logp.exp(), logp.clamp(min=-1e4)  # p = 0 where a logit is minus infinity
    mean = (p * finite).sum(-1)
    deviation = (p * (finite - mean[:, None]) ** 2).sum(-1).sqrt()
    return Tokens(*(part.double().cpu().numpy() for part in (chosen, mean, deviation)))
