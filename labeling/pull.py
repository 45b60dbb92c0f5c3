"""Take a snapshot of all answers that raters gave so far.

    python -m labeling.pull

Answers in Argilla can be changed at any time, so each pull is a folder of its own and none is ever
overwritten. A pull that finds the same answers as the last one says "up to date".

Records out: rating, in ``runs/<name>/ratings/pull-NNNN/ratings.jsonl``. Raters are pseudonyms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inhouse import run as runs
from inhouse.config import Stage, parse
from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.records import CandidatePair, Rating, read, to_line, write

STAGE = Stage("pull", "python -m labeling.pull", "raters' answers come back as a snapshot")


@dataclass
class PullOptions:
    """From which Argilla."""

    house_rules: str = field(
        metadata={"help": "The house rules' YAML file; its hash names the data set."}
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "Pairs; else RUN_DIR/candidates/candidates.jsonl."}
    )
    credentials: str = field(
        default=".argilla/credentials.json",
        metadata={"help": "Of the embedded server, unless ARGILLA_API_URL and _KEY are set."},
    )


def main() -> None:
    """Config, sign in, read every answer, write the snapshot, finish."""
    parsed = parse(STAGE, PullOptions)
    options, own = parsed
    campaign = Path(options.run_dir)
    source = own.dataset_name or runs.require(
        campaign / "candidates" / "candidates.jsonl", "run `python -m labeling.candidates` first"
    )

    from labeling import argilla

    rules_hash = sha256(runs.require(own.house_rules, "give the rules that were pushed"))
    access = argilla.find_access(own.credentials)
    client = argilla.connect(access)
    with argilla.explained(access):
        name = argilla.pairs_dataset_name(rules_hash)
        dataset = argilla.find_dataset(client, name, campaign.name)
        if dataset is None:
            raise InputError(
                f"Argilla at {access.url} has no data set {name} in workspace {campaign.name}: "
                "run `python -m labeling.push` first (with --overwrite if it was pushed to "
                "another server)"
            )
        ratings = ratings_of(argilla.records_with_responses(client, dataset), rules_hash)
    known = {pair.id for pair in read(source, CandidatePair)}
    strange = sum(rating.pair_id not in known for rating in ratings)
    if strange:
        print(f"{strange} answers are to pairs that {source} does not hold: left out")
    ratings = [rating for rating in ratings if rating.pair_id in known]
    if not ratings:
        raise InputError(f"nobody has answered in {name} yet: raters sign in at {access.url}")
    if options.dry_run:
        print(f"{len(ratings)} answers to {len({r.pair_id for r in ratings})} pairs")
        return

    folder = snapshot_folder(campaign / "ratings", ratings)
    run = runs.open_run(STAGE, options, parsed.settings, {"dataset_name": source}, folder=folder)
    run.start()
    write(run.path("ratings.jsonl"), ratings)
    run.finish(
        config=(options, own),
        metrics={
            "ratings": len(ratings),
            "pairs": len({rating.pair_id for rating in ratings}),
            "raters": len({rating.rater for rating in ratings}),
            "guidelines": rules_hash,
        },
        next_command="python -m labeling.preferences",
    )


def ratings_of(records: Iterable[dict[str, Any]], guidelines: str) -> list[Rating]:
    """Submitted answers as ratings, ordered by pair and rater. Drafts and discards are none."""
    ratings = []
    for record in records:
        for response in record["responses"] or []:
            if response["status"] != "submitted" or not response["values"]:
                continue
            answers = {name: value["value"] for name, value in response["values"].items()}
            ratings.append(
                Rating(
                    pair_id=record["external_id"],
                    # Argilla keeps a deleted user's answers without the user.
                    rater=pseudonym(response["user_id"] or response["id"]),
                    choice=answers["preferred"],
                    score_a=answers.get("score_a"),
                    score_b=answers.get("score_b"),
                    violations_a=answers.get("violations_a") or [],
                    violations_b=answers.get("violations_b") or [],
                    comment=answers.get("comment"),
                    shown_order=["a", "b"],
                    submitted_at=response["updated_at"],
                    guidelines=guidelines,
                )
            )
    return sorted(ratings, key=lambda rating: (rating.pair_id, rating.rater))


def pseudonym(user_id: str) -> str:
    """A rater's name outside Argilla: stable, and nobody's."""
    return f"rater-{hashlib.sha256(user_id.encode()).hexdigest()[:8]}"


def snapshot_folder(parent: Path, ratings: list[Rating]) -> Path:
    """The next free ``pull-NNNN``, or the last one if it was cut off or holds these answers."""
    found = sorted(parent.glob("pull-*"), key=_number)
    if not found:
        return parent / "pull-0001"
    last = found[-1]
    if not (last / runs.MANIFEST).is_file():
        return last
    same = "".join(to_line(rating) for rating in ratings)
    if (last / "ratings.jsonl").read_text(encoding="utf-8") == same:
        return last
    return parent / f"pull-{_number(last) + 1:04d}"


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix("pull-"))


if __name__ == "__main__":
    runs.command(main)
