"""What a model is, read from its folder without loading its weights.

    python -m inhouse.models inspect examples/asdfg/model --json

Memory is estimated by formula (:func:`methods`); the terms of a licence are what its name stands
for, and no legal advice.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import metadata_load
from safetensors import SafetensorError, safe_open
from transformers import AutoTokenizer, PreTrainedConfig

from inhouse import special_tokens
from inhouse.errors import InputError
from inhouse.models.adapters import RECORD, is_adapter
from inhouse.models.folder import (
    check_folder,
    context_length,
    find_base,
    first_line,
    generation_config,
    load_config,
)
from inhouse.models.load import load_tokenizer
from inhouse.training import memory

UNKNOWN = "unknown"
# What a licence's name stands for, by its beginning; the first that fits.
RESTRICTIONS = {
    "apache-2.0": "none on use; keep the notices",
    "mit": "none on use; keep the notices",
    "bsd": "none on use; keep the notices",
    "cc0": "none",
    "cc-by-nc": "no commercial use",
    "cc-by": "name the author",
    "llama": "Meta's acceptable use policy; over 700 million monthly users need Meta's own licence",
    "gemma": "Google's prohibited use policy, to be passed on",
    "openrail": "the uses its attachment forbids, to be passed on",
    "bigscience": "the uses its attachment forbids, to be passed on",
    "creativeml": "the uses its attachment forbids, to be passed on",
}
NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
RANK, TOKENS = 16, 1024  # what the estimates assume: TRL's lora_r and max_length
FOUR_BITS = 0.5 + 4 / 64  # bytes a number in QLoRA: half a one, and a float32 scale for 64 of them


@dataclass(frozen=True)
class Stored:
    """A folder's tensors: shapes by name, the most common data type, and bytes on disk."""

    shapes: dict[str, tuple[int, ...]]
    dtype: str
    bytes: int

    @property
    def parameters(self) -> int:
        """Numbers in all tensors; tied weights are stored, and counted, once."""
        return sum(prod(shape) for shape in self.shapes.values())


def inspect(folder: str) -> dict[str, Any]:
    """Everything worth knowing about a model or adapter before it is used.

    Raises:
        InputError: no model, pickles, ``auto_map``, damaged files, or an adapter whose base is
            gone or changed.
    """
    check_folder(folder)
    base = find_base(folder)
    config, weights = load_config(base), stored(base)
    names = config.architectures or [UNKNOWN]
    facts: dict[str, Any] = {"path": folder, "architecture": names[0]}
    if is_adapter(folder):
        own = stored(folder)
        facts |= {"adapter_on": base, "adapter_parameters": own.parameters}
        facts |= {"base_checked": (Path(folder) / RECORD).is_file()}
        facts |= {"adapter_bytes": own.bytes}
    facts |= {"parameters": weights.parameters, "bytes": weights.bytes, "dtype": weights.dtype}
    facts |= licence(base) | {"context": context_length(config)}
    return facts | tokens(folder) | methods(config.get_text_config(), weights)


