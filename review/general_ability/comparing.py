"""A trained model against its base on the same questions: what it lost, and what that may be worth.

The questions are paired, and so are the figures: of 200 items only those count on which the two
disagree. A test that finds no difference proves none, so beside McNemar's p stands a lower bound of
the difference: the model is not inferior by a margin Δ if the bound lies above -Δ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inhouse.errors import InputError
from inhouse.statistics import Pairs, rate, sign_test
from inhouse.statistics import difference as bounds_of_difference
from review.general_ability.answering import Answered

ALL = "all"


@dataclass(frozen=True)
class Paired:
    """One model against its base on ``n`` items.

    ``base`` and ``model`` are the suite's R. ``difference`` is the model's rate less the base's;
    with the stated one-sided ``confidence`` it is not below ``low``. ``gained`` items only the
    model has right, ``lost`` ones only the base.
    """

    n: int
    base: dict[str, float]
    model: dict[str, float]
    gained: int
    lost: int
    difference: float
    low: float
    confidence: float
    mcnemar_p: float

    def non_inferior(self, margin: float) -> bool:
        """Whether the model's rate is shown to lie less than ``margin`` below the base's."""
        return self.low > -margin


def compare(
    base: Sequence[Answered], model: Sequence[Answered], confidence: float = 0.95
) -> dict[str, Paired]:
    """A model against its base: in all (:data:`ALL`), and by the items' kinds.

    Args:
        confidence: one-sided, of the lower bound.

    Raises:
        InputError: the two have not answered the same items.
    """
    before, after = _by_item(base), _by_item(model)
    _check_same(before, after)
    kinds = dict.fromkeys(one.kind for one in before.values())
    parts = {ALL: list(before), **{kind: [] for kind in kinds}}
    for item, one in before.items():
        parts[one.kind].append(item)
    return {
        part: paired(
            [before[item].correct for item in items],
            [after[item].correct for item in items],
            confidence,
        )
        for part, items in parts.items()
    }


def paired(before: Sequence[bool], after: Sequence[bool], confidence: float = 0.95) -> Paired:
    """Two paired series of right and wrong. Shapes: (items,)."""
    n = len(before)
    gained = sum(a and not b for b, a in zip(before, after, strict=True))
    lost = sum(b and not a for b, a in zip(before, after, strict=True))
    return Paired(
        n=n,
        base=rate(sum(before), n),
        model=rate(sum(after), n),
        gained=gained,
        lost=lost,
        difference=(gained - lost) / n,
        low=bounds_of_difference(Pairs(gained, lost, n), confidence)[0],
        confidence=confidence,
        mcnemar_p=sign_test(gained, lost),
    )


def as_json(compared: dict[str, Paired]) -> dict[str, Any]:
    """What :func:`compare` found, as a report's summary keeps it."""
    return {part: asdict(one) for part, one in compared.items()}


def _by_item(answers: Sequence[Answered]) -> dict[str, Answered]:
    made = {one.item: one for one in answers}
    if len(made) < len(answers):
        twice = next(one for one in answers if made[one.item] is not one)
        raise InputError(
            f"{twice.model['name']} has answered {twice.item} twice: compare one model at a time"
        )
    return made


def _check_same(base: dict[str, Answered], model: dict[str, Answered]) -> None:
    """Refuse series that do not pair.

    Raises:
        InputError: names the first item that one of the two has not answered.
    """
    apart = sorted(base.keys() ^ model.keys())
    if apart or not base:
        what = f"only one of the two has answered {apart[0]}" if apart else "there are no answers"
        raise InputError(
            f"general ability is compared item by item, and {what} ({len(base)} answers of the "
            f"base, {len(model)} of the model): let both answer the same items again"
        )
