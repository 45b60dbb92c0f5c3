"""A stage's folder: what it came from, whether it is done, and where it goes on.

    python -m inhouse.run show runs/asdfg       # the chain back to the raw data
    python -m inhouse.run verify runs/asdfg     # re-hash it; names the first file that differs

A folder is in one of four states. *Done*: ``manifest.json`` is there, and it is written last and
atomically; the same settings and inputs are "up to date". *Begun*: ``begun.json`` is there with
the same settings and inputs, and the stage goes on where it stood. *Empty*. *Something else*:
refused, with ``--overwrite`` as the way out where the folder is a stage's own.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, NoReturn

from inhouse.config import ROOT, RunOptions, Stage
from inhouse.errors import GateError, InputError
from inhouse.files import describe_file, describe_input, sha256, write_json

SCHEMA = 1
MANIFEST, BEGUN = "manifest.json", "begun.json"
CHECKPOINTS = "checkpoints"
PACKAGES = ("inhouse", "torch", "transformers", "trl", "peft", "datasets", "argilla")


class UpToDate(Exception):
    """The stage was already run with these settings and inputs."""


def command(main: Callable[[], None]) -> NoReturn:
    """Run a stage's ``main`` and turn how it ended into the suite's exit codes.

    0 done or up to date, 1 unexpected, 2 a gate said no, 3 something to mend first.
    """
    try:
        main()
    except UpToDate as done:
        print(f"up to date: {done}")
    except (InputError, GateError) as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        sys.exit(refusal.exit_code)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


def is_main_process() -> bool:
    """Whether this process writes: the only one, or rank 0 under ``accelerate launch``."""
    return os.environ.get("RANK", "0") == "0"


@dataclass
class Run:
    """One execution of a stage in its folder."""

    stage: Stage
    folder: Path
    settings: dict[str, Any]
    inputs: list[dict[str, Any]]
    parents: list[dict[str, str]]
    resumed: bool = False
    replace: bool = False
    lock: IO[str] | None = None
    began: float = field(default_factory=time.time)

    def path(self, name: str) -> Path:
        """A file of this run's folder."""
        return self.folder / name

    def start(self) -> None:
        """Claim the folder: from here on a kill is resumed from."""
        if not is_main_process():
            return
        if self.replace and self.folder.exists():
            shutil.rmtree(self.folder)
        if self.resumed:
            print(f"going on in {self.folder}, which was begun earlier")
        else:
            identity = {"settings": self.settings, "inputs": self.inputs}
            write_json(self.path(BEGUN), {"stage": self.stage.name, **identity})
        self.lock = _lock(self.path(BEGUN))

    def finish(
        self,
        *,
        config: Any = None,
        seed: int | None = None,
        metrics: dict[str, Any] | None = None,
        next_command: str = "",
    ) -> None:
        """Drop what was only for resuming, write the manifest last, and say what was written."""
        if not is_main_process():
            return
        if metrics:
            write_json(self.path("metrics.json"), metrics)
        shutil.rmtree(self.path(CHECKPOINTS), ignore_errors=True)
        seconds = time.time() - self.began
        manifest = {
            "schema": SCHEMA,
            "stage": self.stage.name,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "operator": _operator(),
            "seconds": round(seconds, 1),
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "command": self.stage.command,
            "settings": self.settings,
            "config": _plain(config if config is not None else self.settings),
            "seed": seed,
            "versions": _versions(),
            "code": _code(),
            "parents": self.parents,
            "inputs": self.inputs,
            "outputs": [describe_file(path, self.folder) for path in _files(self.folder)],
            "metrics": metrics or {},
        }
        self.path(BEGUN).unlink()
        write_json(self.path(MANIFEST), manifest)
        following = f"; next: {next_command}" if next_command else ""
        print(f"{self.stage.name}: wrote {self.folder} in {seconds:.0f} s{following}", flush=True)


