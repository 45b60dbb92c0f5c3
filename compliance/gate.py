"""Whether a data set may be trained on: scanned for personal data, and vetoed by house rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from compliance.privacy.scan import scan
from compliance.privacy.scrub import Search, entities_of, is_cleared
from inhouse.errors import InputError


def check_training_data(
    records: Iterable[Any], source: str, allow_unscrubbed: bool, search: Search = scan
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
        raise InputError(
            f"{source} holds personal data that was neither scrubbed nor cleared: {named} "
            f"({'; '.join(first)} …)\nclean it with `python -m compliance.privacy scrub {source} "
            "--out clean.jsonl` (--allow FILE leaves the firm's own contacts), say which contacts "
            "are the firm's own with --personal_data_allow FILE, or train on it as it is with "
            "--allow_unscrubbed true, which the manifest will say"
        )
    return told | {"allow_unscrubbed": bool(allow_unscrubbed)}
