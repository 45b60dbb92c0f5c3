"""Training some layers of a model alone, all else frozen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from inhouse.errors import InputError

if TYPE_CHECKING:
    from inhouse.models.load import Model


def train_only_layers(model: Model, wanted: str) -> str:
    """Freeze all but the parts named in ``wanted``; return in words what trains and what not.

    Args:
        wanted: ``last:N``, layers' numbers from 0, ``embeddings``, ``norm`` (the one behind the
            last layer) and ``head``, with commas between. Tied embeddings are one tensor with the
            head: either word means both.

    Raises:
        InputError: the model has no such part.
    """
    body, count = model.base_model, model.config.get_text_config().num_hidden_layers
    lists = (part for part in body.modules() if isinstance(part, torch.nn.ModuleList))
    layers = next(part for part in lists if len(part) == count)
    parts = {str(number): list(layer.parameters()) for number, layer in enumerate(layers)}
    inside = {id(weight) for weight in layers.parameters()}
    outside = [weight for weight in body.parameters() if id(weight) not in inside]
    norms = [part for part in body.modules() if "Norm" in type(part).__name__]
    of_norms = {id(weight) for norm in norms for weight in norm.parameters()}
    parts["embeddings"] = [weight for weight in outside if id(weight) not in of_norms]
    parts["norm"] = [weight for weight in outside if id(weight) in of_norms]
    parts["head"] = list(model.get_output_embeddings().parameters())

    names: list[str] = []
    for word in wanted.replace(" ", "").split(","):
        last = re.fullmatch(r"last:([1-9]\d*)", word)
        if last and int(last[1]) <= count:
            names += map(str, range(count - int(last[1]), count))
        elif word in parts:
            names.append(word)
        else:
            raise InputError(
                f"train_layers names {word!r}, which this model has not: give last:N with N from 1 "
                f"to {count}, layers from 0 to {count - 1}, embeddings, norm or head, with commas "
                "between them"
            )
    model.requires_grad_(False)
    for name in names:
        for weight in parts[name]:
            weight.requires_grad_(True)
    trained = [name for name in parts if any(weight.requires_grad for weight in parts[name])]
    frozen = ["the other layers", *(n for n in ("embeddings", "norm", "head") if n not in trained)]
    return f"{', '.join(trained)} of layers 0 to {count - 1}; frozen: {', '.join(frozen)}"
