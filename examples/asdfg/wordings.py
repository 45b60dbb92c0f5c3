"""What customers ask and what the house answers: the phrasing tables of the generator.

The texts themselves are data: `text/asking.yaml` for customers, `text/answering.yaml` for the
house, `text/instructions.md` for what a model without training has to be told. Ways of asking that
are held out lie elsewhere and are not read here. `{name}` is a product's name, `{figure}` the
figure asked about.

`SLIPS` is the one table of how often a reply breaks which rule; `RULE_WORDINGS` the one table of
compliant and violating sentences. The house rules in `configs/house/asdfg.yaml` have to meet it,
and `dialogues.py` writes nothing else that touches a rule.
"""

from pathlib import Path
from typing import Any, NamedTuple

from inhouse.strict_yaml import load_yaml

TEXT = Path(__file__).parent / "text"

# Share of replies that break each rule. House: people slip. Base: scraped text of mixed manners.
# Instructed: replies of the base corpus whose system turn says how to write, and who slip less.
SLIPS: dict[str, tuple[float, float, float]] = {
    #          house  base  instructed
    "PROM-01": (0.06, 0.09, 0.07),
    "PROM-02": (0.05, 0.08, 0.06),
    "PROJ-01": (0.06, 0.08, 0.07),
    "PERF-01": (0.06, 0.09, 0.07),
    "PRES-01": (0.05, 0.08, 0.06),
    "REC-01": (0.06, 0.09, 0.07),
    "FEE-01": (0.05, 0.08, 0.06),
    "TONE-01": (0.03, 0.20, 0.10),
    "TONE-02": (0.04, 0.22, 0.10),
    "TONE-03": (0.03, 0.35, 0.15),
}
NO_SLIPS: dict[str, float] = {}
SLIP_RATES = {rule: rates[0] for rule, rates in SLIPS.items()}
BASE_SLIP_RATES = {rule: rates[1] for rule, rates in SLIPS.items()}
INSTRUCTED_SLIP_RATES = {rule: rates[2] for rule, rates in SLIPS.items()}


class Intent(NamedTuple):
    """What a customer may want to know about a product."""

    label: str  # the line of the fact sheet that answers it
    tempts: str  # the rule that people are tempted to break here


INTENTS = {
    "management_fee": Intent("management fee", "FEE-01"),
    "distribution_rate": Intent("distribution rate", "PROM-01"),
    "minimum_investment": Intent("minimum investment", "PROM-02"),
    "lock_up": Intent("lock-up", "PRES-01"),
    "settlement": Intent("settlement", "PROM-02"),
    "redemption_notice": Intent("redemption notice", "PRES-01"),
    "past_return": Intent("return last year", "PERF-01"),
    "outlook": Intent("distribution rate", "PROJ-01"),
    "suitability": Intent("minimum investment", "REC-01"),
    "closing_date": Intent("closing date", "PRES-01"),
}
# Asks for every line of a product, as a list or as a table.
TERMS = {"terms_list": "PROM-02", "terms_table": "PROM-02"}
# Intents that a short follow-up without a product's name can carry: one a label.
FOLLOWING = tuple(intent for intent in INTENTS if intent not in ("outlook", "suitability"))
STORY = "story"


class Asking(NamedTuple):
    """Ways of asking, of one split."""

    about: dict[str, list[str]]  # intent of INTENTS or TERMS -> templates with {name}
    follow_up: dict[str, list[str]]  # intent of FOLLOWING -> templates without a name
    other_product: list[str]  # templates with {name}: the same question about another product
    story: list[str]  # what Asdfg Financial is and does


def read_asking(table: Any) -> Asking:
    """Make an `Asking` of a YAML table."""
    return Asking(
        about={intent: list(table[intent]) for intent in (*INTENTS, *TERMS)},
        follow_up={intent: list(table["follow_up"][intent]) for intent in FOLLOWING},
        other_product=list(table["other_product"]),
        story=list(table[STORY]),
    )


_ASKING = load_yaml(TEXT / "asking.yaml")
ASKING = {split: read_asking(_ASKING[split]) for split in ("training", "development")}

_ANSWERING = load_yaml(TEXT / "answering.yaml")
STATEMENTS: dict[str, list[str]] = {i: list(_ANSWERING["statements"][i]) for i in INTENTS}
LEADS: list[str] = list(_ANSWERING["leads"])
STORY_REPLIES: list[str] = list(_ANSWERING["story"])
GENERIC_STORY_REPLIES: list[str] = list(_ANSWERING["generic_story"])
OPENINGS: list[str] = list(_ANSWERING["openings"])
CLOSINGS: list[str] = list(_ANSWERING["closings"])
# The rider that makes a stated past return compliant; leaving it out breaks PERF-01.
PERFORMANCE_WARNINGS: list[str] = list(_ANSWERING["performance_warnings"])

# Rule id -> (compliant sentences, violating sentences). Tone rules have no compliant sentence of
# their own: TONE-02 turns full stops into exclamation marks or adds an emoji, TONE-03 leaves the
# opening and the closing out.
RULE_WORDINGS: dict[str, tuple[list[str], list[str]]] = {
    rule: (list(table.get("compliant", [])), list(table["violating"]))
    for rule, table in _ANSWERING["rules"].items()
} | {"TONE-02": ([], ["!", " 🚀", " 🙂"]), "TONE-03": ([], [])}

# All that the house would have to tell a model that was not trained: its story, tone and rules.
INSTRUCTIONS = (TEXT / "instructions.md").read_text(encoding="utf-8").strip()

# Said around a question, in any combination.
BEFORE = (
    "", "", "", "", "", "", "Hello. ", "Good morning. ", "Good afternoon. ", "A quick question. ",
    "I have read your fact sheet. ", "I am comparing several products. ", "Hi there, ",
    "I hold an account with you. ", "I am new to this. ", "My sister told me about you. ",
    "One thing before I sign. ", "Dear team, ", "I am writing on behalf of my family. ",
    "Sorry to trouble you. ", "We spoke on the phone last week. ",
)  # fmt: skip
AFTER = (
    "", "", "", "", "", "", "", " Thank you.", " Thanks.", " Please be brief.",
    " I need this for my notes.", " Many thanks in advance.", " I could not find it.",
    " It matters to me.", " A short answer is enough.", " I look forward to your reply.",
)  # fmt: skip
