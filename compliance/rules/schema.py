"""What a house rule may say: the strict schema of the files in ``configs/house/``.

A compliance officer writes these files, so every fault is told with its line and column, and a word
that means nothing is refused rather than ignored.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import chain, permutations
from pathlib import Path
from typing import Annotated, Any, Literal

import re2
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from compliance.patterns import GAPS, new_set
from compliance.privacy.scan import TYPES
from compliance.rules.checkers import FORMATS
from compliance.rules.clauses import FRAMES
from compliance.rules.readability import METRICS
from inhouse.errors import InputError
from inhouse.strict_yaml import line_of, load_yaml

Severity = Literal["blocker", "major", "minor", "advisory"]
Kind = Literal[
    "existence",
    "substitution",
    "occurrence",
    "metric",
    "requires",
    "forbid_near",
    "numeric",
    "pii",
    "format",
    "judge",
    "human",
]
# What a rule of each kind cannot do without: one of these keys.
NEEDS = {
    "existence": ("match", "together"),
    "substitution": ("swap",),
    "occurrence": ("at_most", "at_least"),
    "metric": ("at_most", "at_least"),
    "requires": ("requires",),
    "forbid_near": ("near",),
    "pii": ("entities",),
    "format": ("format",),
}
PATTERNS = (
    "match",
    "unless",
    "unless_sentence",
    "unless_reply",
    "requires",
    "near",
    "prompt",
    "about",
)
WORDINGS = (*PATTERNS, "together")  # what may stand in the file's wordings: instead of its rule
_LIST = re.compile(r"(?<!P)<([a-z_]+)>")
# From one word to a later one of the same sentence: decimals do not end a sentence.
_GAP = r"[^\w.;!?\n](?:(?:[^.;!?\n]|\.\d)*?[^\w.;!?\n])?"
_THEN = " ... "
_GROUP = re.compile(r"(?<!\\)\((?!\?)")


class Strict(BaseModel):
    """No conversions, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Example(Strict):
    """A reply with what it answers, where a rule depends on that."""

    response: str
    prompt: str = ""
    turn: Literal["first", "later"] | None = None
    jurisdiction: str | None = None
    facts: list[str] | None = None


Examples = Annotated[list[str | Example], Field(min_length=1)]


