"""Several rows in one, and the proof that none of them sees another.

TRL packs rows end to end and tells the attention by position ids where each begins. Whether that
is heeded depends on the architecture and the attention back end, so that it is tried before a
run, on the model itself: packed and alone, a row must give the same logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from inhouse.errors import InputError
from inhouse.training.unpadded import TOLERANCE

if TYPE_CHECKING:
    from inhouse.models.load import Model

PROBE = 24  # tokens of each row that is tried


def check_no_leak(model: Model, rows: Sequence[Sequence[int]]) -> float:
    """Refuse to pack where a row sees the one before it; return the largest share it differs by.

    Raises:
        InputError: names the back end, and what to do instead.
    """
    leak = largest_difference(model, rows)
    if leak > TOLERANCE[model.dtype]:
        raise InputError(
            f"{type(model).__name__} with attention {model.config._attn_implementation} leaks "
            f"between packed rows (logits differ by {leak:.2g} of the largest): leave --packing "
            "out, or try --attn_implementation sdpa"
        )
    return leak


def largest_difference(model: Model, rows: Sequence[Sequence[int]]) -> float:
    """How far packed logits are from those of each row alone, as a share of the largest logit."""
    tried = [list(ids[:PROBE]) for ids in rows]
    collator = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
    packed = collator([{"input_ids": ids, "labels": ids} for ids in tried])
    packed.pop("labels")
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            together = model(
                **{name: _moved(value, model.device) for name, value in packed.items()},
                use_cache=False,
            ).logits[0]
            alone = torch.cat(
                [
                    model(torch.tensor([ids], device=model.device), use_cache=False).logits[0]
                    for ids in tried
                ]
            )
    finally:
        model.train(was_training)
    return ((together - alone).abs().max() / alone.abs().max()).item()


def _moved(value: object, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) else value
