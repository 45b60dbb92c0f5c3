"""How and where a person is reached, and when born: e-mail, IP and street address, birth date."""

from __future__ import annotations

import ipaddress
import re

from compliance.patterns import compile_pattern
from compliance.privacy.detectors.surroundings import Hit, edges

# --- e-mail, IP ----------------------------------------------------------------------------------

_EMAIL = compile_pattern(
    r"[A-Z0-9][A-Z0-9._%+'-]*@[A-Z0-9](?:[A-Z0-9-]*[A-Z0-9])?(?:\.[A-Z0-9-]+)*\.[A-Z]{2,24}\b"
)
# "at" and "dot" spelt out; where "point" is the dot, the at must be no English word.
_PART = r"[A-Z0-9][A-Z0-9._%+-]*"
_DOT = r"\s?(?:\[dot\]|\(dot\)|\{dot\}|\s(?:dot|punkt)\s)\s?"
_DOT_OR_SIGN = rf"(?:{_DOT}|\.)"
_POINT = r"(?:\s(?:dot|point|punto|ponto|punkt|punt)\s|\.)"
_EMAIL_SPOKEN = [
    compile_pattern(rf"\b{_PART}(?:{dot}{_PART}){{0,3}}{at}[A-Z0-9-]+(?:{dot}[A-Z0-9-]+)+\b")
    for dot, at in (
        (_DOT, r"\sat\s"),
        (_DOT_OR_SIGN, r"\s?(?:\[at\]|\(at\)|\{at\})\s?"),
        (_POINT, r"\s(?:arobase|arroba|chiocciola|klammeraffe|apenstaartje)\s"),
        (_POINT, r"\s?@\s?"),
    )
]
_IN_URL = re.compile(r"://\S*$")  # "//user:password@host"


def emails(text: str) -> list[Hit]:
    """E-mail addresses, also where "at" and "dot" are spelt out."""
    return [
        (*hit.span(), "EMAIL")
        for pattern in (_EMAIL, *_EMAIL_SPOKEN)
        for hit in pattern.finditer(text)
        if not _IN_URL.search(text[max(0, hit.start() - 80) : hit.start()])
    ]


_IP4 = compile_pattern(r"(?:\d{1,3}\.){3}\d{1,3}")
_IP6 = compile_pattern(r"[0-9A-F]{0,4}(?::[0-9A-F]{0,4}){2,7}")
_NOT_IP = compile_pattern(
    r"\b(?:version|v|release|build|section|clause|chapter|paragraph|firmware|article|rule|item|ver|"
    r"software|app|update|upgrade[ds]?(?: to)?|tls|protocol|absatz|ziffer|abschnitt|kapitel|artikel"
    r"|paragraphe?|apartado|parrafo|articulo|articolo|punto|versione?)\.?\s*(?:is|to|:|from|number)?\s*$"
)


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


# --- dates of birth, addresses ------------------------------------------------------------------

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|januar|februar|marz|maerz|mai"
    r"|juni|juli|oktober|dezember|janvier|fevrier|mars|avril|juin|juillet|aout|septembre|octobre"
    r"|novembre|decembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre"
    r"|noviembre|diciembre|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre"
    r"|dicembre|januari|februari|maart|mei|augustus|janeiro|fevereiro|marco|maio|junho|julho"
    r"|setembro|outubro|novembro|dezembro)"
)
_ORDINAL = (
    "(?:(?:(?:twenty|thirty)[ -])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)"
    "|tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth"
    "|nineteenth|twentieth|thirtieth)"
)
_UNITS = "(?:one|two|three|four|five|six|seven|eight|nine)"
_YEAR = (
    r"(?:(?:19|20)\d\d|'\d\d|(?:nineteen|twenty)[ -](?:hundred(?: and)?[ -])?(?:oh[ -])?"
    rf"(?:ten|eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:[ -]{_UNITS})?"
    rf"|{_UNITS})|two thousand(?: and)?(?: (?:{_UNITS}|ten|eleven|twelve|\w+teen))?)"
)
_NUMBERED = r"\d{1,2}(?:st|nd|rd|th|er|\.)?"
_DAY = (
    rf"(?:(?:{_NUMBERED}|{_ORDINAL})(?: of| de)? {_MONTH}\.?,?(?: de| del| of)? {_YEAR}"
    rf"|{_MONTH}\.? (?:the )?(?:{_NUMBERED}|{_ORDINAL}),? {_YEAR}"
    rf"|{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,? \d\d"
    r"|\d{1,2}[./-]\d{1,2}[./-](?:19|20)?\d\d|\d{1,2}\.? \d{1,2}\.? (?:19|20)\d\d"
    rf"|(?:19|20)\d\d[./-]\d{{1,2}}[./-]\d{{1,2}}|(?:19|20)\d\d,? {_MONTH} \d{{1,2}}"
    rf"|\d{{1,2}}[- ]{_MONTH}[- ](?:19|20)?\d\d)"
)
# Words that say a date is of somebody's birth.
BIRTH = (
    r"d\.?o\.?b\b\.?|date[ -]of[ -]birth|birth[ -]?(?:date|day)s?|born|came into the world"
    r"|turn(?:s|ed|ing) (?:\d\d|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty)\b"
    r"|geb\.|geboren|geburtsdatum|geburtstag|geboortedatum|verjaardag|nee? le|naissance"
    r"|nacid[oa]|naci\b|nacio|nacimiento|cumpleanos|nascid[oa]|nat[oa] il|nascita|compleanno"
)
_BORN = compile_pattern(rf"\b(?:{BIRTH})(?:[^;!?\n]{{0,55}}?)\b({_DAY}|\d{{8}})\b")
_BORN_AFTER = compile_pattern(
    rf"({_DAY})(?: is| was|,|\)|\s)*(?:\w+ ){{0,6}}(?:(?:his|her|my|your|their|the customer's"
    rf"|the client's) )?"
    r"(?:date of birth|birth ?date|birthday|d\.?o\.?b|(?:i|he|she|they) (?:was|were) born"
    r"|geboren)\b"
)

