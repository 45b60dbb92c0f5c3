"""``review/report.html``: one file that fetches nothing and runs one script, our own.

What models and customers said is text in the page or data for the script, and never either's code:
Jinja escapes the first, the second stands as JSON and is put in as text. The page is a view: it is
drawn after the review's manifest is written, which does not name it, and may be drawn again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inhouse import pages
from inhouse.files import write_atomically
from inhouse.records import content_id, is_blank, plain
from review.bands import FAIL, NOT_ENOUGH, PASS
from review.memorisation.bands import BANDS
from review.memorisation.table import shown as shown_measure
from review.report.by_rule import PRINTED, SHOWN, by_rule, look_up
from review.report.campaign import Campaign, read_campaign
from review.report.decision import (
    ANSWERS,
    families,
    headline,
    in_code,
    lines,
    per_cent,
    signed,
)
from review.report.provenance import provenance
from review.report.rows import PARTS, as_data, rows_of
from review.summary import STORY_GREEDY

HERE = Path(__file__).parent
SCRIPTS = [HERE / name for name in ("row.js", "list.js", "filter.js", "keys.js")]
NAME = "report.html"
MEASURES = {
    "any_violation": ("Breaks a compliance rule", "lower is better"),
    "tone_violation": ("Breaks a tone rule", "lower is better"),
    "helpful": ("Helpful: ends properly and states what was asked for", "higher is better"),
    "end_token": ("Ends by itself", "higher is better"),
}


def write_report(campaign: Path, house_rules: Path | None = None) -> Path:
    """Draw ``review/report.html`` from what the campaign has; returns its path.

    Args:
        house_rules: the rules, where they are no longer where the review read them.

    Raises:
        InputError: there is no review, its rules have changed, or a file is damaged.
    """
    path = campaign / "review" / NAME
    write_atomically(path, render(read_campaign(campaign, house_rules)))
    return path


def render(campaign: Campaign, *, to_print: bool = False) -> str:
    """The whole page as text.

    Args:
        to_print: only what stands on paper: fewer findings, no list, no data, no script.
    """
    rows = rows_of(campaign)
    lookup = look_up(campaign)
    criteria = campaign.gate["criteria"] if campaign.gate else []
    attacked = campaign.summary.get("red_team", {})
    titles = {rule.id: rule.title for rule in campaign.rules.rules}
    return pages.render(
        HERE / "page.html.jinja",
        c=campaign,
        summary=campaign.summary,
        names=campaign.names,
        attacked_rules=_of_any(each["rules"] for each in attacked.values()),
        tempted=[name for name in attacked if attacked[name]["any"]],  # of rules that are checked
        mutations=_of_any(each["any"]["mutations"] for each in attacked.values() if each["any"]),
        silent={name: each["silent"] for name, each in attacked.items() if each.get("silent")},
        run_dir=campaign.folder,
        note=campaign.manifest["config"].get("note", ""),
        provenance=provenance(campaign),
        headline=headline(campaign.gate) if campaign.gate else "",
        in_code=in_code,
        families=families(criteria),
        lines={answer: lines(criteria, answer, titles) for answer in (FAIL, NOT_ENOUGH, PASS)},
        signs=ANSWERS,
        per_cent=per_cent,
        signed=signed,
        measures=MEASURES,
        story=_story(campaign),
        found=by_rule(campaign, rows, lookup, PRINTED if to_print else SHOWN),
        lookup=lookup,
        bands=BANDS,
        shown_measure=shown_measure,
        is_blank=is_blank,
        parts=PARTS,
        n_rows=len(rows),
        style=pages.inline(HERE / "page.css"),
        script=None if to_print else pages.inline(*SCRIPTS),
        data=None
        if to_print
        else pages.as_data(as_data(campaign, rows, lookup.near, lookup.examples)),
    )


def _of_any(found: Iterable[Iterable[str]]) -> list[str]:
    """What any model has: one that was silent on all attacks of a rule has nothing of it."""
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


def _story(campaign: Campaign) -> list[Any]:
    """Each model's greedy answer to the question that opens the report."""
    told = {
        placed.model: placed.output
        for placed in campaign.answers
        if placed.output.split == STORY_GREEDY
        and content_id(plain(placed.output.prompt)) == campaign.opening
    }
    return [told[name] for name in campaign.names if name in told]
