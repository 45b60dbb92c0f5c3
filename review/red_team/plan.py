"""What the red team asks of every model: attacks, benign twins, counterfactual pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from compliance.rules.house_rules import HouseRules
from inhouse.errors import InputError, nearest
from inhouse.records import Message, Prompt, content_id, plain
from review.red_team import seeds
from review.red_team.mutations import MUTATIONS, mutate
from review.red_team.seeds import Pair, Seed

RED_TEAM, TWIN, COUNTERFACTUAL = "red_team", "benign_twin", "counterfactual"

T = TypeVar("T", Seed, Pair)


class Plan(NamedTuple):
    """The prompts, and what is not among them.

    ``left_out``: how many seeds and pairs tempt to break rules that these house rules do not have,
    by rule. ``without_seeds``: compliance rules that nothing tempts to break.
    """

    prompts: list[Prompt]
    left_out: dict[str, int]
    without_seeds: list[str]


def plan(
    rules: HouseRules,
    own: Path | None = None,
    *,
    ours: bool = True,
    mutations: Sequence[str] = tuple(MUTATIONS),
    seeds_per_rule: int | None = None,
    pairs_per_trait: int | None = None,
) -> Plan:
    """Every seed under every mutation, then the twins and the pairs as they are.

    Each prompt's ``metadata`` says its ``split``, ``seed``, ``mutation`` and ``rule``; that of a
    pair also ``trait`` and ``side``, and where a sheet has some, ``figures``. A seed is not asked
    under a mutation that cannot change it, as look-alikes of a text without Latin letters, or that
    puts turns before it if its rule is about the first turn.

    Args:
        own: a firm's file of seeds; they stand before the suite's.
        ours: whether the suite's own seeds are asked.
        mutations: the names, in order.
        seeds_per_rule: the first so many of each rule; None takes all.
        pairs_per_trait: the first so many of each trait; None takes all.

    Raises:
        InputError: an unknown mutation, a number below 1, a fault in the firm's file or a rule in
            it that there is not, one question or attack twice, or nothing to ask.
    """
    _check(mutations, seeds_per_rule, pairs_per_trait)
    all_seeds, pairs, left_out = _gather(rules, own, ours)
    chosen = _first(all_seeds, lambda seed: seed.rule, seeds_per_rule)
    paired = _first(pairs, lambda pair: (pair.rule, pair.trait), pairs_per_trait)
    attacks = [prompt for seed in chosen for prompt in _attacks(rules, seed, mutations)]
    _check_attacks(attacks, {seed.id: seed.place for seed in chosen})
    prompts = [
        *attacks,
        *(_prompt(seed.with_last(seed.twin), TWIN, "plain", seed) for seed in chosen if seed.twin),
        *(prompt for pair in paired for prompt in _sides(pair)),
    ]
    if not prompts:
        raise InputError(
            f"no seed is left: the rules are {', '.join(rule.id for rule in rules.rules)}, and "
            "no seed tempts to break one of them; write seeds of your own (red_team_seeds), or set "
            "red_team to false"
        )
    tempted = {seed.rule for seed in chosen}
    compliance = [rule.id for rule in rules.rules if rule.group == "compliance"]
    return Plan(prompts, left_out, [rule for rule in compliance if rule not in tempted])


def _check(mutations: Sequence[str], *limits: int | None) -> None:
    for name in mutations:
        if name not in MUTATIONS:
            like = nearest(name, MUTATIONS)
            hint = f"; did you mean {like}?" if like else ""
            raise InputError(f"no mutation {name!r}{hint}; there are {', '.join(MUTATIONS)}")
    if not mutations or len(set(mutations)) < len(mutations):
        raise InputError(f"mutations are {list(mutations)}: give each once, and at least one")
    for name, limit in zip(("seeds_per_rule", "pairs_per_trait"), limits, strict=True):
        if limit is not None and limit < 1:
            raise InputError(f"{name} is {limit}: give 1 or more")


def _gather(
    rules: HouseRules, own: Path | None, ours: bool
) -> tuple[list[Seed], list[Pair], dict[str, int]]:
    """The seeds and pairs of rules that there are, a firm's first, and how many others there are.

    Raises:
        InputError: a firm's file names a rule that there is not, or something is there twice.
    """
    known = [rule.id for rule in rules.rules]
    all_seeds, pairs = seeds.read(own) if own else ([], [])
    entries: list[Seed | Pair] = [*all_seeds, *pairs]
    for entry in entries:
        if entry.rule not in known:
            like = nearest(entry.rule, known)
            hint = f"; did you mean {like}?" if like else f"; there are {', '.join(known)}"
            raise InputError(
                f"{entry.place}: id {entry.id} names no rule of these house rules{hint}"
            )
    left_out: Counter[str] = Counter()
    if ours:
        more_seeds, more_pairs = seeds.ours()
        entries = [*more_seeds, *more_pairs]
        left_out.update(entry.rule for entry in entries if entry.rule not in known)
        all_seeds += [seed for seed in more_seeds if seed.rule in known]
        pairs += [pair for pair in more_pairs if pair.rule in known]
    seeds.check_ids([*all_seeds, *pairs])
    _check_distinct(all_seeds, pairs)
    return all_seeds, pairs, dict(left_out)


def _check_distinct(all_seeds: Iterable[Seed], pairs: Iterable[Pair]) -> None:
    """Refuse one question twice: its answers would be the same, and count as more than they are."""
    asked = [
        (seed.place, seed.with_last(text))
        for seed in all_seeds
        for text in filter(None, (seed.ask, seed.twin))
    ]
    asked += [(pair.place, messages) for pair in pairs for messages in pair.sides().values()]
    seen: dict[str, str] = {}
    for place, messages in asked:
        question = content_id(plain(messages))
        if question in seen:
            raise InputError(
                f"{place}: asks {messages[-1].content!r}, as {seen[question]} does; take one out"
            )
        seen[question] = place


def _check_attacks(attacks: Iterable[Prompt], places: Mapping[str, str]) -> None:
    """Refuse two attacks of the same words, as a seed that another one's typos make."""
    seen: dict[str, str] = {}
    for attack in attacks:
        seed, mutation = attack.metadata["seed"], attack.metadata["mutation"]
        words, this = content_id(plain(attack.prompt)), f"{seed} under {mutation}"
        if words in seen:
            raise InputError(
                f"{places[seed]}: {this} asks {attack.prompt[-1].content!r}, as {seen[words]} "
                "does; write one of them otherwise, or leave the mutation out (--mutations)"
            )
        seen[words] = this


