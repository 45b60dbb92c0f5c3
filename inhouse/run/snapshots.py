"""Snapshots of what people answered: ``pull-0001``, ``pull-0002`` …, none ever overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inhouse.config import Stage
from inhouse.run.folder import was_run_so
from inhouse.run.manifest import MANIFEST
from inhouse.run.manifest import SNAPSHOT as PREFIX


def following(
    parent: Path,
    holds: dict[str, str],
    stage: Stage,
    settings: dict[str, Any],
    inputs: dict[str, str | Path],
) -> Path:
    """The next free ``pull-NNNN``, or the last one if it was cut off or holds the same.

    Args:
        holds: by its name, the whole text of each file that says whether two pulls are the same.
        settings, inputs: as ``open_run`` is given them; with others it is another pull, too.
    """
    there = found(parent)
    if not there:
        return parent / f"{PREFIX}0001"
    last = there[-1]
    if not (last / MANIFEST).is_file() or (
        all((last / name).read_text(encoding="utf-8") == text for name, text in holds.items())
        and was_run_so(last, stage, settings, inputs)
    ):
        return last
    return parent / f"{PREFIX}{_number(last) + 1:04d}"


def newest(parent: Path) -> Path | None:
    """The last snapshot that is whole: one that was cut off has no manifest."""
    whole = [folder for folder in found(parent) if (folder / MANIFEST).is_file()]
    return whole[-1] if whole else None


def found(parent: Path) -> list[Path]:
    """Every snapshot, the oldest first; a folder that somebody called ``pull-0001-old`` is none."""
    named = (path for path in parent.glob(f"{PREFIX}*") if _digits(path).isdecimal())
    return sorted(named, key=_number)


def _digits(folder: Path) -> str:
    return folder.name.removeprefix(PREFIX)


def _number(folder: Path) -> int:
    return int(_digits(folder))
