"""Where a number stands: alone or inside a longer one, and what the words before it call it."""

from __future__ import annotations

import re

from compliance.patterns import compile_pattern

Hit = tuple[int, int, str]  # start, end, type

_DIGIT = re.compile(r"\d[\d\s().-]{3,}\d|\d{4}")


def has_number(text: str) -> bool:
    return bool(_DIGIT.search(text))


def has_digit(text: str) -> bool:
    return any(sign in text for sign in "0123456789")


# Words before a number that say it is a thing of the firm's, not of a person.
_THING = compile_pattern(
    r"\b(?:order|ticket|invoice|tracking|booking|case|reference|ref|confirmation|serial|product|"
    r"batch|sku|isin|cusip|sedol|policy|claim|transaction|model|version|part|item|parcel|receipt|"
    r"job|incident|request|purchase|po|quote|contract|licen[sc]e key|build|error|voucher|coupon|"
    r"gift card|barcode|ean|upc|isbn|imei|asset|lot|form|article|section|rule|complaint|event|"
    r"shipment|consignment|delivery|dispatch|certificate|file|document|record|message|log|trade|"
    r"lei|fund|share|meter|catalogue|membership|loyalty|bond|note|security|crn|company"
    r"|registration|"
    r"vat|id of the \w+|timestamp|unix time|hash|commit|revision|firmware|page|chapter|figure"
    r"|table|bestell(?:ung|nummer)|auftrag|rechnung|vorgang|aktenzeichen|commande|facture|dossier"
    r"|pedido|factura|expediente|ordine|fattura|pratica|factuur)s?"
    r"(?:'s)?(?: (?:number|no|nr|id|code|reference|ref|#))?\.?\s*(?:is|was|of|:|#|-|=|\(|no\.?)*\s*"
    r"#?(?-i:[A-Z]{0,5}[-#/])?\s*$"
)


def is_thing(text: str, start: int) -> bool:
    return bool(_THING.search(text[max(0, start - 45) : start]))


def edges(text: str, start: int, end: int) -> bool:
    """Whether a number stands by itself: no letter, digit or further group touches it."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before and (before[-1].isalnum() or before[-1] in "_/#£$€"):
        return False
    if len(before) == 2 and before[-1] in "-." and before[0].isalnum():
        return False
    if after and (after[0].isalnum() or after[0] in "_%"):
        return False
    return not (len(after) == 2 and after[0] in "-./" and after[1].isalnum())
