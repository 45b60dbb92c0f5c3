"""How and where a person is reached: e-mail, IP and street addresses, telephones; birth dates."""

from __future__ import annotations

import ipaddress
import re

import phonenumbers

from inhouse.clauses import compile_pattern
from inhouse.places import Hit, edges, is_thing

# --- e-mail, IP, secrets -------------------------------------------------------------------------

_EMAIL = compile_pattern(
    r"[A-Z0-9][A-Z0-9._%+'-]*@[A-Z0-9](?:[A-Z0-9-]*[A-Z0-9])?(?:\.[A-Z0-9-]+)*\.[A-Z]{2,24}\b"
)
_EMAIL_SPOKEN = compile_pattern(
    r"\b[A-Z0-9][A-Z0-9._%+-]*\s?(?:\[at\]|\(at\)|\{at\}"
    r"|\s+at\s+)\s?[A-Z0-9-]+(?:\s?(?:\[dot\]|\(dot\)|\{dot\}|\s+dot\s+)\s?[A-Z0-9-]+)+\b"
)


def emails(text: str) -> list[Hit]:
    """E-mail addresses, also where "at" and "dot" are spelt out."""
    spans = [hit.span() for pattern in (_EMAIL, _EMAIL_SPOKEN) for hit in pattern.finditer(text)]
    return [(a, b, "EMAIL") for a, b in spans]


_IP4 = compile_pattern(r"(?:\d{1,3}\.){3}\d{1,3}")
_IP6 = compile_pattern(r"[0-9A-F]{0,4}(?::[0-9A-F]{0,4}){2,7}")
_NOT_IP = compile_pattern(
    r"\b(?:version|v|release|build|section|clause|chapter|paragraph|firmware|article|rule|item|ver|"
    r"software|app|update|upgrade[ds]?(?: to)?|tls|protocol)\.?\s*(?:is|to|:|from|number)?\s*$"
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


# --- telephones ---------------------------------------------------------------------------------

_PHONE = compile_pattern(
    r"(?:\+|\b00[ -]?)[1-9]\d{0,2}[ .-]?(?:\(0\)[ .-]?)?\(?\d{1,5}\)?(?:[ .-]{0,2}\d{1,9}){1,5}"
    r"|\(\d{2,5}\)[ .-]?\d{2,4}(?:[ .-]?\d{2,5}){1,3}|\b1[ .-]\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}"
    r"|\b0\d{1,4}[ .-]?\d{2,4}(?:[ .-]?\d{2,4}){1,3}|\b\d{3}[ .-]\d{3}[ .-]\d{4}\b|\b\d{10,11}\b"
    r"|\b0\d{2,4}/ ?\d{5,8}\b|\b\d{3}-\d{4}\b|\b\d{2}(?:[ .]\d{2}){4}\b"
)
_CALL = compile_pattern(
    r"\b(?:phone|telephone|tel|mobile|cell(?:phone)?|call(?:ed|ing|s)?|ring|rang|text(?:ed)?"
    r"|sms|fax|"
    r"whatsapp|contact(?:ed)?|reach(?:ed|able)?|dial(?:led)?|landline|number|hotline"
    r"|extension|home|work|nummer|numero|telefon|handy|rufnummer|portable|movil|cellulare|"
    r"line|voicemail|ph|tel\.|mob|phoned)\b[^.;!?]{0,35}$"
)


def phones(text: str) -> list[Hit]:
    """Telephone numbers of an existing plan, or grouped like one beside a word that says so."""
    found = []
    for hit in _PHONE.finditer(text):
        start, end = hit.span()
        value = hit.group()
        number = sum(c.isdigit() for c in value)
        if not 7 <= number <= 15 or not _edges_phone(text, start, end):
            continue
        before = text[max(0, start - 60) : start]
        said = bool(_CALL.search(before))
        abroad = value.startswith("+") and _valid(value)
        if (is_thing(text, start) and not abroad) or (
            not said and _money_or_date(text, start, end, value)
        ):
            continue
        if _plausible(value, said):
            found.append((start, end, "PHONE"))
    return found


def _edges_phone(text: str, start: int, end: int) -> bool:
    if text[start] == "+" and (start == 0 or not text[start - 1].isalnum()):
        return not text[end : end + 1].isalnum()
    return edges(text, start, end)


_DATE = re.compile(r"\d{1,4}[.\s/-]\d{1,2}[.\s/-]\d{2,4}$")


def _money_or_date(text: str, start: int, end: int, value: str) -> bool:
    return bool(_DATE.match(value)) or text[end : end + 12].lstrip().startswith(
        ("%", "pounds", "dollars", "euros", "shares", "units")
    )


def _plausible(value: str, said: bool) -> bool:
    digits = re.sub(r"\D", "", value)
    abroad = value.startswith("+") or digits.startswith("00")
    if abroad:
        return _possible("+" + digits.removeprefix("00"), None)
    if digits.startswith("0"):
        grouped = bool(re.search(r"[ ().-]", value))
        if not 10 <= len(digits) <= 11:
            return said and (grouped or "/" in value) and 8 <= len(digits) <= 12
        return grouped or "/" in value or said or digits.startswith("07")
    if len(digits) == 7:
        return said
    if len(digits) == 10 and "(" not in value and not re.search(r"[ .-]", value):
        return said and _possible(value, "US")
    if len(digits) in (10, 11):
        return bool(_american(digits)) and (
            said or "(" in value or re.search(r"[ .-]", value) is not None
        )
    return said and _possible(value, "US")


def _american(digits: str) -> bool:
    return bool(re.fullmatch(r"1?[2-9]\d{2}[2-9]\d{6}", digits))


def _valid(value: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value, None))
    except phonenumbers.NumberParseException:
        return False


