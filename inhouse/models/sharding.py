"""FSDP2: weights, gradients and moments lie in pieces, one with each process.

    accelerate launch --config_file configs/accelerate/fsdp2.yaml -m sft …

accelerate knows FSDP on GPUs, and on a CPU runs DDP in its place without a word, although PyTorch's
``fully_shard`` works there too; :func:`begin` tells it, so that what runs on GPUs can be tried on
any machine. Each process still loads the whole model before it keeps its piece.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from inhouse.errors import InputError

if TYPE_CHECKING:
    from transformers import TrainingArguments


def asked() -> bool:
    """Whether ``accelerate launch`` was told to shard."""
    return _on("ACCELERATE_USE_FSDP")


def check() -> None:
    """Refuse the ways to shard that are not carried out.

    Raises:
        InputError: names the key of accelerate's config file and the value to give it.
    """
    if not asked():
        return
    if os.environ.get("FSDP_VERSION") != "2":
        raise InputError(
            f"fsdp_version is {os.environ.get('FSDP_VERSION')}: only 2 is carried out, as "
            "configs/accelerate/fsdp2.yaml has it"
        )
    if _on("FSDP_CPU_RAM_EFFICIENT_LOADING"):
        raise InputError(
            "fsdp_cpu_ram_efficient_loading leaves every process but the first without weights, "
            "and the checks before training read them: set it to false"
        )


def begin(training: TrainingArguments) -> None:
    """Let accelerate shard on a CPU, if it was asked to: before a trainer is built."""
    state = training.distributed_state
    if asked() and state.distributed_type == DistributedType.MULTI_CPU:
        state.fsdp_plugin = FullyShardedDataParallelPlugin()
        if training.bf16:
            state.fsdp_plugin.set_mixed_precision("bf16")
        state.distributed_type = DistributedType.FSDP


def whole_weights(trainer: Any) -> dict[str, Any] | None:
    """All weights put together in the first process, or None where it has them already.

    Every process must call it: each sends its pieces. Tied weights stand under their first name.
    """
    if not trainer.is_fsdp_enabled:
        return None
    weights = trainer.accelerator.get_state_dict(trainer.model)
    once = {name for name, _ in trainer.model.named_parameters()}
    every = {name for name, _ in trainer.model.named_parameters(remove_duplicate=False)}
    return {name: weights[name] for name in weights if name not in every - once}


def figures(trainer: Any) -> dict[str, int]:
    """How many parameters this process holds, where others hold the rest."""
    if not trainer.is_fsdp_enabled:
        return {}
    pieces = list(trainer.model.parameters())
    held = sum(piece.to_local().numel() for piece in pieces)
    return {"parameters_a_process": held, "parameters_in_all": sum(map(torch.numel, pieces))}


def _on(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true")
