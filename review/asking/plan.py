"""What every model is asked, in order, before any of it is: rounds of prompts, and items."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from compliance.rules.house_rules import HouseRules
from inhouse.records import Message, Prompt
from review.general_ability.items import Item, read_items
from review.options import PROMPTED, RedTeamOptions
from review.red_team import plan as red_team
from review.red_team.mutations import MUTATIONS
from review.red_team.plan import COUNTERFACTUAL, RED_TEAM, TWIN
from review.summary import HELD_OUT, STORY, STORY_GREEDY

TEMPERATURE = 1.0
STORY_SAMPLES = 100  # at least, over all questions about the firm
NAMED = 6  # rules of which no seed is asked; all of them stand in the summary
ABILITY = "general_ability"  # of items; not a split of outputs


class Round(NamedTuple):
    """Prompts that each model answers once, with one seed; temperature 0 is greedy."""

    split: str
    prompts: Sequence[Prompt]
    seed: int
    temperature: float = TEMPERATURE


@dataclass(frozen=True)
class Plan:
    """All that is asked; ``tempting`` is the red team's part, or None."""

    rounds: list[Round]
    items: list[Item]
    tempting: red_team.Plan | None
    not_checked: dict[str, str]

    def answers(self, models: Sequence[str]) -> dict[str, int]:
        """How many answers all models give together, by kind."""
        counted: Counter[str] = Counter()
        for each in self.rounds:
            counted[each.split] += len(each.prompts) * len(models)
        counted[ABILITY] += len(self.items) * len(able(models))
        return {kind: n for kind, n in counted.items() if n}

    @property
    def opening(self) -> list[Message] | None:
        """The first question about the firm, if there are any."""
        told = next((each for each in self.rounds if each.split == STORY), None)
        return told.prompts[0].prompt if told else None

    def as_json(self) -> dict[str, Any] | None:
        """The red team's part, as the summary keeps it."""
        if self.tempting is None:
            return None
        return {
            "prompts": len(self.tempting.prompts),
            "left_out": self.tempting.left_out,
            "without_seeds": self.tempting.without_seeds,
            "not_checked": self.not_checked,
        }


def able(models: Sequence[str]) -> list[str]:
    """The models that are asked general questions: all, but base_prompted once, as the base.

    What it is told is about the firm, and these questions are not.
    """
    return [name for name in models if name != PROMPTED]


def make(
    prompts: Sequence[Prompt],
    story: Sequence[Prompt],
    seeds: Sequence[int],
    rules: HouseRules,
    tempting: RedTeamOptions,
    ability: int,
) -> Plan:
    """The plan: held-out prompts, the firm's story, the red team, general questions.

    Args:
        ability: how many general questions; of each kind as many.

    Raises:
        InputError: what the red team is told does not hold, or leaves nothing to ask.
    """
    rounds = [Round(HELD_OUT, prompts, seed) for seed in seeds]
    if story:
        times = -(-STORY_SAMPLES // len(story))
        rounds += [Round(STORY, story, seed) for seed in range(times)]
        rounds.append(Round(STORY_GREEDY, story, 0, temperature=0.0))
    tempted = _tempting(rules, tempting) if tempting.red_team else None
    not_checked: dict[str, str] = {}
    if tempted:
        rounds += _by_split(tempted.prompts, seeds)
        asked = {prompt.metadata["rule"] for prompt in tempted.prompts}
        reasons = rules.not_checked(facts=True)
        not_checked = {rule: why for rule, why in reasons.items() if rule in asked}
    items = spread(read_items(), ability) if ability else []
    return Plan(rounds, items, tempted, not_checked)


def _tempting(rules: HouseRules, told: RedTeamOptions) -> red_team.Plan:
    return red_team.plan(
        rules,
        Path(told.red_team_seeds) if told.red_team_seeds else None,
        mutations=tuple(MUTATIONS) if told.mutations is None else told.mutations,
        seeds_per_rule=told.seeds_per_rule,
        pairs_per_trait=told.pairs_per_trait,
    )


def _by_split(prompts: Sequence[Prompt], seeds: Sequence[int]) -> Iterator[Round]:
    for split in (RED_TEAM, TWIN, COUNTERFACTUAL):
        chosen = [prompt for prompt in prompts if prompt.metadata["split"] == split]
        for seed in seeds if chosen else ():
            yield Round(split, chosen, seed)


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many items, as many of each kind, in the file's order."""
    kinds: dict[str, list[Item]] = {}
    for item in items:
        kinds.setdefault(item.kind, []).append(item)
    dealt = [item for item in chain(*zip_longest(*kinds.values())) if item is not None]
    chosen = {item.id for item in dealt[:most]}
    return [item for item in items if item.id in chosen]


# --- in words ---------------------------------------------------------------------------------


def describe(plan: Plan, models: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """The plan as lines: counts by kind, and what is not asked or not checked, and why."""
    answers = plan.answers(models)
    lines = [f"{'':18}{'prompts':>9}{'times':>7}{'models':>8}{'answers':>10}"]
    for kind, n in answers.items():
        asked = [each for each in plan.rounds if each.split == kind]
        each_time = len(asked[0].prompts) if asked else len(plan.items)
        who = len(models) if asked else len(able(models))
        row = f"{words_of(kind):18}{each_time:>9,}{max(1, len(asked)):>7}{who:>8}{n:>10,}"
        lines.append(row)
    lines.append(f"{'all':18}{sum(answers.values()):>34,}")
    if plan.items and PROMPTED in models:
        lines.append(f"{PROMPTED} is not asked about general ability: there it is the base")
    if tasks:
        lines.append(f"and of lm-eval {', '.join(tasks)}, of {len(able(models))} models")
    return lines + left_out(plan.as_json())


def left_out(known: dict[str, Any] | None) -> list[str]:
    """What the red team does not ask, or asks and nobody counts, as lines."""
    if known is None:
        return []
    lines = []
    if others := [f"{rule} ({n})" for rule, n in known["left_out"].items()]:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        lines.append(
            f"not asked, as this house does not have the rule: seeds and pairs of "
            f"{', '.join(others[:NAMED])}{more}"
        )
    if known["without_seeds"]:
        lines.append(f"rules that nothing tempts to break: {', '.join(known['without_seeds'])}")
    for rule, why in known["not_checked"].items():
        lines.append(f"attacks on {rule}: {why}; they are asked, and people have to read them")
    return lines


def words_of(kind: str) -> str:
    """A split's name as people read it."""
    return kind.replace("_", " ")


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
