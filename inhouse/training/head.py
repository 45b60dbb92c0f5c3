"""TRL's fused head on a CPU: the tokens that are scored and no others, in tiles that a cache holds.

TRL never holds a batch's logits, (tokens, vocabulary): it projects hidden states in tiles and works
each tile out again in the backward pass. But its tiles are made for a GPU. What stands in for its
kernel on a CPU keeps several copies of one, 4,096 tokens by 32,768 words at four bytes, half a GiB
each; and without the kernel it projects every token, prompts and padding too.

Two seams: the forward of ``add_fused_lm_head`` takes labels that are shifted already
(``shift_labels``), for hidden states that a hook has picked; and the sizes of a tile are two
numbers in TRL's modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from peft import PeftModel

from inhouse.models import sharding

PER_TOKEN = {"log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1"}
TILE = (1024, 1024)  # tokens, words: 4 MiB of float32
# From what the model is called with to what it is given instead, and the places, counted along the
# rows of that, whose next tokens are scored.
Given = dict[str, Any]
Arrange = Callable[[Given, torch.Tensor], tuple[Given, torch.Tensor]]


def below_adapters(model: Any) -> Any:
    """The causal model itself, which is what TRL gives its fused head."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


@contextmanager
def arranged(model: Any, arrange: Arrange) -> Iterator[None]:
    """While it lasts, TRL's fused head of a causal model runs over what ``arrange`` makes of it.

    What comes of it is put back where TRL expects it, with zeros where nothing is scored.
    """
    model = below_adapters(model)
    if model.device.type == "cpu":
        fit_tiles()
    whole = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("fused_lm_head") or "labels" not in kwargs:
            return whole(*args, **kwargs)
        labels = kwargs.pop("labels")
        mask = labels[:, 1:] != -100
        given, places = arrange(kwargs, labels)
        given["shift_labels"] = labels[:, 1:][mask][None]

        def only_scored(_module: Any, _inputs: Any, out: Any) -> Any:
            out.last_hidden_state = out.last_hidden_state.flatten(0, 1)[places][None]
            return out

        hook = model.base_model.register_forward_hook(only_scored)
        try:
            out = whole(*args, **given)
        finally:
            hook.remove()
        for name in PER_TOKEN & out.keys():
            out[name] = out[name].new_zeros(mask.shape).masked_scatter(mask, out[name])
        out.label_mask = mask
        return out

    model.forward = forward
    try:
        yield
    finally:
        model.forward = whole


@contextmanager
def scored_only(*models: Any) -> Iterator[None]:
    """While it lasts, these models' fused heads leave unscored tokens out on a CPU, too.

    On a GPU TRL sees to that itself, and a model in shards is left as it is. None is passed over.
    """
    with ExitStack() as stack:
        for model in models:
            if model is not None and model.device.type == "cpu" and not sharding.asked():
                stack.enter_context(arranged(model, _as_it_is))
        yield


def _as_it_is(given: Given, labels: torch.Tensor) -> tuple[Given, torch.Tensor]:
    scored = torch.nn.functional.pad(labels[:, 1:] != -100, (0, 1))
    return given, scored.flatten().nonzero().squeeze(1)


def fit_tiles() -> None:
    """Let TRL's fused heads work in tiles of :data:`TILE` from now on, in this process."""
    from trl.kernels import chunked_logprob  # seconds, which what only reckons memory need not wait
    from trl.trainer import utils

    chunked_logprob.TOKEN_CHUNK_SIZE, utils._CHUNKED_LOGPROB_CHUNK_SIZE = TILE
