"""Numbers that name a person or an account: cards, IBANs, national and bank numbers.

What has a check digit is checked (python-stdnum). Numbers without one count only beside words that
say what they are ("account number"); an order number that happens to pass a card's check digit is
an order number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain

from stdnum import iban as iban_numbers
from stdnum import luhn
from stdnum.iso7064 import mod_97_10
from stdnum.us import rtn

from compliance.patterns import Lists, compile_pattern, either
from compliance.privacy.detectors.surroundings import Hit, edges, is_thing

_LISTS = Lists.beside(__file__)

# --- numbers that check themselves ---------------------------------------------------------------

# A number that checks itself may go on in the next line of a text that was wrapped.
_CARD = compile_pattern(r"\d(?:[\s.-]{0,2}\d){11,}")
_LENGTHS = range(19, 11, -1)  # ISO/IEC 7812
# An issuer's first digits, and how many its cards have: a card's whatever stands beside it.
_ISSUERS = (
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-59]|6|8|9)"), (14, 16, 19)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16,)),
    (re.compile(r"2131|1800"), (15,)),
    (re.compile(r"4"), (16, 13, 19)),
    (re.compile(r"2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|5[1-5]"), (16,)),
    (re.compile(r"5(?:018|020|038|[78]93)|6304|6390|67(?:59|6[1-3])"), (12,)),
    (re.compile(r"5[0678]|6"), (16, 19, 18, 17, 15, 14, 13)),
)
_CARD_SAID = _LISTS.compile(r"\b<card>\b[^.;!?]{0,60}$")
_CARD_SAID_AFTER = _LISTS.compile(r"^[^;!?]{0,45}\b<card>\b")
_OTHER_CARD = _LISTS.compile(r"\b<other_card>")


def cards(text: str) -> list[Hit]:
    """Payment cards: an issuer's first digits and length, and Luhn's check digit.

    Where the words say that it is a card, any issuer and any length that there may be. A run of
    digits may hold more than the number, such as a date behind it: every group may begin one, and
    it ends where a group ends.
    """
    found = []
    for run in _CARD.finditer(text):
        places = [run.start() + at for at, c in enumerate(run.group()) if c.isdigit()]
        said = _card_is_said(text, *run.span())
        at = 0
        while at + 12 <= len(places):
            first = at == 0 or places[at] - places[at - 1] > 1
            taken = _card_at(text, places[at : at + 20], said) if first else 0
            start, end = places[at], places[at + max(taken, 1) - 1] + 1
            if taken and edges(text, start, end) and (said or not is_thing(text, start)):
                found.append((start, end, "CARD"))
            at += taken or 1
    return found


def _card_is_said(text: str, start: int, end: int) -> bool:
    """Whether the words around a number call it a card's, and no gift card's."""
    before, after = text[max(0, start - 80) : start], text[end : end + 60]
    if _OTHER_CARD.search(before) or is_thing(text, start):
        return False
    return bool(_CARD_SAID.search(before) or _CARD_SAID_AFTER.search(after))


def _card_at(text: str, places: list[int], said: bool) -> int:
    """How many of the digits at these places are a card's number, or 0."""
    digits = "".join(text[place] for place in places)
    known = [lengths for begins, lengths in _ISSUERS if begins.match(digits)]
    for length in chain(*known, _LENGTHS if said else ()):
        whole = len(digits) == length or (
            len(digits) > length and places[length] - places[length - 1] > 1
        )
        if whole and luhn.is_valid(digits[:length]) and len(set(digits[:length])) > 1:
            return length
    return 0


_IBAN_HEAD = compile_pattern(r"\b[A-Z] ?[A-Z] ?\d ?\d")
_IBAN = compile_pattern(r"[A-Z] ?[A-Z] ?\d ?\d(?:[\s./-]{0,2}[A-Z0-9]){11,30}\b")


def ibans(text: str) -> list[Hit]:
    """IBANs by their country's length and check digits, however they are grouped."""
    found = []
    for head in _IBAN_HEAD.finditer(text):
        start = head.start()
        hit = _IBAN.match(text[start : start + 100])
        said = "iban" in text[max(0, start - 40) : start].lower()
        value = hit.group() if hit else ""
        end = next((end for end in _ends(value) if _valid_iban(value[:end], said)), 0)
        if end:
            found.append((start, start + end, "IBAN"))
    return found


def _ends(group: str) -> Iterator[int]:
    """The longest reading first, then without its last words: one may have been caught."""
    end = len(group)
    while end > 14:
        yield end
        cut = max(group.rfind(" ", 0, end), group.rfind("-", 0, end))
        if cut < 14:
            return
        end = cut


def _valid_iban(value: str, said: bool) -> bool:
    """By country and check digits; where the word stands before it, check digits are enough."""
    bare = re.sub(r"[\s./-]", "", value).upper()
    if said and mod_97_10.is_valid(bare[4:] + bare[:4]):
        return True
    return bool(iban_numbers.is_valid(bare, check_country=False))