def _possible(value: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(value, region))
    except phonenumbers.NumberParseException:
        return False


# --- dates of birth, addresses ------------------------------------------------------------------

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|januar|februar|marz|maerz|mai"
    r"|juni|juli|oktober|dezember|janvier|fevrier|mars|avril|juin|juillet|aout|septembre|octobre"
    r"|novembre|decembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre"
    r"|noviembre|diciembre|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre"
    r"|dicembre)"
)
_ORDINAL = (
    "(?:twenty|thirty)?[ -]?(?:first|second|third|fourth|fifth|sixth|seventh|eighth"
    "|ninth)|tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth"
    "|eighteenth|nineteenth|twentieth|thirtieth"
)
_DAY = (
    rf"(?:\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH}\.?,? (?:19|20)\d\d"
    rf"|{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,? (?:19|20)\d\d"
    r"|\d{1,2}[./-]\d{1,2}[./-](?:19|20)?\d\d|(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2}"
    rf"|{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,? '?\d\d|\d{{1,2}}(?:st|nd|rd"
    rf"|th)?(?: of)? {_MONTH}\.?,? '\d\d"
    rf"|(?:{_ORDINAL})(?: of)? {_MONTH},? (?:19|20)\d\d"
    rf"|{_MONTH} (?:the )?(?:{_ORDINAL}),? (?:19|20)\d\d"
    rf"|{_MONTH} the \d{{1,2}}(?:st|nd|rd|th)?,? (?:19|20)\d\d"
    rf"|(?:the )?(?:{_ORDINAL})(?: of)? {_MONTH},? (?:nineteen|twenty|two thousand)(?:[ -]\w+)"
    rf"{{1,3}}"
    rf"|(?:19|20)\d\d,? {_MONTH} \d{{1,2}}"
    rf"|\d{{1,2}}[- ]{_MONTH}[- ](?:19|20)?\d\d)"
)
_DOB = compile_pattern(
    r"\b(?:d\.?o\.?b\.?|date[ -]of[ -]birth|birth[ -]?(?:date|day)|born|geboren|geburtsdatum"
    r"|geb\.|nee? le|"
    r"naissance|nacid[oa]|nacimiento|nat[oa] il|nascita|geboortedatum|came into the world"
    r"|turn(?:s|ed|ing) \d\d)\b"
    rf"(?:[^;!?\n]{{0,55}}?)({_DAY}|\d{{8}})\b"
)
_DOB_AFTER = compile_pattern(
    rf"({_DAY})(?: is| was|,|\)|\s)*(?:\w+ ){{0,6}}(?:(?:his|her|my|your|their|the customer's"
    rf"|the client's) )?"
    r"(?:date of birth|birth ?date|birthday|d\.?o\.?b)\b"
)


