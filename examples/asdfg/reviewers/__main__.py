"""Simulated reviewers give their verdicts on an Argilla server.

    python -m examples.asdfg.reviewers --run_dir runs/asdfg

Records in: the pending records of the verdicts' data sets, as each reviewer's own account sees
them. Out: responses on the server, submitted through its API with each reviewer's own key; nothing
is written here. The reviewers are simulated and named so: what they say is no sign-off. Killed and
started again, they go on where they stood.
"""

import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import argilla as rg

from examples.asdfg.panel import answers_of, submit_all
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


def find(client: rg.Argilla, name: str, workspace: str) -> rg.Dataset:
    """Find a data set that the campaign's push put on the server.

    Raises:
        InputError: it is not there.
    """
    dataset = argilla.find_dataset(client, name, workspace)
    if dataset is None:
        raise InputError(
            f"Argilla at {client.api_url} has no data set {name} in workspace {workspace}: run "
            f"`{PUSH} --overwrite` first"
        )
    return dataset


def main() -> None:
    """Sign the reviewers in, collect what is pending for each, answer it."""
    options, own = config.parse(STAGE, ReviewersOptions)
    campaign = Path(options.run_dir)
    pushed = run.require(
        campaign / "verdicts" / "push" / run.MANIFEST, f"run `{PUSH} --run_dir {campaign}` first"
    )
    named = json.loads(pushed.read_text(encoding="utf-8"))["metrics"]
    check_names(REVIEWERS)
    access = argilla.find_access(own.credentials)
    owner = argilla.connect(access)
    with argilla.explained(access):
        datasets = [find(owner, name, named["workspace"]) for name in named["datasets"]]
        workspace = argilla.ensure_workspace(owner, named["workspace"])
        panel = {reviewer.user: partial(respond, reviewer) for reviewer in REVIEWERS}
        work = answers_of(owner, workspace, datasets, panel)
        total = sum(len(mine) for _, mine in work)
        if options.dry_run:
            print(f"the simulated reviewers would give {total} verdicts")
            return
        if total == 0:
            names = " or ".join(named["datasets"])
            raise run.UpToDate(f"nothing in {names} waits for a simulated reviewer")
        submit_all(work, total, "simulated reviewers", "verdict")
    print(
        f"simulated reviewers: {total} verdicts; next: python -m review.verdicts pull --run_dir "
        f"{campaign}"
    )


if __name__ == "__main__":
    # The SDK would look on a model hub for nothing we need.
    os.environ["HF_HUB_OFFLINE"] = "1"
    run.command(main)
