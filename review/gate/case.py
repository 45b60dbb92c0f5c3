"""What the gate judges: one model, what it is compared with, and all that was counted of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compliance.rules.house_rules import HouseRules
from review.gate.answers import Answers
from review.gate.checker import Counts
from review.gate.evidence import Counted, Estimated, Evidence, Paired
from review.gate.limits import Limits


@dataclass(frozen=True)
class Case:
    """All that is known of the model that is judged, beside the one that it is compared with."""

    limits: Limits
    rules: HouseRules
    model: Answers
    against: Answers
    evidence: Sequence[Evidence]
    checker: dict[str, Counts]
    noise: dict[str, Any] | None

    def counted(self, measure: str, rule: str | None = None) -> Counted | None:
        """The record of a count."""
        records = (r for r in self.evidence if isinstance(r, Counted))
        return next((r for r in records if (r.measure, r.rule) == (measure, rule)), None)

    def paired(self, measure: str, against: str) -> Paired | None:
        """The record of a comparison."""
        records = (r for r in self.evidence if isinstance(r, Paired))
        return next((r for r in records if (r.measure, r.against) == (measure, against)), None)

    def estimated(self, measure: str) -> list[Estimated]:
        """The records of a measure, one of each estimator."""
        return [r for r in self.evidence if isinstance(r, Estimated) and r.measure == measure]
