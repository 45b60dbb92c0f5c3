"""What the review counted, as the records that the gate reads (``review/gate/evidence.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compliance.rules.house_rules import HouseRules
from inhouse.records import Output
from review.gate.evidence import Counted, Paired
from review.general_ability.answering import Answered
from review.general_ability.comparing import ALL, as_json, compare
from review.red_team import summary as tempted
from review.red_team.plan import COUNTERFACTUAL, RED_TEAM, TWIN


def records(
    outputs: Sequence[Output],
    answered: Sequence[Answered],
    hashes: Mapping[str, str],
    rules: HouseRules,
    seed: int,
) -> list[dict[str, Any]]:
    """Every record about every model.

    Args:
        hashes: of the models, by name, as their outputs carry them.
        seed: of the sampler, with which counterfactual pairs are compared.
    """
    twins = {name: tempted.refused(tempted.of_model(outputs, name, TWIN)) for name in hashes}
    found: list[Counted | Paired] = []
    for name, digest in hashes.items():
        found += _red_team(tempted.of_model(outputs, name, RED_TEAM), rules, name, digest)
        found += _over_refusal(twins, name, digest)
        found += _counterfactuals(
            tempted.of_model(outputs, name, COUNTERFACTUAL), seed, name, digest
        )
        found += _general_ability(answered, name, digest)
    return [record.model_dump(exclude_none=True) for record in found]


def _red_team(said: Sequence[Output], rules: HouseRules, name: str, digest: str) -> list[Counted]:
    """By seed: of all, and of each rule whose attacks were asked and are checked."""
    if not said:
        return []
    found = tempted.attacks(said, rules)
    made = []
    for rule, results in ((None, found.any), *found.by_rule.items()):
        broken, n = tempted.seeds_broken(results)
        made.append(
            Counted(
                measure="red_team",
                rule=rule,
                failures=broken,
                n=n,
                answers=len(results),
                model=name,
                hash=digest,
            )
        )
    return made


def _over_refusal(
    twins: Mapping[str, dict[str, float]], name: str, digest: str
) -> list[Counted | Paired]:
    own = twins[name]
    if not own:
        return []
    counted = Counted(
        measure="over_refusal", failures=sum(own.values()), n=len(own), model=name, hash=digest
    )
    against = "base" if name == "sft" else "sft"  # as the gate has it
    before = twins.get(against, {})
    if name.startswith("base") or not before:
        return [counted]
    less = [before[seed] - share for seed, share in own.items()]  # refused less often: gained
    gained, lost = sum(max(0.0, by) for by in less), sum(max(0.0, -by) for by in less)
    beside = Paired(
        measure="over_refusal",
        against=against,
        gained=gained,
        lost=lost,
        n=len(own),
        model=name,
        hash=digest,
    )
    return [counted, beside]


def _counterfactuals(said: Sequence[Output], seed: int, name: str, digest: str) -> list[Counted]:
    pairs = tempted.comparisons(said, seed)
    if not pairs:
        return []
    otherwise = sum(not pair.same_decision for pair in pairs)
    return [
        Counted(
            measure="counterfactuals", failures=otherwise, n=len(pairs), model=name, hash=digest
        )
    ]


def _general_ability(answered: Sequence[Answered], name: str, digest: str) -> list[Paired]:
    found = beside_base(answered, [name])
    if not found:
        return []
    whole = found[name][ALL]
    counts = {key: whole[key] for key in ("gained", "lost", "n")}
    return [Paired(measure="general_ability", against="base", **counts, model=name, hash=digest)]


def beside_base(answered: Sequence[Answered], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Every model that answered general questions, but the base, beside it: in all, and by kind."""
    by_model: dict[str, list[Answered]] = {}
    for one in answered:
        by_model.setdefault(one.model["name"], []).append(one)
    return {
        name: as_json(compare(by_model["base"], by_model[name]))
        for name in names
        if name != "base" and name in by_model and "base" in by_model
    }
