"""A stage's folder: what it came from, whether it is done, and where it goes on.

A folder is in one of four states. *Done*: ``manifest.json`` is there, and it is written last and
atomically; the same settings and inputs are "up to date". *Begun*: ``begun.json`` is there with
the same settings and inputs, and the stage goes on where it stood. *Empty*. *Something else*:
refused, with ``--overwrite`` as the way out where the folder is a stage's own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inhouse.config import RunOptions, Stage
from inhouse.errors import InputError
from inhouse.files import describe_input, write_json
from inhouse.run.command import UpToDate, is_main_process, on_refusal
from inhouse.run.manifest import (
    BEGUN,
    CHECKPOINTS,
    MANIFEST,
    as_json,
    describe,
    parents_of,
    read_json,
)

LOCATION = {"run_dir", "output_dir"}  # where a run stands, in one spelling of many


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
    made_for_it: list[Path] = field(default_factory=list)  # not there before; the innermost first
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
        places = (self.folder, *self.folder.parents)
        self.made_for_it = [place for place in places if not place.exists()]
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
            on_refusal.append(self.withdraw)

    def withdraw(self) -> None:
        """Give up a claim behind which nothing was made: the folder is as it was found.

        A file without content is nothing; with a checkpoint, or one record of a journal, the claim
        stays, and the same command goes on from there.
        """
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        made = [path for path in files if path.stat().st_size > 0]
        if is_main_process() and not self.resumed and made == [self.path(BEGUN)]:
            for path in files:
                path.unlink()
            shutil.rmtree(self.path(CHECKPOINTS), ignore_errors=True)
            for place in self.made_for_it:  # from within; others may have put something there
                if any(place.iterdir()):
                    return
                place.rmdir()

    def finish(
        self,
        *,
        config: object = None,
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
        manifest = describe(
            self.stage,
            self.folder,
            settings=self.settings,
            inputs=self.inputs,
            parents=self.parents,
            seconds=seconds,
            config=config if config is not None else self.settings,
            seed=seed,
            metrics=metrics or {},
        )
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
    run = Run(stage, folder, as_json(settings), described, list(parents_of(inputs)))
    run.replace = options.overwrite
    manifest, begun = folder / MANIFEST, folder / BEGUN
    earlier = manifest if manifest.is_file() else begun
    if options.overwrite:
        _check_ours(folder, stage)
    elif earlier.is_file():
        _check_same(earlier, run)
        if earlier is manifest:
            raise UpToDate(str(folder))
        run.resumed = True
    elif (found := _strange(folder)) and is_main_process():
        raise InputError(
            f"{folder} holds something else ({', '.join(found[:3])} …) and no {MANIFEST}: "
            "give another --run_dir, or move those files away"
        )
    return run


def was_run_so(
    folder: Path, stage: Stage, settings: dict[str, Any], inputs: dict[str, str | Path]
) -> bool:
    """Whether a finished folder's settings and inputs are these, as :func:`open_run` sees it."""
    described = [describe_input(name, Path(path)) for name, path in inputs.items()]
    now = Run(stage, folder, as_json(settings), described, [])
    return not _differences(_read_known(folder / MANIFEST, stage), now)


def _strange(folder: Path) -> list[str]:
    """Files of a folder that no stage has begun, but for a claim that a kill left half written."""
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in found if name != f"{BEGUN}.part"]


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


def _read_known(path: Path, stage: Stage) -> dict[str, Any]:
    """What a manifest or ``begun.json`` says of an earlier run of this stage."""
    known = read_json(path)
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


def _check_same(earlier: Path, run: Run) -> None:
    """An earlier run's settings and inputs are what they are now."""
    changed = _differences(_read_known(earlier, run.stage), run)
    if changed and is_main_process():
        state = "was run" if earlier.name == MANIFEST else "was begun"
        raise InputError(
            f"{run.folder} {state} otherwise:\n  " + "\n  ".join(changed) + "\n"
            f"run it again from the start with `{run.stage.command} … --overwrite`, or give "
            "another --run_dir"
        )


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
