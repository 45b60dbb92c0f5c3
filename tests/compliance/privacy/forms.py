"""Personal data in the forms of many countries, made by rule, in sentences; and what only looks so.

    python tests/compliance/privacy/forms.py                # totals of both halves

Cards follow the issuers' ranges (ISO/IEC 7812) with a right check digit, telephones the examples of
each plan (phonenumbers' own metadata) written in the plan's national and international way,
addresses the order of parts that the Universal Postal Union gives for a country. Two halves by
seed: ``development`` may be read; of ``unseen`` only totals are printed. Nothing was changed here
after the detectors were first measured on it.
"""

from __future__ import annotations

import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import phonenumbers
from stdnum import luhn

from compliance.privacy.scan import scan

SEEDS = {"development": 11, "unseen": 4711}
Case = tuple[str, int, int, str]  # text, start, end, kind; "" where there is nothing to find

ISSUERS = (  # first digits, length
    *(("4", 16), ("4", 13), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16)),
    *(("34", 15), ("37", 15), ("36", 14), ("300", 14), ("38", 14), ("39", 16), ("6011", 16)),
    *(("65", 16), ("644", 16), ("3528", 16), ("3589", 16), ("2131", 15), ("1800", 15)),
    *(("5018", 12), ("5038", 12), ("6304", 12), ("6759", 12), ("6762", 12), ("5018", 13)),
    *(("6759", 16), ("6759", 18), ("62", 16), ("62", 19), ("508", 16), ("2200", 16), ("8600", 16)),
)
GROUPED = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4), 12: (4, 4, 4), 19: (4, 4, 4, 4, 3)}
CARD_FRAMES = (
    "My card number is {}.",
    "I lost my credit card {} yesterday",
    "Please raise the limit of card {}, will you?",
    "How do I block {}? It is my debit card.",
    "Visa {}",
    "They charged {} twice, that is my Mastercard.",
    "cc: {} exp 04/27",
    "Is the payment from {} through? I paid by card.",
)
_REGIONS = "US GB DE FR NL IT ES AU CA CH JP IN BR SE PL AT BE IE PT DK NO FI CZ HU"
REGIONS = _REGIONS.split()
PHONE_FRAMES = (
    "Call me on {} after six.",
    "My phone is {}",
    "They do not pick up at {}, I rang twice.",
    "Phone:\n{}\nE-mail:\nnone",
    "Mobile: {}",
    "You reach me under {}.",
    "{} is my mobile number",
    "Fax: {}",
)
_TOWNS = "Norvale Zellbach Aubrac Hemsdorp Colverde Tarrega Umari Kestrel Brookmere Lindau"
TOWNS = _TOWNS.split()
_NAMES = "Alder Birkner Montclar Veldkamp Corvino Serrano Otway Kirra Nakada Wexler"
NAMES = _NAMES.split()
ADDRESS_FRAMES = (
    "I live at {}.",
    "Please send it to {}",
    "My new address is {}, since May.",
    "Dear Sirs,\n\n{}\n\nThank you.",
    "{}",
    "The parcel went to {} by mistake.",
)
NOTHING = (
    "The fee is {d3}.{d2} euros a year on {d2},{d3},{d3} of assets.",
    "Your order {d12} of {date} has left our house.",
    "Reference {d4}-{d4}-{d4}, please quote it when you call.",
    "We are open Monday to Friday 9:00-17:30, Saturdays 10-14.",
    "Call us between 8 and 18 on {date}, or write.",
    "In {year} we had {d4} customers in {d2} countries.",
    "Product code {A}{A}{d6} replaces {A}{A}{d5}.",
    "Invoice {d8} over {d4}.{d2} is due on {date}.",
    "The index rose from {d4}.{d2} to {d4}.{d2} between 2019 and {year}.",
    "Clause {d1}.{d1}.{d2} of the terms, page {d3}.",
    "Ticket {d7} is closed; case {d9} is open.",
    "The range is {d4}–{d4} shares, tranche {d3}.",
    "The fund returned {d1}.{d2}% over {d2} months and {d2} days.",
    "Tracking number {d10}, sent on {date} at 10:30:00.",
    "At 12 places in {year}, Table 4 and Figure 12 show {d2} banks.",
    "The Berlin branch has {d3} staff, London {d4}, Paris {d2}.",
    "ISIN {A}{A}{d10} and policy {d9} are listed in Annex 3.",
    "In March {year} New Bonds 2030 paid {d1}.{d2} %.",
    "He said 100 Years of Growth is a book of {d3} pages.",
    "The Platz 2 Account costs {d2} a month, the Park 3 Account {d1}.",
)


def cards(chance: random.Random) -> str:
    """A card's number, plain or grouped by some sign."""
    begins, length = chance.choice(ISSUERS)
    digits = begins + "".join(chance.choices(string.digits, k=length - len(begins) - 1))
    digits += luhn.calc_check_digit(digits)
    groups, sign = GROUPED.get(length), chance.choice(("", "", " ", "-", "–", "\u00a0", "\t", "."))
    if not groups or not sign:
        return digits
    cuts = [sum(groups[:n]) for n in range(len(groups) + 1)]
    return sign.join(digits[a:b] for a, b in pairwise(cuts))


