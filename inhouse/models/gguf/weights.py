"""A GGUF's weights by transformers' reader, and proof that all of them were taken.

Read in float32, four bytes a number, whatever the file's kind: each weight is unpacked as ggml
defines it and rounded at most once after that.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GgufConfig, PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from inhouse.errors import InputError
from inhouse.models.folder import first_line
from inhouse.models.gguf.file import ROPE_FACTORS, GgufFile

# What Llama 3.1, 3.2 and 3.3 say in their config.json beside the factor; a GGUF keeps the outcome.
LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
INSTEAD = "the model would not be what the file holds; take the maker's safetensors"


def load(file: GgufFile, place: Path, name: str) -> Any:
    """The model of the GGUF at ``place / name`` in float32, whole.

    Raises:
        InputError: transformers does not read this architecture, leaves something out, makes
            something up, or a weight is no number.
    """
    kind: Any = AutoModelForCausalLM
    try:
        model, found = kind.from_pretrained(
            place,
            gguf_file=name,
            # Without this the weights stay packed where a kernel for that is installed, and a
            # packed model can be neither saved nor trained.
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a reader of foreign files stumbles over
        raise InputError(f"transformers cannot read {file.path}: {first_line(error)}") from error
    check_whole(model, found["missing_keys"], file)
    scale_positions(model.config, file)
    for key, weight in model.state_dict().items():
        if not torch.isfinite(weight).all():
            raise InputError(
                f"{file.path} holds weights that are no numbers ({key}): fetch it again"
            )
    return model


def check_whole(model: Any, missing: set[str], file: GgufFile) -> None:
    """Count: transformers fills what it does not find with noise, and drops what it does not know.

    Raises:
        InputError: with the names, or with both counts.
    """
    if missing:
        raise InputError(
            f"transformers finds no {', '.join(sorted(missing)[:3])} in {file.path}: {INSTEAD}"
        )
    held = sum(count for name, count in file.numbers.items() if name != ROPE_FACTORS)
    once = {weight.data_ptr(): weight.numel() for weight in model.state_dict().values()}
    taken = sum(once.values())
    if taken != held:
        odd = [n for n in file.numbers if not n.startswith(("blk.", "token_embd.", "output"))]
        among = f" (perhaps {', '.join(odd[:3])})" if odd else ""
        raise InputError(
            f"{file.path} holds {held:,} numbers, transformers takes {taken:,}{among}: {INSTEAD}"
        )


def scale_positions(config: PreTrainedConfig, file: GgufFile) -> None:
    """Write into ``config`` how positions are scaled, which transformers' reader leaves out.

    Raises:
        InputError: they are scaled in a way that is not Llama 3's.
    """
    kind = file.metadata.get(f"{file.architecture}.rope.scaling.type", "none")
    known: dict[str, Any] = config.to_dict().get("rope_parameters") or {}
    if kind != "none" and known.get("rope_type", "default") == "default":
        raise InputError(
            f"{file.path} scales positions ({kind}), which transformers leaves out: {INSTEAD}"
        )
    if file.rope_factors is None:
        return
    # The factor alone is not stored, but the lowest frequencies are divided by it and no more.
    factors = torch.from_numpy(file.rope_factors)
    scaled = copy.deepcopy(config)
    scaled.rope_parameters = {**known, "rope_type": "llama3", **LLAMA3}
    scaled.rope_parameters["factor"] = float(factors.max())
    slowed, _ = ROPE_INIT_FUNCTIONS["llama3"](scaled, torch.device("cpu"))
    steps = torch.arange(0, 2 * len(slowed), 2) / (2 * len(slowed))
    expected = known["rope_theta"] ** -steps / slowed
    if factors.shape != expected.shape or not torch.allclose(factors, expected, rtol=1e-3):
        raise InputError(
            f"{file.path} scales positions ({ROPE_FACTORS}) otherwise than Llama 3: {INSTEAD}"
        )
    config.rope_parameters = scaled.rope_parameters


def exact_dtype(model: Any) -> torch.dtype:
    """The smallest type that holds every weight as it is."""
    weights = list(model.state_dict().values())
    for dtype in (torch.bfloat16, torch.float16):
        if all(torch.equal(weight.to(dtype).float(), weight) for weight in weights):
            return dtype
    return torch.float32


def round_weights(model: Any, dtype: torch.dtype) -> float:
    """Put the weights into ``dtype``; by how much that moved them, as a share of their size.

    Both are root mean squares over all weights. The smaller type comes tensor by tensor, so that
    the model never stands in memory twice.
    """
    moved, size = 0.0, 0.0
    for weight in model.parameters():
        rounded = weight.data.to(dtype)
        moved += (rounded.float() - weight.data).square().sum(dtype=torch.float64).item()
        size += weight.data.square().sum(dtype=torch.float64).item()
        weight.data = rounded
    model.to(dtype)  # buffers, and what the model says of itself
    return (moved / size) ** 0.5 if size else 0.0
