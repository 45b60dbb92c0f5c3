"""One detector for each kind of personal data, in a table.

A detector takes a normalised text and returns where its kind stands. Beside each stands what a text
must have for it to be worth looking, so that most texts cost little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compliance.patterns import compile_pattern
from compliance.privacy.detectors import contacts, identifiers, postal, secrets, telephones
from compliance.privacy.detectors.surroundings import Hit, has_digit, has_number


@dataclass(frozen=True)
class Detector:
    """How to find one kind, and signs without which a text cannot hold it."""

    find: Callable[[str], list[Hit]]
    signs: tuple[str, ...] = ()
    needs: Callable[[str], bool] = lambda text: False


_SORT_SIGN = compile_pattern(r"\b(?:sort|s/?c|branch)\b")
_DOT_SIGN = compile_pattern("dot|punkt")  # an address with "at" has it spelt out, too
DETECTORS = (
    Detector(secrets.secrets, needs=lambda text: bool(secrets.SIGN.search(text))),
    Detector(identifiers.ibans, needs=has_number),
    Detector(identifiers.cards, needs=has_number),
    Detector(identifiers.ssns, needs=has_number),
    Detector(identifiers.ninos, needs=has_number),
    Detector(identifiers.national_id, needs=has_digit),
    Detector(
        identifiers.national_ids_by_form, needs=lambda text: bool(identifiers.BY_FORM.search(text))
    ),
    Detector(identifiers.passport, needs=lambda text: bool(identifiers.PASSPORT_SIGN.search(text))),
    Detector(identifiers.licence, needs=has_digit),
    Detector(identifiers.licence_by_form, needs=has_number),
    Detector(identifiers.routing_us, needs=has_number),
    Detector(identifiers.sort_code, needs=has_number),
    Detector(identifiers.bank_pairs, needs=has_number),
    Detector(identifiers.routing_around, needs=has_number),
    Detector(identifiers.sort_around, needs=lambda text: bool(_SORT_SIGN.search(text))),
    Detector(identifiers.account_around, needs=has_number),
    Detector(identifiers.ssn_around, needs=lambda text: "ocial" in text or "SSN" in text.upper()),
    Detector(
        identifiers.passport_around, needs=lambda text: bool(identifiers.PASSPORT_SIGN.search(text))
    ),
    Detector(identifiers.national_around, needs=has_digit),
    Detector(identifiers.account, needs=has_number),
    Detector(
        contacts.emails,
        signs=("@", "(at)", "[at]", "{at}", "arro", "arob", "chioc", "klam", "apen"),
        needs=lambda text: " at " in text and bool(_DOT_SIGN.search(text)),
    ),
    Detector(contacts.ips, signs=(".", ":")),
    Detector(contacts.births, needs=lambda text: bool(contacts.BIRTH_SIGN.search(text))),
    Detector(telephones.phones, needs=has_number),
    Detector(telephones.called, needs=telephones.speaks_of_calling),
    Detector(contacts.addresses, needs=contacts.maybe_address),
    Detector(postal.postal_addresses, needs=postal.maybe_postal),
)