def stored(folder: str | Path) -> Stored:
    """The tensors of a folder's safetensors, from their headers alone.

    Raises:
        InputError: there are none, or a file is damaged.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder} holds no safetensors: save the model there again")
    shapes: dict[str, tuple[int, ...]] = {}
    kinds: Counter[str] = Counter()
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                names = file.keys()
                for name in names:
                    part = file.get_slice(name)
                    shapes[name] = tuple(part.get_shape())
                    kinds[part.get_dtype()] += prod(shapes[name])
        except SafetensorError as error:
            raise InputError(f"{path} is damaged ({error}): fetch or save it again") from None
    dtype = kinds.most_common(1)[0][0]
    size = sum(path.stat().st_size for path in files)
    return Stored(shapes, NAMES.get(dtype, dtype), size)


def licence(folder: str) -> dict[str, str]:
    """``licence``, ``restrictions`` and ``licence_from``, as the model's own page names them."""
    page = Path(folder) / "README.md"
    found: dict[str, Any] = {}
    if page.is_file():
        try:
            found = metadata_load(page) or {}
        except (ValueError, yaml.YAMLError):
            found = {}  # a header that is no YAML names no licence
    name = found.get("license_name") if found.get("license") == "other" else found.get("license")
    if not isinstance(name, str) or name == UNKNOWN:
        texts = sorted(path.name for path in Path(folder).glob("LICEN[SC]E*"))
        where = f"read {texts[0]} in {folder}" if texts else "ask whoever made it before you use it"
        return {"licence": UNKNOWN, "restrictions": where, "licence_from": UNKNOWN}
    key = name.lower()
    terms = next((text for start, text in RESTRICTIONS.items() if key.startswith(start)), None)
    link = found.get("license_link")
    terms = terms or (f"read {link}" if link else f"{UNKNOWN}: read the licence")
    return {"licence": name, "restrictions": terms, "licence_from": "README.md"}


