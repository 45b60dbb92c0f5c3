"""How far a reward model can be trusted, as numbers: what goes into ``evaluation.json``.

Accuracy is counted over single votes, as InstructGPT counts it (Ouyang et al. 2022,
https://arxiv.org/abs/2203.02155, section 4.1 and table 3): how often the scorer sides with a rater,
beside how often two raters side with each other, which is the ceiling. Ties are no vote. Where no
ratings are known, each preference is one vote, and there is no ceiling.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch

from compliance.rules.house_rules import HouseRules
from compliance.rules.house_rules import load as load_rules
from inhouse.generation.score import Scored, Scorer
from inhouse.judge import Judge, find_judge
from inhouse.statistics import rate
from inhouse.training.data import prompt_key
from reward import probe
from reward.calibrate import cross_fitted, ece, reliability, share_of_votes
from reward.probe import rate_of
from reward.split import Pair, Split, votes_beside, votes_of_others
from reward.votes import agreement, clustered_rate

Rate = dict[str, float]
LENGTHS = ("short", "middle", "long")  # thirds of the held-out pairs, by their answers' tokens


@dataclass(frozen=True)
class Measured:
    """Pairs with both answers scored, in the same order."""

    pairs: Sequence[Pair]
    chosen: list[Scored]
    rejected: list[Scored]

    @classmethod
    def read(cls, scorer: Scorer, pairs: Sequence[Pair], raw: torch.Tensor) -> Measured:
        """From raw outputs of Shape: (2 · pairs, heads), each pair's chosen before its rejected."""
        scored = [scorer.read(row) for row in raw.tolist()]
        return cls(pairs, scored[::2], scored[1::2])

    @property
    def votes(self) -> list[dict[str, int]]:
        """Who voted how on each pair."""
        return [pair.votes for pair in self.pairs]

    @property
    def both(self) -> list[tuple[Scored, Scored]]:
        """Each pair's chosen and rejected."""
        return list(zip(self.chosen, self.rejected, strict=True))

    @property
    def right(self) -> list[bool]:
        """Whether ``chosen`` scores higher; an equal score is not."""
        return [chosen.score > rejected.score for chosen, rejected in self.both]

    @property
    def in_order(self) -> list[float]:
        """All scores, each chosen before its rejected. Shape: (2 · pairs,)."""
        return [scored.score for pair in self.both for scored in pair]

    @property
    def differences(self) -> np.ndarray:
        """Chosen minus rejected, by head. Shape: (pairs, heads)."""
        return np.array([np.subtract(c.heads, r.heads) for c, r in self.both])


@dataclass(frozen=True)
class Yardsticks:
    """What a scorer is held against beside the raters; each may be absent."""

    rules: HouseRules | None
    judge: Judge | None
    best_of: int
    max_new_tokens: int
    writer: str  # the model whose answers the best of n is chosen from

    @classmethod
    def load(
        cls, rules: str | None, judge: str | None, best_of: int, max_new_tokens: int, writer: str
    ) -> Yardsticks:
        """Find them all before anything is trained.

        Raises:
            InputError: a rule file or a judge that is none.
        """
        return cls(
            load_rules(rules) if rules else None,
            find_judge(judge) if judge else None,
            best_of,
            max_new_tokens,
            writer,
        )


def evaluate(
    scorer: Scorer,
    split: Split,
    held_out: Measured,
    trained: Measured,
    yardsticks: Yardsticks,
    seed: int,
) -> dict[str, Any]:
    """Everything that the held-out pairs say about a scorer whose temperature is fitted."""
    labels = share_of_votes(held_out.votes)
    probability = cross_fitted(held_out.differences, labels)
    rules = yardsticks.rules
    sides = (split.train, split.left_out, split.held_out)
    everyone = [pair.votes for side in sides for pair in side]
    return {
        "accuracy": accuracy(held_out, trained, split.rater, rules),
        "rule_titles": {rule.id: rule.title for rule in rules.rules} if rules else {},
        "agreement_ceiling": clustered_rate(agreement(everyone)),
        "shuffled_control": None,
        "temperature": scorer.calibration.temperature,
        "ece": ece(probability, labels),
        "reliability": reliability(probability, labels),
        "ties": ties(held_out, probability),
        "length_bias": probe.length_bias(held_out.pairs, held_out.chosen, held_out.rejected),
        "invariance": probe.invariance(scorer, held_out.pairs, held_out.in_order),
        "abstention": abstention(scorer, held_out, probability),
        "best_of_n": best_of(scorer, held_out.pairs, yardsticks, seed),
        "scores": {
            "chosen": [scored.score for scored in held_out.chosen],
            "rejected": [scored.score for scored in held_out.rejected],
        },
        "split": split.describe(),
    }


