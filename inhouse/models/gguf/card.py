"""The page of a converted model: its licence and its maker, as the GGUF names them."""

from __future__ import annotations

import json
from pathlib import Path

from inhouse.models.card import python, vllm
from inhouse.models.gguf.file import GgufFile
from inhouse.models.inspect import UNKNOWN

# Shown where the file has them: metadata's key, and what a reader calls it.
NAMED = {
    "general.name": "Name in the file",
    "general.organization": "Made by",
    "general.author": "Author",
    "general.version": "Version",
    "general.url": "Page",
    "general.repo_url": "Repository",
    "general.source.url": "Made from",
    "general.source.repo_url": "Made from",
    "general.source.huggingface.repository": "Made from",
    "general.base_model.0.name": "Base",
    "general.base_model.0.repo_url": "Base",
    "general.quantized_by": "Quantised by",
    "general.license.link": "Licence text",
}


def text(file: GgufFile, folder: Path, sha256: str, origin: str, stored: str) -> str:
    """The card in Markdown, with the header that model hubs and ``inspect`` read.

    Args:
        origin: where the file came from, as far as anybody said.
        stored: what became of the weights.
    """
    said = file.metadata
    licence = str(said.get("general.license", UNKNOWN))
    header = {"license": licence, "library_name": "transformers"}
    for key in ("name", "link"):
        if said.get(f"general.license.{key}"):
            header[f"license_{key}"] = str(said[f"general.license.{key}"])
    rows = [("Licence", licence)]
    rows += [(words, str(said[key])) for key, words in NAMED.items() if said.get(key)]
    rows += [("Converted from", f"{file.path.name}, sha256 `{sha256}`")]
    rows += [("Which came from", origin)] if origin else []
    rows += [("Weights", stored)]
    return "\n".join(
        [
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in header.items()),
            "---",
            "",
            f"# {file.path.stem}",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {_cell(value)} |" for name, value in rows),
            "",
            "Run these from this folder. With transformers:",
            "",
            "```python",
            python(folder, ""),
            "```",
            "",
            "With vLLM:",
            "",
            "```sh",
            vllm(folder, ""),
            "```",
            "",
        ]
    )


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|")
