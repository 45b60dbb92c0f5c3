"""How and where a person is reached, and when born: e-mail, IP and street address, birth date."""

from __future__ import annotations

import ipaddress
import re

from compliance.patterns import Lists, compile_pattern
from compliance.privacy.detectors.surroundings import Hit, edges

_LISTS = Lists.beside(__file__)
_EMAIL = compile_pattern(
    r"[A-Z0-9][A-Z0-9._%+'-]*@[A-Z0-9](?:[A-Z0-9-]*[A-Z0-9])?(?:\.[A-Z0-9-]+)*\.[A-Z]{2,24}\b"
)
# In any script: a part holds a letter that is not ASCII, or the one above would have found it.
_EMAIL_ANY = compile_pattern(
    r"[\pL\pN][\pL\pN._%+'-]*@(?:[\pL\pN](?:[\pL\pN-]*[\pL\pN])?\.)+(?:\pL{2,24}|xn--[A-Z0-9-]{2,59})"
)
# "at" and "dot" spelt out; where "point" is the dot, the at must be no English word.
_PART = r"[A-Z0-9][A-Z0-9._%+-]*"
_DOT = r"\s?(?:\[dot\]|\(dot\)|\{dot\}|\s(?:dot|punkt)\s)\s?"
_DOT_OR_SIGN = rf"(?:{_DOT}|\.)"
_POINT = r"(?:\s<spoken_dot>\s|\.)"
_EMAIL_SPOKEN = [
    _LISTS.compile(rf"\b{_PART}(?:{dot}{_PART}){{0,3}}{at}[A-Z0-9-]+(?:{dot}[A-Z0-9-]+)+\b")
    for dot, at in (
        (_DOT, r"\sat\s"),
        (_DOT_OR_SIGN, r"\s?(?:\[at\]|\(at\)|\{at\})\s?"),
        (_POINT, r"\s<spoken_at>\s"),
        (_POINT, r"\s?@\s?"),
    )
]
_IN_URL = re.compile(r"://\S*$")  # "//user:password@host"


def emails(text: str) -> list[Hit]:
    """E-mail addresses, also where "at" and "dot" are spelt out."""
    return [
        (*hit.span(), "EMAIL")
        for pattern in (_EMAIL, _EMAIL_ANY, *_EMAIL_SPOKEN)
        for hit in pattern.finditer(text)
        if not _IN_URL.search(text[max(0, hit.start() - 80) : hit.start()])
    ]


_IP4 = compile_pattern(r"(?:\d{1,3}\.){3}\d{1,3}")
_IP6 = compile_pattern(r"[0-9A-F]{0,4}(?::[0-9A-F]{0,4}){2,7}")
_NOT_IP = _LISTS.compile(r"\b<numbered_thing>\.?\s*(?:is|to|:|from|number)?\s*$")


def ips(text: str) -> list[Hit]:
    """IP addresses, but no version numbers."""
    found = []
    for pattern in (_IP4, _IP6):
        for hit in pattern.finditer(text):
            start, end = hit.span()
            value = hit.group()
            if ":" in value and (value.count(":") < 3 or not re.search(r"[0-9a-fA-F]{2}", value)):
                continue
            before = text[max(0, start - 25) : start]
            if not edges(text, start, end) or _NOT_IP.search(before):
                continue
            try:
                ipaddress.ip_address(value)
            except ValueError:
                continue
            found.append((start, end, "IP"))
    return found


_BORN = _LISTS.compile(r"\b<birth>(?:[^;!?\n]{0,55}?)\b(<date>|\d{8})\b")
_BORN_AFTER = _LISTS.compile(
    r"(<date>)(?: is| was|,|\)|\s)*(?:\w+ ){0,6}(?:<whose> )?<birth_behind>\b"
)
_NO_BIRTH = _LISTS.compile(r"\b<no_birth>")
BIRTH_SIGN = _LISTS.compile(r"\b<birth>")


def births(text: str) -> list[Hit]:
    """Dates that are said to be of birth; other dates are nobody's."""
    spans = [
        hit.span(1)
        for hit in _BORN.finditer(text)
        if not _NO_BIRTH.search(text[hit.start() : hit.start(1)])
    ]
    spans += (hit.span(1) for hit in _BORN_AFTER.finditer(text))
    return [(a, b, "DOB") for a, b in spans]


_ADDRESS = _LISTS.compile_each("address")
_POSTCODE = _LISTS.compile(
    r"\b(?:post ?code|postal code|zip(?: code)?)(?: is|:| was)? (<uk_code>|\d{5}(?:-\d{4})?)\b"
)
_TOWN_BEHIND = _LISTS.compile(r", <town>(?: \d{1,2})?(?:[.,;)]|$)")
_ADDRESS_SIGN = _LISTS.compile("<address_sign>")


def addresses(text: str) -> list[Hit]:
    """Where somebody lives: number and street, with town and postcode where they follow."""
    found = [(*hit.span(1), "ADDRESS") for hit in _POSTCODE.finditer(text)]
    for pattern in _ADDRESS:
        for hit in pattern.finditer(text):
            start, end = hit.span()
            town = _TOWN_BEHIND.match(text[end : end + 60])
            end += town.end() if town else 0
            found.append((start, start + len(text[start:end].rstrip(" .,;)")), "ADDRESS"))
    return found


def maybe_address(text: str) -> bool:
    return bool(_ADDRESS_SIGN.search(text))
