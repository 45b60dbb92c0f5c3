"""What an adapter is, and what it stands on, known by its hash.

An adapter is a change to one model's weights; on any other weights it is noise that loads without
an error. A stage that saves an adapter writes ``base.json`` beside it: the SHA-256 of each file
that decides what the base computes. Loading compares them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import LoraConfig
from trl import get_peft_config

from inhouse.errors import InputError
from inhouse.files import sha256, write_json

if TYPE_CHECKING:
    from trl import ModelConfig


ADAPTER_CONFIG = "adapter_config.json"


def is_adapter(name_or_path: str | Path) -> bool:
    """Whether a folder holds a LoRA adapter rather than a whole model."""
    return (Path(name_or_path) / ADAPTER_CONFIG).is_file()


def read_config(path: Path) -> dict[str, Any]:
    """A model's JSON file.

    Raises:
        InputError: it is damaged.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): save the model again") from None
    if not isinstance(config, dict):
        raise InputError(f"{path} is damaged (no JSON object): save the model again")
    return config


def base_of(name_or_path: str) -> str:
    """The model below an adapter, as the adapter names it, or the model itself."""
    if not is_adapter(name_or_path):
        return name_or_path
    return str(read_config(Path(name_or_path) / ADAPTER_CONFIG)["base_model_name_or_path"])


def lora_config(arguments: ModelConfig, task_type: str = "CAUSAL_LM") -> LoraConfig | None:
    """The LoRA settings a user asked for with ``use_peft``, or None for full training."""
    if arguments.use_peft and is_adapter(arguments.model_name_or_path or ""):
        raise InputError(
            f"{arguments.model_name_or_path} is an adapter already, and it is what gets trained: "
            "leave use_peft out"
        )
    arguments.lora_task_type = task_type
    lora = get_peft_config(arguments)
    assert lora is None or isinstance(lora, LoraConfig)
    if lora is not None and task_type == "SEQ_CLS":
        lora.modules_to_save = ["score"]
    return lora


RECORD = "base.json"


def describe(folder: str | Path) -> dict[str, Any]:
    """A model's path, the hash of each of its weights' files and of its config, and one over all.

    Raises:
        InputError: the folder holds no safetensors.
    """
    files = [path for path in sorted(Path(folder).glob("*.safetensors")) if path.is_file()]
    if not files:
        raise InputError(f"{folder} holds no safetensors: save the model there again")
    files.append(Path(folder) / "config.json")
    hashes = {path.name: _sha256(path, *_stamp(path)) for path in files}
    listing = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return {"base": str(folder), "sha256": digest, "files": hashes}


def record(adapter: Path, base: str) -> None:
    """Write down beside an adapter which weights it stands on."""
    write_json(adapter / RECORD, describe(base))


def check(adapter: str | Path, base: str) -> None:
    """Refuse an adapter whose base has other weights now than when the adapter was saved.

    An adapter that no stage of the suite saved has no record: that is said on the error stream.

    Raises:
        InputError: names the adapter, the base, both hashes and the first file that differs.
    """
    path = Path(adapter) / RECORD
    if not path.is_file():
        print(
            f"note: {adapter} has no {RECORD}, so nobody can tell whether {base} is the model it "
            "was trained on",
            file=sys.stderr,
        )
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        before, digest, files = known["base"], known["sha256"], known["files"]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error!r}): run the adapter's stage again") from None
    now = describe(base)
    if now["sha256"] == digest:
        return
    names = sorted(files.keys() | now["files"].keys())
    differs = next((name for name in names if files.get(name) != now["files"].get(name)), "a file")
    raise InputError(
        f"the adapter in {adapter} was trained on {before} (sha256 {digest[:12]}), and {base} is "
        f"another model now (sha256 {now['sha256'][:12]}; {differs} differs): put the weights back "
        "as they were, or train the adapter again on these"
    )


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


@lru_cache(maxsize=1024)  # several adapters on one base hash its gigabytes once a process
def _sha256(path: Path, size: int, changed: int) -> str:
    return sha256(path)
