"""Take a snapshot of all verdicts that reviewers gave so far, and count them.

    python -m review.verdicts pull --run_dir runs/asdfg

Answers in Argilla can be changed at any time, so each pull is a folder of its own and none is ever
overwritten. A verdict on an answer that has changed since it was pushed is kept apart, and counts
for nothing.

Records out, in ``runs/<name>/verdicts/pull-NNNN/``: ``verdicts.jsonl``, ``set_aside.jsonl``,
``summary.json``; ``preferences.jsonl`` and ``demonstrations.jsonl`` from rewrites; and
``labelled.jsonl``, the random sample as ``python -m review.gate.measure`` reads it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse import run as runs
from inhouse.config import Stage, parse, setting
from inhouse.errors import InputError
from inhouse.files import read_utf8, write_atomically, write_json
from inhouse.records import Output, plain, read, to_line, write
from inhouse.run import snapshots

if TYPE_CHECKING:
    from inhouse.argilla import Access
    from inhouse.records import Verdict
    from review.verdicts.placed import Placed
    from review.verdicts.taken.answers import Answers
    from review.verdicts.taken.rewrites import NextRound
    from review.verdicts.taken.settled import Settled

STAGE = Stage(
    "verdicts_pull",
    "python -m review.verdicts pull",
    "reviewers' verdicts come back as a snapshot, counted",
    held_out=True,
)
PUSH = "python -m review.verdicts push"


@dataclass
class VerdictsPullOptions:
    """By which rules, and from which Argilla."""

    house_rules: str | None = setting(
        None, "The rules that were pushed, if they are not where the push read them."
    )
    credentials: str = setting(
        ".argilla/credentials.json",
        "Of the embedded server, unless ARGILLA_API_URL and _KEY are set.",
    )


def main() -> None:
    """Config, sign in, read every verdict, count, write the snapshot, finish."""
    parsed = parse(STAGE, VerdictsPullOptions)
    options, own = parsed
    campaign = Path(options.run_dir)
    pushed = runs.require(
        campaign / "verdicts" / "push" / runs.MANIFEST, f"run `{PUSH} --run_dir {campaign}` first"
    )

    from review.report import write_report
    from review.verdicts import reviewed
    from review.verdicts.placed import Placed
    from review.verdicts.taken import counting, rewrites
    from review.verdicts.taken.settled import settle, split_changed

    manifest = json.loads(read_utf8(pushed))
    named = manifest["metrics"]
    source = reviewed.outputs_of(campaign)
    rules_at = reviewed.rules_at(campaign, own.house_rules or manifest["config"]["house_rules"])
    rules = reviewed.load_rules(rules_at, named["guidelines"], f"run `{PUSH} --overwrite`")
    placed = read(pushed.with_name("placed.jsonl"), Placed)
    outputs = {output.id: output for output in read(source, Output)}

    from inhouse import argilla

    access = argilla.find_access(own.credentials)
    answers = answers_in(access, named, placed)
    if not answers.verdicts:
        raise InputError(
            f"nobody has given a verdict in {' or '.join(named['datasets'])} yet: reviewers sign "
            f"in at {access.url}"
        )
    verdicts, changed = split_changed(placed, outputs, answers.verdicts)
    settled = settle(placed, outputs, verdicts)
    summary = counting.summarise(verdicts, settled, placed, rules)
    summary |= {"set_aside": len(changed), "not_submitted": dict(answers.left_out)}
    made = rewrites.next_round(settled, rules)
    summary["rewrites"] = dict(made.counts)
    tell(summary, made, changed)
    if options.dry_run:
        return

    files = {
        "verdicts.jsonl": "".join(map(to_line, verdicts)),
        "set_aside.jsonl": "".join(map(to_line, changed)),
    }
    inputs: dict[str, str | Path] = {
        "placed": pushed.with_name("placed.jsonl"),
        "outputs": source,
        "house_rules": rules_at,
    }
    folder = snapshots.following(campaign / "verdicts", files, STAGE, parsed.settings, inputs)
    run = runs.open_run(STAGE, options, parsed.settings, inputs, folder=folder)
    run.start()
    for name, text in (files | {"labelled.jsonl": labelled(settled)}).items():
        write_atomically(run.path(name), text)
    write(run.path("preferences.jsonl"), made.preferences)
    write(run.path("demonstrations.jsonl"), made.demonstrations)
    write(run.path("rewrites_refused.jsonl"), made.refused)
    write_json(run.path("summary.json"), summary)
    run.finish(
        config=(options, own),
        metrics={"verdicts": len(verdicts), "read": len(settled), **summary["verdicts"]},
        next_command=f"python -m review.gate --run_dir {campaign}",
    )
    write_report(campaign, rules_at)


def answers_in(access: Access, named: dict[str, Any], placed: Sequence[Placed]) -> Answers:
    """Every verdict that the pushed data sets hold.

    Raises:
        InputError: a data set is gone, holds other records, or no Argilla lets us read it.
    """
    from inhouse import argilla
    from review.verdicts.taken.answers import answers_of

    client = argilla.connect(access)
    rows: list[dict[str, Any]] = []
    with argilla.explained(access):
        for name in named["datasets"]:
            dataset = argilla.find_dataset(client, name, named["workspace"])
            if dataset is None:
                raise InputError(
                    f"Argilla at {access.url} has no data set {name} in workspace "
                    f"{named['workspace']}: it was pushed to {named['url']}. Set ARGILLA_API_URL "
                    f"to that, or push again with `{PUSH} --overwrite`"
                )
            rows += argilla.records_with_responses(client, dataset)
        people = argilla.rest(client, "GET", "/api/v1/users")["items"]
    return answers_of(rows, placed, {user["id"]: user["username"] for user in people})


def labelled(settled: Sequence[Settled]) -> str:
    """The random sample's answers with the rules that people say they break, a line each.

    With the figures that the prompt's metadata approves, if any: without ``facts`` figures are not
    traced there, as they were not in the review.
    """
    from review.checked import approved_words

    rows = [
        {
            "prompt": plain(each.output.prompt),
            "response": each.output.response,
            "violates": sorted(each.rules),
            **({"facts": facts} if (facts := approved_words(each.output.metadata)) else {}),
            "output_id": each.output.id,
        }
        for each in settled
        if each.placed.sample and each.decided and each.output is not None
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def tell(summary: dict[str, Any], made: NextRound, changed: Sequence[Verdict]) -> None:
    """The figures, and what a person should look at."""
    from review.table import shown_rate

    if changed:
        print(
            f"{len(changed)} verdicts are on answers that have changed since they were pushed "
            f"({', '.join(dict.fromkeys(v.output_id for v in changed[:5]))} …): set aside"
        )
    said = ", ".join(f"{n} {kind}" for kind, n in summary["verdicts"].items())
    people = ", ".join(f"{name} {n}" for name, n in summary["reviewers"].items())
    print(f"{said}; {summary['read']} of {summary['placed']} records are read; by {people}")
    for name, found in summary["by_model"].items():
        open_ = f", {found['escalated']} escalated, {found['unread']} unread"
        print(f"{name:14} fails {shown_rate(found['sample'])} of {found['n']}{open_}")
    print(f"planted breaches that were failed: {shown_rate(summary['vigilance'])}")
    alpha, n = summary["agreement"]["alpha"], summary["agreement"]["n"]
    print(f"agreement: alpha {'–' if alpha is None else f'{alpha:.2f}'} on {n} read by two")
    for key, words in (
        ("fail_without_rule", "verdicts fail an answer and name no rule"),
        ("pass_with_blocker", "verdicts pass an answer and mark a blocker rule"),
    ):
        if summary[key]:
            print(f"{summary[key]} {words}")
    for rule, lists in summary["candidates"].items():
        for kind, sentences in lists.items():
            for sentence in sentences[:3]:
                print(f"{rule} {kind}: {sentence}")
            if len(sentences) > 3:
                print(f"{rule} {kind}: {len(sentences) - 3} more in summary.json")
    if made.counts:
        counts = ", ".join(f"{count} {kind}" for kind, count in made.counts.items())
        print(f"rewrites: {counts}")
    if made.demonstrations:
        splits = Counter(record.metadata["split"] for record in made.demonstrations)
        asked = ", ".join(f"{n} {split}" for split, n in splits.items())
        print(
            f"the rewrites answer prompts of the review ({asked}): once they are trained on, the "
            "review refuses these prompts, so leave those out for which there are no others"
        )


if __name__ == "__main__":
    runs.command(main)
