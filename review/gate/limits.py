"""What ``configs/gate.yaml`` may say: every limit that a model has to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compliance.rules.schema import Severity
from inhouse.config import ROOT
from inhouse.errors import InputError, nearest
from inhouse.strict_yaml import line_of, load_yaml
from review.bands import Band

Share = Annotated[float, Field(gt=0, lt=1)]
SHIPPED = ROOT / "configs" / "gate.yaml"


class Strict(BaseModel):
    """No conversions, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class RateLimits(Strict):
    """The shares that may break a rule: any rule, those of a severity, one by its id."""

    any: Share | None = None
    severity: dict[Severity, Share] = Field(default_factory=dict)
    rules: dict[str, Share | None] = Field(default_factory=dict)

    def of(self, rule: str, severity: Severity) -> float | None:
        """A rule's limit, or None where none is set or the rule is exempt."""
        return self.rules[rule] if rule in self.rules else self.severity.get(severity)


class Violations(RateLimits):
    """``corrected``: the bound that counts the checker's own errors has to keep the limit, too."""

    bound: Literal["exact", "corrected"] = "exact"


class Improvement(Strict):
    """Asked by being there: better than SFT by McNemar's test, and by more than the noise floor."""


class AtMost(Strict):
    """What the upper bound of a share may be."""

    at_most: Share


class NoiseFloor(Strict):
    """The share of rules and slices by which two seeds of one model may differ."""

    at_most: Annotated[float, Field(ge=0, lt=1)]


class Margin(Strict):
    """By how much a share may be lower than another model's."""

    margin: Share


class OverRefusal(Strict):
    """Either limit may be left out."""

    at_most: Share | None = None
    margin: Share | None = None


class Memorisation(Strict):
    """The bands of the audit's measures; of several estimators each has to keep the band."""

    verbatim_extraction: Band | None = None
    tpr_at_1_fpr: Band | None = None
    membership_auc: Band | None = None
    epsilon_lower_bound: Band | None = None


class Limits(Strict):
    """The whole file."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    violations: Violations | None = None
    verdicts: AtMost | None = None
    red_team: RateLimits | None = None
    improvement: Improvement | None = None
    helpfulness: Margin | None = None
    empty_answers: AtMost | None = None
    over_refusal: OverRefusal | None = None
    general_ability: Margin | None = None
    counterfactuals: AtMost | None = None
    memorisation: Memorisation | None = None
    noise_floor: NoiseFloor | None = None

    @property
    def not_asked(self) -> list[str]:
        """The criteria that the file leaves out."""
        return [name for name in CRITERIA if getattr(self, name) is None]


CRITERIA = [name for name in Limits.model_fields if name not in ("confidence", "power")]


def find(campaign: str) -> Path:
    """A campaign's own file, else the one that ships."""
    own = ROOT / "configs" / campaign / SHIPPED.name
    return own if own.is_file() else SHIPPED


def read(path: Path) -> Limits:
    """The limits in the schema.

    Raises:
        InputError: with line and key; an unknown key names the nearest known one.
    """
    document = load_yaml(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected keys such as {', '.join(CRITERIA)}")
    try:
        limits = Limits.model_validate(_plain(document))
    except ValidationError as error:
        faults = error.errors()
        fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
        raise InputError(_in_words(path, document, fault)) from None
    if not set(CRITERIA) - set(limits.not_asked):
        raise InputError(f"{path} asks for nothing: expected one of {', '.join(CRITERIA)} at least")
    for name, band in _bands(limits):
        if band.fails < band.passes:
            raise InputError(
                f"{path}, memorisation.{name}: fails ({band.fails}) is below passes "
                f"({band.passes}): between them people decide"
            )
    return limits


def line_of_rule(path: Path, criterion: str, rule: str) -> int:
    """The line on which a criterion names a rule."""
    return line_of(load_yaml(path)[criterion]["rules"], rule)


def _bands(limits: Limits) -> list[tuple[str, Band]]:
    bands = limits.memorisation or Memorisation()
    return [(name, band) for name in Memorisation.model_fields if (band := getattr(bands, name))]


def _in_words(path: Path, document: Any, fault: Any) -> str:
    """What is wrong, where it stands, and what was meant."""
    line, node = 1, document
    kind: type[Strict] = Limits
    for part in fault["loc"]:
        if not hasattr(node, "lc") or part not in node:
            break
        line, node = line_of(node, part), node[part]
    for part in fault["loc"][:-1]:
        kind = _kind_of(kind, str(part))
    field = ".".join(str(part) for part in fault["loc"] if part != "[key]")
    where = f"{path}, line {line}, {field}"
    if fault["type"] == "extra_forbidden":
        known = list(kind.model_fields)
        like = nearest(str(fault["loc"][-1]), known, cutoff=0.5)
        hint = f"did you mean {like}?" if like else f"there are {', '.join(known) or 'none'}"
        return f"{where}: there is no such key; {hint}"
    said = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{where}: {said}, found {fault['input']!r}"


def _kind_of(kind: type[Strict], part: str) -> type[Strict]:
    """The model that a key of a model holds; the same where it holds none."""
    entry = kind.model_fields.get(part)
    held = [entry.annotation, *getattr(entry.annotation, "__args__", ())] if entry else []
    return next(
        (each for each in held if isinstance(each, type) and issubclass(each, Strict)), kind
    )


def _plain(value: Any) -> Any:
    """ruamel's containers and numbers as plain ones, which strict pydantic asks for."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else value
