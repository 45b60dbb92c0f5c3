"""The page that goes with a model: what it came from, and how to load it without this suite.

    model_card.write(run.folder, run.stage.name, run.inputs)    # after the weights, before finish

Out: ``README.md`` in the stage's folder, with the header that model hubs read. Its commands are
run from that folder, so that it may be moved.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inhouse.files import write_atomically
from inhouse.models.adapters import ADAPTER_CONFIG, base_of, is_adapter, read_config
from inhouse.models.folder import GENERATION_CONFIG, locate
from inhouse.models.inspect import licence
from inhouse.run import is_main_process

# vLLM takes these as --max-lora-rank, and no others.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# What an adapter may have that vLLM does not load, by peft's key.
NOT_IN_VLLM = {
    "use_dora": "DoRA",
    "trainable_token_indices": "rows trained beside an adapter",
    "modules_to_save": "modules trained beside an adapter",
}

FULL = """\
model = AutoModelForCausalLM.from_pretrained(".")"""
ADAPTER = """\
model = AutoModelForCausalLM.from_pretrained({base})
model = PeftModel.from_pretrained(model, ".")"""
PYTHON = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
{load}
messages = [{{"role": "user", "content": "What does it cost?"}}]
prompt = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
ids = model.generate(**prompt, max_new_tokens=64, do_sample=False{ends})
print(tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))"""


def write(folder: Path, stage: str, inputs: Sequence[dict[str, Any]]) -> None:
    """Write the card of a model or adapter that a stage has just saved, in one process only.

    Args:
        inputs: what the stage read, as its manifest has it (``name``, ``path``, ``sha256``).
    """
    if is_main_process():
        write_atomically(folder / "README.md", text(folder, stage, inputs))


def text(folder: Path, stage: str, inputs: Sequence[dict[str, Any]]) -> str:
    """The card in Markdown."""
    adapter = is_adapter(folder)
    started = next(i["path"] for i in inputs if i["name"] in ("model_name_or_path", "base"))
    base = base_of(started)
    base = base if Path(base).is_dir() else locate(base)
    terms = licence(base)
    kind = f"LoRA adapter of rank {_rank(folder)}" if adapter else "whole model"
    rows = [("Stage", stage), ("Kind", kind), ("Base", hub_name(base))]
    rows += [("Licence of the base", f"{terms['licence']}; {terms['restrictions']}")]
    rows += [
        (f"Read as `{entry['name']}`", f"{Path(entry['path']).name}, sha256 `{entry['sha256']}`")
        for entry in inputs
    ]
    return "\n".join(
        [
            "---",
            f"base_model: {json.dumps(hub_name(base))}",
            f"license: {json.dumps(terms['licence'])}",
            f"library_name: {'peft' if adapter else 'transformers'}",
            "---",
            "",
            f"# {folder.absolute().parent.name}, {stage}",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            "",
            "Run these from this folder. With transformers" + (" and peft:" if adapter else ":"),
            "",
            "```python",
            python(folder, hub_name(base)),
            "```",
            "",
            "With vLLM:",
            "",
            "```sh",
            vllm(folder, hub_name(base)),
            "```",
            "",
        ]
    )


def python(folder: Path, base: str) -> str:
    """A program that loads the model with transformers, and peft for an adapter, and asks it."""
    if not is_adapter(folder):
        return PYTHON.format(load=FULL, ends="")
    # The base's generation config is what peft's model has; the adapter's may stop elsewhere too.
    ends = read_config(folder / GENERATION_CONFIG)["eos_token_id"]
    load = ADAPTER.format(base=json.dumps(base))
    return "from peft import PeftModel\n" + PYTHON.format(load=load, ends=f", eos_token_id={ends}")


def vllm(folder: Path, base: str) -> str:
    """The command that serves the model under the name of its stage's folder."""
    name = folder.absolute().name
    if not is_adapter(folder):
        return f"vllm serve . --served-model-name {name}"
    config = _adapter_config(folder)
    lacks = [words for key, words in NOT_IN_VLLM.items() if config.get(key)]
    if lacks:
        merge = f"python -m inhouse.models merge . --output_dir ../{name}-merged"
        return f"{merge}  # vLLM has no {lacks[0]}"
    rank = next(size for size in RANKS if size >= _rank(folder))
    return (
        f"vllm serve {json.dumps(base)} --tokenizer . --chat-template chat_template.jinja "
        f"--generation-config . --enable-lora --max-lora-rank {rank} --lora-modules {name}=."
    )


def hub_name(folder: str) -> str:
    """What others know a model as: its name on the hub if it is from there, else its path."""
    place = Path(folder).absolute()
    if place.parent.name == "snapshots" and place.parent.parent.name.startswith("models--"):
        return place.parent.parent.name.removeprefix("models--").replace("--", "/")
    return str(place)


def _rank(folder: Path) -> int:
    config = _adapter_config(folder)
    return max([config["r"], *config["rank_pattern"].values()])


def _adapter_config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
