"""How the simulated raters judge: a hidden standard of their own, as pure functions.

Nothing here imports the suite's house rules or the generator's tables. The raters read the prompt
like a person would: they look for the product in the question, guess from the words which figure is
meant, and find it on the sheet. Their word lists are theirs, wider in some places and blind in
others. They are simulated, and whatever they say is labelled so.
"""

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

Message = dict[str, str]


@dataclass(frozen=True)
class Rater:
    """One simulated rater: what counts for them, and how reliably they see it."""

    user: str
    helpfulness: float
    rules: float
    tone: float
    brevity: float
    noise: float  # standard deviation added to the quality of each answer
    indifference: float  # a smaller difference than this is a tie
    attention: float  # chance of noticing an offence that is there
    leaning: float = 0.0  # added to answer a: a habit of position
    verbosity: float = 0.0  # added per 20 words: a liking for long answers


PANEL = (
    Rater("simulated-1", 2.0, 1.2, 0.6, 0.2, noise=0.30, indifference=0.20, attention=0.95),
    Rater("simulated-2", 1.4, 1.6, 0.5, 0.1, noise=0.40, indifference=0.25, attention=0.90),
    Rater("simulated-3", 1.6, 0.8, 1.2, 0.4, noise=0.45, indifference=0.30, attention=0.80),
    Rater(
        "simulated-4", 1.8, 1.0, 0.7, 0.0, noise=0.50, indifference=0.20, attention=0.75,
        verbosity=0.15,
    ),
    Rater(
        "simulated-5", 1.2, 0.9, 0.6, 0.3, noise=0.70, indifference=0.40, attention=0.60,
        leaning=0.15,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """What a rater answers about one pair."""

    preferred: str  # a, b or tie
    score_a: int
    score_b: int
    violations_a: list[str] = field(default_factory=list)
    violations_b: list[str] = field(default_factory=list)


def _says(pattern: str) -> Callable[[str], bool]:
    """Return a test for a pattern, whatever the case."""
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda text: compiled.search(text) is not None


_PROMISE = _says(r"(?<!not )(?<!no )\b(guarant\w+|risk[- ]free|cannot lose|safe bet|money back)")
_PAST = _says(r"\blast year\b|track record|in the past|did well|has done well|returned \d")
_WARNING = _says(r"past (performance|results?|returns?)")
_FREE = _says(r"\bfree\b(?! to)|at no cost|costs? (you )?nothing")
_CHARGES = _says(r"\bcharges?\b[^.]*\bapply|other (costs|fees)")
_POLITE = _says(
    r"\bthank|\bgood (day|morning|afternoon)|\bdear\b|\bplease\b"
    r"|\b(glad|happy|pleased)\b[^.!]*\b(help|answer|send)"
)

# What bothers a careful reader, by the id of the rule it most resembles.
OFFENCES: dict[str, Callable[[str], bool]] = {
    "PROM-01": _PROMISE,
    "PROM-02": _says(r"\bbest\b|unbeat\w*|second[- ]to[- ]none|no other firm|unrivalled|top-notch"),
    "PROJ-01": _says(r"\bwill (earn|make|return|gain|rise|grow|double)\b|double your money"),
    "PERF-01": lambda text: _PAST(text) and not _WARNING(text),
    "PRES-01": _says(r"\bact now|miss out|(?<!no )\bhurry\b|going quickly|last chance|right away"),
    "REC-01": _says(r"\byou should (buy|invest|put)|\bin your place\b|i would buy|just buy"),
    "FEE-01": lambda text: _FREE(text) and not _CHARGES(text),
    "TONE-01": _says(r"no-brainer|peasy|\bgonna\b|awesome|no worries|super|\bcool\b|\bhey\b"),
    "TONE-02": _says(r"[!\U0001F300-\U0001FAFF☀-➿]"),
    "TONE-03": lambda text: not _POLITE(text),
}

# Words in a question that tell which line of the sheet is meant, most telling first.
MEANT = (
    (r"redeem|redemption|notice", "redemption notice"),
    (r"\bfees?\b|charge|cost|pay you", "management fee"),
    (r"settle|wallet|final\b|receive .* after", "settlement"),
    (r"lock|tied up|first sell|hold(ing)? (the|period)", "lock-up"),
    (r"last year|record|performed", "return last year"),
    (r"subscri|close|closing|still time|last day|what date", "closing date"),
    (r"minimum|smallest|how little|entry|what amount|to start|would i need", "minimum investment"),
    (r"should i|shall i|right for me|suits? me|advise|good choice|put money", "minimum investment"),
    (
        r"distribut|yield|pay|income|forecast|outlook|earn|make me|stand in|count on",
        "distribution rate",
    ),
)  # fmt: skip

_FIGURE = re.compile(
    r"\$[\d,]*\d|\d+\.\d+%|\d+ (?:months|business days|days)|\d+ (?=[A-Z])[A-Z][a-z]+"
)


def read_sheet(system: str) -> dict[str, dict[str, str]]:
    """Read the fact sheet as a person does: a product a line, its figures after the colon."""
    sheet: dict[str, dict[str, str]] = {}
    for line in system.splitlines():
        name, colon, rest = line.removeprefix("- ").partition(": ")
        if line.startswith("- ") and colon:
            cells = (_FIGURE.split(cell)[0].strip() for cell in rest.split("; "))
            found = [match.group() for match in map(_FIGURE.search, rest.split("; ")) if match]
            sheet[name] = dict(zip(cells, found, strict=False))
    return sheet


def helpfulness(prompt: list[Message], response: str) -> float:
    """Judge from -1 to 1 whether the reply names the product and states the figure meant."""
    sheet = read_sheet("\n".join(m["content"] for m in prompt if m["role"] == "system"))
    question = prompt[-1]["content"]
    name = next((name for name in sheet if name in question), None)
    if name is None:
        return 0.0
    wanted = {
        sheet[name][label]
        for pattern, label in MEANT
        if label in sheet[name] and re.search(pattern, question, re.IGNORECASE)
    }
    said = set(_FIGURE.findall(response))
    score = 0.4 if name in response else -0.2
    if said & (wanted or set(sheet[name].values())):
        score += 0.6
    # A figure that stands nowhere on this product's line is worse than none.
    if said - set(sheet[name].values()):
        score -= 0.8
    return max(-1.0, score)


def quality(rater: Rater, prompt: list[Message], response: str) -> float:
    """Weigh an answer by the rater's own weights, before any noise."""
    offences = [rule for rule, offends in OFFENCES.items() if offends(response)]
    tone = sum(rule.startswith("TONE") for rule in offences)
    n_words = len(response.split())
    return (
        rater.helpfulness * helpfulness(prompt, response)
        - rater.rules * math.sqrt(len(offences) - tone)
        - rater.tone * math.sqrt(tone)
        - rater.brevity * max(0, n_words - 45) / 20
        + rater.verbosity * n_words / 20
    )


def judge(rater: Rater, pair: str, prompt: list[Message], a: str, b: str) -> Judgement:
    """Compare two answers; the same rater and pair give the same judgement."""
    rng = random.Random(f"{rater.user}-{pair}")
    quality_a = quality(rater, prompt, a) + rng.gauss(0, rater.noise) + rater.leaning
    quality_b = quality(rater, prompt, b) + rng.gauss(0, rater.noise)
    difference = quality_a - quality_b
    better = "a" if difference > 0 else "b"
    return Judgement(
        "tie" if abs(difference) < rater.indifference else better,
        _score(rater, quality_a),
        _score(rater, quality_b),
        _noticed(rater, rng, a),
        _noticed(rater, rng, b),
    )


def _score(rater: Rater, value: float) -> int:
    """Put a quality on the scale from 1 to 5; a flawless answer is a 5."""
    return max(1, min(5, round(5 + 2 * (value - rater.helpfulness) / rater.helpfulness)))


def _noticed(rater: Rater, rng: random.Random, response: str) -> list[str]:
    """List the offences the rater notices, and now and then one that is not there."""
    noticed = [
        rule
        for rule, offends in OFFENCES.items()
        if offends(response) and rng.random() < rater.attention
    ]
    if rng.random() < 0.02 * (1.1 - rater.attention) * 10:
        noticed.append(rng.choice(sorted(OFFENCES)))
    return sorted(set(noticed))
