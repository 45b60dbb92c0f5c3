"""Who voted how: ratings beside the preferences they became, and how far raters agree.

A vote is 1 for ``chosen``, -1 against, 0 a tie.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.records import Preference, Rating
from inhouse.statistics import rate

MIN_VOTES = 10  # of a rater who is held out: fewer would say nothing


def snapshot_of(preferences: Path) -> str | None:
    """The ratings that a preferences file was made from, as its stage's manifest names them.

    Raises:
        InputError: they are gone, or are not what they were.
    """
    manifest = preferences.parent / "manifest.json"
    if not manifest.is_file():
        return None
    inputs = json.loads(manifest.read_text(encoding="utf-8"))["inputs"]
    named = next((entry for entry in inputs if entry["name"] == "ratings"), None)
    if named is None:
        return None
    path = Path(named["path"])
    if not path.is_file() or sha256(path) != named["sha256"]:
        raise InputError(
            f"the ratings {path}, from which {preferences} was made, are gone or have changed: put "
            "them back, or name them with --ratings"
        )
    return str(path)


def check_ratings(ratings: Sequence[Rating], source: str) -> None:
    """Refuse ratings that no scorer can learn from.

    Raises:
        InputError: nothing but ties, or nothing but one side.
    """
    choices = [rating.choice for rating in ratings if rating.choice != "tie"]
    if not choices:
        raise InputError(
            f"all {len(ratings)} ratings of {source} are ties: there is nothing to learn. Pair "
            "answers that differ more (`python -m labeling.candidates`), or ask again"
        )
    if len(set(choices)) == 1 and len(choices) >= MIN_VOTES:
        raise InputError(
            f"all {len(choices)} ratings of {source} that are no tie chose answer {choices[0]}: "
            "that is a habit of position, or a broken form, and no preference. Look at them in "
            "Argilla, then run `python -m labeling.pull` again"
        )


def votes_on(
    preferences: Sequence[Preference], ratings: Sequence[Rating], source: str
) -> list[dict[str, int]]:
    """Who voted how on each preference; of a rater's answers to a pair the last one counts.

    Raises:
        InputError: the ratings are not those that the preferences were made from.
    """
    cast: dict[str, dict[str, str]] = {}
    for rating in sorted(ratings, key=lambda rating: rating.submitted_at):
        cast.setdefault(rating.pair_id, {})[rating.rater] = rating.choice
    found = []
    for record in preferences:
        choices = cast.get(record.pair_id or "", {})
        lead = sum({"a": 1, "b": -1, "tie": 0}[choice] for choice in choices.values())
        if lead == 0:
            raise InputError(
                f"{source} has no majority for the pair {record.pair_id}, which is a preference: "
                "it is another snapshot. Run `python -m labeling.preferences` again, or name the "
                "right one with --ratings"
            )
        winner = "a" if lead > 0 else "b"
        found.append(
            {
                rater: 0 if choice == "tie" else 1 if choice == winner else -1
                for rater, choice in choices.items()
            }
        )
    return found


def agreement(votes: Sequence[dict[str, int]]) -> list[list[float]]:
    """For each pair, over every two raters who both chose: 1 where they chose alike, else 0."""
    chose = [[vote for vote in cast.values() if vote] for cast in votes]
    return [[float(one == other) for one, other in combinations(cast, 2)] for cast in chose]


def find_rater(votes: Sequence[dict[str, int]], named: str | None) -> str | None:
    """The rater to hold out: the one named, or the one whose agreement with others is the median.

    The median, because the best or the worst rater of a panel would stand for nobody else. None
    where nobody, or nobody else, has cast votes enough.

    Raises:
        InputError: the rater who is named has cast none, or too few.
    """
    counts: Counter[str] = Counter()
    alike: dict[str, list[int]] = defaultdict(list)
    for cast in votes:
        for rater, vote in cast.items():
            counts[rater] += vote != 0
            others = [other for name, other in cast.items() if name != rater and other and vote]
            alike[rater] += [int(other == vote) for other in others]
    if named is not None:
        if counts[named] < MIN_VOTES:
            listed = ", ".join(f"{rater} ({n})" for rater, n in sorted(counts.items())) or "none"
            raise InputError(
                f"held_out_rater {named} has {counts[named]} ratings that are no tie: at least "
                f"{MIN_VOTES} are needed. Raters: {listed}"
            )
        return named
    enough = sorted(
        (rater for rater in counts if counts[rater] >= MIN_VOTES and alike[rater]),
        key=lambda rater: (sum(alike[rater]) / len(alike[rater]), rater),
    )
    return enough[(len(enough) - 1) // 2] if len(enough) > 1 else None


def few_votes(votes: Sequence[dict[str, int]]) -> list[str]:
    """Raters with a single rating: they say nothing about a rater, and are told about."""
    counts = Counter(rater for cast in votes for rater in cast)
    return sorted(rater for rater, count in counts.items() if count == 1)


def clustered_rate(clusters: Sequence[Sequence[float]], seed: int = 0) -> dict[str, float] | None:
    """The mean over all values, with 95 % bounds that know that a cluster's values go together.

    Percentile bootstrap over clusters (Efron 1979, https://doi.org/10.1214/aos/1176344552): votes
    on one pair are not independent. ``n`` counts values. None where there are none.
    """
    filled = [cluster for cluster in clusters if cluster]
    if not filled:
        return None
    sums = np.array([sum(cluster) for cluster in filled])
    sizes = np.array([len(cluster) for cluster in filled])
    draws = np.random.default_rng(seed).integers(0, len(filled), size=(2000, len(filled)))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    n = int(sizes.sum())
    if low == high and low in (0, 1):  # nothing varies, which a bootstrap takes for certainty
        exact = rate(int(low) * len(filled), len(filled))
        low, high = exact["low"], exact["high"]
    return {"rate": float(sums.sum() / n), "low": float(low), "high": float(high), "n": n}
