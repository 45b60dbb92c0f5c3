"""What verdicts are counted for: rates, vigilance, agreement, and how right the machine was.

Rates and recall come from the random sample alone, because only there does an answer stand for
others. Precision is counted over everything that was read and that the machine marked with the
rule, for blocker rules; what else is flagged was not chosen for the rule, so for other rules
precision, too, is the sample's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from compliance.rules.house_rules import HouseRules
from compliance.rules.schema import Rule
from inhouse.records import Output, Verdict
from inhouse.statistics import rate
from review.checked import checked_by
from review.verdicts.placed import Placed
from review.verdicts.taken.candidates import candidates
from review.verdicts.taken.settled import Settled

KINDS = ("pass", "fail", "escalate")


def summarise(
    verdicts: Sequence[Verdict],
    settled: Sequence[Settled],
    placed: Sequence[Placed],
    rules: HouseRules,
) -> dict[str, Any]:
    """All figures of a pull; every rate is the suite's R, or None where nothing could be counted.

    Args:
        verdicts: those that are counted.
        settled: the same by answer.
        placed: everything that was pushed.
    """
    sample = [each for each in settled if each.placed.sample and each.output is not None]
    said = Counter[str](verdict.verdict for verdict in verdicts)
    planted = {each.placed.output_id for each in settled if each.placed.planted is not None}
    blockers = {rule.id for rule in rules.rules if rule.severity == "blocker"}
    return {
        "evidence": evidence(sample, rules),
        "reviewers": dict(sorted(Counter(v.reviewer for v in verdicts).items())),
        "verdicts": {kind: said[kind] for kind in KINDS},
        "by_model": by_model(sample, placed),
        "vigilance": vigilance([v for v in verdicts if v.output_id in planted]),
        "vigilance_by_reviewer": {
            name: vigilance([v for v in verdicts if v.reviewer == name and v.output_id in planted])
            for name in sorted({v.reviewer for v in verdicts})
        },
        "agreement": agreement([each for each in settled if each.placed.planted is None]),
        "rules": {
            rule.id: machine(rule, *(checked_on(rule, each, rules) for each in (settled, sample)))
            for rule in rules.rules
            if rule.id not in rules.not_checked(facts=True)
        },
        "candidates": candidates(settled, rules),
        "fail_without_rule": sum(v.verdict == "fail" and not v.rules for v in verdicts),
        "pass_with_blocker": sum(
            v.verdict == "pass" and not blockers.isdisjoint(v.rules) for v in verdicts
        ),
        "placed": len(placed),
        "read": len(settled),
    }


def evidence(sample: Sequence[Settled], rules: HouseRules) -> list[dict[str, Any]]:
    """For the gate: of each model's sampled answers how many fail, and how many break each rule.

    What is not cleared is not passed: an answer that was escalated and that nobody decided is one
    that fails, and one that breaks each rule that no machine checks, of which people's word is all
    there is. It shows no breach of the others and is left out of their counts, which only refuse.
    """
    records = []
    unchecked = rules.not_checked()
    for (name, fingerprint), mine in _by_model(sample).items():
        decided = [each for each in mine if each.decided]
        left = len(mine) - len(decided)
        counts: list[tuple[str | None, int, list[Settled]]] = [
            (None, left + sum(each.verdict == "fail" for each in decided), mine)
        ]
        for rule in rules.rules:
            broken = sum(rule.id in each.rules for each in decided)
            of_all = (left + broken, mine)
            counts.append((rule.id, *(of_all if rule.id in unchecked else (broken, decided))))
        records += [
            {
                "kind": "counted",
                "measure": "verdicts",
                "model": name,
                "hash": fingerprint,
                **({} if rule is None else {"rule": rule}),
                "failures": failures,
                "n": len(counted),
                "answers": sum(len(each.verdicts) for each in counted),
            }
            for rule, failures, counted in counts
        ]
    return records


def by_model(sample: Sequence[Settled], placed: Sequence[Placed]) -> dict[str, dict[str, Any]]:
    """Each model's share of fails in the sample; answers that nobody decided are left out of it."""
    drawn = Counter(each.model for each in placed if each.sample)
    read: dict[str, list[Settled]] = defaultdict(list)
    for each in sample:
        read[each.placed.model].append(each)
    found = {}
    for name in drawn:
        decided = [each for each in read[name] if each.decided]
        fails = sum(each.verdict == "fail" for each in decided)
        found[name] = {
            "sample": share(fails, len(decided)),
            "n": len(decided),
            "escalated": len(read[name]) - len(decided),
            "unread": drawn[name] - len(read[name]),
        }
    return found


def vigilance(verdicts: Sequence[Verdict]) -> dict[str, float] | None:
    """The share of planted breaches that were failed, by reading."""
    return share(sum(v.verdict == "fail" for v in verdicts), len(verdicts))


def agreement(settled: Sequence[Settled]) -> dict[str, Any]:
    """Krippendorff's alpha over the verdicts on answers that two people read.

    Krippendorff (2011), https://repository.upenn.edu/asc_papers/43, nominal. Planted breaches are
    left out: that two people see one says little of the rest.
    """
    import krippendorff  # these take a second to import, and --help must not
    import numpy as np

    twice = [each for each in settled if len(each.verdicts) > 1]
    names = sorted({verdict.reviewer for each in twice for verdict in each.verdicts})
    table = np.full((len(names), len(twice)), np.nan)
    for column, each in enumerate(twice):
        for verdict in each.verdicts:
            table[names.index(verdict.reviewer), column] = KINDS.index(verdict.verdict)
    same = sum(len({verdict.verdict for verdict in each.verdicts}) == 1 for each in twice)
    varied = len(np.unique(table[~np.isnan(table)])) > 1  # else all said the same: no value
    alpha = (
        float(krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"))
        if varied
        else None
    )
    return {"alpha": alpha, "n": len(twice), "same": same}


def machine(rule: Rule, settled: Sequence[Settled], sample: Sequence[Settled]) -> dict[str, Any]:
    """How right the rule's checker was, by people's word."""
    counts = dict.fromkeys(("tp", "fp", "fn", "tn"), 0)
    for each in sample:
        if each.decided:
            broken, hit = rule.id in each.rules, found_by_machine(each.output, rule.id)
            counts[("tp" if hit else "fn") if broken else ("fp" if hit else "tn")] += 1
    read = settled if rule.severity == "blocker" else sample
    marked = [each for each in read if each.decided and found_by_machine(each.output, rule.id)]
    return {
        **counts,
        "precision": share(sum(rule.id in each.rules for each in marked), len(marked)),
        "recall": share(counts["tp"], counts["tp"] + counts["fn"]),
    }


def checked_on(rule: Rule, settled: Sequence[Settled], rules: HouseRules) -> list[Settled]:
    """The answers on which a machine checks the rule: elsewhere it would be right for free."""
    is_checked = checked_by(rules)
    return [
        each
        for each in settled
        if each.output is not None and is_checked(rule.id, each.output.metadata)
    ]


def found_by_machine(output: Output | None, rule: str) -> bool:
    """Whether the machine marked an answer with the rule."""
    return output is not None and any(finding.rule == rule for finding in output.findings)


def share(part: int, n: int) -> dict[str, float] | None:
    """A rate with its exact bounds, or None of nothing."""
    return rate(part, n) if n else None


def _by_model(sample: Sequence[Settled]) -> dict[tuple[str, str], list[Settled]]:
    found: dict[tuple[str, str], list[Settled]] = defaultdict(list)
    for each in sample:
        assert each.output is not None
        found[each.output.model["name"], each.output.model["hash"]].append(each)
    return found
