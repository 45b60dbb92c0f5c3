"""The gate's result: ``review/gate.json``, what it was decided from, and whether it still holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compliance.rules import house_rules
from compliance.rules.house_rules import HouseRules
from compliance.rules.rule_files import rules_hash
from inhouse import run as runs
from inhouse.errors import InputError, nearest, words_of
from inhouse.files import read_utf8, sha256
from inhouse.records import Output, read
from review.gate import checker
from review.gate.answers import Answers, by_model
from review.gate.case import Case
from review.gate.criteria import FAIL, OPEN, PASS, Criterion
from review.gate.decide import answer_of, decide, exempt
from review.gate.evidence import AUDIT, OWN, Counted, Estimated, Gathered, gather, of_audit
from review.gate.limits import Limits, line_of_rule
from review.gate.limits import read as read_limits
from review.gate.noise import noise_floor

SCHEMA = 1
EPSILON = "epsilon_lower_bound"
MEND = "run `python -m review --overwrite`"
REVIEWED = ("outputs.jsonl", "summary.json")  # the review's own files that are read


def judge(
    campaign: Path,
    config: Path,
    model: str | None = None,
    rules_at: Path | None = None,
    twin: Path | None = None,
) -> dict[str, Any]:
    """Decide about a campaign's aligned model; the document is what ``gate.json`` holds.

    Args:
        model: its name in the review; may be left out where only one is aligned.
        rules_at: the house rules, where they are no longer where the review read them.
        twin: a campaign that was trained with canaries: what it proves of ε counts for this one.

    Raises:
        InputError: the review is missing or was changed, or a setting names what is not there.
    """
    folder = campaign / "review"
    manifest = _json(
        runs.require(folder / runs.MANIFEST, f"run `python -m review --run_dir {campaign}` first")
    )
    _check_whole(folder, manifest)
    rules_at = rules_at or Path(manifest["config"]["house_rules"])
    rules = house_rules.load(rules_at)
    if rules.hash != _json(folder / "summary.json")["house_rules"]:
        raise InputError(f"{rules_at} has changed since the review: {MEND}, or give --house_rules")
    limits, gathered = read_limits(config), gather(campaign)
    _check_rules(config, limits, rules, gathered)
    answers = by_model(read(folder / "outputs.jsonl", Output))
    judged, against = _pick(list(answers), model)
    known, why_not = checker.read_measured(checker.beside(rules_at), rules)
    both = (answers[judged], answers[against])
    noise = noise_floor(both, rules, 1 - limits.confidence)
    evidence = gathered.of(answers[judged].model)
    if twin is not None:
        proven = _of_twin(twin)
        evidence = [each for each in evidence if each.measure != EPSILON] + [*proven]
    case = Case(limits, rules, *both, evidence, known, noise)
    criteria = decide(case)
    files = {"checker": checker.beside(rules_at)} | ({"twin": twin / AUDIT} if twin else {})
    return {
        "schema": SCHEMA,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "answer": answer_of(criteria),
        "headline": headline(criteria),
        "model": answers[judged].model,
        "against": answers[against].model,
        "criteria": [asdict(criterion) for criterion in criteria],
        "noise_floor": noise or "not measured",
        "rates": rates(answers[judged], rules, case),
        "checker": why_not or str(checker.beside(rules_at)),
        "not_asked": limits.not_asked,
        "exempt": exempt(case),
        "outdated": gathered.outdated(answers[judged].model),
        "limits": limits.model_dump(),
        "read": read_now(campaign),
        "settings": {
            "config": {"path": str(config), "sha256": sha256(config)},
            "house_rules": {"path": str(rules_at), "sha256": rules.hash},
            **{name: {"path": str(at), "sha256": _hash_now(at)} for name, at in files.items()},
        },
    }


def rates(answers: Answers, rules: HouseRules, case: Case) -> dict[str, Any]:
    """Each machine-checked rule's raw rate by prompt and seed, and the corrected one beside it."""
    outputs = answers.outputs
    broken = {
        rule.id: sum(any(f.rule == rule.id for f in o.findings) for o in outputs)
        for rule in rules.rules
        if rule.id not in rules.not_checked()
    }
    return checker.rates(broken, len(outputs), case.checker)


def read_now(campaign: Path) -> dict[str, str]:
    """The hash of every file of the campaign that a decision is made from, by its path in it."""
    reviewed = {f"review/{name}": sha256(campaign / "review" / name) for name in REVIEWED}
    return reviewed | gather(campaign).files


