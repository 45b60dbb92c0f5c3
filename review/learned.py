"""What the stages that train learned from, by the files that their manifests name."""

from __future__ import annotations

from pathlib import Path

from inhouse.errors import InputError
from inhouse.records import Demonstration, Preference, Prompt
from inhouse.records.files import read_placed

# By stage, what it reads; KTO pairs, or single verdicts on prompts.
LEARNED: dict[str, tuple[type[Demonstration | Preference | Prompt], ...]] = {
    "sft": (Demonstration,),
    "reward": (Preference,),
    "dpo": (Preference,),
    "kto": (Preference, Prompt),
    "ppo": (Prompt,),
    "rloo": (Prompt,),
}


def records_of(source: Path, stage: str) -> list[tuple[str, Demonstration | Preference | Prompt]]:
    """The records that a stage read, each with its place in the file.

    Raises:
        InputError: they are of no kind that the stage reads.
    """
    *others, last = LEARNED[stage]
    for kind in others:
        try:
            return [*read_placed(source, kind)]
        except InputError:
            continue
    return [*read_placed(source, last)]
