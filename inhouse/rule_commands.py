"""What ``python -m inhouse.house_rules`` does: one function for each verb.

    python -m inhouse.house_rules coverage runs/asdfg/data/demonstrations.jsonl

Records in: replies, as plain text or as JSON Lines with ``prompt`` (string or messages),
``response``, and perhaps ``turn`` and ``jurisdiction``; approved figures as
``{"facts": [{"id", "text", "figures": [...]}]}``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from inhouse.errors import GateError, InputError
from inhouse.house_rules import HouseRules, check_example, checked_language, load, shown
from inhouse.house_rules import guidelines as page
from inhouse.measures import Figure, approved, figures
from inhouse.records import Finding, Message, Record
from inhouse.rule_schema import Rule


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


class Facts(Record):
    """A firm's approved fact sheet."""

    facts: list[Fact]


def check(words: argparse.Namespace) -> None:
    """Print every finding; a blocker is exit 2."""
    rules = load(words.rules)
    facts = approved_figures(words.facts) if words.facts else None
    counts: Counter[str] = Counter()
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
    """Loading runs the examples; say how many held."""
    rules = load(words.rules)
    machine = [rule for rule in rules.rules if rule.by_machine]
    examples = sum(len(rule.bad) + len(rule.good) for rule in machine)
    print(f"{words.rules}: {len(machine)} rules keep their {examples} examples")
    for name, reason in rules.not_checked(facts=True).items():
        print(f"{name}: {reason}")
    for rule in rules.overdue():
        print(f"{rule.id}: was to be reviewed by {rule.review_by}, owner {rule.owner}")


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
        lines += [title, *(f"  - {' '.join(shown(example).split())}" for example in examples)]
    print("\n".join(lines))


def diff(words: argparse.Namespace) -> None:
    """Rules added, gone and changed, and what changed in each."""
    old, new = load(words.old), load(words.new)
    before, after = ({rule.id: rule for rule in rules.rules} for rules in (old, new))
    for name in before.keys() - after.keys():
        print(f"gone     {name} {before[name].title}")
    for name, rule in after.items():
        if name not in before:
            print(f"new      {name} {rule.title} ({rule.severity})")
        elif rule != before[name]:
            was, now = before[name].model_dump(), rule.model_dump()
            keys = [key for key in now if now[key] != was[key]]
            print(f"changed  {name}: {', '.join(keys)}")
            for key in keys:
                if not isinstance(now[key], list | dict):
                    print(f"           {key}: {was[key]} -> {now[key]}")
    if before == after:
        print("no rule differs")


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
        text = _text(path)
        if not text.strip():
            raise InputError(f"{path} is empty: expected a reply")
        yield 1, Reply(response=text)
        return
    for line, value in json_lines(path):
        try:
            yield line, Reply.model_validate(value)
        except ValidationError as error:
            raise InputError(f"{path}, line {line}: {_fault(error)}") from None


def texts_in(path: Path) -> Iterator[tuple[int, str]]:
    """Everything an assistant says in a file of demonstrations, preferences or replies."""
    for line, value in json_lines(path):
        said = [value[key] for key in ("messages", "chosen", "completion") if key in value]
        turns = [turn for part in said if isinstance(part, list) for turn in part]
        texts = [
            t["content"] for t in turns if isinstance(t, dict) and t.get("role") == "assistant"
        ]
        texts += [part for part in [*said, value.get("response")] if isinstance(part, str)]
        if not texts:
            raise InputError(f"{path}, line {line}: no assistant's words (messages, response …)")
        for text in texts:
            yield line, str(text)


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every object of a JSON Lines file with its line.

    Raises:
        InputError: with file and line.
    """
    seen = 0
    for line, row in enumerate(_text(path).split("\n"), start=1):
        if not row.strip():
            continue
        seen += 1
        try:
            value = json.loads(row)
        except ValueError as error:
            where = getattr(error, "colno", "")
            raise InputError(f"{path}, line {line}: not JSON at column {where}") from None
        if not isinstance(value, dict):
            raise InputError(
                f"{path}, line {line}: expected an object, found {type(value).__name__}"
            )
        yield line, value
    if not seen:
        raise InputError(f"{path} holds no record")


def approved_figures(path: Path) -> frozenset[Figure]:
    """The figures of a fact sheet: those listed, and those in its texts.

    Raises:
        InputError: the file is not in the shape named above.
    """
    try:
        facts = Facts.model_validate(json.loads(_text(path))).facts
    except ValidationError as error:
        raise InputError(f"{path}: {_fault(error)}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    listed = {approved(str(figure)) for fact in facts for figure in fact.figures}
    return frozenset(listed | {figure for fact in facts for _, figure in figures(fact.text)})


def _text(path: Path) -> str:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"]) or "record"
    return f"field {field!r}: {fault['msg'].removeprefix('Value error, ')}"