def births(text: str) -> list[Hit]:
    """Dates that are said to be of birth; other dates are nobody's."""
    spans = [hit.span(1) for pattern in (_DOB, _DOB_AFTER) for hit in pattern.finditer(text)]
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
_TOWN = r"(?-i:[A-Z][A-Za-z'.-]+)(?: (?-i:[A-Z][A-Za-z'.-]+)| upon| on| of| le| de| la| the){0,3}"
_FLAT = r"(?:(?:flat|apartment|apt|unit|suite|room|floor)\.? ?#?\w{1,4},? )?"
_TAIL = (
    rf"(?:,? (?:apt|apartment|unit|suite|ste|flat|#)\.? ?#?\w{{1,5}})?"
    rf"(?:,? {_TOWN}){{0,2}}?,? (?:{_UK_CODE}|{_US_CODE}|\d{{5}})\b"
)
_ADDRESS = [
    compile_pattern(pattern)
    for pattern in (
        rf"\b{_FLAT}\d{{1,5}}[A-Z]?(?:-\d{{1,4}})?,? (?:(?:north|south|east|west|n|s|e"
        rf"|w)\.? )?(?:(?-i:[A-Z][A-Za-z'.-]+|\d{{1,3}}(?:st|nd|rd|th)|[Tt]he"
        rf"|[Oo]f) ){{1,4}}(?-i:[A-Z])(?i:{_STREET[3:-1]})\b\.?(?:{_TAIL})",
        rf"\b{_FLAT}\d{{1,5}}[A-Z]?(?:-\d{{1,4}})?,? (?:(?:north|south|east|west|n|s|e"
        rf"|w)\.? )?(?:(?-i:[A-Z][A-Za-z'.-]+|\d{{1,3}}(?:st|nd|rd|th)|[Tt]he"
        rf"|[Oo]f) ){{1,4}}{_STREET}\b\.?(?:{_TAIL})",
        rf"\b{_FLAT}\d{{1,5}}[A-Z]?(?:-\d{{1,4}})?,? (?:(?:north|south|east|west|n|s|e"
        rf"|w)\.? )?(?:(?-i:[A-Z][A-Za-z'.-]+|\d{{1,3}}(?:st|nd|rd|th)|[Tt]he"
        rf"|[Oo]f) ){{1,4}}{_STREET}\b",
        r"\bp\.? ?o\.? box \d{1,6}\b",
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


def addresses(text: str) -> list[Hit]:
    """Where somebody lives: number and street, with town and postcode where they follow."""
    found = []
    for pattern in _ADDRESS:
        for hit in pattern.finditer(text):
            start, end = hit.span()
            found.append((start, end, "ADDRESS"))
    return found + [(*hit.span(1), "ADDRESS") for hit in _POSTCODE.finditer(text)]


_ADDRESS_SIGN = compile_pattern(
    rf"\d[A-Z]?,? (?:[\w'.-]+ ){{1,5}}?{_STREET}\b|\bbox \d|(?:strasse|str\.|weg|platz"
    rf"|gasse) ?\d|\b(?:rue|avenue|boulevard|place|quai|chemin|allee|piazza|corso|viale|via"
    rf"|calle|plaza|post ?code|zip)\b|{_UK_CODE}|{_US_CODE}"
    rf"|\d[a-z]?,? (?:[A-Z]{{1,2}}-)?\d{{4,5}} |(?-i:[A-Z]\d[A-Z] ?\d[A-Z]\d)"
)


def maybe_address(text: str) -> bool:
    return bool(_ADDRESS_SIGN.search(text))
