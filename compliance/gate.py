"""Whether a data set may be trained on: vetoed by house rules, scanned for personal data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from compliance.privacy.scan import scan
from compliance.privacy.scrub import Search, entities_of, is_cleared
from compliance.privacy.supplied import Supplied
from inhouse.config import PrivacyOptions
from inhouse.errors import InputError
from inhouse.reading.rows import ending_of
from inhouse.records import Message, Record
from inhouse.training.data import Placed, say

R = TypeVar("R", bound=Record)
Answer = tuple[Sequence[Message], str]  # what was asked, and what training makes likelier
LISTED = 5  # vetoed records that are printed; metrics.json has all


def admit(
    placed: Sequence[Placed[R]],
    source: str,
    answers: Callable[[R], Sequence[Answer]],
    *,
    what: str,
    house_rules: str | None,
    privacy: PrivacyOptions,
) -> tuple[list[Placed[R]], dict[str, Any]]:
    """The records that may be trained on, and what the metrics tell of the others.

    Args:
        answers: the answers of a record that training makes likelier: what house rules see.
        what: such an answer in words: "wanted answer".

    Raises:
        InputError: every record is vetoed, or personal data that nobody has cleared.
    """
    vetoed = veto(placed, source, answers, what, house_rules) if house_rules else []
    gone = {entry["place"] for entry in vetoed}
    kept = [each for each in placed if each.place not in gone]
    records = [each.record for each in kept]
    return kept, {"personal_data": check_privacy(records, source, privacy), "vetoed": vetoed}


def veto(
    placed: Sequence[Placed[R]],
    source: str,
    answers: Callable[[R], Sequence[Answer]],
    what: str,
    house_rules: str,
) -> list[dict[str, Any]]:
    """The records with an answer that breaks a blocker rule: place and rules.

    Raises:
        InputError: that is every record.
    """
    from compliance.rules.house_rules import load  # runs every rule's examples

    rules = load(house_rules)
    found = []
    for each in placed:
        findings = [
            one for prompt, answer in answers(each.record) for one in rules.check(prompt, answer)
        ]
        broken = sorted({one.rule for one in findings if one.severity == "blocker"})
        if broken:
            found.append({"place": each.place, "rules": broken})
    if len(found) == len(placed):
        raise InputError(f"every {what} of {source} breaks a blocker rule of {house_rules}")
    say(f"{len(found)} of {len(placed)} {what}s break a blocker rule and are left out")
    for entry in found[:LISTED]:
        say(f"  {entry['place']}: {', '.join(entry['rules'])}")
    if len(found) > LISTED:
        say(f"  … and {len(found) - LISTED} more, all in metrics.json")
    return found


def check_privacy(
    records: Iterable[Record], source: str, privacy: PrivacyOptions
) -> dict[str, Any]:
    """:func:`check_training_data` as a user's settings have it."""
    search = Supplied.read(ner_model=privacy.personal_data_ner, allow=privacy.personal_data_allow)
    return check_training_data(records, source, privacy.allow_unscrubbed, search)


def check_training_data(
    records: Iterable[Record], source: str, allow_unscrubbed: bool, search: Search = scan
) -> dict[str, Any]:
    """Scan what is about to be trained on, and say for the manifest what was done about it.

    Args:
        search: the scan, or :class:`compliance.privacy.supplied.Supplied` where a firm adds its
            customers' names, or its own contacts, which then are nobody's personal data.

    Raises:
        InputError: something is found and nobody has cleared it.
    """
    counts: Counter[str] = Counter()
    first: list[str] = []
    number = 0
    for number, record in enumerate(records, start=1):
        plain = record.model_dump()
        kinds = Counter(entity.type for entity in entities_of(plain, search))
        if kinds and is_cleared(plain):
            kinds = Counter()
        counts += kinds
        if kinds and len(first) < 3:
            first.append(f"record {number}: {', '.join(kinds)}")
    told = {"scanned": number, "found": dict(sorted(counts.items()))}
    if counts and not allow_unscrubbed:
        named = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        ending = ending_of(Path(source)) or (".parquet" if Path(source).is_dir() else ".jsonl")
        raise InputError(
            f"{source} holds personal data that was neither scrubbed nor cleared: {named} "
            f"({'; '.join(first)} …)\nclean it with `python -m compliance.privacy scrub {source} "
            f"--out clean{ending}` (--allow FILE leaves the firm's own contacts), say which "
            "contacts are the firm's own with --personal_data_allow FILE, or train on it as it is "
            "with --allow_unscrubbed true, which the manifest will say"
        )
    return told | {"allow_unscrubbed": bool(allow_unscrubbed)}
