"""What verdicts are about: a campaign's review, by the rules that it was counted with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from compliance.rules import house_rules
from compliance.rules.house_rules import HouseRules
from inhouse import run as runs
from inhouse.errors import InputError, nearest
from inhouse.files import read_utf8
from inhouse.records import Output


def outputs_of(campaign: Path) -> Path:
    """The review's answers.

    Raises:
        InputError: there was no review, or it is not finished.
    """
    mend = f"run `python -m review --run_dir {campaign}` first"
    runs.require(campaign / "review" / runs.MANIFEST, mend)
    return runs.require(campaign / "review" / "outputs.jsonl", mend)


def rules_at(campaign: Path, given: str | None) -> Path:
    """Where the house rules stand: where the review read them, unless they were ``given``."""
    if given is not None:
        return Path(given)
    manifest = json.loads(read_utf8(campaign / "review" / runs.MANIFEST))
    return Path(manifest["config"]["house_rules"])


def load_rules(path: Path, expected: str, mend: str) -> HouseRules:
    """The house rules, which are still those of a hash.

    Raises:
        InputError: they are others now.
    """
    if not path.exists():
        raise InputError(f"no house rules at {path}: give them with --house_rules")
    rules = house_rules.load(path)
    if rules.hash != expected:
        raise InputError(f"{path} has changed since: {mend}, or give --house_rules as they were")
    return rules


def choose_models(outputs: Sequence[Output], named: Sequence[str] | None) -> list[str]:
    """The models whose answers are read: those named, else all but the base.

    Raises:
        InputError: a name is none of the review's.
    """
    known = list(dict.fromkeys(output.model["name"] for output in outputs))
    for name in named or []:
        if name not in known:
            like = nearest(name, known)
            hint = f"did you mean {like}?" if like else f"there are {', '.join(known)}"
            raise InputError(f"models names {name!r}, which the review did not ask: {hint}")
    return list(named or [name for name in known if not name.startswith("base")] or known)
