"""How often the house rules' checker is right on labelled replies, and rates corrected by it.

A rate that patterns count is the checker's. Where its hits and misses on labelled replies are
known, the true rate is estimated beside it (Rogan and Gladen 1978, Lang and Reiczigel 2014); where
not, the rate is a lower bound, and is called so. What was measured stands beside the rule set:
``finance.measured.json`` beside the folder ``finance`` or the file ``finance.yaml``.

Labelled replies are no sample of what customers ask. If their negatives are mostly near misses, the
specificity is that of hard cases, and the corrected rate comes out too low; the upper exact bound
of the raw rate stands beside it for that reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compliance.rules.figures import approved
from compliance.rules.house_rules import HouseRules, jurisdictions_of
from compliance.rules.replies import Reply
from compliance.rules.schema import Rule
from inhouse.errors import InputError
from inhouse.files import describe_file, read_utf8
from inhouse.reading.rows import objects
from inhouse.statistics import corrected_rate, rate

LOWER_BOUND = "lower bound"
Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """No conversions, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Counts(Strict):
    """Labelled replies by what they are and what the checker said of them."""

    tp: Count = 0
    fn: Count = 0
    fp: Count = 0
    tn: Count = 0


class Measured(Strict):
    """A rule set's counts, of which rules by their hash, on which labelled files."""

    house_rules: str
    labelled: list[dict[str, Any]]
    note: str = ""
    rules: dict[str, Counts]


class Labelled(Reply):
    """A reply with the rules that a person says it breaks, and the figures that are approved.

    Where nobody told which are (None), rules about figures are not asked; an empty list approves
    none.
    """

    violates: list[str]
    facts: list[str] | None = None


def measure(rules: HouseRules, replies: Iterable[Labelled]) -> dict[str, Counts]:
    """The counts of every rule that a machine checks, over the replies that it applies to."""
    counts = {rule.id: dict.fromkeys(Counts.model_fields, 0) for rule in rules.rules}
    machine = [rule for rule in rules.rules if rule.by_machine]
    without_figures = rules.not_checked()
    for reply in replies:
        findings = rules.check(
            reply.prompt,
            reply.response,
            turn=reply.turn,
            jurisdiction=reply.jurisdiction,
            facts=None if reply.facts is None else frozenset(map(approved, reply.facts)),
        )
        found = {finding.rule for finding in findings}
        for rule in machine:
            traced = reply.facts is not None or rule.id not in without_figures
            if traced and _applies(rule, reply):
                broken, hit = rule.id in reply.violates, rule.id in found
                counts[rule.id][("tp" if hit else "fn") if broken else ("fp" if hit else "tn")] += 1
    return {rule.id: Counts(**counts[rule.id]) for rule in machine}


def measure_files(rules: HouseRules, paths: Iterable[Path], note: str = "") -> Measured:
    """The counts of a rule set over labelled files.

    Raises:
        InputError: with file and line; a label that is no rule names the nearest one.
    """
    files = list(paths)
    replies = [reply for path in files for reply in read_labelled(path, rules)]
    labelled = [describe_file(path) for path in files]
    return Measured(
        house_rules=rules.hash, labelled=labelled, note=note, rules=measure(rules, replies)
    )


def read_labelled(path: Path, rules: HouseRules) -> list[Labelled]:
    """Labelled replies: ``prompt``, ``response``, ``violates``, perhaps ``turn``, ``jurisdiction``
    and ``facts``.

    Raises:
        InputError: with file and line.
    """
    found = []
    for number, row in objects(path):
        where = f"{path}, line {number}"
        try:
            reply = Labelled.model_validate(row)
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(map(str, fault["loc"]))
            raise InputError(f"{where}, {field}: {fault['msg']}") from None
        for name in reply.violates:
            try:
                rules.rule(name)
            except InputError as error:
                raise InputError(f"{where}, violates: {error}") from None
        found.append(reply)
    return found


def beside(house_rules: Path) -> Path:
    """Where the counts of a rule set stand: beside it, as they are no part of the rules."""
    return house_rules.with_name(f"{house_rules.stem}.measured.json")


def read_measured(path: Path, rules: HouseRules) -> tuple[dict[str, Counts], str]:
    """The counts that hold for these very rules, and else why there are none.

    Raises:
        InputError: the file is not in the shape of :class:`Measured`.
    """
    if not path.is_file():
        return {}, f"there is no {path}: `python -m review.gate.measure` writes it"
    try:
        measured = Measured.model_validate_json(read_utf8(path))
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"])) or "the file"
        raise InputError(
            f"{path}, {field}: {fault['msg']}; `python -m review.gate.measure` writes it anew"
        ) from None
    if measured.house_rules != rules.hash:
        return {}, f"{path} was measured with other rules ({measured.house_rules[:12]})"
    return measured.rules, ""


def rates(
    failures: Mapping[str, int], n: int, measured: Mapping[str, Counts]
) -> dict[str, dict[str, Any]]:
    """Each rule's raw rate with its exact bounds, and the corrected one or the words "lower bound".

    ``{"PROM-01": {"raw": R, "corrected": R or None, "shown": "1.2 % (0.3 to 3.1)"}}``, every R
    with its two-sided 95 % bounds. Without answers ``raw`` is None, too.
    """
    return {rule: rate_of(count, n, measured.get(rule)) for rule, count in failures.items()}


def rate_of(failures: int, n: int, counts: Counts | None) -> dict[str, Any]:
    """One rule's, as :func:`rates` has it."""
    if not n:
        return {"raw": None, "corrected": None, "shown": "–"}
    true = corrected_rate(failures, n, **counts.model_dump()) if counts else None
    shown = LOWER_BOUND
    if true:
        shown = f"{100 * true['rate']:.1f} % ({100 * true['low']:.1f} to {100 * true['high']:.1f})"
    return {"raw": rate(failures, n), "corrected": true, "shown": shown}


def _applies(rule: Rule, reply: Labelled) -> bool:
    """Whether a rule is asked at all: elsewhere it is right for free."""
    if rule.scope == "first_turn" and reply.turn == "later":
        return False
    if not rule.jurisdictions or not reply.jurisdiction:
        return True
    return not jurisdictions_of(reply.jurisdiction).isdisjoint(rule.jurisdictions)
