"""Telephone numbers: by a country's plan (phonenumbers), their grouping, words beside them."""

from __future__ import annotations

import re

import phonenumbers

from compliance.patterns import Lists, compile_pattern
from compliance.privacy.detectors.surroundings import Hit, edges, is_thing

_NUMBER = compile_pattern(
    r"(?:\+|\b00[ -]?)[1-9]\d{0,2}[ .-]?(?:\(0\)[ .-]?)?\(?\d{1,5}\)?(?:[ .-]{0,2}\d{1,9}){1,5}"
    r"|\(\d{2,5}\)[ .-]?\d{2,4}(?:[ .-]?\d{2,5}){1,3}|\b1[ .-]\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}"
    r"|\b0\d{1,4} ?/ ?\d{3,8}(?:[ -]?\d{2,5}){0,3}\b"
    r"|\b0\d{1,4}[ .-]?\d{2,4}(?:[ .-]?\d{2,4}){1,3}|\b[2-9]\d{2}[ .-]\d{3}[ .-]\d{3,4}\b"
    r"|\b\d{9,11}\b|\b\d{3}-\d{4}\b|\b\d{2}(?:[ .]\d{2}){3,4}\b|\b\d{2} \d{3} \d{2} \d{2}\b"
    r"|\b[5-9]\d{2}(?:[ .-]\d{2}){3}\b"
)
_LISTS = Lists.beside(__file__)
_CALL = _LISTS.compile(r"\b(?:<telephone>|<perhaps>)\b[^.;!?]{0,35}$")
_SURELY_CALL = _LISTS.compile(r"\b<telephone>\b[^.;!?]{0,35}$")
# Plans whose national numbers begin with 0, and some whose numbers do not.
_WITH_0 = ("GB", "DE", "FR", "IT", "NL", "AT", "CH", "BE", "IE", "SE")
_WITHOUT_0 = ("ES", "IT", "PT", "PL", "DK", "NO")


def phones(text: str) -> list[Hit]:
    """Telephone numbers of an existing plan, or grouped like one beside a word that says so."""
    found = []
    for hit in _NUMBER.finditer(text):
        start, end = hit.span()
        value = hit.group()
        number = sum(c.isdigit() for c in value)
        if not 7 <= number <= 15 or not _stands_alone(text, start, end):
            continue
        before = text[max(0, start - 60) : start]
        said = bool(_CALL.search(before))
        abroad = value.startswith("+") and _valid(value)
        if is_thing(text, start) and not abroad:
            continue
        if not said and (_money_or_date(text, end, value) or _GROUP_BEFORE.search(before)):
            continue
        if _plausible(value, said, bool(_SURELY_CALL.search(before))):
            found.append((start, end, "PHONE"))
    return found


def _stands_alone(text: str, start: int, end: int) -> bool:
    if text[start] == "+" and (start == 0 or not text[start - 1].isalnum()):
        return not text[end : end + 1].isalnum()
    return edges(text, start, end)


_DATE = re.compile(r"\d{1,4}[.\s/-]\d{1,2}[.\s/-]\d{2,4}$")
_GROUP_BEFORE = re.compile(r"\d[ /]$")  # the end of a longer number
_AMOUNT = ("%", "pounds", "dollars", "euros", "eur", "€", "shares", "units")


def _money_or_date(text: str, end: int, value: str) -> bool:
    following = text[end : end + 12].lstrip().lower()
    return bool(_DATE.match(value)) or following.startswith(_AMOUNT)


def _plausible(value: str, said: bool, surely: bool) -> bool:
    """Whether a number may be a telephone's; ``said`` and ``surely``: that words say so."""
    digits = re.sub(r"\D", "", value)
    grouped = bool(re.search(r"[ ()./-]", value))
    if value.startswith("+") or digits.startswith("00"):
        return _possible("+" + digits.removeprefix("00"))
    if digits.startswith("0"):
        if 10 <= len(digits) <= 11:
            british = len(digits) == 11 and _valid(value, "GB")
            return grouped or said or digits.startswith("07") or british
        return grouped and 8 <= len(digits) <= 12 and (said or _valid(value, *_WITH_0))
    if len(digits) == 7:
        return said
    if re.fullmatch(r"1?[2-9]\d{2}[2-9]\d{6}", digits) and (said or grouped):  # North America's
        return True
    return (surely or (said and grouped)) and _valid(value, *_WITHOUT_0)


def _valid(value: str, *plans: str) -> bool:
    return any(
        phonenumbers.is_valid_number(number)
        for number in (_parsed(value, plan) for plan in plans or (None,))
        if number
    )


def _possible(value: str) -> bool:
    number = _parsed(value, None)
    return number is not None and phonenumbers.is_possible_number(number)


def _parsed(value: str, plan: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(value, plan)
    except phonenumbers.NumberParseException:
        return None
