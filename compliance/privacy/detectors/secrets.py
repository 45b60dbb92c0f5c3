"""Keys, tokens, passwords and PINs: by their form, or by the words beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from compliance.normalise import Span
from compliance.patterns import compile_pattern
from compliance.privacy.detectors.surroundings import Hit, edges


def _compiled(*patterns: str) -> list[Any]:
    return [compile_pattern(pattern) for pattern in patterns]


# What nothing else looks like: the whole match is the secret.
_BY_FORM = _compiled(
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
    r"(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|$)",
    r"(?-i:\b(?:AKIA|ASIA)[A-Z0-9]{16}\b)",
    r"(?-i:\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[A-Za-z0-9_-]{16,}\b)",
    r"(?-i:\b(?:ghp|gho|ghs|ghu|ghr)_[A-Za-z0-9]{20,}\b|\bgithub_pat_[A-Za-z0-9_]{20,}\b)",
    r"(?-i:\bglpat-[A-Za-z0-9_-]{16,}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}\b|\bhf_[A-Za-z0-9]{20,}\b)",
    r"(?-i:\bAIza[A-Za-z0-9_-]{30,}\b|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\b)",
    r"(?-i:\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)",
    r"(?-i:\b(?:npm|dop_v1|shpat|sq0atp|sq0csp|xapp|ya29|whsec|pypi|nvapi|gsk|r8)"
    r"[-_.][A-Za-z0-9_-]{16,})",
    r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}",
    r"(?-i:\b(?:ssh-(?:rsa|ed25519) AAAA[A-Za-z0-9+/=]{20,}|xkeysib-[a-z0-9-]{20,}"
    r"|key-[0-9a-f]{32}|SK[0-9a-f]{32}|glsa_\w{20,}|EAA[A-Za-z0-9]{20,})\b)",
)

_PASSWORD = (
    "password|passcode|passwd|pwd|pass ?phrase|passwort|kennwort|mot de passe|contrasena|senha"
    "|wachtwoord|parola d'ordine"
)
_BECOMES = r"(?:\s*(?::|=)\s*|\s+(?:is|was)(?: now| set to| still)?:?\s+|\s+)[\"']?"
_VALUE = r"([^\s\"',;]{6,})"
# Group 1 is a word that would not stand there if it were no secret.
_SAID = _compiled(
    r"\bbearer\s+([A-Za-z0-9._~+/-]{16,}=*)",
    r"[a-z][a-z0-9+]*://[^\s:/@]+:([^\s:/@]+)@",
    rf"(?:\b|_)(?:{_PASSWORD}|api[ _-]?key|secret(?:[ _-]?key)?|access[ _-]?(?:key|token)"
    r"|auth(?:entication|orization)?[ _-]?token|token|client[ _-]?secret|private[ _-]?key"
    rf"|credentials?){_BECOMES}{_VALUE}",
    rf"(?:^|[\s\"']){_VALUE}[\"']?\s+(?:as|for|is|was) (?:my|the|her|his|their|our|your|a) "
    rf"(?:\w+ )?(?:{_PASSWORD}|log-?in)",
    r"\b(?:key|token|secret|credential|bearer|auth)\w*\b[^.;!?\n]{0,40}?"
    r"\b([A-Za-z0-9_/+-]{24,}=*)",
    rf"\b(?:pass|pw|pword)\s*[:=]\s*{_VALUE}",
    rf"\b(?:{_PASSWORD})\b[^.;!?\n]{{0,25}}?[\s:=\"']"
    r"([^\s\"',;]*(?:\d[^\s\"',;]*[A-Za-z!@#$%^&*]|[A-Za-z!@#$%^&*][^\s\"',;]*\d)[^\s\"',;]*)",
)

_PIN = (
    r"pin(?:code)?|cvv2?|cvc2?|cvn|security code|passcode|otp|m?tan|geheimzahl|geheimnummer"
    r"|code secret|codice segreto|clave|(?:three|four|3|4) digits on the (?:back|front)"
)
_CODE = (
    rf"{_PIN}|(?:one[- ]time|verification|access|login|log-in|2fa|sms|unlock|authentication)"
    r" (?:code|password|passcode|pin)"
)
# Group 1 is a number or a phrase that may also be something else: a count, a year.
_PERHAPS = _compiled(
    rf"\b(?:{_CODE})(?: (?:number|code))?"
    r"(?:\s*(?::|=|#|,|\()\s*|\s+(?:is|was|of|to|as)(?: now| still)?:?\s+|\s+)[\"']?(\d{3,8})\b",
    rf"\b(?:{_CODE})\b[^.;!?\d\n]{{0,30}}?\b(\d{{3,8}})\b",
    r"\b(\d{3,8})(?:,| is| was| as)* (?:my|the|her|his|your|their|our|a|as)(?: \w+){0,2} "
    rf"(?:{_CODE})\b",
    rf"\b(\d{{3,8}})(?:,| is| was| as) (?:{_CODE})\b",
    rf"\b(?:{_PIN}|code)\b[^.;!?\d\n]{{0,20}}?\b(\d{{3}}[ -]\d{{3}}|\d\d \d\d \d\d)\b",
    r"\b(?:seed|recovery|secret) (?:phrase|words)(?:\s+is|:)\s+[\"']?"
    r"((?:[a-z]{3,8}[ ,]+){11,23}[a-z]{3,8})",
)
# Group 1 is a word of any form.
_ANSWERS = _compiled(
    r"\b(?:security answer|secret answer|memorable (?:word|information|name|place)|safe ?word"
    r"|pass ?phrase)(?:\s*(?::|=)\s*|\s+(?:is|was)(?: set to| now)?:?\s+)"
    r"[\"']?([^\s\"',;.]{3,}(?: [^\s\"',;.]{3,}){0,5})"
)

# A text without any of these holds none of the above.
SIGN = compile_pattern(
    rf"{_PASSWORD}|\b(?:{_PIN})|code|(?:\b|_)(?:pass|pw|pword|npm|shpat|ya29|whsec|auth)\b"
    r"|key|token|secret|credential|bearer|phrase|recovery words|seed words"
    r"|memorable|safe ?word|security answer|://[^/\s]+@|-----BEGIN"
    r"|(?-i:sk[-_]|pk[-_]|rk[-_]|gh[a-z]_|github_pat|glpat|xox|hf_|AIza|SG\.|eyJ|AKIA|ASIA|EAA"
    r"|SK[0-9a-f]|glsa_|ssh-|xkeysib|dop_v1|sq0|xapp|pypi|nvapi|gsk|r8[-_.]|hooks\.slack)"
)

_UNIT = re.compile(
    r"(?:[,.]\d|\s*(?:%|seconds?|minutes?|hours?|days?|times|digits|customers|attempts|characters|"
    r"pounds|dollars|euros|branches|machines|cards|shops|stores|people|users|clients|letters|pads|"
    r"accounts|points|places|countries|atms|years|months|weeks|st\b|th\b))",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_RATE = re.compile(r"\d+(?:\.\d+)?%")  # "the return of the token was 5.60%."
_GOES_ON = re.compile(
    r"(?:not|the|for|your|our|his|her|their|what|never|always|only|still|too|something|anything"
    r"|one|used|any|like|that|when|how|where|kept|set|case|\w+ed)\b"
    r"|(?:wrong|right|(?:in)?correct|invalid|missing|optional|longer|shorter|different)$",
    re.IGNORECASE,
)


def secrets(text: str) -> list[Hit]:
    """Keys, tokens and passwords: by their form, or by the word before them."""
    spans = [hit.span() for pattern in _BY_FORM for hit in pattern.finditer(text)]
    spans += (span for span in _values(_SAID, text) if _strong(text[slice(*span)]))
    spans += (span for span in _values(_PERHAPS, text) if not _counts_something(text, span))
    spans += (span for span in _values(_ANSWERS, text) if not _GOES_ON.match(text[slice(*span)]))
    return [(start, end, "SECRET") for start, end in spans]


def _values(patterns: list[Any], text: str) -> Iterator[Span]:
    """What stands in group 1, without the end of the sentence behind it."""
    for pattern in patterns:
        for hit in pattern.finditer(text):
            start, end = hit.span(1)
            goes_on = text[end : end + 1] == " " and text[end + 1 : end + 2].islower()
            value = text[start:end].rstrip(".)]" if goes_on else ".!?)]")
            yield start, start + len(value)


def _counts_something(text: str, span: Span) -> bool:
    start, end = span
    if _UNIT.match(text[end : end + 16]) or _YEAR.fullmatch(text[start:end]):
        return True
    return not edges(text, start, end)  # part of a longer number: "product code 713-610-9822"


def _strong(value: str) -> bool:
    """Whether a word after "password" is one, not the sentence going on ("is required")."""
    if _RATE.match(value):
        return False
    if value.isdigit():
        return True
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    marked = any(c in "!@#$%^&*_+=?" for c in value[1:-1]) or value[1:-1].count("-") > 1
    marked = marked and any(c.isalpha() for c in value)
    cased = any(c.isupper() for c in value[1:]) and any(c.islower() for c in value)
    return len(value) >= 6 and (mixed or marked or cased)
