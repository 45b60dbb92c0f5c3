"""Train to the end, from the last whole checkpoint, and write what came of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.errors import refusals
from inhouse.models import card, sharding
from inhouse.models.load import save_model
from inhouse.run import CHECKPOINTS, Run, is_main_process, on_refusal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments


def start(training: TrainingArguments, run: Run) -> None:
    """Claim the run's folder, until training is refused; checkpoints go to it from here on."""
    run.start()
    on_refusal.append(run.withdraw)
    training.output_dir = str(run.path(CHECKPOINTS))


def train(trainer: Trainer, run: Run) -> dict[str, Any]:
    """Train to the end, from the last whole checkpoint if there is one; return the last figures."""
    checkpoint = trainer.args.resume_from_checkpoint or last_checkpoint(run.path(CHECKPOINTS))
    if checkpoint:
        print(f"going on from {checkpoint}")
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except (ImportError, ValueError, RuntimeError):
        if trainer.lr_scheduler is not None:  # built last: what comes later is training itself
            raise
        with refusals("the optimiser or its schedule"):
            raise
    logged: dict[str, Any] = {}
    for entry in trainer.state.log_history:
        logged |= entry
    logged.pop("total_flos", None)
    return logged | {"steps": trainer.state.global_step} | sharding.figures(trainer)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole; a half one, left by a kill, is removed."""
    found = sorted(
        folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True
    )
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))  # written last
            return path
        except (OSError, ValueError):
            if is_main_process():
                shutil.rmtree(path)
    return None


def save(trainer: Trainer, tokenizer: PreTrainedTokenizerBase, run: Run) -> None:
    """Write the trained model or adapter and its card, once, whatever the number of processes."""
    weights = sharding.whole_weights(trainer)
    if is_main_process():
        model = trainer.accelerator.unwrap_model(trainer.model)
        save_model(model, tokenizer, run.folder, weights)
        card.write(run.folder, run.stage.name, run.inputs)
    trainer.accelerator.wait_for_everyone()
