"""What a finished stage says of itself: settings, inputs and outputs by hash, versions, code."""

from __future__ import annotations

import getpass
import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from inhouse.config import ROOT, Stage
from inhouse.errors import GateError, InputError, words_of
from inhouse.files import as_utf8, describe_file, describe_input, sha256

SCHEMA = 1
MANIFEST, BEGUN = "manifest.json", "begun.json"
CHECKPOINTS = "checkpoints"
SNAPSHOT = "pull-"  # a folder whose name begins so is never overwritten: the next is another one
PACKAGES = ("inhouse", "torch", "transformers", "trl", "peft", "datasets", "argilla")


def describe(
    stage: Stage,
    folder: Path,
    *,
    settings: dict[str, Any],
    inputs: list[dict[str, Any]],
    parents: list[dict[str, str]],
    seconds: float,
    config: object,
    seed: int | None,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    """The manifest of a run that has just ended in ``folder``."""
    return {
        "schema": SCHEMA,
        "stage": stage.name,
        "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "operator": _operator(),
        "seconds": round(seconds, 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "command": " ".join([stage.command, shlex.join(sys.argv[1:])]).strip(),
        "settings": settings,
        "config": as_json(config),
        "seed": seed,
        "versions": _versions(),
        "code": _code(),
        "parents": parents,
        "inputs": inputs,
        "outputs": [describe_file(path, folder) for path in _files(folder)],
        "metrics": metrics,
    }


def _files(folder: Path) -> list[Path]:
    """A stage's results: every file but the manifest, what is for resuming, and half files."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in (MANIFEST, BEGUN)
        and path.suffix != ".part"
        and CHECKPOINTS not in path.relative_to(folder).parts
    )


def parents_of(inputs: dict[str, str | Path]) -> Iterator[dict[str, str]]:
    """The stages that wrote a run's inputs, each by its manifest's hash."""
    seen = set()
    for path in inputs.values():
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        manifest = folder / MANIFEST
        if manifest.is_file() and folder not in seen:
            seen.add(folder)
            yield {"path": str(folder), "sha256": sha256(manifest)}


def read_json(path: Path) -> dict[str, Any]:
    """A manifest or ``begun.json``.

    Raises:
        InputError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path} is damaged ({words_of(error)}): run its stage with --overwrite"
        ) from None


def as_json(value: object) -> Any:
    """A value as JSON keeps it, so that what was written equals what is compared with it."""
    if isinstance(value, tuple) and value and all(is_dataclass(part) for part in value):
        value = {k: v for part in value for k, v in asdict(part).items()}
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    return json.loads(as_utf8(json.dumps(value, default=str, ensure_ascii=False)))


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def _code() -> dict[str, Any]:
    def git(*words: str) -> str | None:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except FileNotFoundError:
        return {"commit": None, "dirty": None}


def show(run_dir: Path) -> None:
    """Print each stage's manifest with what it came from, oldest first."""
    for folder, manifest in _manifests(run_dir):
        print(
            f"{folder}  {manifest['created_at']}  {manifest['seconds']} s  `{manifest['command']}`"
        )
        for entry in manifest["inputs"]:
            print(f"    from {entry['name']}: {entry['path']}  {entry['sha256'][:12]}")
        for entry in manifest["outputs"]:
            records = f"  {entry['records']} records" if "records" in entry else ""
            print(f"    made {entry['path']}  {entry['sha256'][:12]}{records}")


def verify(run_dir: Path) -> None:
    """Hash every file that a manifest names again.

    Snapshots stay when what they were made from is made again. So of all but the newest only their
    own files have to be there as they were; what else has changed is said.

    Raises:
        GateError: names the first file that is gone or differs.
    """
    count = 0
    manifests = _manifests(run_dir)
    newest = {f.parent: f for f, _ in manifests if f.name.startswith(SNAPSHOT)}  # oldest first
    for folder, manifest in manifests:
        made = [(folder / entry["path"], entry["sha256"]) for entry in manifest["outputs"]]
        count += _verify_files(folder, made)
        try:
            count += _verify_origin(folder, manifest)
        except (GateError, InputError) as error:
            if newest.get(folder.parent, folder) == folder:
                raise
            print(f"{folder} is of earlier files, and its own are what it wrote: {error}")
    print(f"{run_dir}: {count} files are what the manifests say")


def _verify_origin(folder: Path, manifest: dict[str, Any]) -> int:
    """How many parents and inputs a stage has, all of them as they were."""
    parents = [(Path(p["path"]) / MANIFEST, p["sha256"]) for p in manifest["parents"]]
    count = _verify_files(folder, parents)
    for entry in manifest["inputs"]:
        if describe_input(entry["name"], Path(entry["path"]))["sha256"] != entry["sha256"]:
            raise GateError(f"{entry['path']} differs from what {folder / MANIFEST} read")
    return count + len(manifest["inputs"])


def _verify_files(folder: Path, expected: list[tuple[Path, str]]) -> int:
    for path, digest in expected:
        if not path.is_file():
            raise GateError(f"{path} is gone; {folder / MANIFEST} names it")
        if sha256(path) != digest:
            raise GateError(f"{path} differs from what {folder / MANIFEST} names")
    return len(expected)


def _manifests(run_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = [(path.parent, read_json(path)) for path in run_dir.rglob(MANIFEST)]
    if not found:
        raise InputError(f"no finished stage below {run_dir}")
    return sorted(found, key=lambda pair: pair[1]["created_at"])
