"""Personal data in a text: where it stands, and of which kind.

Detectors are re2 patterns whose hits are checked: card numbers by their check digit, IBANs, routing
and national numbers by theirs (python-stdnum), telephone numbers by their country's plan
(phonenumbers). Names come from the firm's own customer list, and from a model where the firm
supplies one (:mod:`compliance.privacy.recogniser`). What a firm sells (rates, amounts, ISINs, order
and ticket numbers) is left alone, and so are its own public contacts where it lists them. What is
found is never printed or logged: only its place and type.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from compliance.normalise import normalise, with_plain_numbers
from compliance.privacy.detectors import spelt_numbers
from compliance.privacy.detectors.surroundings import Hit
from compliance.privacy.detectors.table import DETECTORS
from compliance.privacy.entities import TYPES, Entity, Extra
from compliance.privacy.names import Names
from compliance.privacy.public_contacts import KINDS, PublicContacts


def scan(
    text: str,
    names: Names | None = None,
    extra: Sequence[Extra] = (),
    public: PublicContacts | None = None,
) -> list[Entity]:
    """Personal data in a text, in order, none inside another.

    Args:
        names: the firm's customer list.
        extra: further detectors, such as a named-entity model of the firm's.
        public: the firm's own contacts; what stands inside one of them is nobody's personal data.
    """
    seen = normalise(text)
    found = scan_seen(seen.text)
    if names is not None:
        found += [Entity(start, end, "PERSON") for start, end in names.find(seen.text)]
    found = [Entity(*seen.original(e.start, e.end), e.type) for e in found]
    for detector in extra:
        found += detector(text)
    if public is not None:
        places = [seen.original(start, end) for start, end in public.find(seen.text)]
        found = [e for e in found if e.type not in KINDS or not _inside(e, places)]
    return _apart(found)


def _inside(entity: Entity, places: Sequence[tuple[int, int]]) -> bool:
    return any(start <= entity.start and entity.end <= end for start, end in places)


def scan_seen(text: str) -> list[Entity]:
    """Structured personal data in a text that is normalised already."""
    text = with_plain_numbers(text)
    hits = _hits(text)
    read = spelt_numbers.in_digits(text)
    if read is not None:
        hits += [(*read.original(start, end), kind) for start, end, kind in _hits(read.text)]
    return _apart([Entity(start, end, kind) for start, end, kind in hits])


def _hits(text: str) -> list[Hit]:
    asked = {detector.needs: False for detector in DETECTORS}  # most ask the same of a text
    asked = {needs: needs(text) for needs in asked}
    return [
        hit
        for detector in DETECTORS
        if asked[detector.needs] or any(sign in text for sign in detector.signs)
        for hit in detector.find(text)
    ]


def _apart(found: list[Entity]) -> list[Entity]:
    """Of entities that overlap, the longest; of equals, the kind that is named first."""
    order = {kind: number for number, kind in enumerate(TYPES)}
    kept: list[Entity] = []
    starts: list[int] = []
    for entity in sorted(found, key=lambda e: (e.start - e.end, order.get(e.type, 99), e.start)):
        at = bisect_right(starts, entity.start)
        free_before = at == 0 or kept[at - 1].end <= entity.start
        if free_before and (at == len(kept) or entity.end <= kept[at].start):
            starts.insert(at, entity.start)
            kept.insert(at, entity)
    return kept
