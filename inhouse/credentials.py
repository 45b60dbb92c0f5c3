"""Keys, tokens, passwords and PINs: by their form, or by the words beside them."""

from __future__ import annotations

import re

from inhouse.clauses import compile_pattern
from inhouse.places import Hit

_SECRETS = [
    (compile_pattern(pattern), group)
    for pattern, group in (
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KE"
            r"Y(?: BLOCK)?-----|$)",
            0,
        ),
        (r"(?-i:\b(?:AKIA|ASIA)[A-Z0-9]{16}\b)", 0),
        (r"(?-i:\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[A-Za-z0-9_-]{16,}\b)", 0),
        (r"(?-i:\b(?:ghp|gho|ghs|ghu|ghr)_[A-Za-z0-9]{20,}\b|\bgithub_pat_[A-Za-z0-9_]{20,}\b)", 0),
        (
            r"(?-i:\bglpat-[A-Za-z0-9_-]{16,}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}\b"
            r"|\bhf_[A-Za-z0-9]{20,}\b)",
            0,
        ),
        (r"(?-i:\bAIza[A-Za-z0-9_-]{30,}\b|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\b)", 0),
        (r"(?-i:\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)", 0),
        (r"\bbearer\s+([A-Za-z0-9._~+/-]{16,}=*)", 1),
        (r"[a-z][a-z0-9+]*://[^\s:/@]+:([^\s:/@]+)@", 1),
        (
            r"\b(?:password|passcode|passwd|pwd|pass ?phrase|api[ _-]?key"
            r"|secret(?:[ _-]?key)?|access[ _-]?(?:key|token)|"
            r"auth(?:entication|orization)?[ _-]?token|token|client[ _-]?secret"
            r"|private[ _-]?key|credentials?)"
            r"(?:\s*(?::|=)\s*|\s+(?:is|was)(?: now| set to| still)?:?\s+"
            r"|\s+)[\"']?([^\s\"',;]{6,})",
            1,
        ),
        (
            r"\b(?:pin|cvv2?|cvc2?|cvn|security code|one[- ]time (?:code|password|passcode"
            r"|pin)|otp|"
            r"verification code|passcode|access code|login code|2fa code"
            r"|sms code)(?: (?:number|code))?"
            r"(?:\s*(?::|=|#|,|\()\s*|\s+(?:is|was|of|to|as)(?: now| still)?:?\s+"
            r"|\s+)[\"']?(\d{3,8})\b",
            1,
        ),
        (
            r"\b(?:typed|used?|using|entered|chose|set|picked|with|tried"
            r"|have)\s+[\"']?([^\s\"',;]{6,})[\"']?\s+(?:as|for|is|was) (?:my|the|her|his"
            r"|their|our|your|a) (?:\w+ )?(?:password|passcode|pass ?phrase|pwd|log-?in)",
            1,
        ),
        (
            r"\b(?:pin|cvv2?|cvc2?|cvn|security code|passcode|otp|one[- ]time (?:code|pass\w*"
            r"|pin))\b[^.;!?\d\n]{0,30}?\b(\d{3,8})\b",
            2,
        ),
        (
            r"\b(\d{3,8})(?:,| is| was| as)* (?:my|the|her|his|your|their|our|a"
            r"|as)(?: \w+){0,2} (?:pin|cvv2?|cvc2?|passcode|security code|otp"
            r"|one[- ]time code)\b",
            2,
        ),
        (
            r"\b(?:key|token|secret|credential|bearer"
            r"|auth)\w*\b[^.;!?\n]{0,40}?\b([A-Za-z0-9_/+-]{24,}=*)",
            1,
        ),
        (
            r"(?-i:\b(?:npm|dop_v1|shpat|sq0atp|sq0csp|xapp|ya29|whsec|pypi|nvapi|gsk"
            r"|r8)[-_.][A-Za-z0-9_-]{16,})",
            0,
        ),
        (
            r"\b(?:pass|pw|pword|passwort|mot de passe|contrasena"
            r"|kennwort)\s*[:=]\s*([^\s\"',;]{6,})",
            1,
        ),
        (
            r"\b(?:security answer|secret answer|memorable word|memorable information|safe word|"
            r"pass ?phrase)"
            r"(?:\s*(?::|=)\s*|\s+(?:is|was)(?: set to| now)?:?\s+)[\"']?([^\s\"',;.]{3,}(?: [^"
            r"\s\"',;.]{3,}){0,5})",
            2,
        ),
        (
            r"\b(?:pin|cvv2?|otp|code|passcode)\b[^.;!?\d\n]{0,20}?\b(\d{3}[ -]\d{3})\b",
            2,
        ),
        (
            r"\b(?:pin|passcode|cvv)\b[^.;!?\d\n]{0,15}?\b((?:(?:zero|oh|one|two|three|four|five"
            r"|six|seven"
            r"|eight|nine)[ -]?){4,6})\b",
            2,
        ),
        (r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}", 0),
        (
            r"(?-i:\b(?:ssh-(?:rsa|ed25519) AAAA[A-Za-z0-9+/=]{20,}|xkeysib-[a-z0-9-]{20,}|key-["
            r"0-9a-f]{32}|SK[0-9a-f]{32}|glsa_\w{20,}|EAA[A-Za-z0-9]{20,})\b)",
            0,
        ),
        (
            r"\b(?:password|passwort|pwd|mot de passe|contrasena|kennwort)\b[^.;!?\n]{0,25}?[\s:"
            r"=\"']([^\s\"',;]*(?:\d[^\s\"',;]*[A-Za-z!@#$%^&*]|[A-Za-z!@#$%^&*][^\s\"',;]*\d)[^"
            r"\s\"',;]*)",
            1,
        ),
        (
            r"\b(?:seed|recovery|secret) (?:phrase|words)(?:\s+is"
            r"|:)\s+[\"']?((?:[a-z]{3,8}[ ,]+){11,23}[a-z]{3,8})",
            1,
        ),
    )
]

_UNIT = re.compile(
    r"(?:[,.]\d|\s*(?:%|seconds?|minutes?|hours?|days?|times|digits|customers|attempts|characters|"
    r"pounds|dollars|branches|machines|cards|st\b|th\b))",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_RATE = re.compile(r"\d+(?:\.\d+)?%")  # "the return of the token was 5.60%."


def secrets(text: str) -> list[Hit]:
    """Keys, tokens and passwords: by their form, or by the word before them."""
    found = []
    for pattern, group in _SECRETS:
        for hit in pattern.finditer(text):
            loose, at = group == 2, min(group, 1)
            start, end = hit.span(at)
            if loose and (_UNIT.match(text[end : end + 16]) or _YEAR.fullmatch(text[start:end])):
                continue
            value = text[start:end].rstrip(".!?)]")
            if group and _RATE.match(value):
                continue
            end = start + len(value)
            if group and not value.isdigit() and " " not in value and not _strong(value):
                continue
            found.append((start, end, "SECRET"))
    return found


def _strong(value: str) -> bool:
    """Whether a word after "password" is one, not the sentence going on ("is required")."""
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    marked = any(c in "!@#$%^&*_+=?" for c in value[1:-1]) or value[1:-1].count("-") > 1
    marked = marked and any(c.isalpha() for c in value)
    cased = any(c.isupper() for c in value[1:]) and any(c.islower() for c in value)
    return len(value) >= 6 and (mixed or marked or cased)
