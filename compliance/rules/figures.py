"""What can be counted in a text: figures with their units, and readability.

figures("It pays 5.25% on £1,000.")      # ((8, 13), ("%", "5.25")), ((17, 23), ("£", "1000"))
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from compliance.normalise import Span

Figure = tuple[str, str]  # unit and plain decimal; an empty unit fits all
_WORDS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_POWERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9}
_NUMBER = "|".join([*_WORDS, *_TENS, *_POWERS])

# "two hundred and fifty", "a hundred", "forty-five"
_SPELLED = (
    rf"(?:an? (?={'|'.join(_POWERS)}))?(?:{_NUMBER})\b(?:(?:-| and | )(?:{_NUMBER})\b)*"
    rf"(?: (?:and a (?:half|quarter)|and three[- ]quarters|point (?:{'|'.join(_WORDS[:10])})))?"
)
_UNITS = "%|per ?cent(?:age points?)?|pct|bps|basis points?"
_SCALE = "thousand|million|billion|trillion|bn|mn|[km]"
_CURRENCY = "dollars?|pounds?|euros?|usd|gbp|eur|cents?|pence|bucks?|quid"

# What a firm counts about itself and its service, in figures or in words.
_COUNTED = (
    "(?:business|working|calendar) days?|(?:days|months)' (?:interest|notice)|seconds?"
    "|minutes?|branches|atms?|customers|clients"
    "|members|savers|borrowers|households|families|people|countries|offices|locations|staff"
    "|employees|advis[eo]rs"
)
_TIME = re.compile("day|second|minute", re.IGNORECASE)
_MEASURED = "days?|months?|years?|weeks?|hours?|points|times|funds|shares|units"
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = (
    "jan(?:uary)?|feb(?:ruary)?|march|mar|apr(?:il)?|(?-i:May)|june?|july?|aug(?:ust)?"
    "|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_SHARE_OF = (
    "half|(?:a|one)[- ](?:third|quarter|fifth)|(?:two|three|four)[- ](?:thirds|quarters|fifths)"
)
_FIGURE = re.compile(
    rf"\b(?P<month>{_MONTH})\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?![%:]|[,.]\d)"
    rf"|\b(?P<day2>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<month2>{_MONTH})\b"
    r"|\b(?P<month3>\d{1,2})/(?P<day3>\d{1,2})/(?:\d{4}|\d\d)\b"
    r"|\b(?P<hour>\d{1,2})(?::(?P<minute>\d\d))? ?(?P<noon>[ap])\.?m\b"
    rf"|\b(?P<portion>{_SHARE_OF}) of (?:our|all|all our) (?:\w+ )?(?:{_COUNTED})\b"
    r"|\b(?:deviation|beta|alpha|sharpe ratio) (?:of|is|was) (?P<measure>\d+(?:\.\d+)?)"
    rf"|(?P<sign>[£$€])\s?(?P<money>\d[\d,]*(?:\.\d+)?)(?:\s?(?P<scale>{_SCALE})\b)?"
    rf"|(?<![\w.,])(?P<share>\d[\d,]*(?:\.\d+)?)(?:[ -]?(?P<unit>{_UNITS})(?!\w))"
    r"|\b(?P<part>half|quarter|third)s? of (?:a|one) (?P<punit>per ?cent)\b"
    r"|\b(?P<piece>half|quarter) (?:of )?an? (?P<whole>thousand|million|billion)"
    rf" (?P<coin>{_CURRENCY})\b"
    rf"|\b(?P<spelled>{_SPELLED})[ -](?P<kind>per ?cent|{_CURRENCY}|{_COUNTED})\b"
    rf"|\b(?P<of>{_SPELLED}|\d+) (?:out of|in) (?:every )?(?P<all>{_SPELLED}|\d+)\b"
    rf"|(?<![\w.,])(?P<amount>\d[\d,]*(?:\.\d+)?)(?:\s?(?P<scale2>{_SCALE}))?"
    rf"[ -](?P<currency>{_CURRENCY})\b"
    r"|(?<![\w.,/$£€-])(?P<count>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?(?= ?-?"
    rf"(?:{_COUNTED}|{_MEASURED})\b))(?![\w%])"
    rf"|(?<![\w.,])(?P<bare>\d[\d,]*(?:\.\d+)?)\s?(?P<scale3>{_SCALE})\b"
    r"|\b(?:since|founded in|established in|opened in) (?P<year>1[89]\d\d|20[0-2]\d)\b"
    r"|\bscores? (?:of|above|over|below|under|at least) (?P<score>\d{3})\b",
    re.IGNORECASE,
)
_MANY = {"k": 3, "thousand": 3, "m": 6, "mn": 6, "million": 6, "b": 9, "bn": 9, "billion": 9}
_SIGNS = {"d": "$", "u": "$", "c": "¢", "g": "£", "e": "€"}
_HUNDREDTHS = {"bp": "%", "¢": "$", "p": "£"}
_FRACTION = re.compile(r" and (?:a )?(half|quarter|three[- ]quarters)$")
_OVER = {"hal": ".5", "qua": ".25", "thr": ".75"}  # of a fraction's first letters
_PARTS = {"half": "0.5", "quarter": "0.25", "third": "0.33"}


def figures(text: str) -> Iterator[tuple[Span, Figure]]:
    """Every percentage, amount, count, date and time of day in a text, with where it stands."""
    for found in _FIGURE.finditer(text):
        groups = found.groupdict()
        if groups["month"] or groups["month2"] or groups["month3"]:
            value, unit = _date(groups), "date"
        elif groups["hour"]:
            value = f"{int(groups['hour'])}:{groups['minute'] or '00'}{groups['noon'].lower()}"
            unit = "time"
        elif groups["portion"]:
            value, unit = groups["portion"].lower().replace("-", " "), "n"
        elif groups["money"]:
            value, unit = _plain(groups["money"], groups["scale"]), groups["sign"]
        elif groups["share"]:
            unit = "bp" if groups["unit"][0] in "bB" else "%"
            value = _plain(groups["share"])
        elif groups["part"]:
            value, unit = _PARTS[groups["part"].lower()], "%"
        elif groups["piece"]:
            value = _shift(_PARTS[groups["piece"].lower()], _MANY[groups["whole"].lower()])
            unit = _unit(groups["coin"])
        elif groups["spelled"]:
            value, unit = _spoken(groups["spelled"]), _unit(groups["kind"])
            if unit == "n" and len(value) < 2 and not _TIME.search(groups["kind"]):
                continue  # "two branches" is a matter of grammar, not a statistic
        elif groups["of"]:
            some, whole = _spoken(groups["of"]), _spoken(groups["all"])
            if Decimal(some) >= Decimal(whole):
                continue  # "two in one" is no share
            value, unit = f"{some}/{whole}", "n"
        elif groups["amount"]:
            value = _plain(groups["amount"], groups["scale2"])
            unit = _unit(groups["currency"])
        elif groups["bare"]:  # "100K" may be of anything
            value, unit = _plain(groups["bare"], groups["scale3"]), ""
        else:
            value, unit = (
                _plain(groups["count"] or groups["year"] or groups["score"] or groups["measure"]),
                "n",
            )
        if unit in _HUNDREDTHS:
            value, unit = _shift(value, -2), _HUNDREDTHS[unit]
        yield found.span(), (unit, value)


def approved(figure: str) -> Figure:
    """A figure of a fact sheet; one without a unit fits every unit."""
    read = [value for _, value in figures(figure)]
    if read:
        return read[0]
    digits = re.sub(r"[^\d.,]", "", figure)
    spelled = re.search(rf"\b(?:{_SPELLED})", figure, re.IGNORECASE)  # "seventy"
    return ("", _spoken(spelled.group()) if spelled and not digits else _plain(digits))


def _date(groups: dict[str, str]) -> str:
    """Month and day of a match, whose year is often left out."""
    day = groups["day"] or groups["day2"] or groups["day3"]
    name = groups["month"] or groups["month2"]
    month = _MONTHS.index(name[:3].lower()) + 1 if name else int(groups["month3"])
    return f"{month}-{int(day)}"


def _plain(number: str, scale: str | None = None) -> str:
    return _shift(number.replace(",", "").rstrip("."), _MANY.get((scale or "").lower(), 0))


def _shift(number: str, places: int) -> str:
    try:
        value = Decimal(number).scaleb(places)
    except InvalidOperation:
        return number
    return format(value.normalize(), "f")


def _unit(word: str) -> str:
    """The unit that a word names: "%", a currency's sign, "p" for pence, or "n" for things."""
    word = word.lower()
    if word.startswith("per"):
        return "%" if "cent" in word else "n"
    if re.fullmatch(_CURRENCY, word):
        return {"pe": "p", "po": "£", "qu": "£", "bu": "$"}.get(word[:2]) or _SIGNS[word[0]]
    return "n"


def _spoken(words: str) -> str:
    """The plain decimal of a number in words ("two hundred and fifty"), or of one in figures."""
    if words.isdigit():
        return _shift(words, 0)
    said, _, tenths = words.lower().partition(" point ")
    fraction = _FRACTION.search(said)
    said = _FRACTION.sub("", said)
    whole = group = 0
    for word in re.findall(r"[a-z]+", said):
        if word == "hundred":
            group = max(group, 1) * 100
        elif word in _POWERS:
            whole, group = whole + max(group, 1) * 10 ** _POWERS[word], 0
        elif word in _TENS:
            group += 10 * (_TENS.index(word) + 2)
        elif word in _WORDS:
            group += _WORDS.index(word)
    decimals = (
        f".{_WORDS.index(tenths)}" if tenths else (_OVER[fraction.group(1)[:3]] if fraction else "")
    )
    return _shift(f"{whole + group}{decimals}", 0)
