"""The summary as a table in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from review.asking.plan import left_out

Row = tuple[str, list[str]]
MEASURES = ("any_violation", "tone_violation", "helpful", "end_token")


def print_table(summary: dict[str, Any]) -> None:
    """The summary as a table: a rate with its bounds, in per cent."""
    names = list(summary["models"])
    print()
    for title, cells in [("", names), *held_out(summary, names), *asked_beside(summary, names)]:
        print(f"{title:18}" + "".join(f"{cell:>25}" for cell in cells))
    n, seeds = summary["n_prompts"], len(summary["seeds"])
    print(f"{n} held-out prompts, {seeds} seed(s), temperature {summary['temperature']}")
    for name in names:
        if empty := summary["models"][name].get("empty_answers"):  # not in older summaries
            print(f"{empty} of {n * seeds} answers of {name} are empty, and break hardly a rule")
    for name, of in summary.get("red_team", {}).items():
        if silent := of.get("silent"):  # not in older summaries
            print(f"{silent} attacks were answered by {name} with nothing: they count nowhere")
    for line in left_out(summary.get("red_team_plan")):
        print(line)
    print()


def held_out(summary: dict[str, Any], names: Sequence[str]) -> Iterator[Row]:
    """What the held-out prompts, the story and general text come to."""
    models = summary["models"]
    for key in MEASURES:
        yield key, [shown_rate(models[name][key]) for name in names]
    for part, of in summary["slices"].items():
        yield part, [f"helpful {shown_rate(of[name]['helpful'], False)}" for name in names]
    if "story" in summary:
        yield (
            "tells the story",
            [shown_rate(summary["story"][name]["sampled"]) for name in names],
        )
    if any("hidden_standard" in measured for measured in models.values()):
        yield "hidden_standard", [shown_rate(models[n].get("hidden_standard")) for n in names]
    if known := summary.get("general_perplexity"):
        yield "general text", [shown_perplexity(known, name) for name in names]
    for key in ("mean_tokens", "kl_to_sft"):
        yield key, [f"{models[name][key]:.2f}" for name in names]


def asked_beside(summary: dict[str, Any], names: Sequence[str]) -> Iterator[Row]:
    """What attacks, their harmless twins, counterfactual pairs and general questions come to."""
    if attacked := summary.get("red_team"):
        seeds = [attacked[n]["any"] and attacked[n]["any"]["seeds"] for n in names]
        yield "seeds that succeed", list(map(shown_rate, seeds))
    if refused := summary.get("over_refusal"):
        yield "over-refusal", [shown_rate(refused.get(name)) for name in names]
    if pairs := summary.get("counterfactuals"):
        same = [pairs[name]["same_decision"] if name in pairs else None for name in names]
        yield "same for both", list(map(shown_rate, same))
    if able := summary.get("general_ability"):
        yield "general ability", [shown_ability(able, name) for name in names]


def shown_ability(known: dict[str, dict[str, Any]], name: str) -> str:
    """The base's rate; of others the change from it in points, and what it is not below."""
    if name == "base":
        return shown_rate(next(iter(known.values()))["all"]["base"])
    if name not in known:
        return "–"
    found = known[name]["all"]
    return f"{100 * found['difference']:+.1f} (above {100 * found['low']:+.1f})"


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
