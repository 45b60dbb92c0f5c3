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
import shlex
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
from typing import Any, NoReturn

from inhouse.allocator import keep_freed_memory
from inhouse.config import ROOT, RunOptions, Stage
from inhouse.errors import GateError, InputError
from inhouse.files import describe_file, describe_input, sha256, write_json

SCHEMA = 1
MANIFEST, BEGUN = "manifest.json", "begun.json"
CHECKPOINTS = "checkpoints"
LOCATION = {"run_dir", "output_dir"}  # where a run stands, in one spelling of many
PACKAGES = ("inhouse", "torch", "transformers", "trl", "peft", "datasets", "argilla")


class UpToDate(Exception):
    """The stage was already run with these settings and inputs."""


def command(main: Callable[[], None]) -> NoReturn:
    """Run a stage's ``main`` and turn how it ended into the suite's exit codes.

    0 done or up to date, 1 unexpected, 2 a gate said no, 3 something to mend first.
    """
    keep_freed_memory()
    try:
        main()
        leave_group()
    except UpToDate as done:
        print(f"up to date: {done}")
    except (InputError, GateError) as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        sys.exit(refusal.exit_code)
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


def leave_group() -> None:
    """Leave the process group of `accelerate launch` together with the others, if there is one.

    A process that just ends is now and then aborted: the group's threads want Python's lock to let
    go of tensors, and Python is gone ("terminate called without an active exception").
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


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
    lock: int | None = None
    began: float = field(default_factory=time.time)

    def path(self, name: str) -> Path:
        """A file of this run's folder."""
        return self.folder / name

    def start(self) -> None:
        """Claim the folder: from here on a kill is resumed from.

        Raises:
            InputError: another process holds the folder, or has changed it since it was looked at.
        """
        if not is_main_process():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except PermissionError as error:
            raise InputError(
                f"{error.filename} may not be written: give another --run_dir"
            ) from None
        self.lock = _lock(self.folder)
        if self.replace:
            for path in self.folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif self.path(MANIFEST).is_file() or self.path(BEGUN).is_file() != self.resumed:
            raise InputError(
                f"another process has written {self.folder} meanwhile: run the same command again"
            )
        if self.resumed:
            print(f"going on in {self.folder}, which was begun earlier")
        else:
            identity = {"settings": self.settings, "inputs": self.inputs}
            write_json(self.path(BEGUN), {"stage": self.stage.name, **identity})

    def finish(
        self,
        *,
        config: Any = None,
        seed: int | None = None,
        metrics: dict[str, Any] | None = None,
        next_command: str = "",
    ) -> None:
        """Write the manifest, then drop what was only for resuming; say what was written."""
        if not is_main_process():
            return
        if metrics:
            write_json(self.path("metrics.json"), metrics)
        seconds = time.time() - self.began
        manifest = {
            "schema": SCHEMA,
            "stage": self.stage.name,
            "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "operator": _operator(),
            "seconds": round(seconds, 1),
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "command": " ".join([self.stage.command, shlex.join(sys.argv[1:])]).strip(),
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
        write_json(self.path(MANIFEST), manifest)
        # Only now: killed before, the stage goes on from its checkpoint; killed here, it is done.
        shutil.rmtree(self.path(CHECKPOINTS), ignore_errors=True)
        self.path(BEGUN).unlink()
        assert self.lock is not None, "finish() without start()"
        os.close(self.lock)
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
        InputError: an input is missing, half done or held out, or the folder holds something else.
    """
    folder = folder or Path(options.run_dir) / stage.name
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"{place} is a file, not a folder to write in: give another --run_dir")
    for path in inputs.values():
        _check_finished(Path(path))
        if not stage.held_out:
            _check_not_held_out(Path(path))
    described = [describe_input(name, Path(path)) for name, path in inputs.items()]
    run = Run(stage, folder, _plain(settings), described, list(_parents(inputs)))
    run.replace = options.overwrite
    manifest, begun = folder / MANIFEST, folder / BEGUN
    earlier = manifest if manifest.is_file() else begun
    if options.overwrite:
        _check_ours(folder, stage)
    elif earlier.is_file():
        changed = _differences(_read_known(earlier, stage), run)
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
    _check_finished(path)
    return path


def _check_finished(path: Path) -> None:
    folder = path if path.is_dir() else path.parent
    if (folder / BEGUN).is_file() and not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} is not finished: run its stage again, it goes on from there")


def _check_not_held_out(path: Path) -> None:
    """Held-out data is known by its name, or by its folder's: ``held_out…``."""
    if path.name.startswith("held_out") or path.absolute().parent.name.startswith("held_out"):
        raise InputError(
            f"{path} is held out: only `python -m review` reads it. Train on other data, or rename "
            "it if its name does not mean that"
        )


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


def _read_known(path: Path, stage: Stage) -> dict[str, Any]:
    """What a manifest or ``begun.json`` says of an earlier run of this stage."""
    known = _read_json(path)
    if not isinstance(known, dict) or not {"stage", "settings", "inputs"} <= known.keys():
        raise InputError(
            f"{path} is no stage's, so {path.parent} holds something else: give another --run_dir"
        )
    if known["stage"] != stage.name:
        raise InputError(
            f"{path.parent} holds what `{known['stage']}` wrote, not {stage.name}: "
            "give another folder"
        )
    return known


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
        for key in sorted((before.keys() | after.keys()) - LOCATION)
        if before.get(key) != after.get(key)
    ]
    read_before, read_now = ({e["name"]: e for e in s} for s in (known["inputs"], now.inputs))
    lines += [
        f"{name}: {read_before[name]['path']} was read then, and is not now"
        for name in read_before.keys() - read_now.keys()
    ]
    lines += [
        f"{name}: {read_now[name]['path']} is read now, and was not then"
        for name in read_now.keys() - read_before.keys()
    ]
    return lines + [
        f"{name}: {read_now[name]['path']} has other content now"
        for name in read_now.keys() & read_before.keys()
        if read_now[name]["sha256"] != read_before[name]["sha256"]
    ]


def _lock(folder: Path) -> int:
    """Hold the folder as long as this process lives; a dead one's hold is gone with it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise InputError(f"another process is writing {folder} just now") from None
    return descriptor


def _check_ours(folder: Path, stage: Stage) -> None:
    """``--overwrite`` deletes what this stage wrote, never anybody else's files."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    # By their beginning, not parsed: a manifest that is damaged further down is ours all the same.
    heads = (
        path.read_bytes()[:200] for path in (folder / MANIFEST, folder / BEGUN) if path.exists()
    )
    if not any(f'"stage": "{stage.name}"'.encode() in head for head in heads):
        raise InputError(
            f"{folder} was not written by {stage.name} (no {MANIFEST} of its own), so --overwrite "
            "leaves it alone: move its files away, or give another --run_dir"
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