# Between the words and a date that is no person's: "born after", "Born in the USA was released".
_NO_BIRTH = compile_pattern(
    r"\b(?:(?:after|before|since|until|between|from|nach|vor|seit|avant|apres|depuis|antes|despues"
    r"|desde|prima|dopo)(?: the| dem| del| du| le)?\s*$|(?:released|launched|published|founded)\b)"
)


def births(text: str) -> list[Hit]:
    """Dates that are said to be of birth; other dates are nobody's."""
    spans = [
        hit.span(1)
        for hit in _BORN.finditer(text)
        if not _NO_BIRTH.search(text[hit.start() : hit.start(1)])
    ]
    spans += (hit.span(1) for hit in _BORN_AFTER.finditer(text))
    return [(a, b, "DOB") for a, b in spans]


_STREET = (
    r"(?:street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|close|crescent|cres|"
    r"way|place|pl|terrace|ter|square|sq|gardens|gdns|grove|mews|parkway|pkwy|highway|hwy|row|hill|"
    r"walk|circle|cir|trail|trl|park|view|rise|green|wharf|quay|loop|alley|path|turnpike"
    r"|plaza|vale|"
    r"end|yard|croft|fold|broadway|common|meadow|meadows|heights|ridge|bend|run|pass|parade"
    r"|esplanade|promenade|gate|mount|hollow|mead|chase|side|lodge|point|drove|crossing"
    r"|embankment|causeway|villas|cottages)"
)
_UK_CODE = r"(?-i:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})"
_US_CODE = r"(?-i:[A-Z]{2}),? \d{5}(?:-\d{4})?"
_AU_CODE = r"(?-i:VIC|NSW|QLD|WA|SA|TAS|ACT|NT) \d{4}"
_TOWN = r"(?-i:[A-Z][A-Za-z'.-]+)(?: (?-i:[A-Z][A-Za-z'.-]+)| upon| on| of| le| de| la| the){0,3}"
_FLAT = r"(?:(?:flat|apartment|apt|unit|suite|room|floor)\.? ?#?\w{1,4},? )?"
_IE_CODE = r"(?-i:[A-Z]\d[\dW] ?[A-Z\d]{4})"
_TAIL = (
    rf"(?:,? (?:apt|apartment|unit|suite|ste|flat|#)\.? ?#?\w{{1,5}})?"
    rf"(?:,? {_TOWN}(?: \d{{1,2}})?){{0,2}}?,? "
    rf"(?:{_UK_CODE}|{_US_CODE}|{_IE_CODE}|{_AU_CODE}|\d{{5}})\b"
)
_ADDRESS = [
    compile_pattern(pattern)
    for pattern in (
        rf"\b{_FLAT}\d{{1,5}}[A-Z]?(?:[-/]\d{{1,4}})?,? (?:(?:north|south|east|west|n|s|e"
        rf"|w)\.? )?(?:(?-i:[A-Z][A-Za-z'.-]+|\d{{1,3}}(?:st|nd|rd|th)|[Tt]he"
        rf"|[Oo]f) ){{1,4}}(?-i:[A-Z])(?i:{_STREET[3:-1]})\b\.?(?:{_TAIL})",
        rf"\b{_FLAT}\d{{1,5}}[A-Z]?(?:[-/]\d{{1,4}})?,? (?:(?:north|south|east|west|n|s|e"
        rf"|w)\.? )?(?:(?-i:[A-Z][A-Za-z'.-]+|\d{{1,3}}(?:st|nd|rd|th)|[Tt]he"
        rf"|[Oo]f) ){{1,4}}{_STREET}\b\.?(?:{_TAIL})",
        rf"\b{_FLAT}\d{{1,5}}[A-Z]?(?:[-/]\d{{1,4}})?,? (?:(?:north|south|east|west|n|s|e"
        rf"|w)\.? )?(?:(?-i:[A-Z][A-Za-z'.-]+|\d{{1,3}}(?:st|nd|rd|th)|[Tt]he"
        rf"|[Oo]f) ){{1,4}}{_STREET}\b",
        rf"\bp\.? ?o\.? box \d{{1,6}}\b(?:{_TAIL})?",
        rf"\b(?-i:[A-Z][a-zA-Z]+)(?:strasse|str\.|weg|platz|allee"
        rf"|gasse) ?\d{{1,4}}[a-z]?(?:,? \d{{5}} {_TOWN})?",
        rf"\b\d{{1,4}},? (?:rue|avenue|boulevard|place|chemin|via|calle|plaza|viale|corso"
        rf"|allee|quai) (?:(?:de|du|des|la|le|les|del|della|d'"
        rf"|l') ?){{0,3}}(?-i:[A-Z])[\w'-]+(?: [A-Z][\w'-]+){{0,2}}(?:,? \d{{5}} {_TOWN})?",
        rf"\b(?:via|calle|rue|plaza|piazza|viale|corso) (?:(?:de|du|des|la|le|les|del|della"
        rf"|d'"
        rf"|l') ?){{0,3}}(?-i:[A-Z][\w'-]+)(?: (?-i:[A-Z][\w'-]+)){{0,2}},? \d{{1,4}}\b(?:,? "
        rf"\d{{5}} {_TOWN})?",
        rf"\b(?-i:(?:The )?[A-Z][\w'.-]+(?: [A-Z][\w'.-]+){{0,3}}(?:, [A-Z][\w'.-]+(?: [A-Z][\w'"
        rf".-]+){{0,3}}){{1,3}}),? {_UK_CODE}\b",
        rf"\b\d{{1,5}}[A-Z]? (?-i:[A-Z0-9][\w'.]*(?: [A-Z0-9][\w'.]*){{0,4}}(?:, [A-Z#][\w'. #]*"
        rf"){{1,3}}),? (?:{_US_CODE}"
        rf"|{_UK_CODE}|(?-i:[A-Z]{{2}} [A-Z]\d[A-Z] ?\d[A-Z]\d))\b",
        r"\b(?-i:[A-Z][\w'-]+(?: (?:[A-Z][\w'-]+|am|an|der|den|van|de|la"
        r"|del)){0,3}) \d{1,4}[a-z]?,? (?:[A-Z]{1,2}-)?\d{4,5}(?: (?-i:[A-Z]{2}))? (?-i:[A-Z][a-"
        r"z]+)",
        r"\b(?:rr|rural route|hc) \d+,? box \d+\b",
        rf"\b(?:lives?|living|resides?|residing|address(?: is)?|home is|moved to|flat"
        rf"|house)\b[^.;!?]{{0,40}}?((?-i:[A-Z])[\w' -]{{2,40}}, (?:{_TOWN}, ?)?{_UK_CODE})\b",
    )
]
_POSTCODE = compile_pattern(
    rf"\b(?:post ?code|postal code|zip(?: code)?)(?: is|:| was)? ({_UK_CODE}"
    rf"|\d{{5}}(?:-\d{{4}})?)\b"
)
_TOWN_BEHIND = compile_pattern(rf", {_TOWN}(?: \d{{1,2}})?(?:[.,;)]|$)")


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


_ADDRESS_SIGN = compile_pattern(
    rf"\d[A-Z]?,? (?:[\w'.-]+ ){{1,5}}?{_STREET}\b|\bbox \d|(?:strasse|str\.|weg|platz"
    rf"|gasse) ?\d|\b(?:rue|avenue|boulevard|place|quai|chemin|allee|piazza|corso|viale|via"
    rf"|calle|plaza|post ?code|zip)\b|{_UK_CODE}|{_US_CODE}"
    rf"|\d[a-z]?,? (?:[A-Z]{{1,2}}-)?\d{{4,5}} |(?-i:[A-Z]\d[A-Z] ?\d[A-Z]\d)"
)


def maybe_address(text: str) -> bool:
    return bool(_ADDRESS_SIGN.search(text))
