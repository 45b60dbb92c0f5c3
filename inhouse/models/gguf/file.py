"""What a GGUF says of itself, read with the ``gguf`` package; its weights stay where they lie.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inhouse.errors import InputError
from inhouse.models.folder import first_line

INSTALL = "pip install -e '.[gguf]'"
MAGIC = b"GGUF"
PLAIN = ("F32", "F16", "BF16")  # numbers as they are; every other kind shares scales in blocks
ROPE_FACTORS = "rope_freqs.weight"  # by how much each frequency of the positions is slowed down
# Long lists that only transformers' reader needs.
LEFT_TO_THE_READER = ("tokenizer.ggml.merges", "tokenizer.ggml.scores")


@dataclass(frozen=True)
class GgufFile:
    """A file's metadata, and what its tensors are.

    ``numbers`` says by tensor's name how many numbers it holds, ``kinds`` how many tensors are
    stored in each of ggml's kinds. ``rope_factors`` has Shape: (half a head,), or is None.
    """

    path: Path
    metadata: dict[str, Any]
    kinds: Counter[str]
    numbers: dict[str, int]
    rope_factors: np.ndarray | None

    @property
    def architecture(self) -> str:
        """llama.cpp's name of it."""
        return self.metadata["general.architecture"]

    @property
    def rounded_by(self) -> list[str]:
        """The quantisations among the kinds, the most common first; none if all is as it was."""
        return [kind for kind, _ in self.kinds.most_common() if kind not in PLAIN]


def check_installed() -> None:
    """Say how to get the package that reads GGUF.

    Raises:
        InputError: it is not there.
    """
    if importlib.util.find_spec("gguf") is None:
        raise InputError(f"a GGUF is read with the gguf package, which is not installed: {INSTALL}")


def check_is_gguf(path: Path) -> None:
    """Refuse what is no GGUF at all.

    Raises:
        InputError: nothing there, a folder, or a file that begins otherwise.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the .gguf file in it")
    if not path.is_file():
        raise InputError(f"no file {path}")
    with path.open("rb") as file:
        begins = file.read(len(MAGIC))
    if begins != MAGIC:
        raise InputError(f"{path} is no GGUF: it begins with {begins!r}, expected {MAGIC!r}")


def read(path: Path) -> GgufFile:
    """Metadata and the table of tensors.

    Raises:
        InputError: cut off or damaged, a part of several, no model, or stored in a kind that the
            gguf package cannot turn into numbers.
    """
    from gguf import GGUFReader

    again = "copy or fetch it again, and compare its SHA-256 (--expected_sha256)"
    try:
        reader = GGUFReader(path)
        metadata = {
            name: field.contents()
            for name, field in reader.fields.items()
            if name not in LEFT_TO_THE_READER
        }
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        if "GGMLQuantizationType" in str(error):
            kind = re.findall(r"\d+", str(error).split(" is not ")[0])[
                -1
            ]  # of "np.uint32(99) is …"
            raise InputError(
                f"{path} holds tensors of ggml's kind {kind}, which the gguf package does not know"
            ) from None
        raise InputError(f"{path} is cut off or damaged ({first_line(error)}): {again}") from None
    if "general.architecture" not in metadata or not reader.tensors:
        raise InputError(f"{path} holds no model: no general.architecture, or no tensors")
    parts, kind = metadata.get("split.count", 1), metadata.get("general.type", "model")
    if parts > 1:
        raise InputError(
            f"{path} is one of {parts} parts: make one file of them with llama.cpp's "
            "`llama-gguf-split --merge FIRST_PART WHOLE.gguf` first"
        )
    if kind != "model":
        raise InputError(f"{path} holds no whole model but one part (general.type is {kind})")
    kinds = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    _check_kinds(path, kinds)
    factors = [t.data for t in reader.tensors if t.name == ROPE_FACTORS]
    return GgufFile(
        path,
        metadata,
        kinds,
        {tensor.name: int(tensor.n_elements) for tensor in reader.tensors},
        np.array(factors[0], dtype=np.float32) if factors else None,
    )


def _check_kinds(path: Path, kinds: Counter[str]) -> None:
    """Try each kind on one block of zeros: what cannot be unpacked is known before any work."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    for kind in kinds:
        number = GGMLQuantizationType[kind]
        block = np.zeros((1, GGML_QUANT_SIZES[number][1]), dtype=np.uint8)
        try:
            dequantize(block, number)
        except NotImplementedError:
            raise InputError(
                f"{path} holds tensors in {kind}, which the gguf package cannot turn into numbers: "
                "take the model in another quantisation"
            ) from None
