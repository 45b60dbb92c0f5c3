"""QLoRA: the frozen weights in four bits, an adapter beside them (https://arxiv.org/abs/2305.14314).

    python -m sft --load_in_4bit --use_peft …

The base is rounded as it is loaded, and stays as it was on disk: the adapter stands on the folder
that was named, merges into its 16-bit weights, and loads on them in any other stage.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import torch

from inhouse.errors import InputError
from inhouse.models import sharding

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, TrainingArguments
    from trl import ModelConfig

INSTALL = "pip install -e '.[qlora]'"


def check(adapter: bool) -> None:
    """Refuse to quantise what would be trained itself, or where it cannot be done.

    Args:
        adapter: an adapter is what gets trained.

    Raises:
        InputError: what is missing, and how to get it.
    """
    if not adapter:
        raise InputError("load_in_4bit rounds the weights, which then cannot train: add --use_peft")
    if sharding.asked():
        raise InputError("load_in_4bit does not go with FSDP: use configs/accelerate/ddp.yaml")
    if not torch.cuda.is_available():
        raise InputError(
            "load_in_4bit needs a GPU that PyTorch can use, and there is none: leave it out (LoRA "
            "without it trains on any machine), or see 'A GPU' in docs/your-own-model.md"
        )
    if not installed():
        raise InputError(f"load_in_4bit needs bitsandbytes, which is not installed: {INSTALL}")


def installed() -> bool:
    """Whether bitsandbytes can be imported; it takes seconds, so that it is not."""
    return importlib.util.find_spec("bitsandbytes") is not None


def config(arguments: ModelConfig, training: TrainingArguments) -> BitsAndBytesConfig | None:
    """How to round the weights while loading, by TRL's keys, or None to leave them as they are."""
    from trl import get_quantization_config

    wanted = get_quantization_config(arguments)
    if wanted is not None and training.bf16:  # TRL computes in the type of the weights that are not
        wanted.bnb_4bit_compute_dtype = torch.bfloat16
    return wanted
