"""What answers are counted for: broken rules, stated facts, and what changed from SFT.

Pure functions over ``Output`` records; every rate is the suite's R, with exact 95 % bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inhouse.judge import Judge
from inhouse.records import Output, content_id, is_blank, plain
from inhouse.statistics import bootstrap_mean, mcnemar, rate
from review.checked import checked_by

if TYPE_CHECKING:
    from compliance.rules.house_rules import HouseRules

HELD_OUT, STORY, STORY_GREEDY = "held_out", "story", "story_greedy"  # Output.split


def summarise(
    outputs: Sequence[Output],
    names: Sequence[str],
    rules: HouseRules,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Rates of each model, by slice, about the firm's story, and what changed from SFT, paired."""
    by_model = {name: of_model(outputs, name, HELD_OUT) for name in names}
    sft = by_model["sft"]
    slices = sorted({name for o in sft if (name := o.metadata.get("slice"))})
    aligned = {name: said for name, said in by_model.items() if not name.startswith("base")}
    del aligned["sft"]
    summary: dict[str, Any] = {
        "n_prompts": len({content_id(plain(output.prompt)) for output in sft}),
        "seeds": sorted({output.seed for output in sft}),
        "house_rules": rules.hash,
        "models": {name: measure(said, rules) for name, said in by_model.items()},
        "slices": {
            part: {
                name: rates([o for o in said if o.metadata.get("slice") == part], rules)
                for name, said in by_model.items()
            }
            for part in slices
        },
        "mcnemar_p_against_sft": {
            name: {
                "any_violation": mcnemar(
                    [violates(o, rules, "compliance") for o in sft],
                    [violates(o, rules, "compliance") for o in said],
                ),
                "helpful": mcnemar(
                    [helpful(o) for o in having_facts(sft)],
                    [helpful(o) for o in having_facts(said)],
                ),
            }
            for name, said in aligned.items()
        },
        "helpful_change_from_sft": {
            name: change(having_facts(sft), having_facts(said)) for name, said in aligned.items()
        },
    }
    if any(output.split == STORY for output in outputs):
        summary["story"] = {name: tell(outputs, name) for name in names}
    if judge is not None:
        for name, said in by_model.items():
            if name != "sft":
                summary["models"][name]["hidden_standard"] = preferred(sft, said, judge)
    return summary


def of_model(outputs: Sequence[Output], name: str, split: str) -> list[Output]:
    """A model's answers of one split, in an order that pairs them with another model's."""
    return sorted(
        (o for o in outputs if o.model["name"] == name and o.split == split),
        key=lambda output: (output.seed, content_id(plain(output.prompt))),
    )


def rates(said: Sequence[Output], rules: HouseRules) -> dict[str, Any]:
    """The four rates that the table prints."""
    asked = having_facts(said)
    n = len(said)
    return {
        "any_violation": rate(sum(violates(o, rules, "compliance") for o in said), n),
        "tone_violation": rate(sum(violates(o, rules, "tone") for o in said), n),
        "helpful": rate(sum(map(helpful, asked)), len(asked)) if asked else None,
        "end_token": rate(sum(o.end_token for o in said), n),
    }


def measure(said: Sequence[Output], rules: HouseRules) -> dict[str, Any]:
    """The rates of a model over all prompts, its length and distance, and each rule's rate.

    An empty answer breaks hardly a rule, so how many there are stands beside the rates. A rule's
    rate is of the answers on which a machine checks it, and None where there is none.
    """
    n = len(said)
    return rates(said, rules) | {
        "empty_answers": sum(is_blank(o.response) for o in said),
        "mean_tokens": sum(o.tokens for o in said) / n,
        "kl_to_sft": sum(o.kl_to_sft or 0.0 for o in said) / n,
        "rules": {
            rule: rate(broken, asked) if asked else None
            for rule, (broken, asked) in broken_by_rule(said, rules).items()
        },
    }


def broken_by_rule(said: Sequence[Output], rules: HouseRules) -> dict[str, tuple[int, int]]:
    """Of each rule that a machine can check: answers that break it, and those it is checked on."""
    is_checked = checked_by(rules)
    found = {}
    for rule in rules.rules:
        if rule.by_machine:
            asked = [o for o in said if is_checked(rule.id, o.metadata)]
            broken = sum(any(f.rule == rule.id for f in o.findings) for o in asked)
            found[rule.id] = (broken, len(asked))
    return found


def change(before: Sequence[Output], after: Sequence[Output]) -> dict[str, float] | None:
    """Mean paired change of ``helpful`` with its bootstrap bounds; positive is a gain."""
    if not before:
        return None
    pairs = zip(before, after, strict=True)
    changes = [float(helpful(b)) - float(helpful(a)) for a, b in pairs]
    low, high = bootstrap_mean(changes)
    return {"rate": sum(changes) / len(changes), "low": low, "high": high, "n": len(changes)}


def preferred(sft: Sequence[Output], said: Sequence[Output], judge: Judge) -> dict[str, float]:
    """How often the judge prefers an answer to SFT's, ties half, with bootstrap bounds."""
    pairs = zip(said, sft, strict=True)
    wins = [judge(o.prompt, o.response, other.response) for o, other in pairs]
    low, high = bootstrap_mean(wins)
    return {"rate": sum(wins) / len(wins), "low": low, "high": high, "n": len(wins)}


def tell(outputs: Sequence[Output], name: str) -> dict[str, Any]:
    """How often a model gives the firm's own description, greedy and at temperature 1."""
    greedy, sampled = of_model(outputs, name, STORY_GREEDY), of_model(outputs, name, STORY)
    return {
        "greedy": rate(sum(o.facts_ok for o in greedy), len(greedy)),
        "sampled": rate(sum(o.facts_ok for o in sampled), len(sampled)),
    }


def violates(output: Output, rules: HouseRules, group: str) -> bool:
    """Whether an answer breaks a rule of the group: ``compliance`` or ``tone``."""
    return any(rules.group_of(finding.rule) == group for finding in output.findings)


def having_facts(outputs: Sequence[Output]) -> list[Output]:
    """Answers to the prompts that say what a right answer states."""
    return [output for output in outputs if output.metadata.get("facts")]


def helpful(output: Output) -> bool:
    """Whether an answer ends properly and states what a right answer states."""
    return output.end_token and output.facts_ok