def phones(chance: random.Random) -> str:
    """A number of a plan, with other last digits than its example, as it is written there."""
    region = chance.choice(REGIONS)
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    while True:
        example = phonenumbers.example_number_for_type(region, chance.choice(kinds))
        digits = str(example.national_number)
        digits = digits[:-4] + "".join(chance.choices(string.digits, k=4))
        number = phonenumbers.PhoneNumber(
            country_code=example.country_code,
            national_number=int(digits),
            italian_leading_zero=example.italian_leading_zero,
        )
        if phonenumbers.is_valid_number(number):
            break
    style = chance.choice(("NATIONAL", "NATIONAL", "INTERNATIONAL", "E164"))
    told = phonenumbers.format_number(number, getattr(phonenumbers.PhoneNumberFormat, style))
    sign = chance.choice((" ", " ", "-", ".", "–", "/", ""))
    return told.replace(" ", sign) if sign != "/" or style == "NATIONAL" else told


def addresses(chance: random.Random) -> str:
    """An address in the order of parts of some country, on one line or several."""
    n, code = chance.randint(1, 240), "".join(chance.choices("123456789", k=5))
    name, town, flat = chance.choice(NAMES), chance.choice(TOWNS), chance.randint(1, 99)
    letter = chance.choice("BCEHKLMS")
    forms = (
        f"{n * 9} {name} {chance.choice(('St', 'Loop', 'Ave', 'Trail', 'Ports'))}\nSuite {flat}|"
        f"{town}, {chance.choice(('NY', 'TX', 'CO', 'OR'))} {code}",
        f"{n} {name} Road|{town}|{letter}{letter}{flat % 9} {n % 9}AB",
        f"{name}straße {n}|{code} {town}",
        f"Am {name} {n}a|{code} {town}|Germany",
        f"{n} rue de {name}|{code} {town.upper()}",
        f"{name}laan {n}|{code[:4]} AB {town}",
        f"Via {name} {n}|{code} {town} MI",
        f"C/ {name}, {n}, 2º B|{code} {town}",
        f"P.O. Box {code[:4]}|{town}, CA {code}",
        f"Postfach {code[:4]}|{code} {town}",
        f"PSC {code[:4]}, Box {code[1:]}\nAPO AE 09{code[:3]}",
        f"USS {name}\nFPO AP 96{code[:3]}",
        f"Unit {flat} Box {n}\nDPO AA 34{code[:3]}",
        f"{flat}/{n} {name} Parade|{town} NSW {code[:4]}",
        f"{n} {name} Crescent|{town} ON  M{flat % 9}B 1{letter}2",
        f"{name}weg {n}|CH-{code[:4]} {town}",
        f"{flat % 9 + 1}-{n % 30 + 1}-5 {name}|{town}-ku, Tokyo {code[:3]}-{code[:4]}|Japan",
        f"ul. {name}a {n}/{flat}|{code[:2]}-{code[2:]} {town}|Poland",
        f"{name}gatan {n}|{code[:3]} {code[3:]} {town}|Sweden",
        f"Rua {name} {n}|{code[:4]}-{code[1:4]} {town}|Portugal",
    )
    return chance.choice(forms).replace("|", chance.choice((", ", "\n", "\n ")))


def nothing(chance: random.Random) -> str:
    """A sentence of a firm's with numbers that are nobody's."""
    text = chance.choice(NOTHING)
    while "{" in text:
        at, end = text.index("{"), text.index("}")
        what = text[at + 1 : end]
        if what == "date":
            made = f"{chance.randint(1, 28)}/{chance.randint(1, 12)}/20{chance.randint(10, 29)}"
        elif what == "year":
            made = str(chance.randint(1990, 2029))
        elif what == "A":
            made = chance.choice(string.ascii_uppercase)
        else:
            made = "".join(chance.choices("123456789", k=int(what[1:])))
        text = text[:at] + made + text[end + 1 :]
    return text


MAKERS: dict[str, tuple[Callable[[random.Random], str], tuple[str, ...]]] = {
    "CARD": (cards, CARD_FRAMES),
    "PHONE": (phones, PHONE_FRAMES),
    "ADDRESS": (addresses, ADDRESS_FRAMES),
    "": (nothing, ("{}",)),
}


def cases(half: str, each: int = 400) -> Iterator[Case]:
    """As many texts of each kind, and as many with nothing in them."""
    chance = random.Random(SEEDS[half])
    for kind, (make, frames) in MAKERS.items():
        for _ in range(each):
            words, frame = make(chance), chance.choice(frames)
            start = frame.index("{}")
            yield frame.replace("{}", words), start, start + len(words), kind


def measure(half: str, each: int = 400) -> Counter[str]:
    """By kind: how many there are, ``KIND found``, ``KIND whole`` (80 % of it), and ``false``."""
    counts: Counter[str] = Counter()
    for text, start, end, kind in cases(half, each):
        found = scan(text)
        right = [e for e in found if e.type == kind and e.start < end and start < e.end]
        covered = sum(min(end, e.end) - max(start, e.start) for e in right)
        counts[kind] += 1
        counts[f"{kind} found"] += bool(right)
        counts[f"{kind} whole"] += covered >= 0.8 * (end - start)
        counts["right"] += len(right)
        counts["false"] += len(found) - len(right)
    return counts


if __name__ == "__main__":
    for half in SEEDS:
        told = measure(half)
        for kind in ("CARD", "PHONE", "ADDRESS"):
            found, whole = (told[f"{kind} {how}"] / told[kind] for how in ("found", "whole"))
            print(f"{half} {kind}: found {found:.3f}, whole {whole:.3f}")
        print(f"{half} precision: {told['right'] / (told['right'] + told['false']):.3f}")
