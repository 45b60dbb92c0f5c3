"""A firm's house rules: loaded from data, run against replies.

    rules = load("configs/house/asdfg.yaml")
    findings = rules.check(prompt, response)

A rule is data in a strict schema. Its ``bad:`` and ``good:`` examples run whenever the file is
loaded: a rule that misses its own example does not load. Compliance rules and tone rules are told
apart by ``group``, so that a fluent violation never outscores an awkward compliant reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inhouse.checkers import CHECKERS, Patterns, compile_pattern
from inhouse.config import line_of, load_yaml
from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.records import Finding, Message

Examples = Annotated[list[str], Field(min_length=1)]


class Rule(BaseModel):
    """One house rule as its author wrote it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    id: str
    title: str
    group: Literal["compliance", "tone"]
    severity: Literal["blocker", "major", "minor", "advisory"]
    kind: Literal["existence", "requires"]
    authority: list[str] = Field(default_factory=list)
    match: list[str] = Field(default_factory=list)
    unless: list[str] = Field(default_factory=list)
    requires: list[str] = Field(default_factory=list)
    fix: str
    bad: Examples
    good: Examples

    @model_validator(mode="after")
    def _kind_has_its_patterns(self) -> Rule:
        needed = "match" if self.kind == "existence" else "requires"
        if not getattr(self, needed):
            raise ValueError(f"a rule of kind {self.kind!r} needs {needed}:")
        return self


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    house: str
    rules: Annotated[list[Rule], Field(min_length=1)]


@dataclass(frozen=True)
class HouseRules:
    """A rule set that passed its own examples; ``hash`` goes into manifests and guidelines."""

    house: str
    rules: tuple[Rule, ...]
    hash: str
    _patterns: dict[str, Patterns]

    def check(self, prompt: Sequence[Message], response: str) -> list[Finding]:
        """Every place where a response breaks a rule, by where it stands."""
        found = [finding for rule in self.rules for finding in self._check_one(rule, response)]
        return sorted(found, key=lambda finding: (finding.start, finding.rule))

    def group_of(self, rule: str) -> str:
        """``compliance`` or ``tone``."""
        return next(known.group for known in self.rules if known.id == rule)

    def _check_one(self, rule: Rule, text: str) -> list[Finding]:
        spans = CHECKERS[rule.kind](self._patterns[rule.id], text)
        return [
            Finding(rule=rule.id, severity=rule.severity, start=a, end=b, text=text[a:b])
            for a, b in spans
        ]


def load(path: str | Path) -> HouseRules:
    """Read a rule file and run every rule against its own examples.

    Raises:
        InputError: the file is not in the schema (with line), a pattern is not re2's, two rules
            share an id, or a rule misses one of its examples.
    """
    path = Path(path)
    document = load_yaml(path)
    try:
        file = _File.model_validate(_plain(document))
    except ValidationError as error:
        raise InputError(_where(path, document, error)) from None
    patterns: dict[str, Patterns] = {}
    for rule in file.rules:
        if rule.id in patterns:
            raise InputError(f"{path}: two rules are called {rule.id}")
        patterns[rule.id] = _compile(path, rule)
    rules = HouseRules(file.house, tuple(file.rules), sha256(path), patterns)
    for rule in file.rules:
        for wanted, examples in ((True, rule.bad), (False, rule.good)):
            for example in examples:
                if bool(rules._check_one(rule, example)) != wanted:
                    verb = "does not find" if wanted else "finds something in"
                    name = "bad" if wanted else "good"
                    raise InputError(f"{path}: {rule.id} {verb} its own {name} example {example!r}")
    return rules


def guidelines(rules: HouseRules) -> str:
    """The page raters read, in Markdown: how to choose, and every rule with an example."""
    lines = [
        f"# How to compare two answers for {rules.house}",
        "",
        "Choose the answer you would rather see sent to the customer: right, complete, courteous, "
        "and within the rules below. Choose *tie* only if you could not care which one is sent.",
        "",
    ]
    for rule in rules.rules:
        lines += [f"- **{rule.id} {rule.title}** ({rule.severity}). {rule.fix}"]
        lines += [f"    - breaks it: {rule.bad[0]}", f"    - keeps it: {rule.good[0]}"]
    return "\n".join([*lines, "", f"Rules {rules.hash[:12]}"])


def _compile(path: Path, rule: Rule) -> Patterns:
    def compiled(name: str) -> list[Any]:
        patterns = []
        for pattern in getattr(rule, name):
            try:
                patterns.append(compile_pattern(pattern))
            except re2.error as error:
                raise InputError(f"{path}: {rule.id}, {name}: {pattern!r}: {error}") from None
        return patterns

    return Patterns(compiled("match"), compiled("unless"), compiled("requires"))


def _plain(value: Any) -> Any:
    """ruamel's containers and strings as plain ones, which strict pydantic asks for."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _where(path: Path, document: Any, error: ValidationError) -> str:
    """The first fault with the line it stands on, as near as the document tells."""
    fault = error.errors()[0]
    line, node = 1, document
    for part in fault["loc"]:
        try:
            line, node = line_of(node, part), node[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    field = ".".join(str(part) for part in fault["loc"])
    return f"{path}, line {line}, {field}: {fault['msg'].removeprefix('Value error, ')}"
