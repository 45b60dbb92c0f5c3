"""Simulated reviewers give their verdicts on an Argilla server.

    python -m examples.asdfg.reviewers --run_dir runs/asdfg

Records in: the pending records of the verdicts' data sets, as each reviewer's own account sees
them. Out: responses on the server, submitted through its API with each reviewer's own key; nothing
is written here. The reviewers are simulated and named so: what they say is no sign-off. Killed and
started again, they go on where they stood.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from examples.asdfg.panel import pending, readers_of, seen_by, submit
from examples.asdfg.reviewers.reading import REVIEWERS, Reviewer, check_names, read
from inhouse import argilla, config, run
from inhouse.config import setting
from inhouse.errors import InputError

STAGE = config.Stage(
    name="reviewers",
    command="python -m examples.asdfg.reviewers",
    about="Lets the simulated reviewers give their verdicts on the Argilla server.",
)
PUSH = "python -m review.verdicts push"


@dataclass
class ReviewersOptions:
    """Where the reviewers sign in; the data sets are those that the campaign's push names."""

    credentials: str = setting(argilla.CREDENTIALS, "The embedded server's credentials file.")


def respond(reviewer: Reviewer, record: dict[str, Any]) -> dict[str, Any]:
    """Turn a reviewer's reading of a record into a submitted response."""
    answers = read(reviewer, record["external_id"], record["fields"]["response"])
    # A question without an answer is left out, as a person would leave it.
    values = {name: {"value": value} for name, value in answers.items() if value}
    return {"record_id": record["id"], "status": "submitted", "values": values}


def main() -> None:
    """Sign the reviewers in, collect what is pending for each, answer it."""
    options, own = config.parse(STAGE, ReviewersOptions)
    campaign = Path(options.run_dir)
    pushed = run.require(
        campaign / "verdicts" / "push" / run.MANIFEST, f"run `{PUSH} --run_dir {campaign}` first"
    )
    named = json.loads(pushed.read_text(encoding="utf-8"))["metrics"]
    check_names(REVIEWERS)
    users = [reviewer.user for reviewer in REVIEWERS]
    access = argilla.find_access(own.credentials)
    owner = argilla.connect(access)
    with argilla.explained(access):
        found = {
            name: argilla.find_dataset(owner, name, named["workspace"])
            for name in named["datasets"]
        }
        for name, dataset in found.items():
            if dataset is None:
                raise InputError(
                    f"Argilla at {access.url} has no data set {name} in workspace "
                    f"{named['workspace']}: run `{PUSH} --overwrite` first"
                )
        datasets = [(each, readers_of(owner, each)) for each in found.values() if each is not None]
        workspace = argilla.ensure_workspace(owner, named["workspace"])
        work = []
        for reviewer in REVIEWERS:
            client = argilla.connect(argilla.ensure_annotator(owner, reviewer.user, workspace))
            mine = [
                respond(reviewer, record)
                for dataset, readers in datasets
                for record in pending(client, dataset)
                if reviewer.user in seen_by(users, record["external_id"], readers)
            ]
            work.append((client, mine))
        total = sum(len(mine) for _, mine in work)
        if options.dry_run:
            print(f"the simulated reviewers would give {total} verdicts")
            return
        if total == 0:
            raise run.UpToDate(f"nothing in {' or '.join(found)} waits for a simulated reviewer")
        with (
            tqdm(total=total, desc="simulated reviewers", unit="verdict") as progress,
            ThreadPoolExecutor(len(work)) as threads,
        ):
            list(threads.map(lambda part: submit(part[0], part[1], progress), work))
    print(
        f"simulated reviewers: {total} verdicts; next: python -m review.verdicts pull --run_dir "
        f"{campaign}"
    )


if __name__ == "__main__":
    # The SDK would look on a model hub for nothing we need.
    os.environ["HF_HUB_OFFLINE"] = "1"
    run.command(main)
