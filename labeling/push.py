"""Put candidate pairs into Argilla for raters to compare.

    python -m labeling.push

The data set's name carries the house rules' hash: Argilla freezes questions once a data set is
published, so other rules are another data set. Pushing again adds only what is missing. Rule
findings are never shown as suggestions for the choice: a preselected answer anchors the rater.

Records in: candidate pair. Out: ``runs/<name>/push/manifest.json``, which names the data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from inhouse import run as runs
from inhouse.config import DataOptions, Stage, parse, setting
from inhouse.records import CandidatePair, read

STAGE = Stage(
    "push",
    "python -m labeling.push",
    "candidate pairs go to Argilla",
    reads="candidates/candidates.jsonl",
    mend="run `python -m labeling.candidates` first",
)


@dataclass
class PushOptions:
    """Under which rules, to which Argilla, and how many answers each."""

    house_rules: str = field(metadata={"help": "The house rules: a YAML file or a folder."})
    answers_per_pair: int = setting(3, "Raters who compare each pair; then it leaves the queues.")
    credentials: str = setting(
        ".argilla/credentials.json",
        "Of the embedded server, unless ARGILLA_API_URL and _KEY are set.",
    )


def main() -> None:
    """Config, pairs, sign in, create the data set, push, finish."""
    parsed = parse(STAGE, DataOptions, PushOptions)
    options, data, own = parsed
    campaign = Path(options.run_dir)
    source = data.dataset_name or runs.require(campaign / STAGE.reads, STAGE.mend)
    inputs = {"dataset_name": source, "house_rules": own.house_rules}

    from compliance.rules import house_rules
    from inhouse import argilla  # takes a second to import, and --help must not
    from labeling.pairs import pairs_dataset_name, pairs_settings, push_pairs

    rules = house_rules.load(own.house_rules)
    pairs = read(source, CandidatePair)
    access = argilla.find_access(own.credentials)
    name, workspace = pairs_dataset_name(rules.hash), argilla.workspace_of(campaign)
    # Which server the pairs went to is part of what was done, so it is compared like a setting.
    settings = parsed.settings | {"url": access.url}
    try:
        run = runs.open_run(STAGE, options, settings, inputs)
    except runs.UpToDate:
        argilla.check_still_there(access, name, workspace, STAGE.command)
        raise
    if options.dry_run:
        print(f"{len(pairs)} pairs would go to {name} in workspace {workspace}, {access.url}")
        return
    client = argilla.connect(access)

    run.start()
    with argilla.explained(access):
        dataset = argilla.ensure_dataset(
            client,
            name,
            argilla.ensure_workspace(client, workspace),
            pairs_settings(
                house_rules.guidelines(rules),
                [rule.id for rule in rules.rules],
                own.answers_per_pair,
            ),
        )
        push_pairs(client, dataset, pairs)
    run.finish(
        config=(options, data, own),
        metrics={
            "url": access.url,
            "workspace": workspace,
            "dataset": name,
            "pairs": len(pairs),
            "guidelines": rules.hash,
        },
        next_command="raters sign in and answer; then python -m labeling.pull",
    )


if __name__ == "__main__":
    runs.command(main)
