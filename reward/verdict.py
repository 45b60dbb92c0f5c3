"""What an evaluation comes to: whether PPO may climb the scorer, and what to mind."""

from __future__ import annotations

from typing import Any


def verdict(evaluation: dict[str, Any], floor: float) -> dict[str, Any]:
    """Whether PPO may climb this scorer, why not, and what a reader should not miss."""
    reason = unfit_because(evaluation, floor)
    return {
        "floor": floor,
        "fit_for_ppo": not reason,
        "reason": reason,
        "warnings": warnings(evaluation),
    }


def unfit_because(evaluation: dict[str, Any], floor: float) -> str:
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


def warnings(evaluation: dict[str, Any]) -> list[str]:
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