def tokens(folder: str) -> dict[str, Any]:
    """The chat template, and the tokens that begin, end and fill a row; None where there is none.

    ``template_marks_replies``: it has ``{% generation %}``. ``template_thinks``: it knows a part
    of the reply that is thought and not said. ``stops_at``: what ends a reply, the template's own
    token first. ``refused``: why no stage would train it, or None. ``padded_with``: what training
    pads with, ``pad_token`` being what the folder names.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer in {folder}: {first_line(error)}") from None
    pad, template = tokenizer.pad_token, tokenizer.chat_template
    refused, notes, stops, padded_with = None, list[str](), list[int](), pad
    try:
        kept = load_tokenizer(folder)
        config = generation_config(find_base(folder))
        stops, notes = special_tokens.stop_ids(kept, config), special_tokens.notes(kept, config)
        padded_with = kept.pad_token
    except InputError as error:
        refused = str(error)
    text = template if isinstance(template, str) else ""
    return {
        "chat_template": bool(template),
        "template_marks_replies": bool(re.search(r"{%-?\s*generation\s*-?%}", text)),
        "template_thinks": "enable_thinking" in text or "<think>" in text,
        "bos_token": tokenizer.bos_token,
        "end_token": tokenizer.eos_token,
        "pad_token": pad,
        "padded_with": padded_with,
        "stops_at": [tokenizer.convert_ids_to_tokens(token) for token in stops],
        "notes": notes,
        "refused": refused,
        "vocabulary": len(tokenizer),
    }


def methods(config: PreTrainedConfig, weights: Stored) -> dict[str, Any]:
    """Which training fits the memory that is free, in bytes, by :mod:`inhouse.training.memory`.

    Every weight is float32, but QLoRA's matrices, which need a GPU. What is trained has a gradient
    and two moments beside it, what is frozen nothing. N parameters, n in an adapter: DPO keeps its
    reference (N, or a frozen n) and runs two replies a record; PPO has one frozen base, trains two
    adapters (policy, critic), keeps two (reference, reward), and runs policy and critic.
    """
    known, every = config.to_dict(), 4 * weights.parameters
    low_rank = 4 * _adapter_parameters(weights, config)
    step = memory.Load(
        weights=every,
        trained=every,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        inner=known.get("intermediate_size") or known.get("n_inner") or 4 * config.hidden_size,
        heads=config.num_attention_heads,
        value=4,
        eager=False,
        checkpointing=False,
        batch=1,
        accumulation=1,
        length=TOKENS,
    )
    loads = {
        "sft, full": step,
        "sft, LoRA": replace(step, weights=every + low_rank, trained=low_rank),
        "dpo, full": replace(step, weights=2 * every, batch=2),
        "dpo, LoRA": replace(step, weights=every + 2 * low_rank, trained=low_rank, batch=2),
        "ppo": replace(step, weights=every + 4 * low_rank, trained=2 * low_rank, batch=2),
    }
    if torch.cuda.is_available():
        rounded = int((4 - FOUR_BITS) * sum(prod(shape) for shape in _matrices(weights, config)))
        loads["sft, QLoRA"] = replace(loads["sft, LoRA"], weights=every + low_rank - rounded)
    free = memory.free_bytes()
    needs = {name: load.total for name, load in loads.items()}
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "free_bytes": free,
        "formula": "weights + 3 x trained + activations, all float32; LoRA of rank "
        f"{RANK} on every linear layer; one record of {TOKENS} tokens, no checkpointing",
        "methods": {name: {"bytes": size, "fits": size <= free} for name, size in needs.items()},
    }


def _matrices(weights: Stored, config: PreTrainedConfig) -> list[tuple[int, ...]]:
    """Shapes of the layers' matrices; embeddings and head have a vocabulary's side."""
    shapes = weights.shapes.values()
    return [shape for shape in shapes if len(shape) == 2 and config.vocab_size not in shape]


def _adapter_parameters(weights: Stored, config: PreTrainedConfig) -> int:
    """r (in + out) for each matrix of the layers."""
    return sum(RANK * (rows + columns) for rows, columns in _matrices(weights, config))


# --- for people ---------------------------------------------------------------------------------


def page(facts: dict[str, Any]) -> str:
    """The facts as lines."""
    adapter = "adapter_on" in facts
    lines = [("model", facts["path"]), ("architecture", facts["architecture"])]
    if adapter:
        checked = (
            "its weights as they were" if facts["base_checked"] else "nobody can tell if right"
        )
        size = f"{facts['adapter_parameters']:,}, {_size(facts['adapter_bytes'])} on disk"
        lines += [("adapter", size), ("base", f"{facts['adapter_on']} ({checked})")]
    stored_as = f"{_size(facts['bytes'])} on disk in {facts['dtype']}"
    lines += [("parameters", f"{facts['parameters']:,}, {stored_as}")]
    lines += [("licence", facts["licence"]), ("restrictions", facts["restrictions"])]
    lines += [("context", f"{facts['context']:,} tokens" if facts["context"] else UNKNOWN)]
    lines += [("template", _template(facts))]
    lines += [("tokens", _tokens(facts))]
    if facts["stops_at"]:
        lines += [("replies end", "at " + " or ".join(facts["stops_at"]))]
    lines += [("note", words) for words in facts["notes"]]
    if facts["refused"]:
        lines += [("training", f"refused: {facts['refused']}")]
    lines += [("free memory", f"{_size(facts['free_bytes'])} ({facts['device']})")]
    for name, need in facts["methods"].items():
        fits = "fits" if need["fits"] else "does not fit"
        lines += [(f"  {name}", f"{_size(need['bytes'])}  {fits}")]
    lines += [("", "by formula, not measured:"), *(("", p) for p in facts["formula"].split("; "))]
    return "\n".join(f"{name:13} {value}".rstrip() for name, value in lines)


def _template(facts: dict[str, Any]) -> str:
    if not facts["chat_template"]:
        return "none: add chat_template.jinja before training"
    marks = "marks" if facts["template_marks_replies"] else "does not mark"
    thinks = "; has a part for thoughts" if facts["template_thinks"] else ""
    return f"{marks} replies with {{% generation %}} (inhouse does not need it){thinks}"


def _tokens(facts: dict[str, Any]) -> str:
    parts = [f"{name} {facts[f'{name}_token'] or 'none'}" for name in ("bos", "end", "pad")]
    if facts["padded_with"] != facts["pad_token"]:
        parts[-1] += f" (training pads with {facts['padded_with']})"
    return ", ".join(parts)


def _size(size: int) -> str:
    return f"{size / memory.GIB:.2f} GiB" if size >= memory.GIB / 10 else f"{size / 2**20:.1f} MiB"