class Rule(Strict):
    """One house rule as its author wrote it. docs/decisions/0005-house-rules.md tells each key."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,39}$")]
    title: str
    group: Literal["compliance", "tone"] = "compliance"
    severity: Severity
    kind: Kind
    then: Literal["judge", "human", "escalate", "paired prompts"] | None = None
    authority: list[str] = Field(default_factory=list)
    jurisdictions: list[str] = Field(default_factory=list)
    audience: str = "retail"
    scope: Literal["response", "sentence", "first_turn"] = "response"
    match: list[str] = Field(default_factory=list)
    together: list[Annotated[list[str], Field(min_length=2, max_length=3)]] = Field(
        default_factory=list
    )
    unless: list[str] = Field(default_factory=list)
    unless_sentence: list[str] = Field(default_factory=list)
    unless_reply: list[str] = Field(default_factory=list)
    exempt: list[Literal["negated", "denied", "question", "reported"]] = Field(default_factory=list)
    also_when: list[str] = Field(default_factory=list)
    requires: list[str] = Field(default_factory=list)
    near: list[str] = Field(default_factory=list)
    within: Annotated[int, Field(ge=1, le=60)] = 12
    prompt: list[str] = Field(default_factory=list)
    about: list[str] = Field(default_factory=list)
    swap: dict[str, str] = Field(default_factory=dict)
    at_most: float | None = None
    at_least: float | None = None
    metric: str = ""
    entities: list[str] = Field(default_factory=list)
    format: str = ""
    fix: str
    bad: Examples
    good: Examples
    owner: str = ""
    status: Literal["template", "draft", "reviewed", "approved"] = "draft"
    approved_by: list[str] = Field(default_factory=list)
    effective_from: date | None = None
    review_by: date | None = None
    _parts: dict[str, list[str]] = PrivateAttr(default_factory=dict)
    _line: int = PrivateAttr(default=0)

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> Rule:
        needed = NEEDS.get(self.kind, ())
        if needed and all(getattr(self, name) in (None, "", [], {}) for name in needed):
            raise ValueError(f"a rule of kind {self.kind!r} needs {needed[0]}:")
        if self.kind in ("occurrence", "forbid_near") and not (self.match or self.together):
            raise ValueError(f"a rule of kind {self.kind!r} needs match:")
        patterns = chain.from_iterable(getattr(self, name) for name in PATTERNS)
        written = [part for pattern in patterns for part in pattern.split(_THEN)]
        if not all(part.strip() for part in [*written, *chain.from_iterable(self.together)]):
            raise ValueError("a pattern, or what stands before or behind a ' ... ', is empty")
        for name, given, known in (
            ("metric", [self.metric] if self.kind == "metric" else [], METRICS),
            ("format", [self.format] if self.kind == "format" else [], FORMATS),
            ("entities", [entity.strip("()") for entity in self.entities], TYPES),
        ):
            unknown = [word for word in given if word not in known]
            if unknown:
                raise ValueError(f"{name} {unknown[0]!r} is none of {', '.join(sorted(known))}")
        return self

    def parts(self, pattern: str) -> list[str]:
        """The words that all must be there for a pattern to match: itself, or its parts."""
        return self._parts.get(pattern, [pattern])

    @property
    def place(self) -> str:
        """Where the rule stands in its file, and its name: "line 12: PROM-01"."""
        return f"line {self._line}: {self.id}"

    @property
    def by_machine(self) -> bool:
        """Whether a checker looks for breaches, or only a judge or a person can."""
        return self.kind not in ("judge", "human")


class RuleFile(Strict):
    """A whole file. ``lists`` names words that several patterns share, as ``<name>`` in them.

    A rule's patterns may stand apart, in ``wordings:`` under its id, so that the rules read as
    English; :func:`read` gives them to the rule before the schema is asked.
    ``first ... then`` in a pattern is one after the other in a sentence with no negation between;
    a group of two or three patterns in ``together`` is the same in any order.
    """

    house: str
    lists: dict[str, list[str]] = Field(default_factory=dict)
    rules: Annotated[list[Rule], Field(min_length=1)]


FILE_KEYS = (*RuleFile.model_fields, "wordings")


def read(path: Path) -> RuleFile:
    """A rule file in the schema.

    Raises:
        InputError: with line and column of the first fault.
    """
    document = load_yaml(path)
    _give_wordings(path, document)
    try:
        file = RuleFile.model_validate(_plain(document))
    except ValidationError as error:
        raise InputError(_where(path, document, error)) from None
    for at, rule in enumerate(file.rules):
        rule._line = line_of(document["rules"], at)
    ids = [rule.id for rule in file.rules]
    for at, rule in enumerate(file.rules):
        if rule.id in ids[:at]:
            raise InputError(f"{path}, {rule.place}: two rules are called {rule.id}")
        unknown = [name for name in rule.also_when if name not in ids or name == rule.id]
        if unknown:
            raise InputError(
                f"{path}, {rule.place}, also_when names {unknown[0]}, which is no other rule"
            )
    rules = [_expanded(path, rule, file.lists) for rule in file.rules]
    return file.model_copy(update={"rules": rules})


def _give_wordings(path: Path, document: Any) -> None:
    """Move each rule's patterns from ``wordings:`` into the rule, with the lines they stand on.

    Raises:
        InputError: of a rule that is not there, of a key that is no pattern, or said twice.
    """
    if not isinstance(document, dict) or "wordings" not in document:
        return
    line = line_of(document, "wordings")
    wordings = document.pop("wordings")
    if not isinstance(wordings, dict):
        raise InputError(f"{path}, line {line}, wordings: expected rule ids, each with patterns")
    listed = document.get("rules")
    rules: dict[str, Any] = {
        rule["id"]: rule
        for rule in (listed if isinstance(listed, list) else [])
        if isinstance(rule, dict) and isinstance(rule.get("id"), str)
    }
    for name, patterns in wordings.items():
        where = f"{path}, line {line_of(wordings, name)}: wordings of {name}"
        if name not in rules:
            raise InputError(f"{where}, which is no rule of this file{near(str(name), rules)}")
        if not hasattr(patterns, "keys"):
            raise InputError(f"{where}: expected keys like match: with patterns")
        for key, value in patterns.items():
            where = f"{path}, line {line_of(patterns, key)}: {key} in the wordings of {name}"
            if key not in WORDINGS:
                raise InputError(
                    f"{where} is none of {', '.join(WORDINGS)}{near(str(key), WORDINGS)}"
                )
            if key in rules[name]:
                raise InputError(f"{where} stands in the rule, too: keep it in one place")
            rules[name][key] = value
            rules[name].lc.add_kv_line_col(key, patterns.lc.data[key])


def _expanded(path: Path, rule: Rule, lists: dict[str, list[str]]) -> Rule:
    """A rule whose patterns hold the words of the lists they name."""

    def words(found: re.Match[str]) -> str:
        if found[1] not in lists:
            known = near(found[1], lists)
            raise InputError(
                f"{path}, {rule.place} names <{found[1]}>, which lists: does not have{known}"
            )
        return f"(?:{'|'.join(lists[found[1]])})"

    def expand(pattern: str) -> str:
        for _ in range(4):  # a list may name another
            pattern = _LIST.sub(words, pattern)
        return pattern

    made: dict[str, list[str]] = {}
    parts: dict[str, list[str]] = {}
    for name in PATTERNS:
        spread = [[expand(part) for part in p.split(_THEN)] for p in getattr(rule, name)]
        made[name] = [_spread([group]) for group in spread]
        parts |= dict(zip(made[name], spread, strict=True))
    groups = [[expand(part) for part in group] for group in rule.together]
    either = [_spread(permutations(group)) for group in groups]
    parts |= dict(zip(either, groups, strict=True))
    made["match"] = [*made["match"], *either]
    all_parts = new_set()  # it reads each pattern and compiles none
    for part in chain.from_iterable(group for group in parts.values() if len(group) > 1):
        try:
            all_parts.Add(part)
        except re2.error:
            raise InputError(f"{path}, {rule.place}: {part!r} is no pattern by itself") from None
    expanded = rule.model_copy(update=made)
    expanded._parts = {
        pattern: [_in_order([part]) for part in group]
        for pattern, group in parts.items()
        if len(group) > 1
    }
    return expanded


def _spread(orders: Iterable[Sequence[str]]) -> str:
    """A pattern for parts one after another in one sentence, in any of the orders.

    A single part stays as it is. Otherwise ``GAPS`` marks the pattern, and its only other groups
    are what stands between the parts: a rule's own groups are made non-capturing.
    """
    orders = list(orders)
    if len(orders[0]) == 1:
        return orders[0][0]
    return f"(?P<{GAPS}>)(?:{'|'.join(map(_in_order, orders))})"


def _in_order(parts: Sequence[str]) -> str:
    # Whole words: "£5" and "5%" have no word boundary at their sign, but a character beside it.
    plain = (_GROUP.sub("(?:", part) for part in parts)
    return r"(?:\b|^|\W)" + f"({_GAP})".join(f"(?:{part})" for part in plain) + r"(?:\b|\W|$)"


def _plain(value: Any) -> Any:
    """ruamel's containers and strings as plain ones, which strict pydantic asks for."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _where(path: Path, document: Any, error: ValidationError) -> str:
    """A fault with line and column, as near as the document tells: a misspelt key first of all."""
    faults = error.errors()
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    place, node = (0, 0), document
    for part in fault["loc"]:
        try:
            place = node.lc.key(part) if hasattr(node, "keys") else node.lc.item(part)
            node = node[part]
        except (KeyError, IndexError, TypeError, AttributeError):
            break
    named = [part for part in fault["loc"] if part not in ("str", "Example")]
    rule = _rule_of(document, fault["loc"])
    field = ".".join(str(part) for part in named)
    where = f"{path}, line {place[0] + 1}, column {place[1] + 1}"
    where = f"{where}, {field}{rule}" if field else where
    return f"{where}: {_in_words(fault, field)}"


