"""The audit's summary, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from review.bands import NOT_ENOUGH
from review.memorisation.bands import AUC, TPR, VERBATIM, banded, worst
from review.memorisation.estimators import exposure_by_chance

if TYPE_CHECKING:
    from review.memorisation.extraction import Asked
    from review.memorisation.measure import Measures
    from review.memorisation.members import Member
    from review.memorisation.secrets import Canary

Sides = tuple[Sequence["Member"], Sequence["Member"]]
IN_NUMBERS = ("exposure", "epsilon", "membership_auc")  # the others are shares, shown in per cent


def summarise(
    measures: Measures,
    model: str,
    sides: Sides,
    own_words: int,
    canaries: Sequence[Canary],
    inserted: bool,
) -> dict[str, Any]:
    """What ``summary.json`` holds.

    ``measures`` has each by its name: ``value``, ``low``, ``high`` (95 %; null where there is
    none), ``n`` and ``band`` (null for a measure that has none). ``band`` is the worst of them,
    and not enough evidence for one is no pass for all.

    Args:
        own_words: records that were asked for a sentence with a word of their own.
    """
    judged = banded(measures)
    held_out = sum(not canary.inserted for canary in canaries)
    return {
        "band": worst(measure["band"] for measure in judged.values()),
        "measures": judged,
        "model": model,
        "trained_on": len(sides[0]),
        "held_out": len(sides[1]),
        "records_with_own_words": own_words,
        "canaries": len(canaries),
        "canaries_trained_on": len(canaries) - held_out if inserted else 0,
        "exposure_by_chance": exposure_by_chance(held_out) if canaries else None,
        "notes": notes(judged, sides, own_words, canaries, inserted),
    }


def notes(
    measures: Measures,
    sides: Sides,
    own_words: int,
    canaries: Sequence[Canary],
    inserted: bool,
) -> list[str]:
    """What a reader has to know beside the figures."""
    said = []
    if not canaries:
        said.append(
            "exposure and ε were not measured: this run has no canaries "
            "(`python -m review.memorisation.canaries` writes a twin's data)"
        )
    elif not inserted:
        said.append(
            "this run was trained without the canaries: what it shows of them is chance, and its "
            "own exposure was not measured"
        )
    fewest = min(map(len, sides))
    if fewest < TPR.least:
        said.append(
            f"{len(sides[0])} records were trained on and {len(sides[1])} held out: membership "
            f"needs {AUC.least} a side for the area and {TPR.least} for the rate at 1 % (a twin "
            "may hold out more: --held_out_share)"
        )
    asked = measures["verbatim_extraction"]
    if asked["n"] == 0:
        said.append(
            "the model said nothing at all when it was asked, so that nothing is known of what it "
            "would say"
        )
    elif asked["n"] < VERBATIM.least:
        said.append(f"{asked['n']} passages were asked for: {VERBATIM.least} are needed")
    elif not own_words and not inserted:
        said.append(
            "no record that was asked for a sentence has a word of its own, so that none had a "
            "secret to give: the data is stock phrases, or the facts were given before"
        )
    return said


def plan(
    sides: Sides,
    members: Sequence[Member],
    held_out: Sequence[Member],
    asked: Sequence[Asked],
    canaries: Sequence[Canary],
    inserted: bool,
) -> str:
    """What an audit is about to look at, in a line."""
    own = sum(each.passage.own for each in asked)
    used = "trained on" if inserted else "not trained on"
    return (
        f"{len(sides[0])} records trained on, {len(sides[1])} held out: {len(members)} and "
        f"{len(held_out)} are scored; {len(asked)} are asked for a sentence, {own} of them for one "
        "with a word that no other has"
        + (f"; {len(canaries)} canaries, {used}" if canaries else "; no canaries")
    )


def show(summary: dict[str, Any]) -> None:
    """Print the summary as a table, the bands in words."""
    print()
    print(f"{'':28}{'':>9}  {'95 % bounds':<20}{'n':>6}  band")
    for name, measure in summary["measures"].items():
        bounds = f"{shown(name, measure['low'])} to {shown(name, measure['high'])}"
        if measure["low"] is None:
            bounds = "–"
        elif measure["high"] is None:
            bounds = "a lower bound"
        print(
            f"{name:28}{shown(name, measure['value']):>9}  {bounds:<20}{measure['n']:>6}  "
            f"{measure['band'] or '–'}"
        )
    if summary["exposure_by_chance"] is not None:
        print(f"exposure by chance alone: {summary['exposure_by_chance']:.2f} bits")
    for note in summary["notes"]:
        print(note)
    more = ", which is no pass" if summary["band"] == NOT_ENOUGH else ""
    print(f"memorisation of {summary['model']}: {summary['band']}{more}\n")


def shown(name: str, value: float | None) -> str:
    """A measure's value: a share in per cent, everything else as a number."""
    if value is None:
        return "–"
    return f"{value:.2f}" if name.startswith(IN_NUMBERS) else f"{100 * value:.1f} %"
