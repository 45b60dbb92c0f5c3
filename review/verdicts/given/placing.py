"""What goes to reviewers, shuffled, so that neither model nor reason can be told from the order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from compliance.rules.house_rules import HouseRules
from inhouse.errors import InputError
from inhouse.records import Message, Output, content_id, plain
from review.verdicts.given import strata
from review.verdicts.given.planting import plant
from review.verdicts.placed import Placed, hash_of


class Shown(NamedTuple):
    """All that a reviewer sees of a record."""

    record: str
    prompt: list[Message]
    response: str


@dataclass(frozen=True)
class Placing:
    """Every record in the order in which it is pushed, what each shows, and what was left out.

    ``left_out``: why each answer was flagged for which there was no room, by its id.
    """

    placed: list[Placed]
    shown: dict[str, Shown]
    left_out: dict[str, list[str]]
    not_planted: int = 0  # known breaches that were asked, and for which there is no example

    def named(self, once: str, twice: str, second: int) -> Placing:
        """The same with its data sets: the first ``second`` records are read by two people."""
        sets = [twice] * second + [once] * (len(self.placed) - second)
        placed = [
            p.model_copy(update={"dataset": s}) for p, s in zip(self.placed, sets, strict=True)
        ]
        return replace(self, placed=placed)


def place(
    outputs: Sequence[Output],
    models: Sequence[str],
    rules: HouseRules,
    *,
    sample: int,
    flagged: int,
    planted: float,
    seed: int,
) -> Placing:
    """Draw what is read of these models' answers, plant the known breaches, shuffle.

    Args:
        sample: held-out prompts drawn at random.
        flagged: most of the answers that a machine doubts; those with a blocker come first.
        planted: share of known breaches among all records.

    Raises:
        InputError: there is nothing to read.
    """
    draw = random.Random(seed)
    mine = [output for output in outputs if output.model["name"] in models]
    drawn = strata.sample(mine, models, sample, draw)
    doubted, left_out = strata.cap(strata.flag(mine, rules), flagged, draw)
    read = [output for output in mine if output.id in drawn or output.id in doubted]
    if not read:
        raise InputError(f"nothing to read: no answer of {', '.join(models)} is drawn or flagged")
    wanted = how_many(planted, len(read))
    known = plant(rules, mine, {o.id for o in read}, wanted, draw)
    pairs: list[tuple[Placed, Shown]] = []
    for output in read:
        name = content_id(seed, output.id)
        one = Placed(
            record=name,
            dataset="",
            output_id=output.id,
            hash=hash_of(output),
            model=output.model["name"],
            flagged=doubted.get(output.id, []),
            sample=output.id in drawn,
        )
        pairs.append((one, Shown(name, output.prompt, output.response)))
    for each in known:
        name = content_id(seed, plain(each.prompt), each.response)
        one = Placed(
            record=name,
            dataset="",
            output_id=name,
            hash=name,
            planted=each.rule,
            prompt=each.prompt,
            response=each.response,
        )
        pairs.append((one, Shown(name, each.prompt, each.response)))
    draw.shuffle(pairs)
    shown = {each.record: each for _, each in pairs}
    return Placing([one for one, _ in pairs], shown, left_out, wanted - len(known))


def how_many(share: float, others: int) -> int:
    """Known breaches that make up a share of all records; one at least, unless none is asked."""
    return max(1, round(share * others / (1 - share))) if share else 0