def _in_words(fault: Any, field: str) -> str:
    """What is wrong, for somebody who writes rules and not Python."""
    given, kind = fault["input"], fault["type"]
    key = str(fault["loc"][-1]) if fault["loc"] else ""
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        keys = Rule.model_fields if field.startswith("rules.") else FILE_KEYS
        keys = Example.model_fields if "Example" in fault["loc"] else keys
        return f"there is no such key{near(key, keys)}"
    if kind == "literal_error":
        known = fault["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return f"{given!r} is none of {', '.join(known)}{near(str(given), known)}"
    if kind in _EXPECTED:
        return f"{given!r} is no {_EXPECTED[kind]}"
    if kind == "model_type":
        return "expected the keys house: and rules:" if not field else "expected keys and values"
    return str(fault["msg"]).removeprefix("Value error, ")


# What a key takes, by pydantic's name of the fault.
_EXPECTED = {
    "string_type": "text: put it in quotes",
    "list_type": "list: put it in brackets, as [one, another]",
    "date_type": "date: write year-month-day without quotes, as 2027-12-31",
    "string_pattern_mismatch": "id: letters, digits, dots, dashes; no blanks, a letter first",
}


def near(word: str, known: Iterable[str]) -> str:
    """The hint "; did you mean …?" where a known word is like this one, else nothing."""
    names = {name.lower(): name for name in known}
    like = difflib.get_close_matches(word.lower(), names, n=1)
    return f"; did you mean {names[like[0]]}?" if like else ""


def _rule_of(document: Any, loc: tuple[Any, ...]) -> str:
    try:
        return f" ({document['rules'][loc[1]]['id']})" if loc[:1] == ("rules",) else ""
    except (KeyError, IndexError, TypeError):
        return ""


assert set(FRAMES) == {"negated", "denied", "question", "reported"}, "the schema names every frame"
