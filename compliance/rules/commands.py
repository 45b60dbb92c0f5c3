"""What ``python -m compliance.rules`` does: one function for each verb.

python -m compliance.rules coverage runs/asdfg/data/demonstrations.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from compliance.rules.house_rules import (
    HouseRules,
    check_example,
    checked_language,
    in_context,
    jurisdictions_of,
    load,
)
from compliance.rules.house_rules import guidelines as page
from compliance.rules.replies import approved_figures, replies_in, texts_in
from compliance.rules.schema import Rule
from inhouse.errors import GateError
from inhouse.records import Finding


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
        if reply.jurisdiction and not jurisdictions_of(reply.jurisdiction) & rules.jurisdictions:
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
    for named, number in unknown.items():
        known = ", ".join(sorted(rules.jurisdictions)) or "none"
        print(
            f"{number} records are of {named!r}, which no rule names (they name {known}): only "
            "rules for every jurisdiction were applied to them",
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


def _short(item: object) -> str:
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
