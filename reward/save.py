"""Write a reward model and prove, before anything uses it, that it reads back as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from inhouse.errors import InputError
from inhouse.generation.score import Calibration, head_scores
from inhouse.models.load import load_reward_model, save_model

TOLERANCE = 1e-6  # float32 outputs of the same weights on the same rows, in the same batches


def save(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    calibration: Calibration,
    folder: Path,
    rows: Sequence[list[int]],
) -> float:
    """Write model or adapter, tokenizer and calibration; return how far reloaded scores differ.

    Args:
        rows: token rows to compare on. Shape: (tokens,) each.

    Raises:
        InputError: what was written scores otherwise than what was trained.
    """
    pad = tokenizer.pad_token_id
    config: Any = (model.get_base_model() if isinstance(model, PeftModel) else model).config
    config.pad_token_id = pad  # plain transformers finds the last token by it
    config.reward = calibration.stored()
    before = head_scores(model, rows, pad)
    save_model(model, tokenizer, folder)
    again = load_reward_model(str(folder), dtype=model.dtype).to(model.device)
    difference = float((head_scores(again, rows, pad) - before).abs().max())
    if difference > TOLERANCE:
        raise InputError(
            f"what was saved in {folder} scores otherwise than what was trained (by "
            f"{difference:.2g}): do not use it. Look at the disk, then run `python -m reward "
            "--overwrite`"
        )
    return difference