def open_run(
    stage: Stage,
    options: RunOptions,
    settings: dict[str, Any],
    inputs: dict[str, str | Path],
    *,
    folder: Path | None = None,
) -> Run:
    """Look at a stage's folder before any work is done. Writes nothing: ``Run.start`` does.

    Args:
        inputs: what is read, by the setting that names it; each must exist. A file or folder
            that a stage wrote makes that stage a parent.
        folder: where to write, when not ``run_dir/<stage>``.

    Raises:
        UpToDate: the same settings and inputs were run to the end.
        InputError: an input is missing, or the folder holds something else.
    """
    folder = folder or Path(options.run_dir) / stage.name
    described = [describe_input(name, Path(path)) for name, path in inputs.items()]
    run = Run(stage, folder, _plain(settings), described, list(_parents(inputs)))
    run.replace = options.overwrite
    manifest, begun = folder / MANIFEST, folder / BEGUN
    earlier = manifest if manifest.is_file() else begun
    if options.overwrite:
        _check_ours(folder)
    elif earlier.is_file():
        changed = _differences(_read_json(earlier), run)
        if changed and is_main_process():
            state = "was run" if earlier is manifest else "was begun"
            raise InputError(
                f"{folder} {state} otherwise:\n  " + "\n  ".join(changed) + "\n"
                f"run it again from the start with `{stage.command} … --overwrite`, or give "
                "another --run_dir"
            )
        if earlier is manifest:
            raise UpToDate(str(folder))
        run.resumed = True
    elif folder.is_dir() and any(folder.iterdir()) and is_main_process():
        found = sorted(path.name for path in folder.iterdir())[:3]
        raise InputError(
            f"{folder} holds something else ({', '.join(found)} …) and no {MANIFEST}: "
            "give another --run_dir, or move those files away"
        )
    return run


def require(path: str | Path, mend: str) -> Path:
    """The path of a parent stage's result, or an error that says how to get it.

    Raises:
        InputError: nothing is there, or its stage has not finished.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no {path}: {mend}")
    folder = path if path.is_dir() else path.parent
    if (folder / BEGUN).is_file():
        raise InputError(f"{folder} is not finished: run its stage again, it goes on from there")
    return path


# --- the manifest's parts ---------------------------------------------------------------------


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


def _parents(inputs: dict[str, str | Path]) -> Iterator[dict[str, str]]:
    seen = set()
    for path in inputs.values():
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        manifest = folder / MANIFEST
        if manifest.is_file() and folder not in seen:
            seen.add(folder)
            yield {"path": str(folder), "sha256": sha256(manifest)}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): run its stage with --overwrite") from None


def _plain(value: Any) -> Any:
    """A value as JSON keeps it, so that what was written equals what is compared with it."""
    if isinstance(value, tuple) and value and all(is_dataclass(part) for part in value):
        value = {k: v for part in value for k, v in asdict(part).items()}
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    return json.loads(json.dumps(value, default=str))


def _differences(known: dict[str, Any], now: Run) -> list[str]:
    before, after = known["settings"], now.settings
    lines = [
        f"{key}: {before.get(key, 'unset')} then, {after.get(key, 'unset')} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    hashes = {entry["name"]: entry["sha256"] for entry in known["inputs"]}
    return lines + [
        f"{entry['name']}: {entry['path']} has other content now"
        for entry in now.inputs
        if hashes.get(entry["name"]) != entry["sha256"]
    ]


def _lock(begun: Path) -> IO[str]:
    """Hold the folder as long as this process lives; a dead one's hold is gone with it."""
    file = begun.open()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"another process is writing {begun.parent} just now") from None
    return file


def _check_ours(folder: Path) -> None:
    """``--overwrite`` deletes what a stage wrote, never anybody else's files."""
    ours = any((folder / name).is_file() for name in (MANIFEST, BEGUN))
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise InputError(
            f"{folder} was not written by a stage (no {MANIFEST}), so --overwrite leaves it "
            "alone: move its files away, or give another --run_dir"
        )


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


# --- python -m inhouse.run --------------------------------------------------------------------


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

    Raises:
        GateError: names the first file that is gone or differs.
    """
    count = 0
    for folder, manifest in _manifests(run_dir):
        expected = [(folder / entry["path"], entry["sha256"]) for entry in manifest["outputs"]]
        expected += [(Path(p["path"]) / MANIFEST, p["sha256"]) for p in manifest["parents"]]
        for path, digest in expected:
            if not path.is_file():
                raise GateError(f"{path} is gone; {folder / MANIFEST} names it")
            if sha256(path) != digest:
                raise GateError(f"{path} differs from what {folder / MANIFEST} names")
            count += 1
        for entry in manifest["inputs"]:
            if describe_input(entry["name"], Path(entry["path"]))["sha256"] != entry["sha256"]:
                raise GateError(f"{entry['path']} differs from what {folder / MANIFEST} read")
            count += 1
    print(f"{run_dir}: {count} files are what the manifests say")


def _manifests(run_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = [(path.parent, _read_json(path)) for path in run_dir.rglob(MANIFEST)]
    if not found:
        raise InputError(f"no finished stage below {run_dir}")
    return sorted(found, key=lambda pair: pair[1]["created_at"])


def _main() -> None:
    words = sys.argv[1:]
    if len(words) != 2 or words[0] not in ("show", "verify"):
        raise InputError("usage: python -m inhouse.run show|verify runs/<name>")
    (show if words[0] == "show" else verify)(Path(words[1]))


if __name__ == "__main__":
    command(_main)