def accuracy(
    held_out: Measured, trained: Measured, rater: str | None, rules: HouseRules | None
) -> dict[str, Any]:
    """How often the scorer is right: by whose votes, and on which pairs."""

    def others(pair: Pair) -> list[int]:
        return votes_of_others(pair, rater)

    def one(pair: Pair) -> list[int]:
        return [vote for name, vote in pair.votes.items() if vote and name == rater]

    def beside(pair: Pair) -> list[int]:
        return votes_beside(pair, rater or "")

    return {
        "held_out_prompts": side_with(held_out, others),
        "held_out_raters": side_with(held_out, one) if rater else None,
        "other_raters_there": side_with(held_out, beside) if rater else None,
        "preferences": rate_of(np.array(held_out.right)),
        "trained_on": side_with(trained, others),
        "by_topic": by_topic(held_out),
        "by_rule": by_rule(held_out, rules) if rules else {},
        "by_length": by_length(held_out),
    }


def best_of(
    scorer: Scorer, pairs: Sequence[Pair], yardsticks: Yardsticks, seed: int
) -> list[dict[str, float]]:
    """The best-of-n curve on the held-out prompts, if it is asked for."""
    if not yardsticks.best_of:
        return []
    prompts = {prompt_key(pair.record.prompt): pair.record.prompt for pair in pairs}
    return probe.curve(
        scorer,
        yardsticks.writer,
        list(prompts.values()),
        yardsticks.judge,
        n=yardsticks.best_of,
        max_new_tokens=yardsticks.max_new_tokens,
        seed=seed,
    )


def side_with(measured: Measured, cast: Callable[[Pair], list[int]]) -> Rate | None:
    """How often the scorer sides with each vote that is cast; bounds by resampling pairs."""
    pairs = zip(measured.pairs, measured.right, strict=True)
    return clustered_rate(
        [[float(right == (vote > 0)) for vote in cast(pair)] for pair, right in pairs]
    )


def by_topic(measured: Measured) -> dict[str, Rate]:
    """Accuracy on the preferences of each ``metadata.topic``."""
    return _grouped(
        (str(pair.record.metadata.get("topic")), right)
        for pair, right in zip(measured.pairs, measured.right, strict=True)
        if pair.record.metadata.get("topic")
    )


def by_rule(measured: Measured, rules: HouseRules) -> dict[str, Rate]:
    """For each house rule: accuracy where ``rejected`` breaks it and ``chosen`` does not."""
    rows = []
    for pair, right in zip(measured.pairs, measured.right, strict=True):
        record = pair.record
        broken = [
            {finding.rule for finding in rules.check(record.prompt, answer[0].content)}
            for answer in (record.chosen, record.rejected)
        ]
        rows += [(rule, right) for rule in sorted(broken[1] - broken[0])]
    return _grouped(rows)


def by_length(measured: Measured) -> dict[str, Rate]:
    """Accuracy by thirds of the pairs' length, both answers together."""
    tokens = [sum(map(len, pair.row.values())) for pair in measured.pairs]
    order = sorted(range(len(tokens)), key=lambda index: tokens[index])
    third = {index: LENGTHS[3 * place // len(order)] for place, index in enumerate(order)}
    rates = _grouped((third[index], right) for index, right in enumerate(measured.right))
    return {name: rates[name] for name in LENGTHS if name in rates}


def _grouped(rows: Iterable[tuple[str, bool]]) -> dict[str, Rate]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for name, right in rows:
        groups[name].append(right)
    return {name: rate(sum(group), len(group)) for name, group in sorted(groups.items())}


def ties(measured: Measured, probability: np.ndarray) -> dict[str, Any]:
    """Whether the scorer is less sure where a rater saw no difference, and its own ties."""
    confidence = np.maximum(probability, 1 - probability)
    tied = np.array([0 in pair.votes.values() for pair in measured.pairs])
    return {
        "pairs_with_a_tie": int(tied.sum()),
        "confidence_there": float(confidence[tied].mean()) if tied.any() else None,
        "confidence_elsewhere": float(confidence[~tied].mean()) if (~tied).any() else None,
        "equal_scores": sum(chosen.score == other.score for chosen, other in measured.both),
    }


def abstention(scorer: Scorer, measured: Measured, probability: np.ndarray) -> dict[str, Any]:
    """How often the scorer says that it does not know, and its accuracy where it does know."""
    least = scorer.calibration.min_confidence
    sure = np.maximum(probability, 1 - probability) >= least
    right, answers = np.array(measured.right), (*measured.chosen, *measured.rejected)
    return {
        "min_confidence": least,
        "pairs": rate_of(~sure),
        "accuracy_where_sure": rate_of(right[sure]),
        "accuracy_where_not": rate_of(right[~sure]),
        "answers": rate_of(np.array([scored.abstained for scored in answers])),
        "mean_spread": fmean(scored.spread for scored in answers),
    }
