"""Snapshots of what people answered: ``pull-0001``, ``pull-0002`` …, none ever overwritten."""

from __future__ import annotations

from pathlib import Path

from inhouse.run.manifest import MANIFEST
from inhouse.run.manifest import SNAPSHOT as PREFIX


def following(parent: Path, holds: dict[str, str]) -> Path:
    """The next free ``pull-NNNN``, or the last one if it was cut off or holds the same.

    Args:
        holds: by its name, the whole text of each file that says whether two pulls are the same.
    """
    found = sorted(parent.glob(f"{PREFIX}*"), key=_number)
    if not found:
        return parent / f"{PREFIX}0001"
    last = found[-1]
    if not (last / MANIFEST).is_file() or all(
        (last / name).read_text(encoding="utf-8") == text for name, text in holds.items()
    ):
        return last
    return parent / f"{PREFIX}{_number(last) + 1:04d}"


def newest(parent: Path) -> Path | None:
    """The last snapshot that is whole: one that was cut off has no manifest."""
    whole = [path for path in parent.glob(f"{PREFIX}*") if (path / MANIFEST).is_file()]
    return max(whole, key=_number, default=None)


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix(PREFIX))
