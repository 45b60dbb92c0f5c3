"""Ratings become preferences, by majority, with how far the raters agreed.

    python -m labeling.preferences

Records in: the last pull's ratings, and the candidate pairs. Out, in ``runs/<name>/preferences/``:
``preferences.jsonl`` and ``agreement.json``. A pair without a majority is no preference, nor is one
whose preferred answer breaks a blocker rule; both are counted, not dropped in silence.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inhouse import run as runs
from inhouse.config import Stage, parse, setting
from inhouse.errors import InputError
from inhouse.files import write_json
from inhouse.records import CandidatePair, Message, Preference, Rating, read, write
from inhouse.run import snapshots

STAGE = Stage("preferences", "python -m labeling.preferences", "ratings become preferences")
CHOICES = ("a", "tie", "b")


@dataclass
class PreferenceOptions:
    """Which answers, about which pairs."""

    ratings: str | None = setting(None, "A pull's folder; else the last in RUN_DIR/ratings.")
    candidates: str | None = setting(None, "Pairs; else RUN_DIR/candidates/candidates.jsonl.")


def main() -> None:
    """Config, ratings, majority, agreement, finish."""
    parsed = parse(STAGE, PreferenceOptions)
    options, own = parsed
    campaign = Path(options.run_dir)
    pull = Path(own.ratings) if own.ratings else last_pull(campaign / "ratings")
    source = runs.require(pull / "ratings.jsonl", "run `python -m labeling.pull` first")
    pairs_file = own.candidates or runs.require(
        campaign / "candidates" / "candidates.jsonl", "run `python -m labeling.candidates` first"
    )
    inputs = {"ratings": source, "candidates": pairs_file}
    run = runs.open_run(STAGE, options, parsed.settings, inputs)

    ratings, again = one_each(read(source, Rating))
    pairs = {pair.id: pair for pair in read(pairs_file, CandidatePair)}
    preferences = decide(pairs, ratings)
    agreement = measure_agreement(ratings, preferences)
    if not preferences:
        raise InputError(
            f"no pair of {source} has a majority: {agreement['pairs_without_majority']}"
        )
    decided, preferences = preferences, veto(pairs, preferences)
    agreement |= {
        "preferences": len(preferences),
        "ratings_given_again": again,
        "vetoed_by_house_rules": len(decided) - len(preferences),
    }
    if not preferences:
        raise InputError(
            f"all {len(decided)} preferences of {source} are for answers that break a blocker "
            "rule: see findings_a and findings_b of the candidates"
        )
    if options.dry_run:
        print(f"{len(preferences)} preferences from {len(ratings)} ratings")
        return

    run.start()
    write(run.path("preferences.jsonl"), preferences)
    write_json(run.path("agreement.json"), agreement)
    run.finish(
        config=(options, own),
        metrics=agreement,
        next_command="python -m reward, and python -m rlhf.dpo",
    )


def last_pull(folder: Path) -> Path:
    """The newest finished snapshot.

    Raises:
        InputError: there is none.
    """
    found = snapshots.finished(folder)
    if not found:
        raise InputError(f"no ratings in {folder}: run `python -m labeling.pull` first")
    return found[-1]


def one_each(ratings: Sequence[Rating]) -> tuple[list[Rating], int]:
    """One vote a rater and pair: the last one given. How many earlier ones are left out is said.

    Argilla keeps one answer of each; two come from another tool, or from pulls put together.
    """
    last: dict[tuple[str, str], Rating] = {}
    given: Counter[tuple[str, str]] = Counter()
    for rating in ratings:
        key = (rating.pair_id, rating.rater)
        given[key] += 1
        if key not in last or rating.submitted_at >= last[key].submitted_at:
            last[key] = rating
    again = len(ratings) - len(last)
    if again:
        pairs = list(dict.fromkeys(pair for (pair, _), count in given.items() if count > 1))
        named = ", ".join(pairs[:5]) + (" …" if len(pairs) > 5 else "")
        print(
            f"{len(pairs)} pairs were rated more than once by one person ({named}): the last "
            f"rating of each counts, {again} of {len(ratings)} ratings are left out"
        )
    return list(last.values()), again


def decide(pairs: dict[str, CandidatePair], ratings: Sequence[Rating]) -> list[Preference]:
    """One preference for each pair where more than half the raters chose the same answer.

    ``margin`` is the log-odds of the vote, log((wins + 1/2) / (losses + 1/2)): half a vote each
    way (Haldane 1956, Anscombe 1956) keeps a unanimous one finite.

    Raises:
        InputError: a rating of a pair that is not among the candidates.
    """
    preferences = []
    for name, cast in sorted(by_pair(ratings).items()):
        if name not in pairs:
            raise InputError(f"a rating of pair {name}, which no candidate has")
        winner = majority(cast)
        if winner is None:
            continue
        loser = "b" if winner == "a" else "a"
        wins, losses = (sum(rating.choice == side for rating in cast) for side in (winner, loser))
        pair = pairs[name]
        answers = {"a": pair.response_a, "b": pair.response_b}
        preferences.append(
            Preference(
                prompt=pair.prompt,
                chosen=[Message(role="assistant", content=answers[winner])],
                rejected=[Message(role="assistant", content=answers[loser])],
                margin=math.log((wins + 0.5) / (losses + 0.5)),
                agreement=wins / len(cast),
                pair_id=name,
                raters=[rating.rater for rating in cast],
                metadata={"topic": pair.metadata.get("topic")},
            )
        )
    return preferences


def by_pair(ratings: Sequence[Rating]) -> dict[str, list[Rating]]:
    """The ratings of each pair."""
    cast: dict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        cast[rating.pair_id].append(rating)
    return cast


def majority(cast: Sequence[Rating]) -> str | None:
    """The answer that more than half of a pair's raters chose, if any; a tie is no answer."""
    choice, count = Counter(rating.choice for rating in cast).most_common(1)[0]
    return choice if choice != "tie" and 2 * count > len(cast) else None


