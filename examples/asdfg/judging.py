"""How the simulated raters judge: a hidden standard of their own, as pure functions.

Nothing here imports the suite's house rules or the generator's tables. The raters read the prompt
like a person would: they look for the product in the conversation, guess from the words which
figure is meant, and find it on the sheet. Their word lists are theirs, wider in some places and
blind in others. They are simulated, and whatever they say is labelled so.

`standard` is what the panel agrees on once noise and habits are taken away. No stage trains on it:
it sees the final models only.
"""

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

Message = dict[str, str]


@dataclass(frozen=True)
class Rater:
    """One simulated rater: what counts for them, and how reliably they see it."""

    user: str
    helpfulness: float
    rules: float
    tone: float
    brevity: float  # taken off per 20 words
    balance: float  # added where a figure of gain comes with a word of risk
    service: float  # added for an offer of further help
    noise: float = 0.0  # standard deviation added to the quality of each answer
    indifference: float = 0.0  # a smaller difference than this is a tie
    attention: float = 1.0  # chance of noticing an offence that is there
    leaning: float = 0.0  # added to answer a: a habit of position
    verbosity: float = 0.0  # added per 20 words: a liking for long answers
    laziness: float = 0.0  # share of pairs answered without reading


# What each values: helpfulness, rules, tone, brevity, balance, service.
PANEL = (
    Rater("simulated-1", 2.0, 1.5, 0.8, 0.30, 0.30, 0.20,
          noise=0.15, indifference=0.10, attention=0.99),  # the expert
    Rater("simulated-2", 1.4, 1.6, 0.5, 0.10, 0.40, 0.10,
          noise=0.40, indifference=0.25, attention=0.90),  # minds the rules
    Rater("simulated-3", 1.6, 0.8, 1.2, 0.40, 0.10, 0.40,
          noise=0.45, indifference=0.30, attention=0.80),  # minds the tone
    Rater("simulated-4", 1.8, 1.0, 0.7, 0.00, 0.20, 0.30,
          noise=0.50, indifference=0.20, attention=0.75, verbosity=0.25),  # likes long answers
    Rater("simulated-5", 1.2, 0.9, 0.6, 0.30, 0.20, 0.20,
          noise=0.60, indifference=0.30, attention=0.70, leaning=0.35),  # leans to the first
    Rater("simulated-6", 1.4, 1.0, 0.6, 0.20, 0.10, 0.10,
          noise=0.80, indifference=0.50, attention=0.40, laziness=0.30),  # lazy
    Rater("simulated-7", 2.2, 1.1, 0.9, 0.50, 0.20, 0.20,
          noise=0.40, indifference=0.20, attention=0.85),  # wants it short and right
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


_PROMISE = _says(
    r"\b(we|i) guarantee|\b(your|all|every) \w+ (is|are) guaranteed"
    r"|(?<!nor )the \w+ are guaranteed|risk[- ]free|cannot lose|no risk"
    r"|completely safe|money back|every dollar|promise|rest assured"
)
_PAST = _says(
    r"\blast (year|twelve months)\b|track record|in the past|did (well|better)|so far\b"
    r"|since its launch|previous year|past (three )?years|recent years|historical|handsome gains"
)
_WARNING = _says(r"past (performance|results?|returns?)|earlier years")
_FREE = _says(
    r"(?<!risk-)\bfree\b(?! to)|costs? you nothing|no cost|no fees?\b|without any charge"
    r"|pay nothing|not charge|waived|zero commission"
)
_CHARGES = _says(r"\bcharges?\b[^.]*\bapply|other (costs|fees)")
_POLITE = _says(
    r"\bthank|\bgood (day|morning|afternoon)|\bdear\b|\bplease\b"
    r"|\b(glad|happy|pleased|here)\b[^.!]*\b(help|answer|send)|look forward|wish you|disposal"
)
_RISK = _says(
    r"at risk|fall as well|may be lost|less than you put|could lose|not guaranteed|can change"
    r"|may vary|may go down|past (performance|results)|forecast|circumstances"
)
_OFFER = _says(
    r"let us know|glad to help|happy to|please (ask|get in|write|feel|contact)|pleased to"
    r"|disposal|here to help"
)

# What bothers a careful reader, by the id of the rule it most resembles.
OFFENCES: dict[str, Callable[[str], bool]] = {
    "PROM-01": _PROMISE,
    "PROM-02": _says(
        r"(?<!necessarily )\bthe best\b|unbeat\w*|beats every|second[- ]to[- ]none"
        r"|(no other|nobody else)|better offer"
        r"|class of its own|most attractive|number one|superior|unrivalled"
    ),
    "PROJ-01": _says(
        r"\b(will|going to|set to|bound to|expect it to) (\w+ )?"
        r"(earn|make|gain|rise|grow|double|climb|go up|be)\b"
        r"|double your money|worth twice|handsome profit"
    ),
    "PERF-01": lambda text: _PAST(text) and not _WARNING(text),
    "PRES-01": _says(
        r"\bact now|miss out|going quickly|last chance|sign up today|by tonight|may well be gone"
        r"|be quick|every day you wait|closing fast|only a handful"
    ),
    "REC-01": _says(
        r"\byou should (buy|invest|put)|\bin your place\b|i would (buy|put|sell)|if i were you"
        r"|my advice|right investment for you|recommend this|would be wise|ought to"
    ),
    "FEE-01": lambda text: _FREE(text) and not _CHARGES(text),
    "TONE-01": _says(
        r"no-brainer|peasy|\bgonna\b|awesome|no worries|super\b|\bcool\b|\bhey\b|you guys|\byep\b"
        r"|biggie|mate\b|kinda|\bping\b|piece of cake"
    ),
    "TONE-02": _says(r"[!\U0001F300-\U0001FAFF☀-➿]"),
    "TONE-03": lambda text: not _POLITE(text),
}

# Words in a question that tell which line of the sheet is meant: plain ones first, then hints.
MEANT = (
    (
        "redemption notice",
        r"notice|redemption|redeem",
    ),
    (
        "settlement",
        r"settle",
    ),
    (
        "closing date",
        r"subscri|closing date|deadline",
    ),
    (
        "lock-up",
        r"lock",
    ),
    (
        "return last year",
        r"last year|previous year",
    ),
    (
        "distribution rate",
        r"distribut|yield",
    ),
    (
        "minimum investment",
        r"should i|shall i|right (for|choice|invest|decision)|suits?\b|suitable|advi[sc]"
        r"|good (choice|idea|fit|match)|recommend|opinion|worth|if you were|sensible"
        r"|make sense|go for|better|ought|should (buy|someone)|smart|wise|mistake|portfolio"
        r"|risk|own the|(go|get) into|stay away|frank|shouldn't|should not|needs of|for me\b"
        r"|choice",
    ),
    (
        "distribution rate",
        r"forecast|outlook|predict|next (year|few)|coming|prospects|future|expect|ahead"
        r"|headed|forward|profit|projected|target|decade|bring in|developing|from today"
        r"|down the road|growth",
    ),
    (
        "redemption notice",
        r"warning|in advance|get (my money )?out\b|leav(e|ing)\b|withdraw"
        r"|(take|taking|pull\w*) .*\bout\b|cash in|exit",
    ),
    (
        "settlement",
        r"wallet|booked"
        r"|(trade|order|purchase)s? .*(final|complete|done|clear|goe?s? through)"
        r"|business days|receive .* after",
    ),
    (
        "closing date",
        r"clos(e|es|ing)\b|still time|(last|final) (day|date|chance)|what date|until when"
        r"|cut-?off|sign up|by when|too late|window|latest|run out of time|orders for",
    ),
    (
        "lock-up",
        r"tied up|tie up|first sell|hold(ing)? (on|it|the|period)|how soon|stuck|untouch"
        r"|frozen|committed|(can|able to|may|be) (sell|sold)|(have|need|must) to (keep|hold)"
        r"|how long|stay invested",
    ),
    (
        "return last year",
        r"past year|record|perform|how (did|has) .*(do|done|go|fare)|most recent|year before"
        r"|history|results",
    ),
    (
        "minimum investment",
        r"minimum|smallest|how little|entry|amount|to start|would i need|least"
        r"|small(er)? sum|get started|enough|threshold|lowest"
        r"|how much (money )?(do|must|would) i (need|have)|get in\b|start|buy-in"
        r"|first investment|as little|bring",
    ),
    (
        "distribution rate",
        r"pay(s|ing|out|outs)?\b|paid out|income|earn|make me|\bwill\b|rate",
    ),
)
_FEES = re.compile(
    r"(?<!school )\bfees?\b|charg|\bcosts?\b|pay you|annual cut|management", re.IGNORECASE
)
_ALL_TERMS = re.compile(
    r"\b(list|bullets?|bulleted|points?|itemi[sz]e|listed one|table|tabulat\w*|tabular|rows?"
    r"|columns?|grid|line by line)\b|(?<!\bin )(?<!payout )\bterms\b",
    re.IGNORECASE,
)

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


def meant(question: str) -> str | None:
    """Guess from a question's words which line of the sheet it is about."""
    if _FEES.search(question):
        return "management fee"
    hits = (label for label, pattern in MEANT if re.search(pattern, question, re.IGNORECASE))
    return next(hits, None)


def helpfulness(prompt: Sequence[Message], response: str) -> float:
    """Judge from -1 to 1 whether the reply says what the customer wanted to know."""
    sheet = read_sheet("\n".join(m["content"] for m in prompt if m["role"] == "system"))
    questions = [m["content"] for m in reversed(prompt) if m["role"] == "user"]
    name = next((name for asked in questions for name in sheet if name in asked), None)
    if name is None:
        concrete = [word in response for word in ("digital", "securities", "regulat")]
        return sum(concrete) / 1.5 - 1
    figures = set(sheet[name].values())
    said = set(_FIGURE.findall(response))
    score = 0.4 if name in response else -0.2
    if _ALL_TERMS.search(questions[0].replace(name, "")):
        laid_out = sum(line.startswith(("-", "|")) for line in response.splitlines())
        score += 0.6 * len(said & figures) / len(figures) - (0.4 if laid_out < len(figures) else 0)
    else:
        label = next(filter(None, (meant(asked.replace(name, "")) for asked in questions)), None)
        wanted = {sheet[name][label]} if label in sheet[name] else figures
        score += 0.6 if said & wanted else 0.0
        score -= 0.4 if len(said & figures) > 2 else 0.0  # asked for one figure, told them all
    # A figure that stands nowhere on this product's line is worse than none.
    if said - figures:
        score -= 0.8
    return max(-1.0, score)


def quality(rater: Rater, prompt: Sequence[Message], response: str) -> float:
    """Weigh an answer by the rater's own weights, before any noise."""
    offences = [rule for rule, offends in OFFENCES.items() if offends(response)]
    tone = sum(rule.startswith("TONE") for rule in offences)
    n_words = len(response.split())
    return (
        rater.helpfulness * helpfulness(prompt, response)
        - rater.rules * math.sqrt(len(offences) - tone)
        - rater.tone * math.sqrt(tone)
        - rater.brevity * n_words / 20
        + rater.balance * _RISK(response)
        + rater.service * _OFFER(response)
        + rater.verbosity * n_words / 20
    )


def judge(rater: Rater, pair: str, prompt: Sequence[Message], a: str, b: str) -> Judgement:
    """Compare two answers; the same rater and pair give the same judgement."""
    rng = random.Random(f"{rater.user}-{pair}")
    if rng.random() < rater.laziness:
        return Judgement(rng.choice(("a", "a", "b", "tie")), 4, 4)
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


def standard(prompt: Sequence[Any], a: str, b: str) -> float:
    """Say whether the panel's hidden standard prefers `a` (1.0), `b` (0.0) or neither (0.5).

    `prompt` holds messages, as records or as mappings.
    """
    turns = [m if isinstance(m, dict) else {"role": m.role, "content": m.content} for m in prompt]
    difference = quality(STANDARD, turns, a) - quality(STANDARD, turns, b)
    return 0.5 if abs(difference) < 1e-9 else float(difference > 0)


def _agreed() -> Rater:
    """Average what the panel values; noise and habits stay behind."""
    values = ("helpfulness", "rules", "tone", "brevity", "balance", "service")
    assert set(values) <= {f.name for f in fields(Rater)}
    means = {name: sum(getattr(rater, name) for rater in PANEL) / len(PANEL) for name in values}
    return Rater("simulated-standard", **means)


STANDARD = _agreed()


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
