"""What is asked stands on one side only: never among what the models were trained on.

A rewrite makes a training record of a prompt that was asked. A model that has learned it is not
measured by it any more, whatever the file is called that it was learned from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.records import Demonstration, Message, Preference, Prompt
from inhouse.run import MANIFEST
from inhouse.run.manifest import read_json
from inhouse.training.data import conversation_of, is_held_out, prompt_key, say
from review.asking.plan import Round, words_of
from review.learned import LEARNED, records_of


def check(rounds: Sequence[Round], models: Iterable[str | Path]) -> None:
    """Refuse to ask what a model, or one that it came from, was trained on.

    Case and white space make a prompt no other. What a stage held out of its file was not learned.

    Args:
        models: what the review reads; those that a stage wrote are looked into.

    Raises:
        InputError: says how many prompts of each kind, and where the first one stands.
    """
    asked = {prompt_key(p.prompt): each.split for each in rounds for p in each.prompts}
    found: dict[str, str] = {}
    for source, stages in _sources(models).items():
        for place, key in _learned(source, stages, asked):
            found.setdefault(key, f"{source}, {place}, which {stages[0][0]} read")
    if found:
        kinds = Counter(words_of(asked[key]) for key in found)
        counts = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        raise InputError(
            f"{len(found)} prompts that would be asked ({counts}) are among what the models were "
            f"trained on; the first is {next(iter(found.values()))}. Train without these records "
            "(a reviewer's rewrite has metadata.held_out), or ask others: --dataset_name, "
            "--story_prompts, and --red_team false where they are the red team's"
        )


Learner = tuple[Path, str, float]  # folder, stage, share that it held out


def _sources(models: Iterable[str | Path]) -> dict[Path, list[Learner]]:
    """The files that models and all before them were trained on, and the stages that read them."""
    found: dict[Path, list[Learner]] = {}
    waiting, seen = [Path(model) for model in models], set[Path]()
    while waiting:
        folder = waiting.pop(0)
        if folder in seen or not (folder / MANIFEST).is_file():
            continue
        seen.add(folder)
        manifest = read_json(folder / MANIFEST)
        waiting += [Path(parent["path"]) for parent in manifest.get("parents", [])]
        if manifest.get("stage") in LEARNED:
            share = manifest["config"].get("held_out_share") or 0.0
            for entry in manifest.get("inputs", []):
                if entry["name"] == "dataset_name" and _is_there(entry, folder):
                    learner = (folder, manifest["stage"], share)
                    found.setdefault(Path(entry["path"]), []).append(learner)
    return found


def _is_there(entry: dict[str, Any], folder: Path) -> bool:
    path = Path(entry["path"])
    if not path.is_file():
        say(f"{path}, which {folder} was trained on, is gone: what is asked may stand in it")
    elif sha256(path) != entry["sha256"]:
        say(
            f"{path} has changed since {folder} was trained on it: what is asked may have stood "
            "in it"
        )
    return path.is_file()


def _learned(
    source: Path, stages: Sequence[Learner], asked: Container[str]
) -> Iterator[tuple[str, str]]:
    """Where each prompt stands that is asked and to which some stage learned an answer; its key."""
    for stage, share in dict.fromkeys((stage, share) for _, stage, share in stages):
        for place, record in records_of(source, stage):
            keys = [key for key in map(prompt_key, _prompts(record)) if key in asked]
            if keys and not is_held_out(conversation_of(record), share):
                yield from ((place, key) for key in keys)


def _prompts(record: Demonstration | Preference | Prompt) -> Iterator[Sequence[Message]]:
    if not isinstance(record, Demonstration):
        yield record.prompt
        return
    for at, turn in enumerate(record.messages):
        if turn.role == "assistant" and turn.train:
            yield record.messages[:at]
