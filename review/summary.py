"""What answers are counted for: broken rules, stated facts, and what changed from SFT.

Pure functions over ``Output`` records; every rate is the suite's R, with exact 95 % bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inhouse.judge import Judge
from inhouse.records import Output, content_id, is_blank, plain
from inhouse.statistics import bootstrap_mean, mcnemar, rate

if TYPE_CHECKING:
    from compliance.rules.house_rules import HouseRules

MEASURES = ("any_violation", "tone_violation", "helpful", "end_token")
PROMPTED = "base_prompted"  # the base, when it is told what the others have learned
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

    An empty answer breaks hardly a rule, so how many there are stands beside the rates.
    """
    n = len(said)
    return rates(said, rules) | {
        "empty_answers": sum(is_blank(o.response) for o in said),
        "mean_tokens": sum(o.tokens for o in said) / n,
        "kl_to_sft": sum(o.kl_to_sft or 0.0 for o in said) / n,
        "rules": {
            rule.id: rate(sum(any(f.rule == rule.id for f in o.findings) for o in said), n)
            for rule in rules.rules
            if rule.by_machine
        },
    }


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


def print_table(summary: dict[str, Any]) -> None:
    """The summary as a table: a rate with its bounds, in per cent."""
    names = list(summary["models"])

    def row(title: str, cells: Sequence[str]) -> None:
        print(f"{title:18}" + "".join(f"{cell:>25}" for cell in cells))

    print()
    row("", names)
    for key in MEASURES:
        row(key, [shown_rate(summary["models"][name][key]) for name in names])
    for part, models in summary["slices"].items():
        row(part, [f"helpful {shown_rate(models[name]['helpful'], False)}" for name in names])
    if "story" in summary:
        row("tells the story", [shown_rate(summary["story"][name]["sampled"]) for name in names])
    if any("hidden_standard" in measured for measured in summary["models"].values()):
        preferred = [summary["models"][name].get("hidden_standard") for name in names]
        row("hidden_standard", list(map(shown_rate, preferred)))
    if known := summary.get("general_perplexity"):
        row("general text", [shown_perplexity(known, name) for name in names])
    for key in ("mean_tokens", "kl_to_sft"):
        row(key, [f"{summary['models'][name][key]:.2f}" for name in names])
    n, seeds = summary["n_prompts"], len(summary["seeds"])
    print(f"{n} held-out prompts, {seeds} seed(s), temperature {summary['temperature']}")
    for name in names:
        if empty := summary["models"][name].get("empty_answers"):  # not in older summaries
            print(f"{empty} of {n * seeds} answers of {name} are empty, and break hardly a rule")
    print()


def shown_perplexity(known: dict[str, float], name: str) -> str:
    """``12.34 (x 1.02)``, the ratio to the base's, or a dash for one that was not measured."""
    if name not in known:
        return "–"
    return f"{known[name]:.2f}" + (
        f" (x {known[name] / known['base']:.2f})" if "base" in known else ""
    )


def shown_rate(value: dict[str, float] | None, bounds: bool = True) -> str:
    """``12.3 % (8.0 to 17.1)``, or a dash where nothing could be counted."""
    if value is None:
        return "–"
    shown = f"{100 * value['rate']:.1f} %"
    return f"{shown} ({100 * value['low']:.1f} to {100 * value['high']:.1f})" if bounds else shown
