"""Customers' questions with a fact sheet in the system turn, and replies in the tone asked for.

Pure functions of a `random.Random`; nothing is read or written. A `Dialogue` knows which rules its
reply breaks on purpose (`slips`); the records written for training never say so.
"""

import random
from dataclasses import dataclass

from examples.asdfg import facts
from examples.asdfg.facts import Product, Split
from examples.asdfg.wordings import (
    AFTER,
    BASE_SLIP_RATES,
    BEFORE,
    CLOSINGS,
    INTENTS,
    OPENINGS,
    PERFORMANCE_WARNINGS,
    RULE_WORDINGS,
    SLIP_RATES,
)

Message = dict[str, str]


@dataclass(frozen=True)
class Question:
    """A system turn with its fact sheet and a customer's question about one product of it."""

    system: str
    user: str
    intent: str
    name: str
    figure: str
    products: tuple[Product, ...]

    @property
    def prompt(self) -> list[Message]:
        """The two turns as messages."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.user},
        ]

    @property
    def facts(self) -> list[str]:
        """What a right answer states: the product's name and the figure."""
        return [self.name, self.figure]


@dataclass(frozen=True)
class Dialogue:
    """A question, its reply, and the rules that the reply breaks on purpose."""

    question: Question
    reply: str
    slips: frozenset[str]

    @property
    def messages(self) -> list[Message]:
        """The three turns as messages."""
        return [*self.question.prompt, {"role": "assistant", "content": self.reply}]


def ask(rng: random.Random, split: Split, wide: bool = False, small: bool = False) -> Question:
    """Draw a fact sheet and a question about one of its products; `small` keeps the sheet short."""
    intent = rng.choice(list(INTENTS))
    label = INTENTS[intent].label
    n_products, n_labels = rng.choice((2, 3, 3, 4)), rng.choice((3, 4, 4, 5))
    if small:
        n_products, n_labels = 2, rng.choice((1, 2))
    products = facts.fact_sheet(rng, split, label, n_products, n_labels, wide)
    product = rng.choice(products)
    return Question(
        system=facts.render_sheet(rng, products),
        user=question_text(rng, rng.choice(INTENTS[intent].questions), product.name),
        intent=intent,
        name=product.name,
        figure=product.figures[label],
        products=tuple(products),
    )


def question_text(rng: random.Random, template: str, name: str) -> str:
    """Put the name into a question and some words of a customer's around it."""
    before, after = rng.choice(BEFORE), rng.choice(AFTER)
    text = template.format(name=name)
    if before.endswith(", "):
        text = text[0].lower() + text[1:]
    return before + text + after


def draw_slips(rng: random.Random, rates: dict[str, float]) -> frozenset[str]:
    """Decide, rule by rule and independently, what a reply will break."""
    return frozenset(rule for rule, rate in rates.items() if rng.random() < rate)


def statement(rng: random.Random, question: Question) -> str:
    """State the figure asked about: the sentence that makes a reply helpful."""
    template = rng.choice(INTENTS[question.intent].statements)
    return template.format(name=question.name, figure=question.figure)


def body(rng: random.Random, question: Question, slips: frozenset[str]) -> list[str]:
    """Write the reply's middle: the statement, then sentences that keep or break content rules."""
    natural = INTENTS[question.intent].tempts
    extra: list[str] = []
    if question.intent == "past_return":
        # The statement itself speaks of past performance: the slip is to leave the warning out.
        if "PERF-01" not in slips:
            extra.append(rng.choice(PERFORMANCE_WARNINGS))
    elif natural not in slips:
        extra.append(rng.choice(RULE_WORDINGS[natural][0]))
    for rule in sorted(slips):
        if RULE_WORDINGS[rule][1] and rule != "TONE-02":
            if rule == "PERF-01" and question.intent == "past_return":
                continue
            extra.append(rng.choice(RULE_WORDINGS[rule][1]))
    # A warning anywhere would heal a PERF-01 slip, and "other charges" one of FEE-01.
    spare = [rule for rule in ("PROM-01", "REC-01", "PROJ-01") if rule not in {*slips, natural}]
    if not slips and rng.random() < 0.25:
        extra.append(rng.choice(RULE_WORDINGS[rng.choice(spare)][0]))
    rng.shuffle(extra)
    return [statement(rng, question), *extra]


def excite(rng: random.Random, sentences: list[str]) -> list[str]:
    """Break TONE-02: end one or more sentences in exclamation marks, or add an emoji."""
    mark = rng.choice(RULE_WORDINGS["TONE-02"][1])
    chosen = set(rng.sample(range(len(sentences)), min(len(sentences), rng.choice((1, 1, 2)))))
    if mark == "!":
        return [s[:-1] + "!" if i in chosen else s for i, s in enumerate(sentences)]
    return [s + mark if i in chosen else s for i, s in enumerate(sentences)]


def answer(rng: random.Random, question: Question, rates: dict[str, float]) -> Dialogue:
    """Write a reply that breaks each rule with its stated rate."""
    slips = draw_slips(rng, rates)
    sentences = body(rng, question, slips)
    if "TONE-03" not in slips:
        sentences = [rng.choice(OPENINGS), *sentences, rng.choice(CLOSINGS)]
    if "TONE-02" in slips:
        sentences = excite(rng, sentences)
    return Dialogue(question, " ".join(sentences), slips)


def demonstration(rng: random.Random) -> Dialogue:
    """Draw a legacy transcript: house tone, with people's slips."""
    return answer(rng, ask(rng, "training"), SLIP_RATES)


def base_dialogue(rng: random.Random) -> Dialogue:
    """Draw a dialogue of the base corpus: names from anywhere, manners mixed."""
    return answer(rng, ask(rng, "training", wide=rng.random() < 0.6), BASE_SLIP_RATES)
