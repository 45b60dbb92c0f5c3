"""One detector for each kind of personal data, in a table.

A detector takes a normalised text and returns where its kind stands. Beside each stands what a text
must have for it to be worth looking, so that most texts cost little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inhouse import contacts, credentials, identifiers
from inhouse.clauses import compile_pattern
from inhouse.places import Hit, has_digit, has_number

# In the order in which overlapping hits are decided.
TYPES = (
    "SECRET",
    "IBAN",
    "CARD",
    "SSN",
    "NINO",
    "NATIONAL_ID",
    "PASSPORT",
    "LICENCE",
    "ROUTING",
    "ACCOUNT",
    "EMAIL",
    "DOB",
    "IP",
    "PHONE",
    "ADDRESS",
    "PERSON",
)


@dataclass(frozen=True)
class Detector:
    """How to find one kind, and signs without which a text cannot hold it."""

    find: Callable[[str], list[Hit]]
    signs: tuple[str, ...] = ()
    needs: Callable[[str], bool] = lambda text: False


_SORT_SIGN = compile_pattern(r"\bsort[ -]?codes?\b|\bsc\b|\bbranch\b")
_SECRET_SIGN = compile_pattern(
    r"(?:\b|_)(?:pass|pw|pword|passwort|passe|contrasena|kennwort|keys|tokens|auth|npm|shpat"
    r"|ya29|whsec|password|passcode|passwd|pwd|phrase|key|secret|token|credentials?|pin|cvv2?"
    r"|cvc2?|cvn|code|otp|bearer|akia|asia)\b|"
    r"(?-i:sk[-_]|pk[-_]|rk[-_]|gh[a-z]_|github_pat|glpat|xox|hf_|AIza|SG\.|eyJ|AKIA|ASIA)"
    r"|://[^/\s]+@|-----BEGIN|recovery words|seed words"
)
_BIRTH_SIGN = compile_pattern(
    r"\b(?:d\.?o\.?b|birth|born|birthday|birthdate|geb|ne le|nee le|naissance|nacid"
    r"|nacimiento|nat[oa] il|nascita|geboortedatum|came into|turn(?:s|ed|ing) \d\d)"
)

DETECTORS = (
    Detector(credentials.secrets, needs=lambda text: bool(_SECRET_SIGN.search(text))),
    Detector(identifiers.ibans, needs=has_number),
    Detector(identifiers.cards, needs=has_number),
    Detector(identifiers.ssns, needs=has_number),
    Detector(identifiers.ninos, needs=has_number),
    Detector(identifiers.national_id, needs=has_digit),
    Detector(identifiers.national_ids_by_form, needs=has_digit),
    Detector(identifiers.passport, signs=("passport", "Passport", "PASSPORT")),
    Detector(identifiers.licence, needs=has_digit),
    Detector(identifiers.routing_us, needs=has_number),
    Detector(identifiers.sort_code, needs=has_number),
    Detector(identifiers.bank_pairs, needs=has_number),
    Detector(identifiers.routing_around, needs=has_number),
    Detector(identifiers.sort_around, needs=lambda text: bool(_SORT_SIGN.search(text))),
    Detector(identifiers.account_around, needs=has_number),
    Detector(identifiers.ssn_around, needs=lambda text: "ocial" in text or "SSN" in text.upper()),
    Detector(identifiers.passport_around, signs=("assport", "ASSPORT")),
    Detector(identifiers.national_around, needs=has_digit),
    Detector(identifiers.account, needs=has_number),
    Detector(contacts.emails, signs=("@", " at ", "(at)", "[at]", "{at}")),
    Detector(contacts.ips, signs=(".", ":")),
    Detector(contacts.births, needs=lambda text: bool(_BIRTH_SIGN.search(text))),
    Detector(contacts.phones, needs=has_number),
    Detector(contacts.addresses, needs=contacts.maybe_address),
)
