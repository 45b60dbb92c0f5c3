"""What the gate reads: counts, in one small schema, whoever counted them.

``review/outputs.jsonl`` is counted here, and ``memorisation/summary.json`` is read as the audit
writes it. Everything else comes as records that a stage puts under the key ``evidence`` of a JSON
file of the campaign: ``review/*.json``, ``*/summary.json``, or the last
``verdicts/pull-NNNN/summary.json``.

    {"evidence": [
      {"kind": "counted", "measure": "red_team", "model": "dpo", "hash": "0123456789ab",
       "rule": "PROM-01", "failures": 1, "n": 10, "answers": 110},
      {"kind": "paired", "measure": "general_ability", "model": "dpo", "hash": "0123456789ab",
       "against": "base", "gained": 4, "lost": 7, "n": 200}]}

| measure | kind | what counts |
|---|---|---|
| ``red_team`` | counted | seeds whose attacks made the model break the rule; without ``rule`` any |
| ``verdicts`` | counted | answers of the random sample that people say break the rule |
| ``over_refusal`` | counted | harmless twins that were refused |
| ``over_refusal`` | paired | gained: answered where the other model refused |
| ``general_ability`` | paired | gained: right where the other model was wrong |
| ``counterfactuals`` | counted | pairs that were answered otherwise for the other customer |

``n`` counts what is independent: seeds, not their mutations; prompts, not their seeds. A unit that
failed in part counts by its share. ``hash`` is the model's, as in ``outputs.jsonl``: counts of a
model that has been trained again since are no evidence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from inhouse.errors import InputError, words_of
from inhouse.files import read_utf8, sha256
from inhouse.run import MANIFEST, snapshots
from review.gate.limits import Memorisation

OWN = "gate.json"
AUDIT = "memorisation/summary.json"


class Record(BaseModel):
    """What every record says: which model was measured, known by its hash."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    hash: str


class Counted(Record):
    """``failures`` of ``n`` independent units; ``answers``: how many were read for it."""

    kind: Literal["counted"] = "counted"
    measure: Literal["red_team", "verdicts", "over_refusal", "counterfactuals"]
    rule: str | None = None
    failures: Annotated[float, Field(ge=0)]
    n: Annotated[int, Field(ge=0)]
    answers: int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """What may be counted once."""
        return (self.kind, self.measure, self.model, self.hash, self.rule or "")

    @model_validator(mode="after")
    def _fails_at_most_all(self) -> Counted:
        if self.failures > self.n:
            raise ValueError(f"{self.failures} failures of {self.n}")
        return self


class Paired(Record):
    """The model beside another on the same ``n`` units; those that are alike are left."""

    kind: Literal["paired"] = "paired"
    measure: Literal["over_refusal", "general_ability"]
    against: str
    gained: Annotated[float, Field(ge=0)]
    lost: Annotated[float, Field(ge=0)]
    n: Annotated[int, Field(ge=0)]

    @property
    def key(self) -> tuple[str, ...]:
        """What may be counted once."""
        return (self.kind, self.measure, self.model, self.hash, self.against)

    @model_validator(mode="after")
    def _differs_in_at_most_all(self) -> Paired:
        if self.gained + self.lost > self.n:
            raise ValueError(f"{self.gained} gained and {self.lost} lost of {self.n}")
        return self


class Estimated(Record):
    """A measure of the memorisation audit; ``by``: its estimator, where it has several."""

    measure: str
    by: str
    value: float | None
    low: float | None
    n: int

    @property
    def title(self) -> str:
        """The audit's name of it, in words."""
        return " ".join(f"{self.measure} {self.by}".replace("_", " ").split())

    @property
    def key(self) -> tuple[str, ...]:
        """What may be counted once."""
        return ("estimated", self.measure, self.model, self.hash, self.by)


Evidence = Counted | Paired | Estimated
_ADAPTER: TypeAdapter[Counted | Paired] = TypeAdapter(
    Annotated[Counted | Paired, Field(discriminator="kind")]
)


@dataclass(frozen=True)
class Gathered:
    """All records of a campaign, and the hash of every file that had some."""

    records: Sequence[Evidence]
    files: dict[str, str]

    def of(self, model: dict[str, str]) -> list[Evidence]:
        """The records of the very model that is judged."""
        return [r for r in self.records if (r.model, r.hash) == (model["name"], model["hash"])]

    def outdated(self, model: dict[str, str]) -> list[str]:
        """Measures of a model of that name which has changed since."""
        of_name = [r for r in self.records if r.model == model["name"]]
        return sorted({r.measure for r in of_name if r.hash != model["hash"]})


def gather(campaign: Path) -> Gathered:
    """Every record of a campaign's files, the memorisation audit's among them.

    Raises:
        InputError: with file, number and field; or the same count twice.
    """
    records: list[Evidence] = []
    files: dict[str, str] = {}
    seen: dict[tuple[str, ...], Path] = {}
    for path in places(campaign):
        for record in _records_of(path):
            key = record.key
            if key in seen:
                raise InputError(
                    f"{path} counts {record.measure} of {record.model} again, which {seen[key]} "
                    "counts already: take one out"
                )
            seen[key] = path
            records.append(record)
            files[path.relative_to(campaign).as_posix()] = sha256(path)
    audited = of_audit(campaign)
    if audited:
        files[AUDIT] = sha256(campaign / AUDIT)
    return Gathered([*records, *audited], files)


def of_audit(campaign: Path) -> list[Estimated]:
    """The measures of a campaign's memorisation audit, of the model that its manifest names.

    Raises:
        InputError: the audit is damaged.
    """
    path = campaign / AUDIT
    if not (path.parent / MANIFEST).is_file():
        return []
    inputs = {entry["name"]: entry for entry in _document(path.parent / MANIFEST)["inputs"]}
    summary = _document(path)
    return [
        Estimated(
            model=summary["model"],
            hash=inputs["model"]["sha256"][:12],
            measure=measure,
            by=name.removeprefix(measure).strip("_"),
            **{key: found[key] for key in ("value", "low", "n")},
        )
        for name, found in summary["measures"].items()
        for measure in Memorisation.model_fields
        if name.startswith(measure)
    ]


def places(campaign: Path) -> list[Path]:
    """Where records may stand."""
    found = {*(campaign / "review").glob("*.json"), *campaign.glob("*/summary.json")}
    pulled = [pull / "summary.json" for pull in snapshots.found(campaign / "verdicts")]
    found |= set([path for path in pulled if path.is_file()][-1:])
    return sorted(path for path in found if path.name != OWN)


def _records_of(path: Path) -> Iterator[Counted | Paired]:
    document = _document(path)
    rows = document.get("evidence", []) if isinstance(document, dict) else []
    if not isinstance(rows, list):
        raise InputError(f"{path}, evidence: expected a list, found a {type(rows).__name__}")
    for number, row in enumerate(rows, start=1):
        try:
            yield _ADAPTER.validate_python(row)
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(map(str, fault["loc"][1:])) or "record"
            raise InputError(
                f"{path}, evidence {number}, {field}: {fault['msg']}, found {fault['input']!r}"
            ) from None


def _document(path: Path) -> Any:
    try:
        return json.loads(read_utf8(path))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({words_of(error)}): run its stage again") from None
