"""Take a snapshot of all answers that raters gave so far.

    python -m labeling.pull

Answers in Argilla can be changed at any time, so each pull is a folder of its own and none is ever
overwritten. A pull that finds the same answers as the last one says "up to date".

Records out: rating, in ``runs/<name>/ratings/pull-NNNN/ratings.jsonl``. Raters are pseudonyms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse import run as runs
from inhouse.config import DataOptions, Stage, parse, setting
from inhouse.errors import InputError
from inhouse.records import CandidatePair, Rating, read, to_line, write
from inhouse.run import snapshots

if TYPE_CHECKING:
    from inhouse.argilla import Access

STAGE = Stage(
    "pull",
    "python -m labeling.pull",
    "raters' answers come back as a snapshot",
    reads="candidates/candidates.jsonl",
    mend="run `python -m labeling.candidates` first",
)


@dataclass
class PullOptions:
    """Of which data set, and from which Argilla."""

    house_rules: str = field(
        metadata={"help": "The house rules: a YAML file or a folder; its hash names the data set."}
    )
    credentials: str = setting(
        ".argilla/credentials.json",
        "Of the embedded server, unless ARGILLA_API_URL and _KEY are set.",
    )


def main() -> None:
    """Config, sign in, read every answer, write the snapshot, finish."""
    parsed = parse(STAGE, DataOptions, PullOptions)
    options, data, own = parsed
    campaign = Path(options.run_dir)
    source = data.dataset_name or runs.require(campaign / STAGE.reads, STAGE.mend)

    from compliance.rules import rule_files
    from inhouse import argilla
    from labeling.pairs import pairs_dataset_name

    pushed = runs.require(own.house_rules, "give the rules that were pushed")
    rules_hash = rule_files.rules_hash(pushed)
    access = argilla.find_access(own.credentials)
    name, workspace = pairs_dataset_name(rules_hash), argilla.workspace_of(campaign)
    ratings = to_known_pairs(answers_in(access, name, workspace, rules_hash), source)
    if not ratings:
        raise InputError(f"nobody has answered in {name} yet: raters sign in at {access.url}")
    if options.dry_run:
        print(f"{len(ratings)} answers to {len({r.pair_id for r in ratings})} pairs")
        return

    same = "".join(map(to_line, ratings))
    inputs: dict[str, str | Path] = {"dataset_name": source}
    folder = snapshots.following(
        campaign / "ratings", {"ratings.jsonl": same}, STAGE, parsed.settings, inputs
    )
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)
    run.start()
    write(run.path("ratings.jsonl"), ratings)
    run.finish(
        config=(options, data, own),
        metrics={
            "ratings": len(ratings),
            "pairs": len({rating.pair_id for rating in ratings}),
            "raters": len({rating.rater for rating in ratings}),
            "guidelines": rules_hash,
        },
        next_command="python -m labeling.preferences",
    )


def answers_in(access: Access, name: str, workspace: str, guidelines: str) -> list[Rating]:
    """Every rating that a data set holds.

    Raises:
        InputError: there is no such data set, or no Argilla that lets us read it.
    """
    from inhouse import argilla

    client = argilla.connect(access)
    with argilla.explained(access):
        dataset = argilla.find_dataset(client, name, workspace)
        if dataset is None:
            raise InputError(
                f"Argilla at {access.url} has no data set {name} in workspace {workspace}: run "
                "`python -m labeling.push` first (with --overwrite if it was pushed to another "
                "server)"
            )
        return ratings_of(argilla.records_with_responses(client, dataset), guidelines)


def to_known_pairs(ratings: Sequence[Rating], source: str | Path) -> list[Rating]:
    """The ratings of the pairs in a file; how many others there are is said."""
    known = {pair.id for pair in read(source, CandidatePair)}
    kept = [rating for rating in ratings if rating.pair_id in known]
    if strange := len(ratings) - len(kept):
        print(f"{strange} answers are to pairs that {source} does not hold: left out")
    return kept


def ratings_of(records: Iterable[dict[str, Any]], guidelines: str) -> list[Rating]:
    """Submitted answers as ratings, ordered by pair and rater. Drafts and discards are none."""
    from inhouse.argilla import rules_of

    ratings, strangers = [], 0
    for record in records:
        strangers += record["external_id"] is None
        for response in (record["external_id"] and record["responses"]) or []:
            if response["status"] != "submitted" or not response["values"]:
                continue
            answers = {name: value["value"] for name, value in response["values"].items()}
            ratings.append(
                Rating(
                    pair_id=record["external_id"],
                    # Of a user who was deleted, an Argilla before its migration d00f819ccc67 (June
                    # 2024) keeps the answers, without the user. Ours deletes them with the user.
                    rater=pseudonym(response["user_id"] or response["id"]),
                    choice=answers["preferred"],
                    score_a=answers.get("score_a"),
                    score_b=answers.get("score_b"),
                    violations_a=rules_of(answers.get("violations_a")),
                    violations_b=rules_of(answers.get("violations_b")),
                    comment=answers.get("comment"),
                    shown_order=["a", "b"],
                    submitted_at=response["updated_at"],
                    guidelines=guidelines,
                )
            )
    if strangers:
        print(f"{strangers} records in Argilla were not pushed from here: left out")
    return sorted(ratings, key=lambda rating: (rating.pair_id, rating.rater))


def pseudonym(user_id: str) -> str:
    """A rater's name outside Argilla: stable, and nobody's."""
    return f"rater-{hashlib.sha256(user_id.encode()).hexdigest()[:8]}"


if __name__ == "__main__":
    runs.command(main)
