"""Which records a run was trained on and which it held out: one random split, made again.

What SFT did is read off its manifest and done once more by the functions that it uses itself, so
that a record is a member here if and only if it was one there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compliance import gate
from inhouse import run as runs
from inhouse.errors import InputError
from inhouse.files import describe_input
from inhouse.records import Demonstration
from inhouse.run.manifest import read_json
from inhouse.training import data
from inhouse.training.data import Columns
from inhouse.training.demonstrations import columns, replies
from review.memorisation.scoring import Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Trained:
    """What a run's SFT says of itself: its folder, what it started from, and what it read."""

    folder: Path
    base: str
    source: Path
    source_hash: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A record of the training data, in one rendering or several, trained on or held out."""

    place: str
    record: Demonstration
    texts: list[Text]


def of_run(campaign: Path) -> Trained:
    """What the SFT of a run folder was trained on.

    Raises:
        InputError: there is none, it is not finished, or its data is gone or has changed.
    """
    folder = campaign / "sft"
    mend = f"run `python -m sft --run_dir {campaign}` first"
    manifest = read_json(runs.require(folder / runs.MANIFEST, mend))
    read = next(entry for entry in manifest["inputs"] if entry["name"] == "dataset_name")
    source = Path(read["path"])
    if not source.exists() or describe_input("dataset_name", source)["sha256"] != read["sha256"]:
        state = "has changed since" if source.exists() else "is gone"
        raise InputError(
            f"{folder} was trained on {source}, which {state}: members are told from non-members "
            f"by it; put it back, or train again with `python -m sft --run_dir {campaign} "
            "--overwrite`"
        )
    config = manifest["config"]
    return Trained(folder, config["model_name_or_path"], source, read["sha256"], config)


def split(
    trained: Trained, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Member], list[Member]]:
    """The records that were trained on and those that were held out; what was left out is neither.

    Raises:
        InputError: as the functions do that SFT itself calls.
    """
    source, config = str(trained.source), trained.config
    placed = data.read(source, Demonstration)
    if config["drop_findings"]:
        vetoed = gate.veto(placed, source, replies, "demonstration", config["drop_findings"])
        gone = {entry["place"] for entry in vetoed}
        placed = [each for each in placed if each.place not in gone]
    rows = data.render(tokenizer, placed, columns, source)
    rows, _ = data.within_length(rows, config["max_length"], source, leave_out=True)
    by_place: dict[str, list[Columns]] = {}
    for row in rows:
        by_place.setdefault(row.place, []).append(row.columns)
    sides: tuple[list[Member], list[Member]] = ([], [])
    for each in placed:
        if each.place in by_place:
            texts = [Text(made["input_ids"], made["labels"]) for made in by_place[each.place]]
            held_out = data.is_held_out(each.record.messages, config["held_out_share"])
            sides[held_out].append(Member(each.place, each.record, texts))
    return sides


def some(members: Sequence[Member], most: int, seed: int) -> list[Member]:
    """At most so many of them, drawn at random, in the order of the data."""
    if len(members) <= most:
        return list(members)
    return [members[at] for at in sorted(random.Random(seed).sample(range(len(members)), most))]