_SSN = compile_pattern(r"\d{3}[- .]\d{2}[- .]\d{4}")
_SSN_PLAIN = _LISTS.compile(
    r"\b<social_security>\b(?: (?:number|num|no)\b\.?)?(?:[\w' ]{0,30}?)?[\s:#=-]{0,4}"
    r"(\d{9}|\d{3} ?\d{2} ?\d{4})\b"
)


def ssns(text: str) -> list[Hit]:
    """US social security and taxpayer numbers that can have been issued."""
    spans = {hit.span() for hit in _SSN.finditer(text) if not is_thing(text, hit.start())}
    spans |= {hit.span(1) for hit in _SSN_PLAIN.finditer(text)}
    return [(a, b, "SSN") for a, b in spans if edges(text, a, b) and _issued(text[a:b])]


def _issued(value: str) -> bool:
    digits = re.sub(r"\D", "", value)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or group == "00" or serial == "0000":
        return False
    return area[0] != "9" or 50 <= int(group) <= 99  # from 9 on: a taxpayer number (ITIN)


_NINO = compile_pattern(
    r"\b((?:QQ|[ABCEGHJ-PRSTW-Z] ?[ABCEGHJ-NPRSTW-Z])(?:[ .-]{0,2}\d){6}[ .-]{0,2}[A-D])\b"
)
_NINO_SAID = _LISTS.compile(  # without its last letter, where it is said to be one
    r"\b<national_insurance>\b[^.;!?\d\n]{0,30}?"
    r"\b([A-Z]{2}(?:[ .-]{0,2}\d{2}){3}(?:[ .-]?[A-D])?)\b"
)
_NINO_LIKE = _LISTS.compile(
    r"\b<like_national_insurance>s?(?: (?:number|no|code|id|ref|reference))?\.?"
    r"\s*(?:is|was|:|#|-)*\s*$"
)
_INSURANCE = compile_pattern(r"\bnational insurance\b|\bnino\b|\bni (?:number|no)\b")
_NEVER_GIVEN = ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def ninos(text: str) -> list[Hit]:
    """UK national insurance numbers, without the prefixes that are never given."""
    return [
        (*hit.span(1), "NINO")
        for pattern in (_NINO, _NINO_SAID)
        for hit in pattern.finditer(text)
        if not hit.group(1).upper().startswith(_NEVER_GIVEN)
        and re.search("[1-9]", hit.group(1))  # "AA 00 00 00 A" shows the form
        and (
            not _NINO_LIKE.search(text[max(0, hit.start() - 40) : hit.start()])
            or _INSURANCE.search(text)
        )
    ]


# --- numbers that need a word beside them -------------------------------------------------------


def _beside(
    words: str, kind: str, value: str, check: Callable[[str], bool]
) -> Callable[[str], list[Hit]]:
    """A detector of what stands right behind a list's words."""
    pattern = _LISTS.compile(rf"\b<{words}><is>{value}")

    def find(text: str) -> list[Hit]:
        return [
            (hit.start(1), hit.end(1), kind)
            for hit in pattern.finditer(text)
            if check(hit.group(1))
        ]

    return find


def _around(
    words: str, kind: str, value: str, check: Callable[[str], bool]
) -> Callable[[str], list[Hit]]:
    """Like :func:`_beside`, with other words between, or with the number first."""
    before = _LISTS.compile(rf"\b<{words}>\b\.?[^.;!?\d\n]{{0,45}}?\b{value}")
    after = _LISTS.compile(rf"\b{value}(?:,| is| was| as|\))*(?: [a-z']+){{0,4}}? <{words}>\b")

    def find(text: str) -> list[Hit]:
        return [
            (hit.start(1), hit.end(1), kind)
            for pattern in (before, after)
            for hit in pattern.finditer(text)
            if check(hit.group(1)) and edges(text, hit.start(1), hit.end(1))
        ]

    return find


def _digits(low: int, high: int) -> Callable[[str], bool]:
    return lambda value: low <= sum(c.isdigit() for c in value) <= high


def _valid_routing(value: str) -> bool:
    return rtn.is_valid(re.sub(r"\D", "", value))


