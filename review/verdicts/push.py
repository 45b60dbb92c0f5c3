"""Put a review's answers before compliance reviewers, in Argilla.

    python -m review.verdicts push --run_dir runs/asdfg

Reviewers read a random sample of held-out prompts, every answer that breaks a blocker rule or about
which the suite's own judges disagree, and a few planted breaches. Which is which, and whose answer
it is, stands only in ``placed.jsonl``; Argilla has the conversation and the answer. A share is read
by two people, and is a data set of its own, because Argilla counts readers by data set.

Records in: output. Out, in ``runs/<name>/verdicts/push/``: ``placed.jsonl``, and the manifest,
which names the data sets.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inhouse import run as runs
from inhouse.config import Stage, parse, setting
from inhouse.files import read_utf8
from inhouse.records import Output, read, write

if TYPE_CHECKING:
    import argilla as rg

    from compliance.rules.house_rules import HouseRules
    from review.verdicts.given.placing import Placing

STAGE = Stage(
    "verdicts_push",
    "python -m review.verdicts push",
    "a review's answers go to compliance reviewers",
    held_out=True,
)
FOLDER = "verdicts/push"


@dataclass
class VerdictsPushOptions:
    """Whose answers are read, how many, and by how many people."""

    house_rules: str | None = setting(
        None, "The rules, if they are not where the review read them."
    )
    models: list[str] | None = setting(
        None, "Models of the review whose answers are read; else all but the base."
    )
    sample: int = setting(
        200, "Held-out prompts drawn at random; each model's answer to each is read."
    )
    flagged: int = setting(
        300, "Most answers with a blocker, which come first, or a disagreement that are read."
    )
    planted: float = setting(0.08, "Share of planted known breaches among all records.")
    second: float = setting(0.2, "Share of records that two people read.")
    seed: int = setting(0, "Seed of what is drawn, and of the order.")
    credentials: str = setting(
        ".argilla/credentials.json",
        "Of the embedded server, unless ARGILLA_API_URL and _KEY are set.",
    )

    def __post_init__(self) -> None:
        for name in ("sample", "flagged"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 or more")
        if not 0 <= self.planted <= 0.5:
            raise ValueError(f"planted is {self.planted}: give a share of 0 to 0.5")
        if not 0 <= self.second <= 1:
            raise ValueError(f"second is {self.second}: give a share of 0 to 1")


def main() -> None:
    """Config, answers, what is read, sign in, two data sets, finish."""
    parsed = parse(STAGE, VerdictsPushOptions)
    options, own = parsed
    campaign = Path(options.run_dir)

    from review.verdicts import reviewed
    from review.verdicts.given import placing

    source = reviewed.outputs_of(campaign)
    rules_at = reviewed.rules_at(campaign, own.house_rules)
    counted = json.loads(read_utf8(campaign / "review" / "summary.json"))["house_rules"]
    rules = reviewed.load_rules(rules_at, counted, "run `python -m review --overwrite`")
    outputs = read(source, Output)
    models = reviewed.choose_models(outputs, own.models)

    from inhouse import argilla  # takes a second to import, and --help must not
    from review.verdicts.given import dataset

    access = argilla.find_access(own.credentials)
    workspace = argilla.workspace_of(campaign) + argilla.VERDICTS  # raters have no business in it
    chosen = placing.place(
        outputs,
        models,
        rules,
        sample=own.sample,
        flagged=own.flagged,
        planted=own.planted,
        seed=own.seed,
    )
    second = round(own.second * len(chosen.placed))
    once = dataset.name_of(rules, chosen.placed, second)
    twice = f"{once}-second"
    chosen = chosen.named(once, twice, second)
    readers = {once: 1, twice: 2}
    used = [each for each in readers if any(p.dataset == each for p in chosen.placed)]
    settings = parsed.settings | {"url": access.url}
    inputs: dict[str, str | Path] = {"outputs": source, "house_rules": rules_at}
    try:
        run = runs.open_run(STAGE, options, settings, inputs, folder=campaign / FOLDER)
    except runs.UpToDate:
        for each in used:
            argilla.check_still_there(access, each, workspace, STAGE.command)
        raise
    tell(chosen, models)
    if options.dry_run:
        print(f"they would go to {' and '.join(used)} in workspace {workspace}, {access.url}")
        return
    client = argilla.connect(access)

    run.start()
    write(run.path("placed.jsonl"), chosen.placed)
    with argilla.explained(access):
        fill(client, workspace, chosen, {each: readers[each] for each in used}, rules)
    run.finish(
        config=(options, own),
        seed=own.seed,
        metrics={
            "url": access.url,
            "workspace": workspace,
            "datasets": used,
            "models": models,
            "guidelines": rules.hash,
            **counts(chosen),
        },
        next_command=f"reviewers of workspace {workspace} sign in at {access.url} and answer; then "
        f"python -m review.verdicts pull --run_dir {campaign}",
    )


def fill(
    client: rg.Argilla,
    workspace: str,
    chosen: Placing,
    readers: Mapping[str, int],
    rules: HouseRules,
) -> None:
    """Make the data sets that are not there, and add the records that they lack.

    Args:
        readers: how many people read each record, by data set.
    """
    from compliance.rules.house_rules import guidelines
    from inhouse import argilla
    from review.verdicts.given import dataset

    place = argilla.ensure_workspace(client, workspace)
    text = guidelines(rules, dataset.OPENING)
    for name, n in readers.items():
        made = argilla.ensure_dataset(client, name, place, dataset.settings(text, rules, n))
        mine = [chosen.shown[p.record] for p in chosen.placed if p.dataset == name]
        argilla.push_missing(client, made, [dataset.record(shown) for shown in mine])


def counts(chosen: Placing) -> dict[str, int]:
    """How many records there are of each kind; one may be in the sample and flagged."""
    from review.verdicts.given.strata import BLOCKER

    return {
        "records": len(chosen.placed),
        "sample": sum(p.sample for p in chosen.placed),
        "flagged": sum(bool(p.flagged) for p in chosen.placed),
        "flagged_left_out": len(chosen.left_out),
        "blockers_left_out": sum(BLOCKER in why for why in chosen.left_out.values()),
        "planted": sum(p.planted is not None for p in chosen.placed),
        "read_twice": sum(p.dataset.endswith("-second") for p in chosen.placed),
    }


def tell(chosen: Placing, models: list[str]) -> None:
    """What is read, in a few lines."""
    n = counts(chosen)
    why = by_reason(p.flagged for p in chosen.placed)
    left = f", {len(chosen.left_out)} more left out" if chosen.left_out else ""
    left += f" ({by_reason(chosen.left_out.values())})" if chosen.left_out else ""
    if chosen.not_planted:
        print(
            f"{chosen.not_planted} fewer breaches are planted than was asked: the rules' bad "
            "examples, and the clean answers that could carry them, give no more"
        )
    if n["blockers_left_out"]:
        print(
            f"{n['blockers_left_out']} answers that break a blocker rule are left out: "
            f"--flagged {n['flagged'] + n['blockers_left_out']} takes them all"
        )
    print(
        f"{n['records']} records of {', '.join(models)}: {n['sample']} drawn at random, "
        f"{n['flagged']} flagged{f' ({why})' if why else ''}{left}, {n['planted']} planted; "
        f"{n['read_twice']} are read by two people"
    )


def by_reason(flagged: Iterable[list[str]]) -> str:
    """How often each reason is given, the most frequent first; an answer may have several."""
    reasons = Counter(reason for why in flagged for reason in why)
    return ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())


if __name__ == "__main__":
    runs.command(main)
