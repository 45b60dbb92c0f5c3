"""Reviewers' answers as the REST API gives them, made into verdicts."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inhouse.errors import InputError
from inhouse.records import MarkedSpan, Verdict
from review.verdicts.placed import Placed


@dataclass
class Answers:
    """Every submitted verdict, ordered by output and reviewer; and what was not submitted."""

    verdicts: list[Verdict] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # drafts and discards


def answers_of(
    records: Iterable[dict[str, Any]], placed: Sequence[Placed], users: Mapping[str, str]
) -> Answers:
    """The verdicts on the records that were pushed.

    Args:
        records: with their responses, as the REST API gives them.
        users: names by Argilla's id.

    Raises:
        InputError: a record was not pushed from here, so that whose answer it is nobody knows.
    """
    known = {each.record: each for each in placed}
    rows = list(records)
    if strange := [row for row in rows if row["external_id"] not in known]:
        named = ", ".join(str(row["external_id"] or row["id"]) for row in strange[:5])
        raise InputError(
            f"{len(strange)} records in Argilla are of another review or made by hand ({named}"
            f"{' …' if len(strange) > 5 else ''}): placed.jsonl does not have them. Delete them in "
            "Argilla, or push again with `python -m review.verdicts push --overwrite`"
        )
    given = [(row, response) for row in rows for response in row["responses"] or []]
    submitted = [(row, response) for row, response in given if is_submitted(response)]
    names = reviewers([response for _, response in submitted], users)
    found = Answers(left_out=Counter(r["status"] for _, r in given if not is_submitted(r)))
    found.verdicts = sorted(
        (
            verdict_of(
                known[row["external_id"]].output_id,
                row["fields"]["response"],
                response,
                names[author(response)],
            )
            for row, response in submitted
        ),
        key=lambda verdict: (verdict.output_id, verdict.reviewer),
    )
    return found


def is_submitted(response: dict[str, Any]) -> bool:
    """Whether a reviewer has decided; a draft or a discarded record says nothing."""
    return response["status"] == "submitted" and "verdict" in (response["values"] or {})


def author(response: dict[str, Any]) -> str:
    """Who answered; of a user who was deleted an older Argilla keeps answers without the user."""
    return str(response["user_id"] or response["id"])


def reviewers(responses: Sequence[dict[str, Any]], users: Mapping[str, str]) -> dict[str, str]:
    """The name of each author, told apart by the beginning of the account's id where two share it.

    "Anna" and "anna " are one name to who reads a report, and two accounts to Argilla.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for one in dict.fromkeys(map(author, responses)):
        name = users.get(one, "unknown")
        by_name[unicodedata.normalize("NFKC", name).strip().casefold()].append(one)
    found = {}
    for shared in by_name.values():
        for one in shared:
            name = users.get(one, "unknown").strip()
            alone = len(shared) == 1 and one in users
            found[one] = name if alone else f"{name}#{one[:8]}"
        if len(shared) > 1:
            print(
                f"{len(shared)} accounts are called {users.get(shared[0], 'unknown')!r}: kept "
                f"apart as {', '.join(sorted(found[one] for one in shared))}"
            )
    return found


def verdict_of(output_id: str, shown: str, response: dict[str, Any], reviewer: str) -> Verdict:
    """A submitted response; a rule counts as marked in the list or on the words.

    Args:
        shown: the answer as the reviewer saw it.
    """
    from inhouse.argilla import rules_of

    values = {name: value["value"] for name, value in response["values"].items()}
    spans = [
        MarkedSpan(
            rule=mark["label"],
            start=character_at(shown, mark["start"]),
            end=character_at(shown, mark["end"]),
        )
        for mark in values.get("spans") or []
    ]
    rules = rules_of([*(values.get("rules") or []), *(span.rule for span in spans)])
    return Verdict(
        output_id=output_id,
        reviewer=reviewer,
        verdict=values["verdict"],
        rules=sorted(set(rules)),
        spans=[span for span in spans if span.rule in rules],
        rewrite=values.get("rewrite"),
        comment=values.get("comment"),
        submitted_at=response["updated_at"],
    )


def character_at(text: str, unit: int) -> int:
    """The character at a place as Argilla's page counts, where an emoji takes two units."""
    return len(text.encode("utf-16-le")[: 2 * unit].decode("utf-16-le", "ignore"))