routing_us = _beside(
    "routing",
    "ROUTING",
    r"(\d{3,9}(?:[ -]?\d{2,5}){0,2})\b",
    _valid_routing,
)
sort_code = _beside(
    "sort_code",
    "ROUTING",
    r"(\d{2}[ -]?\d{2}[ -]?\d{2,4}|\d{3} \d{3} \d{2}|\d{3}-\d{3})\b",
    _digits(6, 8),
)
account = _beside(
    "account",
    "ACCOUNT",
    r"(\d(?:[ -]?\d){5,16})\b",
    _digits(6, 17),
)
routing_around = _around(
    "routing_around",
    "ROUTING",
    r"(\d{9}|\d{4}-\d{4}-\d|\d{3} \d{3} \d{3})\b",
    _valid_routing,
)
sort_around = _around(
    "sort_code_around",
    "ROUTING",
    r"(\d{2}-\d{2}-\d{2}|\d{2} \d{2} \d{2}|\d{6})\b",
    _digits(6, 6),
)
account_around = _around(
    "account_around",
    "ACCOUNT",
    r"(\d{8}|\d{7,12}|\d{2,4}[ -]\d{3,4}[ -]\d{3,4}|\d{4}[ -]\d{4})\b",
    _digits(7, 17),
)
ssn_around = _around(
    "social_security_around",
    "SSN",
    r"(\d{3}[ .-]?\d{2}[ .-]?\d{4})\b",
    _issued,
)
PASSPORT_SIGN = _LISTS.compile("<passport>")
_PASSPORT = r"([A-Z]{0,2}\d{6,9}[A-Z]?|(?-i:[CFGHJKLMNPRTVWXYZ0-9]{9}))\b"
passport_around = _around("passport", "PASSPORT", _PASSPORT, _digits(3, 9))
national_around = _around(
    "national_around",
    "NATIONAL_ID",
    r"(<german>|(?-i:[A-Z]{1,6} ?)?\d[\dA-Z]{0,15}"
    r"(?:[ ./-][\dA-Z]*\d[\dA-Z]*){0,7}[A-Z]?)\b",
    _digits(7, 15),
)
_BANK_PAIR = compile_pattern(
    r"\b(\d{2}-\d{2}-\d{2})(?:[ ,;/|]+|\s+(?:and|with|account)\s+)(\d{8})\b"
)

_BANK_PAIR_US = compile_pattern(r"\b(\d{9})(?: ?[/|] ?|, |; | and )(\d{6,12})\b")


def bank_pairs(text: str) -> list[Hit]:
    """A UK sort code or a US routing number with the account number behind it."""
    hits = list(_BANK_PAIR.finditer(text))
    hits += (hit for hit in _BANK_PAIR_US.finditer(text) if _valid_routing(hit.group(1)))
    return [(*hit.span(1), "ROUTING") for hit in hits] + [(*hit.span(2), "ACCOUNT") for hit in hits]


passport = _beside("passport", "PASSPORT", _PASSPORT, _digits(3, 9))
licence = _beside(
    "licence",
    "LICENCE",
    r"([A-Z]{1,5}[- ]?\d[A-Z0-9 -]{4,16}\d[A-Z0-9]{0,3}|\d{7,9})\b",
    _digits(5, 14),
)
_UK_LICENCE = compile_pattern(r"\b(?-i:[A-Z9]{5}\d{6}[A-Z9]{2}[A-Z\d][A-Z]{2})\b")


def licence_by_form(text: str) -> list[Hit]:
    """UK driving licences, whose sixteen characters nothing else looks like."""
    return [(*hit.span(), "LICENCE") for hit in _UK_LICENCE.finditer(text)]


national_id = _beside(
    "national",
    "NATIONAL_ID",
    r"(<german>|(?-i:[A-Z]{1,6}[ -]?)?\d[\dA-Z]*"
    r"(?:[ ./-]?[\dA-Z]*\d[\dA-Z]*){0,7}[A-Z]?)\b",
    _digits(6, 15),
)
_FRENCH = compile_pattern(r"\b[1278] ?\d\d ?(?:0[1-9]|[1-9]\d) ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d\b")
_BELGIAN = compile_pattern(r"\b\d\d\.\d\d\.\d\d-\d{3}[.-]\d\d\b")
_ITALIAN = compile_pattern(r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b")
_SWISS = compile_pattern(r"\b756\.\d{4}\.\d{4}\.\d{2}\b")
_SPANISH = compile_pattern(r"\b(?:[XYZ]-?)?\d{7,8}-?[A-HJ-NP-TV-Z]\b")
BY_FORM = either(p.pattern for p in (_FRENCH, _BELGIAN, _ITALIAN, _SWISS, _SPANISH))


def national_ids_by_form(text: str) -> list[Hit]:
    """National numbers whose form alone gives them away."""
    from stdnum.be import nn
    from stdnum.ch import ssn as ahv
    from stdnum.es import dni, nie
    from stdnum.fr import nir
    from stdnum.it import codicefiscale

    checks = (
        (_FRENCH, nir.is_valid),
        (_BELGIAN, nn.is_valid),
        (_ITALIAN, codicefiscale.is_valid),
        (_SWISS, ahv.is_valid),
    )
    found = [
        (*hit.span(), "NATIONAL_ID")
        for pattern, valid in checks
        for hit in pattern.finditer(text)
        if valid(hit.group())
    ]
    for hit in _SPANISH.finditer(text):
        value = hit.group().replace("-", "").upper()
        if (dni.is_valid(value) or nie.is_valid(value)) and not is_thing(text, hit.start()):
            found.append((*hit.span(), "NATIONAL_ID"))
    return found
