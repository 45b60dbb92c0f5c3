"""A GGUF becomes a model folder: read, checked, stored as safetensors, described.

    python -m inhouse.models convert model.Q4_1.gguf --output_dir models/mine

In: one ``.gguf``, which is only read. Out: ``model.safetensors`` (or several), ``config.json``,
``generation_config.json`` with the end tokens, the tokenizer with its chat template, ``README.md``
with licence and origin, ``metrics.json``, ``manifest.json``. Everything is written beside and moved
at the end, ``config.json`` last. Needs four bytes of memory for each number.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig

from inhouse.config import RunOptions, Stage
from inhouse.errors import InputError
from inhouse.files import sha256, write_atomically
from inhouse.models.folder import context_length, first_line
from inhouse.models.gguf import card, file, tokenizer, weights
from inhouse.models.inspect import stored
from inhouse.models.load import save_model
from inhouse.run import BEGUN, CHECKPOINTS, MANIFEST, Run, open_run

STAGE = Stage("convert", "python -m inhouse.models convert", "a GGUF becomes a model folder")
BESIDE = 64 * 2**20  # bytes for what is no weight: a tokenizer of a large vocabulary has 35 MB


def convert(
    path: Path,
    output_dir: Path,
    *,
    chat_template: Path | None = None,
    expected_sha256: str = "",
    origin: str = "",
    overwrite: bool = False,
) -> None:
    """Convert the GGUF at ``path`` into ``output_dir``.

    Args:
        chat_template: a Jinja file in place of the GGUF's own template.
        expected_sha256: what the file's SHA-256 has to be; empty for no check.
        origin: where the file came from, for the model's card.

    Raises:
        UpToDate: this file was converted to there before.
        InputError: not a GGUF that can be converted without loss, or no place for the result.
    """
    file.check_installed()
    file.check_is_gguf(path)
    check_output(output_dir)
    check_sha256(path, expected_sha256)
    inputs: dict[str, str | Path] = {"gguf": path}
    inputs |= {"chat_template": chat_template} if chat_template else {}
    options = RunOptions(run_dir=str(output_dir.parent), overwrite=overwrite)
    run = open_run(STAGE, options, {}, inputs, folder=output_dir)

    source = file.read(path)
    # Alone in a folder: what else lies beside the file is not to be read with it.
    with tempfile.TemporaryDirectory() as place:
        link = Path(place) / "model.gguf"
        link.symlink_to(path.resolve())
        spoken = tokenizer.load(source, link.parent, link.name, chat_template)
        model = weights.load(source, link.parent, link.name)
    spoken.model_max_length = context_length(model.config) or spoken.model_max_length
    set_end(model, source)
    dtype = torch.bfloat16 if source.rounded_by else weights.exact_dtype(model)
    check_disk(output_dir, model, dtype)
    lost = weights.round_weights(model, dtype)
    became = in_words(source, dtype, lost)

    run.start()
    draft = run.path(CHECKPOINTS) / "converted"  # where no loader takes it for a finished model
    shutil.rmtree(draft, ignore_errors=True)
    try:
        save_model(model, spoken, draft)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        run.withdraw()
        raise InputError(f"cannot write {output_dir}: {first_line(error)}") from None
    digest = run.inputs[0]["sha256"]
    write_atomically(draft / "README.md", card.text(source, run.folder, digest, origin, became))
    written = stored(draft)
    publish(draft, run)
    print(
        f"{path.name}: {source.architecture}, {sum(source.numbers.values()):,} numbers in "
        f"{count(source)} tensors\n"
        f"{megabytes(path.stat().st_size)} before, {megabytes(written.bytes)} after\n{became}"
    )
    run.finish(
        metrics={
            "architecture": source.architecture,
            "tensors": dict(source.kinds.most_common()),
            "parameters": written.parameters,
            "bytes_before": path.stat().st_size,
            "bytes": written.bytes,
            "dtype": written.dtype,
            "rounded": lost,
        },
        next_command=f"python -m inhouse.models inspect {output_dir}",
    )


def check_output(output_dir: Path) -> None:
    """Refuse a folder that is in use, or cannot be one.

    Raises:
        InputError: says what is there.
    """
    for place in (output_dir, *output_dir.parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"--output_dir {output_dir}: {place} is a file, name another place")
    ours = (output_dir / MANIFEST).is_file() or (output_dir / BEGUN).is_file()
    if output_dir.is_dir() and not ours and any(output_dir.iterdir()):
        raise InputError(f"--output_dir {output_dir} is in use for other files: name another place")


def check_sha256(path: Path, expected: str) -> None:
    """Refuse a file that is not the one its user means.

    Raises:
        InputError: with both hashes.
    """
    if expected and (found := sha256(path)) != expected.lower():
        raise InputError(
            f"{path} has the SHA-256 {found}, expected {expected}: it is another file, or was "
            "damaged on its way; fetch it again"
        )


def check_disk(output_dir: Path, model: Any, dtype: torch.dtype) -> None:
    """Refuse before writing what would not fit.

    Raises:
        InputError: with both figures.
    """
    needed = sum(weight.numel() for weight in model.parameters()) * dtype.itemsize + BESIDE
    place = next(p for p in (output_dir, *output_dir.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"--output_dir {output_dir} needs {needed:,} bytes, and {free:,} are free there: make "
            "room, or name a place on another disk"
        )


def set_end(model: Any, source: file.GgufFile) -> None:
    """Let ``generate`` end where the file says an answer ends."""
    ends = tokenizer.end_ids(source)
    model.generation_config = GenerationConfig(
        bos_token_id=source.metadata.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=source.metadata.get("tokenizer.ggml.padding_token_id"),
    )


def publish(draft: Path, run: Run) -> None:
    """Move the finished files to where they belong, ``config.json`` last."""
    for path in sorted(draft.iterdir(), key=lambda path: path.name == "config.json"):
        path.replace(run.path(path.name))


# --- for people ---------------------------------------------------------------------------------


def count(source: file.GgufFile) -> str:
    """Such as ``210 Q4_1, 61 F32``."""
    return ", ".join(f"{number} {kind}" for kind, number in source.kinds.most_common())


def in_words(source: file.GgufFile, dtype: torch.dtype, lost: float) -> str:
    """What became of the weights."""
    name = str(dtype).removeprefix("torch.")
    if not source.rounded_by:
        assert lost == 0.0, "exact_dtype holds every weight"
        return f"{name}: every weight is exactly what the file holds"
    return (
        f"{name}: {' and '.join(source.rounded_by)} had rounded the weights already, which no "
        f"conversion undoes; {name} moved them by {lost:.2%} of their size once more"
    )


def megabytes(size: int) -> str:
    """In millions of bytes."""
    return f"{size / 1e6:,.1f} MB"