def standing(campaign: Path) -> tuple[dict[str, Any], list[str]]:
    """``gate.json`` as it stands, and what has changed since; the gate holds while that is nothing.

    Raises:
        InputError: no gate was asked yet.
    """
    path = campaign / "review" / OWN
    if not path.is_file():
        raise InputError(f"no {path}: run `python -m review.gate --run_dir {campaign}` first")
    document = _json(path)
    then, now = document["read"], read_now(campaign)
    changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    for name, entry in document["settings"].items():
        at = Path(entry["path"])
        hash_of = rules_hash if name == "house_rules" else sha256
        if _hash_now(at, hash_of) != entry["sha256"]:
            changed.append(entry["path"])
    return document, changed


def headline(criteria: Sequence[Criterion]) -> str:
    """The answer in a line, the first of the report."""
    answer = answer_of(criteria)
    if answer == PASS:
        return f"pass: all {len(criteria)} criteria are kept"
    failed = [each for each in criteria if each.answer == FAIL]
    left = [each for each in criteria if each.answer == OPEN]
    said = [
        f"{len(those)} of {len(criteria)} criteria {verb} ({_names(those)})"
        for those, verb in ((failed, "fail"), (left, "lack evidence"))
        if those
    ]
    return f"{answer}: {'; '.join(said)}"


def print_table(document: dict[str, Any]) -> None:
    """Every criterion with its answer and the reason."""
    print(f"\n{document['model']['name']} against {document['against']['name']}\n")
    width = max(len(entry["name"]) for entry in document["criteria"])
    for entry in document["criteria"]:
        counted = entry["measured"].get("n")
        shown = f"  ({counted:,} {entry['unit']})" if counted else ""
        print(f"{entry['answer']:20} {entry['name']:{width}}  {entry['reason']}{shown}")
    print()
    for key, about in (
        ("not_asked", "not asked"),
        ("exempt", "exempt"),
        ("outdated", "of an earlier model, and not read"),
    ):
        if document[key]:
            print(f"{about}: {', '.join(document[key])}")


def _hash_now(path: Path, hash_of: Callable[[Path], str] = sha256) -> str | None:
    """None where nothing is there: what appears later is a change, too."""
    return hash_of(path) if path.exists() else None


def _names(criteria: Sequence[Criterion], most: int = 3) -> str:
    more = [f"and {len(criteria) - most} more"] if len(criteria) > most else []
    return ", ".join([each.name for each in criteria[:most]] + more)


def _check_whole(folder: Path, manifest: dict[str, Any]) -> None:
    """The outputs and their summary are those that the review wrote."""
    known = {entry["path"]: entry["sha256"] for entry in manifest["outputs"]}
    for name in REVIEWED:
        if not (folder / name).is_file() or sha256(folder / name) != known.get(name):
            raise InputError(f"{folder / name} is not what the review wrote: {MEND}")


def _of_twin(twin: Path) -> list[Estimated]:
    """What only a run with canaries shows: a bound of ε.

    Raises:
        InputError: the twin was not audited.
    """
    runs.require(twin / AUDIT, f"run `python -m review.memorisation --run_dir {twin}` first")
    return [each for each in of_audit(twin) if each.measure == EPSILON]


def _check_rules(config: Path, limits: Limits, rules: HouseRules, gathered: Gathered) -> None:
    """Every rule that is named exists."""
    for criterion in ("violations", "red_team"):
        asked = getattr(limits, criterion)
        for name in asked.rules if asked else ():
            where = f"{config}, line {line_of_rule(config, criterion, name)}, {criterion}.rules"
            _check_rule(rules, name, where)
    for record in gathered.records:
        if isinstance(record, Counted) and record.rule is not None:
            _check_rule(rules, record.rule, f"the evidence of {record.measure}")


def _check_rule(rules: HouseRules, name: str, where: str) -> None:
    try:
        rules.rule(name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _pick(names: list[str], model: str | None) -> tuple[str, str]:
    """The model that is judged, and the one before it."""
    aligned = [name for name in names if name != "sft" and not name.startswith("base")]
    if model is None:
        if len(aligned) > 1:
            raise InputError(
                f"{', '.join(aligned)} were reviewed: say with --model which one is judged"
            )
        model = aligned[0] if aligned else "sft"
    before = "base" if model == "sft" else "sft"
    for name in (model, before):
        if name not in names:
            like = nearest(name, names)
            hint = f"; did you mean {like}?" if like else ""
            raise InputError(f"no model {name} in the review, which has {', '.join(names)}{hint}")
    return model, before


def _json(path: Path) -> Any:
    try:
        return json.loads(read_utf8(path))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({words_of(error)}): {MEND}") from None
