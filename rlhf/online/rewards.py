"""One reward from several parts: the learned score, the house rules, tone, and a firm's own.

    rewards = Rewards.load("configs/rewards.yaml", "runs/asdfg/reward", "configs/house/asdfg.yaml")
    rewards.score([(prompt, response)])      # [Reward(total=…, parts={…}, blocked=…, abstained=…)]

The total of an answer is Σ weight · part, each part cut off at ± ``limit``, so that no part can
grow without bound. An answer that breaks a blocker rule gets one fixed total below anything that
any other answer can get, whatever the weights: :attr:`Rewards.blocked_total`.

A firm adds a part of its own as an entry point in the group ``inhouse.rewards``: a callable from
the list of (prompt, response) to as many finite numbers, higher is better. It counts once the YAML
file gives it a weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compliance.rules.house_rules import HouseRules
from compliance.rules.house_rules import load as load_rules
from compliance.rules.schema import Severity
from inhouse.errors import InputError
from inhouse.generation.score import Scored, Scorer
from inhouse.records import Finding, Message
from inhouse.strict_yaml import line_of, load_yaml

Text = tuple[Sequence[Message], str]
Part = Callable[[Sequence[Text]], Sequence[float]]
GROUP = "inhouse.rewards"
OURS = {"learned": "the reward model's score", "rules": "compliance rules", "tone": "tone rules"}
SEVERITIES: tuple[str, ...] = get_args(Severity)

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Composition(BaseModel):
    """What the YAML file says: weights, what a broken rule costs, and where parts are cut off."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    weights: Annotated[dict[str, Positive], Field(min_length=1)]
    costs: dict[str, Positive]
    limit: Positive


@dataclass(frozen=True)
class Reward:
    """What one answer earns.

    ``parts`` are as measured: neither weighted nor cut off. ``blocked`` is True where a blocker
    rule is broken, ``abstained`` where the learned scorer says that it does not know.
    """

    total: float
    parts: dict[str, float]
    blocked: bool
    abstained: bool


@dataclass(frozen=True)
class Rewards:
    """The composed reward. ``learned`` may be any function that scores, not only a Scorer's."""

    composition: Composition
    house_rules: HouseRules | None
    learned: Callable[[Sequence[Text]], Sequence[Scored]] | None
    plugged_in: dict[str, Part]

    @classmethod
    def load(
        cls,
        path: str | Path,
        reward_model: str | Path | None = None,
        house_rules: str | Path | None = None,
        *,
        learned: Callable[[Sequence[Text]], Sequence[Scored]] | None = None,
    ) -> Rewards:
        """The reward that a YAML file composes.

        House rules, where they are given, block whatever the weights say. ``learned`` scores in
        place of ``reward_model``, which is then not loaded.

        Raises:
            InputError: a part that nothing provides, a part without what it needs, or a file that
                is not in the schema (with line).
        """
        path = Path(path)
        composition = read(path)
        weights = composition.weights
        found = {entry.name: entry for entry in entry_points(group=GROUP)}
        for name in weights:
            if name not in OURS and name not in found:
                known = ", ".join([*OURS, *sorted(found)])
                raise InputError(
                    f"{path}: weights names {name!r}, which is no part of a reward; known are "
                    f"{known} (a firm's own are entry points in the group {GROUP})"
                )
        if "learned" in weights and reward_model is None:
            raise InputError(
                f"{path} weighs the learned score, and there is no reward model: run `python -m "
                "reward` first, or take learned out of weights"
            )
        if house_rules is None and {"rules", "tone"} & weights.keys():
            raise InputError(
                f"{path} weighs rules and tone, and no house rules are given: add --house_rules "
                "FILE, or take both out of weights"
            )
        return cls(
            composition,
            load_rules(house_rules) if house_rules is not None else None,
            (learned or Scorer(str(reward_model)).assess) if "learned" in weights else None,
            {name: found[name].load() for name in weights if name not in OURS},
        )

    @property
    def lowest_total(self) -> float:
        """No answer that breaks no blocker rule can get less: every part at its lowest."""
        return -self.composition.limit * math.fsum(self.composition.weights.values())

    @property
    def blocked_total(self) -> float:
        """What every answer gets that breaks a blocker rule.

        Below :attr:`lowest_total` by at least a tenth of it: more than any rounding of a sum.
        """
        return self.lowest_total - max(1.0, 0.1 * -self.lowest_total)

    def score(self, texts: Sequence[Text]) -> list[Reward]:
        """The reward of each (prompt, response).

        Raises:
            InputError: a part that is not a finite number for every answer.
        """
        findings = [self._findings(prompt, response) for prompt, response in texts]
        scored = list(self.learned(texts)) if self.learned else []
        columns: dict[str, Sequence[float]] = {}
        for name in self.composition.weights:
            if name == "learned":
                columns[name] = [each.score for each in scored]
            elif name in OURS:
                columns[name] = [self._rule_part(name, found) for found in findings]
            else:
                columns[name] = [float(value) for value in self.plugged_in[name](texts)]
            _check_finite(name, columns[name], len(texts))
        rewards = []
        for row, found in enumerate(findings):
            parts = {name: column[row] for name, column in columns.items()}
            blocked = any(finding.severity == "blocker" for finding in found)
            total = self.blocked_total if blocked else self._total(parts)
            rewards.append(Reward(total, parts, blocked, bool(scored) and scored[row].abstained))
        return rewards

    def _total(self, parts: Mapping[str, float]) -> float:
        limit, weights = self.composition.limit, self.composition.weights
        return math.fsum(
            weights[name] * min(max(value, -limit), limit) for name, value in parts.items()
        )

    def _findings(self, prompt: Sequence[Message], response: str) -> list[Finding]:
        return self.house_rules.check(prompt, response) if self.house_rules else []

    def _rule_part(self, name: str, findings: Iterable[Finding]) -> float:
        """Minus the cost of every rule that is broken; a rule counts once however often broken."""
        assert self.house_rules is not None
        group = {"rules": "compliance", "tone": "tone"}[name]
        broken = {
            finding.rule: self.composition.costs[finding.severity]
            for finding in findings
            if self.house_rules.group_of(finding.rule) == group
        }
        return -math.fsum(broken.values())


