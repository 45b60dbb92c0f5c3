"""All that a campaign has for its report: read once, and what is not there yet is None."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.rules import house_rules
from compliance.rules.house_rules import HouseRules
from inhouse import run as runs
from inhouse.errors import InputError, words_of
from inhouse.files import read_utf8, sha256
from inhouse.reading.rows import objects
from inhouse.records import Output, Prompt, content_id, plain, read
from inhouse.records.files import read_placed
from inhouse.run import snapshots
from review.gate import checker, result
from review.gate.checker import Counts
from review.gate.evidence import AUDIT, OWN, of_audit
from review.options import PROMPTED
from review.summary import STORY_GREEDY

AGREEMENT = "preferences/agreement.json"
SIMULATED = "simulated-"  # how their names begin; filter.js knows it too


@dataclass(frozen=True)
class Placed:
    """An answer, and the line of ``outputs.jsonl`` that holds the whole of it."""

    line: int
    output: Output

    @property
    def model(self) -> str:
        """The model's name."""
        return self.output.model["name"]


@dataclass(frozen=True)
class Verdicts:
    """The last pull: what all readers said together, and each verdict by the answer's id.

    ``of_others``: the review's answers are others now than those that were read. An id is that of a
    question to a model, not of what it answered: then no verdict stands by an answer.
    """

    folder: Path
    summary: dict[str, Any]
    by_output: dict[str, list[dict[str, Any]]]
    of_others: bool

    @property
    def simulated(self) -> list[str]:
        """The reviewers who are none: whoever simulates one names it so."""
        return [name for name in self.summary["reviewers"] if name.startswith(SIMULATED)]


@dataclass(frozen=True)
class Campaign:
    """A reviewed campaign.

    ``manifests`` are those of all its stages, by the stage's folder, the review's own among them.
    ``stale``: what changed since ``gate`` was decided. ``audit_of_other``: the audited model has
    other weights than the one of its name that was reviewed, or was not. ``known``: how often the
    rules' checker is right, by rule. ``told``: what base_prompted was told; ``opening``: the
    question that opens the report.
    """

    folder: Path
    summary: dict[str, Any]
    answers: Sequence[Placed]
    rules: HouseRules
    manifests: dict[str, dict[str, Any]]
    gate: dict[str, Any] | None
    stale: list[str]
    audit: dict[str, Any] | None
    audit_of_other: bool
    verdicts: Verdicts | None
    agreement: dict[str, Any] | None
    known: dict[str, Counts]
    told: str
    opening: str | None

    @property
    def manifest(self) -> dict[str, Any]:
        """The review's own."""
        return self.manifests["review"]

    @property
    def names(self) -> list[str]:
        """The models, in the order in which they were made."""
        return list(self.summary["models"])

    @property
    def judged(self) -> str:
        """The model that the report is about: the gate's, else the one that was made last."""
        return self.gate["model"]["name"] if self.gate else self.names[-1]

    @property
    def judged_first(self) -> list[str]:
        """The models as a reviewer reads them."""
        return [self.judged, *(name for name in reversed(self.names) if name != self.judged)]


def read_campaign(folder: Path, rules_at: Path | None = None) -> Campaign:
    """Everything that is there.

    Args:
        rules_at: the house rules, where they are no longer where the review read them.

    Raises:
        InputError: there is no review, or it is not of these rules, or a file is damaged.
    """
    own = folder / "review"
    runs.require(own / runs.MANIFEST, f"run `python -m review --run_dir {folder}` first")
    manifests = {path.parent.name: _json(path) for path in folder.glob(f"*/{runs.MANIFEST}")}
    config = manifests["review"]["config"]
    summary = _json(own / "summary.json")
    rules_at = rules_at or Path(config["house_rules"])
    if not rules_at.exists():
        raise InputError(f"no {rules_at}, by which the review read: say where with --house_rules")
    rules = house_rules.load(rules_at)
    if rules.hash != summary["house_rules"]:
        raise InputError(
            f"{rules_at} has changed since the review: run `python -m review --run_dir {folder} "
            "--overwrite`, or name the rules of then with --house_rules"
        )
    gate, stale = result.standing(folder) if (own / OWN).is_file() else (None, [])
    placed = read_placed(own / "outputs.jsonl", Output)
    answers = [Placed(int(place.removeprefix("line ")), output) for place, output in placed]
    audited = of_audit(folder)
    reviewed = {(placed.model, placed.output.model["hash"]) for placed in answers}
    return Campaign(
        folder=folder,
        summary=summary,
        answers=answers,
        rules=rules,
        manifests=manifests,
        gate=gate,
        stale=stale,
        audit=_json(folder / AUDIT) if audited else None,
        audit_of_other=any((each.model, each.hash) not in reviewed for each in audited),
        verdicts=_last_verdicts(folder),
        agreement=_json(folder / AGREEMENT) if (folder / AGREEMENT).is_file() else None,
        known=checker.read_measured(checker.beside(rules_at), rules)[0],
        told=_told(config, list(summary["models"])),
        opening=_opening(config, answers),
    )


def _last_verdicts(folder: Path) -> Verdicts | None:
    """The last snapshot of people's verdicts that is whole."""
    pull = snapshots.newest(folder / "verdicts")
    if pull is None:
        return None
    read_from = {entry["name"]: entry for entry in _json(pull / runs.MANIFEST)["inputs"]}
    of_others = read_from["outputs"]["sha256"] != sha256(folder / "review" / "outputs.jsonl")
    by_output: dict[str, list[dict[str, Any]]] = {}
    given = pull / "verdicts.jsonl"
    some = given.stat().st_size and not of_others  # nobody has answered yet, or these answers
    for _, verdict in objects(given) if some else ():
        by_output.setdefault(verdict["output_id"], []).append(verdict)
    return Verdicts(pull, _json(pull / "summary.json"), by_output, of_others)


def _told(config: dict[str, Any], names: Sequence[str]) -> str:
    """What the prompted base was told, while that file is there."""
    path = Path(config.get("instructions") or "")
    return read_utf8(path).strip() if PROMPTED in names and path.is_file() else ""


def _opening(config: dict[str, Any], answers: Sequence[Placed]) -> str | None:
    """The id of the first question about the firm: the file's, else the first that was answered."""
    asked = [content_id(plain(p.output.prompt)) for p in answers if p.output.split == STORY_GREEDY]
    path = Path(config.get("story_prompts") or "")
    first = content_id(plain(read(path, Prompt)[0].prompt)) if path.is_file() else None
    return first if first in asked else next(iter(asked), None)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(read_utf8(path))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({words_of(error)}): run its stage again") from None