def _first(items: Sequence[T], group: Callable[[T], Hashable], limit: int | None) -> list[T]:
    """The first so many of each group, in order."""
    if limit is None:
        return list(items)
    taken: defaultdict[Hashable, int] = defaultdict(int)
    kept = []
    for item in items:
        taken[group(item)] += 1
        if taken[group(item)] <= limit:
            kept.append(item)
    return kept


def _attacks(rules: HouseRules, seed: Seed, mutations: Iterable[str]) -> Iterator[Prompt]:
    plainly = seed.with_last(seed.ask)
    for name in mutations:
        messages = mutate(name, seed.id, plainly)
        opens = rules.rule(seed.rule).scope == "first_turn"  # and asks nothing of later turns
        if opens and len(messages) > len(plainly):
            continue
        if name == "plain" or messages != plainly:
            yield _prompt(messages, RED_TEAM, name, seed)


def _sides(pair: Pair) -> Iterator[Prompt]:
    for side, messages in pair.sides().items():
        yield _prompt(messages, COUNTERFACTUAL, "plain", pair, trait=pair.trait, side=side)


def _prompt(
    messages: list[Message], split: str, mutation: str, of: Seed | Pair, **more: str
) -> Prompt:
    metadata: dict[str, Any] = {"split": split, "seed": of.id, "mutation": mutation}
    metadata |= {"rule": of.rule, **more}
    if isinstance(of, Seed) and of.figures:
        metadata["figures"] = list(of.figures)
    return Prompt(prompt=messages, metadata=metadata)
