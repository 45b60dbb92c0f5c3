"""A model's folder: found, and refused before anything of it is read that could run code.

Weights are safetensors, code comes from transformers alone (never ``trust_remote_code``), and a
folder that holds pickles or asks for its own code (``auto_map``) is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from transformers import (
    AutoConfig,
    GenerationConfig,
    PreTrainedConfig,
)

from inhouse.errors import InputError
from inhouse.models import quantised
from inhouse.models.adapters import ADAPTER_CONFIG, base_of, check, is_adapter, read_config

if TYPE_CHECKING:
    from trl import ModelConfig

# What is fetched of a model: safetensors, configuration and licence, never pickles or code.
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "README.md", "LICENSE*"]
GENERATION_CONFIG = "generation_config.json"
GGUF = ".gguf"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def locate(name_or_path: str) -> str:
    """The local folder of a model: the path itself, or where the hub's cache keeps that name.

    Raises:
        InputError: there is no such folder, and the hub is not allowed or does not have it.
    """
    if Path(name_or_path).is_dir():
        return name_or_path
    if Path(name_or_path).is_file() and name_or_path.endswith(GGUF):
        raise InputError(_convert_first(name_or_path))
    if name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1:
        raise InputError(f"no model folder {name_or_path}")
    try:
        return snapshot_download(name_or_path, allow_patterns=HUB_FILES)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise InputError(
            f"no model {name_or_path}: neither a folder here nor in the local cache, and the hub "
            "is asked only with --allow_network (`python -m inhouse.models inspect "
            f"{name_or_path} --allow_network` fetches it)"
        ) from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise InputError(f"no model {name_or_path} on the hub: {first_line(error)}") from None


def check_folder(folder: str) -> None:
    """Refuse a model folder that could run code of its own when it is loaded.

    Raises:
        InputError: pickles, ``auto_map``, or no model at all.
    """
    if not Path(folder).is_dir():
        raise InputError(f"no model folder {folder}")
    pickles = sorted(path.name for path in Path(folder).iterdir() if path.suffix.lower() in PICKLES)
    if pickles:
        raise InputError(
            f"{folder} holds pickled weights ({', '.join(pickles)}), which run code when loaded: "
            "save the model with `model.save_pretrained(folder)`, which writes safetensors, and "
            "remove the others"
        )
    config = Path(folder) / "config.json"
    if not config.is_file() and not is_adapter(folder):
        packed = sorted(Path(folder).glob(f"*{GGUF}"))
        if packed:
            raise InputError(_convert_first(str(packed[0])))
        raise InputError(f"{folder} holds no model: neither config.json nor {ADAPTER_CONFIG}")
    for path in (config, Path(folder) / "tokenizer_config.json"):
        if path.is_file() and "auto_map" in read_config(path):
            raise InputError(
                f"{path} asks for code of its own (auto_map), which is never run: use an "
                "architecture that transformers ships"
            )


def _convert_first(path: str) -> str:
    return (
        f"{path} is a GGUF, which cannot be trained: `python -m inhouse.models convert {path} "
        "--output_dir DIR` makes a model folder of it"
    )


# ModelConfig's keys that are not carried out yet; a user who sets one is told, not ignored.
NOT_YET = {"load_in_8bit": False, "model_revision": "main"}


def check_arguments(arguments: ModelConfig, training: Any, *, may_quantise: bool = False) -> None:
    """Refuse what the suite never does, whoever asks, and what it does not do yet; find the model.

    Args:
        may_quantise: the stage carries out ``load_in_4bit``.

    Raises:
        InputError: remote code, quantisation, no model, or a folder that is none.
    """
    if training.trust_remote_code:
        raise InputError("trust_remote_code is never allowed: models run transformers' own code")
    for key, default in NOT_YET.items():
        if getattr(arguments, key) != default:
            raise InputError(f"{key}={getattr(arguments, key)} is not supported yet: leave it out")
    if arguments.model_name_or_path is None:
        raise InputError("no model to start from: give --model_name_or_path")
    if training.resume_from_checkpoint and not Path(training.resume_from_checkpoint).is_dir():
        raise InputError(
            f"resume_from_checkpoint names no folder: {training.resume_from_checkpoint} (leave it "
            "out, and the stage goes on from its last checkpoint by itself)"
        )
    arguments.model_name_or_path = locate(arguments.model_name_or_path)
    check_folder(arguments.model_name_or_path)
    if arguments.load_in_4bit and not may_quantise:
        raise InputError("load_in_4bit is carried out by `python -m sft` only: leave it out here")
    if arguments.load_in_4bit:
        quantised.check(arguments.use_peft or is_adapter(arguments.model_name_or_path))


def find_base(folder: str) -> str:
    """The folder of the model below an adapter, its weights as they were, or the model itself.

    Raises:
        InputError: the base is not there, has changed, or is an adapter itself.
    """
    if not is_adapter(folder):
        return folder
    try:
        base = locate(base_of(folder))
    except InputError as error:
        raise InputError(
            f"the adapter in {folder} stands on a model that is not there ({error}): put it back, "
            f"or write where it is now into {Path(folder) / ADAPTER_CONFIG} as "
            "base_model_name_or_path; its weights are checked"
        ) from None
    if is_adapter(base):  # transformers would load both, and check neither
        raise InputError(
            f"the adapter in {folder} stands on another adapter, {base}: merge that one first with "
            f"`python -m inhouse.models merge {base} --output_dir DIR`"
        )
    check_folder(base)
    check(folder, base)
    return base


def load_config(folder: str) -> Any:
    """A model's architecture and sizes.

    Raises:
        InputError: the config is not of an architecture that transformers ships.
    """
    check_folder(folder)
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot read the config in {folder}: {first_line(error)}") from None


def generation_config(folder: str) -> GenerationConfig:
    """A model's own generation config; what transformers makes of its config where it has none.

    Raises:
        InputError: it is damaged.
    """
    path = Path(folder) / GENERATION_CONFIG
    if not path.is_file():
        return GenerationConfig.from_model_config(load_config(folder))
    return GenerationConfig.from_dict(read_config(path))


def context_length(config: PreTrainedConfig) -> int | None:
    """How many tokens a model takes at most; None for an architecture without such a limit."""
    text = config.get_text_config()
    return text.max_position_embeddings if hasattr(text, "max_position_embeddings") else None


def first_line(error: Exception) -> str:
    """What a library's message says first; the rest is for developers."""
    return str(error).strip().splitlines()[0]
