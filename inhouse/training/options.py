"""Settings that are not TRL's to decide here, and where a training stage writes.

The stages bring their own data as token ids made by ``inhouse.chat``, so TRL's trainers are handed
finished rows. Keys of TRL's that would change how rows are made are refused rather than ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.config import Parsed, RunOptions, Stage
from inhouse.errors import InputError
from inhouse.models import sharding
from inhouse.models.folder import check_arguments
from inhouse.run import Run, open_run, require

if TYPE_CHECKING:
    from trl import ModelConfig

# TRL's keys that the suite decides elsewhere, and where.
DECIDED_ELSEWHERE = {
    "assistant_only_loss": "every assistant turn is supervised, and nothing else, always",
    "completion_only_loss": "every assistant turn is supervised, and nothing else, always",
    "chat_template_path": "`python -m sft --chat_template FILE` gives another than the model's",
    "dataset_kwargs": "inhouse.chat makes the token ids",
    "dataset_text_field": "records have the fields of inhouse.records",
    "eos_token": "the end token is the one in the model's folder",
    "pad_token": "the padding is the one in the model's folder",
    "model_init_kwargs": "use the keys dtype and attn_implementation",
    "truncation_mode": "records over max_length are refused, never cut",
}


def check_settings(settings: dict[str, Any], *, may_shard: bool = False) -> None:
    """Refuse keys that would be ignored, two keys that name one folder, and FSDP.

    Args:
        may_shard: the stage carries out FSDP2.

    Raises:
        InputError: names the key and who decides it.
    """
    for key, where in DECIDED_ELSEWHERE.items():
        if key in settings:
            raise InputError(f"{key} cannot be set: {where}")
    lora = [key for key in settings if key.startswith("lora_") or key in ("use_dora", "use_rslora")]
    if lora and not settings.get("use_peft"):
        raise InputError(f"{lora[0]} is set, but use_peft is not: add use_peft, or leave it out")
    if sharding.asked() and not may_shard:
        raise InputError(
            "FSDP is carried out by `python -m sft` and `python -m rlhf.dpo` only: use "
            "configs/accelerate/ddp.yaml here"
        )
    sharding.check()
    if {"output_dir", "run_dir"} <= settings.keys():
        raise InputError("output_dir and run_dir both name where to write: give one of them")


def find_inputs(
    stage: Stage,
    run_dir: str,
    dataset_name: str | None,
    model_args: ModelConfig,
    training: Any,
    *,
    may_quantise: bool = False,
    **named: str | Path | None,
) -> dict[str, str | Path]:
    """What a training stage reads, by the setting that names it: named, or else the run's own.

    Fills in the model's place: what ``sft`` made, for every stage behind it.

    Args:
        named: what else is read, None for what is not.

    Raises:
        InputError: a parent stage is missing, or the model is none.
    """
    campaign = Path(run_dir)
    if model_args.model_name_or_path is None and stage.name != "sft":
        mend = f"run `python -m sft --run_dir {campaign}` first"
        model_args.model_name_or_path = str(require(campaign / "sft", mend))
    check_sizes(training)
    check_arguments(model_args, training, may_quantise=may_quantise)
    assert model_args.model_name_or_path is not None  # refused, else
    found: dict[str, str | Path] = {
        "model_name_or_path": model_args.model_name_or_path,
        "dataset_name": dataset_name or require(campaign / stage.reads, stage.mend),
    }
    return found | {name: path for name, path in named.items() if path}


def check_sizes(training: Any) -> None:
    """Refuse a training of nothing.

    Raises:
        InputError: names the key and its least value.
    """
    for key in ("per_device_train_batch_size", "gradient_accumulation_steps"):
        if getattr(training, key) < 1:
            raise InputError(f"{key} is {getattr(training, key)}: give 1 or more")
    if training.max_steps <= 0 and training.num_train_epochs <= 0:
        raise InputError(f"num_train_epochs is {training.num_train_epochs}: give more than 0")


def open_stage(stage: Stage, parsed: Parsed, inputs: dict[str, str | Path]) -> Run:
    """The stage's run in ``run_dir/<stage>``, or in TRL's ``output_dir`` if only that is named."""
    options: RunOptions = parsed.values[0]
    named = parsed.settings.get("output_dir")
    folder = Path(named) if named else Path(options.run_dir) / stage.name
    return open_run(stage, options, parsed.settings, inputs, folder=folder)
