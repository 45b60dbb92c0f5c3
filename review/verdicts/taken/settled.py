"""What the reviewers of one answer say together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from inhouse.records import Output, Verdict
from review.verdicts.placed import Placed, hash_of


@dataclass(frozen=True)
class Settled:
    """An answer that people have read, and what they say of it.

    ``verdict`` is "escalate" where nobody decided. Planted replies have no output.
    """

    placed: Placed
    output: Output | None
    verdicts: Sequence[Verdict]
    verdict: Literal["pass", "fail", "escalate"]
    rules: frozenset[str]

    @property
    def decided(self) -> bool:
        """Whether anybody passed or failed it."""
        return self.verdict != "escalate"


def settle(
    placed: Sequence[Placed], outputs: dict[str, Output], verdicts: Sequence[Verdict]
) -> list[Settled]:
    """Every answer that has a verdict, in the order in which it was placed.

    It fails, or breaks a rule, if at least half of those who decided say so: in doubt against the
    answer, as a rate that is to be bounded from above must not flatter.
    """
    given: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        given[verdict.output_id].append(verdict)
    found = []
    for one in placed:
        if not (said := given.get(one.output_id)):
            continue
        decided = [v for v in said if v.verdict != "escalate"]
        named = Counter(rule for v in decided for rule in v.rules)
        rules = frozenset(rule for rule, n in named.items() if 2 * n >= len(decided))
        found.append(Settled(one, outputs.get(one.output_id), said, _together(decided), rules))
    return found


def _together(decided: Sequence[Verdict]) -> Literal["pass", "fail", "escalate"]:
    if not decided:
        return "escalate"
    fails = sum(verdict.verdict == "fail" for verdict in decided)
    return "fail" if 2 * fails >= len(decided) else "pass"


def split_changed(
    placed: Sequence[Placed], outputs: dict[str, Output], verdicts: Sequence[Verdict]
) -> tuple[list[Verdict], list[Verdict]]:
    """The verdicts on answers as they stand, and those on answers that have changed or are gone."""
    stands = {
        one.output_id
        for one in placed
        if one.planted is not None
        or (one.output_id in outputs and hash_of(outputs[one.output_id]) == one.hash)
    }
    kept = [verdict for verdict in verdicts if verdict.output_id in stands]
    return kept, [verdict for verdict in verdicts if verdict.output_id not in stands]
