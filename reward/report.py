"""What an evaluation comes to: whether PPO may climb the scorer, what to mind, and the page.

``evaluation.html`` shows on one page, which fetches nothing, how far a reward model can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from inhouse import pages
from inhouse.plots import lines

Evaluation = Mapping[str, Any]  # evaluation.json


def verdict(evaluation: Evaluation, floor: float) -> dict[str, Any]:
    """Whether PPO may climb this scorer, why not, and what a reader should not miss."""
    reason = unfit_because(evaluation, floor)
    return {
        "floor": floor,
        "fit_for_ppo": not reason,
        "reason": reason,
        "warnings": warnings(evaluation),
    }


def unfit_because(evaluation: Evaluation, floor: float) -> str:
    """Why a scorer is not one to climb; empty if it may be."""
    reached = evaluation["accuracy"]["held_out_prompts"]["rate"]
    control = evaluation["shuffled_control"]
    if reached < floor:
        return (
            f"accuracy on held-out prompts is {reached:.3f}, below the floor of {floor}: rate more "
            "pairs, or pairs that differ more"
        )
    chance = control and control["low"] <= 0.5 <= control["high"]
    if control and not chance and abs(control["rate"] - 0.5) > 0.05:
        return (
            f"a control run with drawn winners found {control['rate']:.3f} of them "
            f"({control['low']:.3f} to {control['high']:.3f}) where 0.5 is due: held-out pairs "
            "leak into training"
        )
    return ""


def warnings(evaluation: Evaluation) -> list[str]:
    """What a reader should not miss."""
    accuracy, ceiling = evaluation["accuracy"], evaluation["agreement_ceiling"]
    said = [
        f"{rater} has one rating: it counts, and says nothing about the rater"
        for rater in evaluation["raters_with_one_rating"]
    ]
    if ceiling and accuracy["held_out_prompts"]["low"] > ceiling["high"]:
        said.append("the scorer agrees with raters more than they do with each other: a leak?")
    raters = accuracy["held_out_raters"]
    if raters and raters["high"] < accuracy["held_out_prompts"]["low"]:
        said.append("it sides far less with the rater it never learned from than with the others")
    longer = evaluation["length_bias"]["partial_correlation"]
    if longer is not None and abs(longer) > 0.3:
        said.append(f"length itself moves the score (partial correlation {longer:+.2f})")
    if evaluation["split"]["train"] < 2000:
        said.append(
            f"{evaluation['split']['train']} pairs to learn from: below about 2,000 a policy soon "
            "finds what the scorer gets wrong (Gao et al. 2023)"
        )
    return said


# --- the page -----------------------------------------------------------------------------------


def render(name: str, evaluation: Evaluation) -> str:
    """The whole page as text; every word from outside is escaped."""
    accuracy, titles = evaluation["accuracy"], evaluation["rule_titles"]
    rules = {f"{rule} {titles[rule]}": rate for rule, rate in accuracy["by_rule"].items()}
    slices = {
        "By rule: pairs in which only the rejected answer breaks it": rules,
        "By topic": accuracy["by_topic"],
        "By length of both answers, in thirds of the pairs": accuracy["by_length"],
    }
    template = Path(__file__).with_name("evaluation.html.jinja")
    return pages.render(
        template, name=name, slices=slices, charts=_charts(evaluation), **evaluation
    )


def _charts(evaluation: Evaluation) -> dict[str, Markup]:
    bins, climbed = evaluation["reliability"], evaluation["best_of_n"]
    measured = [(row["confidence"], row["accuracy"]) for row in bins]
    proxy = [(row["kl"], row["proxy"]) for row in climbed]
    judged = [(row["kl"], row["judge"]) for row in climbed if row["judge"] is not None]
    ideal = [(0.5, 0.5), (1.0, 1.0)]
    across = "KL from the model that answers, nats"
    wanted = "What is wanted: how often the judge prefers the chosen answer to another"
    drawn = {
        "reliability": lines(
            {"measured": measured, "ideal": ideal},
            "Reliability",
            "votes for its side",
            "confidence",
        ),
        "scores": lines(_shares(evaluation["scores"]), "Share of answers", "share", "score"),
        "climbed": lines({"scorer": proxy}, "What is climbed: the scorer's mean", "score", across),
        "wanted": lines({"judge": judged}, wanted, "win rate", across) if judged else "",
    }
    return {name: Markup(chart) for name, chart in drawn.items()}  # of our own: lines() escapes


def _shares(scores: Mapping[str, Sequence[float]]) -> dict[str, list[tuple[float, float]]]:
    """The share of answers in each of twelve equal steps of the score, at the step's middle."""
    edges = np.linspace(min(map(min, scores.values())), max(map(max, scores.values())), 13)
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    return {
        side: list(zip(middles, np.histogram(values, edges)[0] / len(values), strict=True))
        for side, values in scores.items()
    }
