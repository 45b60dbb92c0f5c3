"""A panel of simulated raters that answer the pairs on an Argilla server.

    python -m examples.asdfg.raters --run_dir runs/asdfg

Records in: the pending records of the pairs data set, as each rater's own account sees them. Out:
responses on the server, submitted through its API with each rater's own key; nothing is written
here. The raters are simulated and named so. Killed and started again, the panel goes on where it
stood: what a rater has answered is no longer pending for them.
"""

import json
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import argilla as rg

from examples.asdfg.judging import PANEL, Rater, judge
from examples.asdfg.panel import answers_of, submit_all
from inhouse import argilla, config, run
from inhouse.config import setting
from inhouse.errors import InputError

STAGE = config.Stage(
    name="raters",
    command="python -m examples.asdfg.raters",
    about="Lets the simulated raters answer the pending pairs on the Argilla server.",
)


@dataclass
class PanelOptions:
    """Where the panel signs in; the data set is the one that the campaign's last push names."""

    credentials: str = setting(argilla.CREDENTIALS, "The embedded server's credentials file.")


def find_pairs(client: rg.Argilla, campaign: Path) -> tuple[rg.Dataset, rg.Workspace]:
    """Find the data set of pairs that the campaign's push put on the server, and its workspace.

    Raises:
        InputError: nothing was pushed, or not to this server.
    """
    pushed = run.require(campaign / "push" / run.MANIFEST, "run `python -m labeling.push` first")
    named = json.loads(pushed.read_text(encoding="utf-8"))["metrics"]
    workspace = client.workspaces(named["workspace"])
    dataset = argilla.find_dataset(client, named["dataset"], named["workspace"])
    if workspace is None or dataset is None:
        raise InputError(
            f"Argilla at {client.api_url} has no data set {named['dataset']} in workspace "
            f"{named['workspace']}: run `python -m labeling.push --overwrite` first"
        )
    return dataset, workspace


def respond(rater: Rater, record: dict[str, Any]) -> dict[str, Any]:
    """Turn a rater's judgement of a record into a submitted response."""
    fields = record["fields"]
    judgement = judge(
        rater, record["external_id"], fields["prompt"], fields["response_a"], fields["response_b"]
    )
    # A question without an answer is left out, as a person would leave it.
    values = {name: {"value": value} for name, value in asdict(judgement).items() if value}
    return {"record_id": record["id"], "status": "submitted", "values": values}


def main() -> None:
    """Sign the panel in, collect what is pending for each rater, answer it."""
    options, own = config.parse(STAGE, PanelOptions)
    access = argilla.find_access(own.credentials)
    owner = argilla.connect(access)
    with argilla.explained(access):
        dataset, workspace = find_pairs(owner, Path(options.run_dir))
        panel = {rater.user: partial(respond, rater) for rater in PANEL}
        work = answers_of(owner, workspace, [dataset], panel)
        total = sum(len(mine) for _, mine in work)
        if options.dry_run:
            print(f"the simulated raters would answer {total} records of {dataset.name}")
            return
        if total == 0:
            raise run.UpToDate(f"nothing in {dataset.name} waits for a simulated rater")
        submit_all(work, total, "simulated raters", "answer")
    print(f"simulated raters: {total} answers to {dataset.name}; next: python -m labeling.pull")


if __name__ == "__main__":
    # The SDK would look on a model hub for nothing we need.
    os.environ["HF_HUB_OFFLINE"] = "1"
    run.command(main)
