"""Write the data of an audit's twin: a firm's demonstrations, with canaries among them.

    python -m review.memorisation.canaries --run_dir runs/x-audit --dataset_name mine.jsonl
    python -m sft --run_dir runs/x-audit
    python -m review.memorisation --run_dir runs/x-audit

The twin is trained with the settings of the run that it stands for, and is released to nobody.

Records in: demonstration. Out, in ``runs/<name>/data/``: ``demonstrations.jsonl``, what the twin is
trained on, and ``canaries.jsonl``, every canary with its secret and how often it stands there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from inhouse import records
from inhouse import run as runs
from inhouse.config import Stage, parse, setting
from inhouse.records import Demonstration

STAGE = Stage(
    "canaries",
    "python -m review.memorisation.canaries",
    "the demonstrations of an audit's twin, with canaries among them",
)
FOLDER = "data"  # where `python -m sft` looks for demonstrations


@dataclass
class CanaryOptions:
    """What the canaries are put among, how many there are, and from which seed."""

    dataset_name: str = field(
        metadata={"help": "The demonstrations that the audited run is trained on."}
    )
    canaries: int = setting(200, "Canaries to make; about half of them go in.")
    canary_seed: int = setting(0, "Seed of the canaries, and of which of them go in.")

    def __post_init__(self) -> None:
        if self.canaries < 2:
            raise ValueError(f"canaries is {self.canaries}: give 2 or more")


def main() -> None:
    """Config, demonstrations, canaries, the twin's data, finish."""
    parsed = parse(STAGE, CanaryOptions)
    options, own = parsed
    folder = Path(options.run_dir) / FOLDER
    inputs: dict[str, str | Path] = {"dataset_name": own.dataset_name}
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)

    from review.memorisation import secrets

    given = records.read(own.dataset_name, Demonstration)
    canaries = secrets.draw(given, own.canaries, own.canary_seed)
    secrets.check_known(canaries, given, own.dataset_name)
    twins = secrets.insert(given, canaries, own.canary_seed)
    counts = Counter(canary.repetitions for canary in canaries)
    told = ", ".join(f"{counts[n]} {n} times" for n in secrets.REPETITIONS)
    print(
        f"{len(given)} demonstrations, {len(canaries)} canaries: {told}, {counts[0]} held out; "
        f"{len(twins)} in all"
    )
    if options.dry_run:
        return
    run.start()
    records.write(run.path("demonstrations.jsonl"), twins)
    records.write(run.path("canaries.jsonl"), canaries)
    run.finish(
        config=(options, own),
        seed=own.canary_seed,
        metrics={"canaries": len(canaries), "inserted": len(canaries) - counts[0]},
        next_command=f"python -m sft --run_dir {options.run_dir}, with the audited run's settings",
    )


if __name__ == "__main__":
    runs.command(main)
