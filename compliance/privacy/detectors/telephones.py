"""Telephone numbers: by a country's plan (phonenumbers), their grouping, words beside them."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

from compliance.patterns import Lists, compile_pattern
from compliance.privacy.detectors.surroundings import Hit, edges, has_number, is_thing

_NUMBER = compile_pattern(
    r"(?:\+|\b00[ -]?)[1-9]\d{0,2}[ .-]?(?:\(0\)[ .-]?)?\(?\d{1,5}\)?(?:[ .-]{0,2}\d{1,9}){1,5}"
    r"|\(\d{2,5}\)[ .-]?\d{2,4}(?:[ .-]?\d{2,5}){1,3}|\b1[ .-]\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}"
    r"|\b0\d{1,4} ?/ ?\d{3,8}(?:[ -]?\d{2,5}){0,3}\b"
    r"|\b0\d{1,4}[ .-]?\d{2,4}(?:[ .-]?\d{2,4}){1,3}|\b[2-9]\d{2}[ .-]\d{3}[ .-]\d{3,4}\b"
    r"|\b\d{9,11}\b|\b\d{3}-\d{4}\b|\b\d{2}(?:[ .]\d{2}){3,4}\b|\b\d{2} \d{3} \d{2} \d{2}\b"
    r"|\b[5-9]\d{2}(?:[ .-]\d{2}){3}\b"
)
# Where words speak of calling, any groups of digits: a country's plan decides, not the form.
_GROUPS = compile_pattern(r"(?:\+ ?)?\(?\d{1,14}\)?(?:[ ./-]{0,3}\(?\d{1,9}\)?){0,7}")
_EXTENSION = r"(?: ?(?:x|ext\.?|extension) ?\d{1,5})?"
_EXTENDED = re.compile(rf"{_EXTENSION}(?!\w)", re.IGNORECASE)
_LISTS = Lists.beside(__file__)
_CALL = _LISTS.compile(r"\b(?:<telephone>|<perhaps>)\b[^.;!?]{0,35}$")
_SURELY_CALL = _LISTS.compile(r"\b(?:<telephone>)\b\.?[^.;!?\n]{0,35}\s*$|\b<answering_at>\s*$")
_CALL_BEHIND = _LISTS.compile(
    r"^(?:,|\)|-| is| was)*(?: [a-z']+){0,2}[ -]?(?:<telephone>|office)\b"
)
# Plans whose national numbers begin with 0, and some whose numbers do not.
_WITH_0 = ("GB", "DE", "FR", "IT", "NL", "AT", "CH", "BE", "IE", "SE")
_WITHOUT_0 = ("ES", "IT", "PT", "PL", "DK", "NO")
# What is tried where words speak of calling.
_SAID = (
    *("US", "GB", "DE", "FR", "NL", "IT", "ES", "AU", "CH", "JP", "IN", "BR", "SE", "PL", "AT"),
    *("BE", "IE", "PT", "DK", "NO", "FI", "CZ", "HU", "SA", "PH", "ZA", "NZ", "IS", "GR", "RO"),
)


_CALL_SIGN = _LISTS.compile(r"\b(?:<telephone>|<answering_at>|office)\b")


def speaks_of_calling(text: str) -> bool:
    return has_number(text) and bool(_CALL_SIGN.search(text))


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
            found.append((start, _extended(text, end), "PHONE"))
    return found


def called(text: str) -> list[Hit]:
    """Numbers of any plan, however they are grouped, where the words speak of calling."""
    found = []
    for hit in _GROUPS.finditer(text):
        start, end = hit.span()
        value = hit.group()
        if not 7 <= sum(c.isdigit() for c in value) <= 15:
            continue
        whole = _extended(text, end)
        before, after = text[max(0, start - 60) : start], text[whole : whole + 30]
        behind = bool(_CALL_BEHIND.search(after))
        if not (behind or _SURELY_CALL.search(before)):
            continue
        if is_thing(text, start) or _MONEY.search(before) or _money_or_date(text, end, value):
            continue
        alone = text[start - 1 : start].isalpha() and value.count("-") == 2
        alone = alone or behind or whole > end or _stands_alone(text, start, end)
        if alone and _of_a_plan(value):
            found.append((start, whole, "PHONE"))
    return found


def _extended(text: str, end: int) -> int:
    """Where a number ends with its extension: "x123"."""
    extension = _EXTENDED.match(text, end)
    return extension.end() if extension else end


# A local number as it is grouped: "781 1704", "33 93 31 20".
_LOCAL = re.compile(r"\(?\d{1,5}\)?(?:[ .-]{1,3}\(?\d{2,6}\)?){1,4}")
_VERSION = re.compile(r"\.\d(?:\.|$)")


@lru_cache(maxsize=4096)
def _of_a_plan(value: str) -> bool:
    """Whether some plan has numbers like this one, with or without its area."""
    digits = re.sub(r"\D", "", value)
    if 7 <= len(digits) <= 9 and _LOCAL.fullmatch(value):
        return True  # no plan can tell
    serial = len(digits) > 13 and value.lstrip("(")[0] not in "+0"  # a device's, an account's
    if serial or _VERSION.search(value):
        return False
    if re.fullmatch(r"(?:00)?1?[2-9]\d{9}", digits):  # North America's; also areas not given out
        return True
    abroad = "+" + digits.removeprefix("00")
    return _valid(value, *_SAID) or (value[0] in "+0" and _possible(abroad))


def _stands_alone(text: str, start: int, end: int) -> bool:
    if text[start] == "+" and (start == 0 or not text[start - 1].isalnum()):
        return not text[end : end + 1].isalnum()
    return edges(text, start, end)


_DATE = re.compile(r"\d{1,4}[.\s/-]\d{1,2}[.\s/-]\d{2,4}$")
_GROUP_BEFORE = re.compile(r"\d[ /:]$")  # the end of a longer number, or of a time
_MONEY = re.compile(r"[$€£¥] ?$")
_AMOUNT = ("%", "pounds", "dollars", "euros", "eur", "€", "shares", "units")


def _money_or_date(text: str, end: int, value: str) -> bool:
    following = text[end : end + 12].lstrip().lower()
    return bool(_DATE.match(value)) or following.startswith(_AMOUNT)


def _plausible(value: str, said: bool, surely: bool) -> bool:
    """Whether a number may be a telephone's; ``said`` and ``surely``: that words say so."""
    digits = re.sub(r"\D", "", value)
    grouped = bool(re.search(r"[ ()./-]", value))
    if value.startswith("+") or digits.startswith("00"):
        abroad = "+" + digits.removeprefix("00")  # "00" alone may open any serial number
        return _possible(abroad) if grouped or said or value[0] == "+" else _valid(abroad)
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


@lru_cache(maxsize=4096)
def _parsed(value: str, plan: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(value, plan)
    except phonenumbers.NumberParseException:
        return None