def averages(rewards: Sequence[Reward]) -> dict[str, float]:
    """What a trainer logs of a batch: the mean of the total and of each part, and two rates."""
    count = len(rewards)
    return {
        "reward/total": math.fsum(reward.total for reward in rewards) / count,
        **{
            f"reward/{name}": math.fsum(reward.parts[name] for reward in rewards) / count
            for name in rewards[0].parts
        },
        "reward/blocked": sum(reward.blocked for reward in rewards) / count,
        "reward/abstained": sum(reward.abstained for reward in rewards) / count,
    }


def read(path: Path) -> Composition:
    """A composition in the schema.

    Raises:
        InputError: an unknown key, a weight that is not positive and finite, a severity without a
            cost, or weights whose sum is beyond what numbers hold.
    """
    document = load_yaml(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected the keys {', '.join(Composition.model_fields)}")
    try:
        composition = Composition.model_validate(_plain(document))
    except ValidationError as error:
        fault = error.errors()[0]
        place, node = 1, document
        for part in fault["loc"]:
            if not hasattr(node, "lc") or part not in node:
                break
            place, node = line_of(node, part), node[part]
        field = ".".join(str(part) for part in fault["loc"])
        raise InputError(
            f"{path}, line {place}, {field}: {fault['msg']} (known keys: "
            f"{', '.join(Composition.model_fields)})"
        ) from None
    if set(composition.costs) != set(SEVERITIES):
        raise InputError(
            f"{path}: costs has {', '.join(composition.costs)}; it must have each of "
            f"{', '.join(SEVERITIES)}, and nothing else"
        )
    if not math.isfinite(2 * composition.limit * sum(composition.weights.values())):
        raise InputError(f"{path}: limit times the sum of weights is beyond what numbers hold")
    return composition


def _check_finite(name: str, values: Sequence[float], count: int) -> None:
    if len(values) != count:
        raise InputError(
            f"the reward's part {name!r} gave {len(values)} numbers for {count} answers"
        )
    broken = [row for row, value in enumerate(values) if not math.isfinite(value)]
    if broken:
        raise InputError(
            f"the reward's part {name!r} is {values[broken[0]]} for {len(broken)} of {count} "
            f"answers (the first is number {broken[0] + 1}): every part must be a finite number"
        )


def _plain(value: object) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