def veto(pairs: dict[str, CandidatePair], decided: Sequence[Preference]) -> list[Preference]:
    """The preferences whose chosen answer breaks no blocker rule: raters may not teach a breach."""
    kept = []
    for preference in decided:
        pair = pairs[str(preference.pair_id)]
        chose_a = preference.chosen[0].content == pair.response_a
        findings = pair.findings_a if chose_a else pair.findings_b
        if all(finding.severity != "blocker" for finding in findings):
            kept.append(preference)
    return kept


def measure_agreement(ratings: Sequence[Rating], decided: Sequence[Preference]) -> dict[str, Any]:
    """Krippendorff's alpha over the choices, and each rater's share of votes with the majority.

    Krippendorff (2011), https://repository.upenn.edu/asc_papers/43, ordinal: a, tie, b.
    """
    import krippendorff  # these take a second to import, and --help must not
    import numpy as np

    from inhouse.statistics import rate

    raters = sorted({rating.rater for rating in ratings})
    units = sorted({rating.pair_id for rating in ratings})
    table = np.full((len(raters), len(units)), np.nan)
    row, column = ({name: at for at, name in enumerate(names)} for names in (raters, units))
    for rating in ratings:
        table[row[rating.rater], column[rating.pair_id]] = CHOICES.index(rating.choice)
    overlap = (~np.isnan(table)).sum(axis=0) > 1
    varied = len(np.unique(table[:, overlap][~np.isnan(table[:, overlap])])) > 1
    alpha = (
        float(krippendorff.alpha(reliability_data=table, level_of_measurement="ordinal"))
        if overlap.any() and varied
        else None  # nobody rated what another did, or all said the same: alpha has no value
    )
    winners = {name: majority(cast) for name, cast in by_pair(ratings).items()}
    chosen = {preference.pair_id for preference in decided}
    with_majority: dict[str, list[bool]] = {name: [] for name in raters}
    for rating in ratings:
        if rating.pair_id in chosen:
            with_majority[rating.rater].append(rating.choice == winners[rating.pair_id])
    return {
        "krippendorff_alpha": alpha,
        "ratings": len(ratings),
        "raters": len(raters),
        "pairs": len(units),
        "preferences": len(decided),
        "pairs_without_majority": len(units) - len(decided),
        "with_majority": {
            name: rate(sum(votes), len(votes)) for name, votes in with_majority.items() if votes
        },
    }


if __name__ == "__main__":
    runs.command(main)
