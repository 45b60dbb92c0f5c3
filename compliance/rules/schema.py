"""What a house rule may say: the strict schema of what stands in ``configs/house/``.

A compliance officer writes rules, so a word that means nothing is refused rather than ignored, and
what is wrong is said in an officer's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compliance.privacy.entities import TYPES
from compliance.rules.clauses import FRAMES
from compliance.rules.readability import FORMATS, METRICS
from inhouse.errors import nearest

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
WORDINGS = (*PATTERNS, "together")  # what may stand apart from its rule, in its wordings


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

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> Rule:
        needed = NEEDS.get(self.kind, ())
        if needed and all(getattr(self, name) in (None, "", [], {}) for name in needed):
            raise ValueError(f"a rule of kind {self.kind!r} needs {needed[0]}:")
        if self.kind in ("occurrence", "forbid_near") and not (self.match or self.together):
            raise ValueError(f"a rule of kind {self.kind!r} needs match:")
        for name, given, known in (
            ("metric", [self.metric] if self.kind == "metric" else [], METRICS),
            ("format", [self.format] if self.kind == "format" else [], FORMATS),
            ("entities", [entity.strip("()") for entity in self.entities], TYPES),
        ):
            unknown = [word for word in given if word not in known]
            if unknown:
                raise ValueError(f"{name} {unknown[0]!r} is none of {', '.join(sorted(known))}")
        return self

    @property
    def by_machine(self) -> bool:
        """Whether a checker looks for breaches, or only a judge or a person can."""
        return self.kind not in ("judge", "human")


class RuleFile(Strict):
    """A rule set. ``lists`` names words that several patterns share, as ``<name>`` in them.

    ``first ... then`` in a pattern is one after the other in a sentence with no negation between;
    a group of two or three patterns in ``together`` is the same in any order. Patterns may stand
    apart from their rule, in ``wordings:`` under its id, so that the rules read as English:
    :mod:`compliance.rules.rule_files` gives them to the rule before the schema is asked.
    """

    house: str
    lists: dict[str, list[str]] = Field(default_factory=dict)
    rules: Annotated[list[Rule], Field(min_length=1)]


FILE_KEYS = (*RuleFile.model_fields, "wordings")


def in_words(fault: Mapping[str, Any], field: str) -> str:
    """What is wrong, by pydantic's account of it, for somebody who writes rules and not Python."""
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
    like = nearest(word, known)
    return f"; did you mean {like}?" if like else ""


assert set(FRAMES) == {"negated", "denied", "question", "reported"}, "the schema names every frame"
