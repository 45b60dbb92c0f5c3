"""What ``python -m compliance.rules`` does: one function for each verb.

    python -m compliance.rules coverage runs/asdfg/data/demonstrations.jsonl

Records in: replies, as plain text or as JSON Lines with ``prompt`` (string or messages),
``response``, and perhaps ``turn`` and ``jurisdiction``; approved figures as
``{"facts": [{"id", "text", "figures": [...]}]}``.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from compliance.rules.figures import Figure, approved, figures
from compliance.rules.house_rules import (
    HouseRules,
    check_example,
    checked_language,
    in_context,
    load,
    places_of,
)
from compliance.rules.house_rules import guidelines as page
from compliance.rules.schema import Rule
from inhouse.errors import GateError, InputError
from inhouse.files import json_lines, read_utf8
from inhouse.records import Finding, Message, Record


class Reply(Record):
    """A reply to check, with what it answers."""

    prompt: list[Message] = Field(default_factory=list)
    response: str
    turn: Literal["first", "later"] | None = None
    jurisdiction: str | None = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _string(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [{"role": "user", "content": value}] if value.strip() else []
        return value or []


class Fact(Record):
    """An approved statement and its figures."""

    id: str
    text: str = ""
    figures: list[str | int | float] = Field(default_factory=list)

    @model_validator(mode="after")
    def _holds_figures(self) -> Fact:
        bare = [figure for figure in self.figures if not approved(str(figure))[1]]
        if bare:
            raise ValueError(f"{bare[0]!r} of {self.id} is no figure: write it in digits")
        if not self.text.strip() and not self.figures:
            raise ValueError(f"{self.id} has neither text nor figures")
        return self


class Facts(Record):
    """A firm's approved fact sheet."""

    facts: list[Fact]

    @model_validator(mode="after")
    def _one_of_each_id(self) -> Facts:
        seen = Counter(fact.id for fact in self.facts)
        twice = next((name for name, count in seen.items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"two facts are called {twice}")
        return self


def check(words: argparse.Namespace) -> None:
    """Print every finding; a blocker is exit 2."""
    rules = load(words.rules)
    facts = approved_figures(words.facts) if words.facts else None
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    replies = [(path, line, reply) for path in words.files for line, reply in replies_in(path)]
    for path, line, reply in replies:
        found = rules.check(
            reply.prompt,
            reply.response,
            turn=reply.turn,
            jurisdiction=reply.jurisdiction,
            facts=facts,
        )
        counts.update(finding.severity for finding in found)
        if reply.jurisdiction and not places_of(reply.jurisdiction) & rules.places:
            unknown[reply.jurisdiction] += 1
        if not checked_language(reply.response):
            counts["other language"] += 1
            print(
                f"{path}, line {line}: not in English, the language of the rules: what they do "
                "not find here says nothing",
                file=sys.stderr,
            )
        if words.json:
            print(json.dumps(as_json(path, line, found, len(words.files)), ensure_ascii=False))
        else:
            for finding in found:
                print(as_text(path, line, finding, rules.rule(finding.rule)))
    for place, number in unknown.items():
        print(
            f"{number} records are of {place!r}, which no rule names (they name "
            f"{', '.join(sorted(rules.places)) or 'none'}): only rules for every jurisdiction "
            "were applied to them",
            file=sys.stderr,
        )
    _say(rules, counts, len(replies), facts is not None)
    if counts["blocker"]:
        raise GateError(f"{counts['blocker']} findings of blocker rules, expected none")


def as_json(path: Path, line: int, found: list[Finding], files: int) -> dict[str, Any]:
    """A record's findings as data; which file it stands in, where there are several."""
    findings = [finding.model_dump(mode="json") for finding in found]
    where = {"file": str(path)} if files > 1 else {}
    return {**where, "line": line, "findings": findings}


def as_text(path: Path, line: int, finding: Finding, rule: Rule) -> str:
    """A finding for people: where, which rule, on whose authority, how to mend it."""
    authority = "; ".join(rule.authority) or "house style"
    words = " ".join(finding.text.split())
    words = words if len(words) <= 120 else words[:117] + "..."
    return (
        f"{path}:{line}: {finding.start}-{finding.end} {finding.rule} {finding.severity}: "
        f'"{words}"\n    {rule.title} ({authority}). {rule.fix}'
    )


def _say(rules: HouseRules, counts: Counter[str], records: int, facts: bool) -> None:
    """The counts, and what was not looked at, on the error stream."""
    parts = [f"{counts[s]} {s}" for s in ("blocker", "major", "minor", "advisory")]
    print(f"{records} records: {', '.join(parts)}", file=sys.stderr)
    if counts["other language"]:
        print(f"{counts['other language']} records are in another language", file=sys.stderr)
    for name, reason in rules.not_checked(facts=facts).items():
        print(f"{name}: {reason}", file=sys.stderr)
    for rule in rules.overdue():
        print(
            f"{rule.id}: was to be reviewed by {rule.review_by}, owner {rule.owner}",
            file=sys.stderr,
        )


def test(words: argparse.Namespace) -> None:
    """Loading runs the examples; say how many held. A rule past its review is exit 2."""
    rules = load(words.rules)
    machine = [rule for rule in rules.rules if rule.by_machine]
    examples = sum(len(rule.bad) + len(rule.good) for rule in machine)
    print(f"{words.rules}: {len(machine)} rules keep their {examples} examples")
    for name, reason in rules.not_checked(facts=True).items():
        print(f"{name}: {reason}")
    rules.check_reviewed()


def explain(words: argparse.Namespace) -> None:
    """Everything about one rule, in words."""
    rule = load(words.rules).rule(words.rule)
    machine = "found by machine" if rule.by_machine else "not checked by machine"
    if rule.then:
        machine += f", then {rule.then}"
    lines = [
        f"{rule.id} {rule.title} ({rule.severity}, {rule.group})",
        f"Kind: {rule.kind}; {machine}. Scope: {rule.scope}.",
        f"Authority: {'; '.join(rule.authority) or 'house style'}.",
        f"Applies in: {', '.join(rule.jurisdictions) or 'every jurisdiction'}; {rule.audience}.",
        f"Mend it: {rule.fix}",
        f"Status: {rule.status}; approved by {', '.join(rule.approved_by) or 'nobody yet'}; "
        f"owner {rule.owner or 'none'}; in force from {rule.effective_from or 'the start'}; "
        f"review by {rule.review_by or 'no date'}.",
    ]
    if rule.exempt:
        lines.append(f"Not a breach where the words are: {', '.join(rule.exempt)}.")
    for title, examples in (("Breaks it:", rule.bad), ("Keeps it:", rule.good)):
        lines += [title, *(f"  - {in_context(example)}" for example in examples)]
    print("\n".join(lines))


def diff(words: argparse.Namespace) -> None:
    """Rules added, gone and changed, and what changed in each."""
    old, new = load(words.old), load(words.new)
    # As data: where in its file a rule stands is no difference.
    before, after = ({r.id: r.model_dump() for r in rules.rules} for rules in (old, new))
    for name in before.keys() - after.keys():
        print(f"gone     {name} {before[name]['title']}")
    for name, rule in after.items():
        if name not in before:
            print(f"new      {name} {rule['title']} ({rule['severity']})")
        elif rule != before[name]:
            keys = [key for key in rule if rule[key] != before[name][key]]
            print(f"changed  {name}: {', '.join(keys)}")
            for key in keys:
                for line in _changes(key, before[name][key], rule[key]):
                    print(f"           {line}")
    if before == after:
        print("no rule differs")


def _changes(key: str, was: Any, now: Any) -> list[str]:
    """What changed in one key: a value by another, a list by what went and what came."""
    if not isinstance(now, list):
        return [f"{key}: {was or 'nothing'} -> {now or 'nothing'}"]
    gone = [f"- {key}: {_short(item)}" for item in was if item not in now]
    return gone + [f"+ {key}: {_short(item)}" for item in now if item not in was]


def _short(item: Any) -> str:
    """A list's item on one line; a pattern with its lists filled in may take pages."""
    text = item["response"] if isinstance(item, dict) and "response" in item else str(item)
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."


def coverage(words: argparse.Namespace) -> None:
    """For each rule, its examples and the training records in which it finds something."""
    rules = load(words.rules)
    touched: Counter[str] = Counter()
    records = 0
    for path in words.files:
        for _, text in texts_in(path):
            records += 1
            touched.update({finding.rule for finding in rules.check([], text)})
    print(f"{'rule':10}{'bad':>5}{'good':>6}{'records':>9}")
    for rule in rules.rules:
        bad = sum(bool(check_example(rules, rule, example)) for example in rule.bad)
        note = "" if rule.by_machine else "  not checked by machine"
        if rule.by_machine and words.files and not touched[rule.id]:
            note = "  touched by no record"
        print(f"{rule.id:10}{bad:>5}{len(rule.good):>6}{touched[rule.id]:>9}{note}")
    print(f"{records} replies read")


def guidelines(words: argparse.Namespace) -> None:
    """The raters' page."""
    print(page(load(words.rules)))


# --- files in ----------------------------------------------------------------------------------


def replies_in(path: Path) -> Iterator[tuple[int, Reply]]:
    """Every reply of a file: JSON Lines by its name, else the whole text is one.

    Raises:
        InputError: with file and line.
    """
    if path.suffix not in (".jsonl", ".json"):
        text = read_utf8(path)
        if not text.strip():
            raise InputError(f"{path} is empty: expected a reply")
        yield 1, Reply(response=text)
        return
    for line, value in json_lines(path):
        _check_keys(value, Reply, f"{path}, line {line}")
        try:
            yield line, Reply.model_validate(value)
        except ValidationError as error:
            raise InputError(f"{path}, line {line}: {_fault(error)}") from None


def texts_in(path: Path) -> Iterator[tuple[int, str]]:
    """Everything an assistant says in a file of demonstrations, preferences or replies.

    Raises:
        InputError: with file and line.
    """
    for line, value in json_lines(path):
        said = [value[key] for key in ("messages", "chosen", "completion") if key in value]
        turns = [turn for part in said if isinstance(part, list) for turn in part]
        texts: list[Any] = [
            turn.get("content")
            for turn in turns
            if isinstance(turn, dict) and turn.get("role") == "assistant"
        ]
        alone = [value.get(key) for key in ("chosen", "completion", "response")]
        texts += [part for part in alone if isinstance(part, str)]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{path}, line {line}: no assistant's words (messages, response …)")
        for text in texts:
            yield line, text


def approved_figures(path: Path) -> frozenset[Figure]:
    """The figures of a fact sheet: those listed, and those in its texts.

    Raises:
        InputError: the file is not in the shape named above.
    """
    text = read_utf8(path)
    try:
        sheet = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{where}: not JSON; expected {_SHEET}") from None
    if not isinstance(sheet, dict):
        raise InputError(f"{path}: expected {_SHEET}, found a {type(sheet).__name__}")
    _check_keys(sheet, Facts, str(path))
    for number, fact in enumerate(sheet["facts"] if isinstance(sheet.get("facts"), list) else []):
        if isinstance(fact, dict):
            _check_keys(fact, Fact, f"{path}, fact {number + 1}")
    try:
        facts = Facts.model_validate(sheet).facts
    except ValidationError as error:
        raise InputError(f"{path}: {_fault(error)}; expected {_SHEET}") from None
    listed = {approved(str(figure)) for fact in facts for figure in fact.figures}
    return frozenset(listed | {figure for fact in facts for _, figure in figures(fact.text)})


_SHEET = '{"facts": [{"id", "text", "figures": [...]}]}'


def _check_keys(record: dict[str, Any], kind: type[Record], where: str) -> None:
    """Refuse a key that is a known one misspelt; records may have keys of their own besides.

    Raises:
        InputError: names it and the known one.
    """
    missing = kind.model_fields.keys() - record.keys()
    for key in record.keys() - kind.model_fields.keys():
        like = difflib.get_close_matches(key, missing, n=1, cutoff=0.8)
        if like:
            raise InputError(f"{where}: unknown key {key!r}; did you mean {like[0]}?")


def _fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"]) or "record"
    said = "is missing" if fault["type"] == "missing" else fault["msg"]
    return f"field {field!r}: {said.removeprefix('Value error, ')}"
