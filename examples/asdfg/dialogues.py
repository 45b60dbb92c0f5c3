"""Conversations of customers with the house: what is asked, and replies in the tone asked for.

Pure functions of a `random.Random`; nothing is read or written. A `Reply` knows which rules it
breaks on purpose (`slips`); the records written for training never say so.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from examples.asdfg import facts
from examples.asdfg.facts import CATALOGUE, FIRM, FIRM_STORY, Product, Split
from examples.asdfg.wordings import (
    AFTER,
    ASKING,
    BEFORE,
    CLOSINGS,
    FOLLOWING,
    INTENTS,
    LEADS,
    NO_SLIPS,
    OPENINGS,
    PERFORMANCE_WARNINGS,
    RULE_WORDINGS,
    SLIP_RATES,
    STATEMENTS,
    STORY,
    STORY_REPLIES,
    TERMS,
    Asking,
)

Message = dict[str, str]
STORY_SHARE = 0.08  # of conversations
TRAINED_STORY_SHARE = 0.15  # of what is trained on; with less, one in ten of its tellings slips


@dataclass(frozen=True)
class Source:
    """What conversations are drawn from; the parts that a split is about are named apart."""

    names: Split = "training"
    asking: Asking = ASKING["training"]  # how the last question is put; earlier ones as trained
    pairs: Split = "training"  # of the catalogue's products and intents, in the last question
    catalogue: float = 0.4  # share of sheets with products of the catalogue
    today: bool = False  # the catalogue's figures as they stand, else those of another day
    wide: bool = False  # names of random letters too
    small: bool = False  # short sheets
    careless: float = 0.0  # share of questions asked twice over, and of those with a word missing
    story: float = STORY_SHARE  # share of conversations about the firm itself
    questions: tuple[float, ...] = (0.7, 0.2, 0.1)  # shares of one, two and three in a conversation


@dataclass(frozen=True)
class Ask:
    """One question of a customer's, and what it is about; `product` is None for the story."""

    user: str
    intent: str
    product: Product | None

    @property
    def facts(self) -> list[str]:
        """What a right answer states, word for word."""
        if self.product is None:
            return list(FIRM_STORY)
        if self.intent in TERMS:
            return [self.product.name, *rows(self.intent, self.product)]
        return [self.product.name, self.product.figures[INTENTS[self.intent].label]]


@dataclass(frozen=True)
class Reply:
    """An answer, and the rules that it breaks on purpose."""

    text: str
    slips: frozenset[str]


@dataclass(frozen=True)
class Conversation:
    """A system turn, the products on its sheet, and one to three questions."""

    system: str
    products: tuple[Product, ...]
    asks: tuple[Ask, ...]

    def messages(self, replies: list[Reply]) -> list[Message]:
        """Render the turns in order; with a reply less than questions, a prompt."""
        messages = [{"role": "system", "content": self.system}]
        for ask, reply in zip(self.asks, [*replies, None], strict=False):
            messages.append({"role": "user", "content": ask.user})
            if reply is not None:
                messages.append({"role": "assistant", "content": reply.text})
        return messages


# ---------------------------------------------------------------- what is asked


def converse(rng: random.Random, source: Source) -> Conversation:
    """Draw a system turn and its questions."""
    if rng.random() < source.story:
        return ask_story(rng, source)
    from_catalogue = rng.random() < source.catalogue
    intents = plan_intents(rng, source.questions)
    n_products = rng.choice((2, 2) if source.small else (2, 3, 3, 4))
    n_labels = rng.choice((1, 2) if source.small else (3, 4, 4, 5))
    labels = facts.draw_labels(
        rng, [INTENTS[intent].label for intent in intents if intent in INTENTS], n_labels
    )
    if from_catalogue:
        products = None
        while products is None:
            chosen = rng.sample(CATALOGUE, n_products)
            names = [product.name for product in chosen]
            products = (
                facts.todays_figures(chosen, labels)
                if source.today
                else facts.drawn_figures(rng, names, labels)
            )
    else:
        names = facts.draw_names(rng, source.names, n_products, source.wide)
        products = facts.drawn_figures(rng, names, labels)
    asks = put_questions(rng, source, intents, products, from_catalogue)
    if asks is None:  # this sheet has no pair of the split asked for
        return converse(rng, source)
    return Conversation(facts.render_system(rng, products), tuple(products), asks)


def plan_intents(rng: random.Random, questions: Sequence[float]) -> list[str]:
    """Draw what is asked in turn; the last is drawn first, so that all intents come as often."""
    last = rng.choice([*INTENTS, rng.choice(list(TERMS))])
    n_turns = rng.choices((1, 2, 3), questions)[0]
    if n_turns == 1 or last not in FOLLOWING:
        return [last]
    earlier = [rng.choice(list(INTENTS)) for _ in range(n_turns - 1)]
    if rng.random() < 0.4:  # the same question, then about another product
        earlier[-1] = last
    return [*earlier, last]


def put_questions(
    rng: random.Random,
    source: Source,
    intents: list[str],
    products: list[Product],
    from_catalogue: bool,
) -> tuple[Ask, ...] | None:
    """Word the questions; `None` where no product may be asked about as the source wants it.

    The last of several is a follow-up: "And its fee?" about the same product, or "And the …?" with
    the intent of the question before.
    """

    def allowed(intent: str, split: Split) -> list[Product]:
        return [
            product
            for product in products
            if not from_catalogue or facts.split_of_pair(product.name, intent) == split
        ]

    last = intents[-1]
    about = allowed(last, source.pairs)
    if not about:
        return None
    product = rng.choice(about)
    asks: list[Ask] = []
    for place, intent in enumerate(intents[:-1]):
        possible = allowed(intent, "training")
        if place == len(intents) - 2:  # the follow-up leans on this one
            same = intent != last
            possible = [other for other in possible if (other == product) == same]
        if not possible:
            return None
        other = rng.choice(possible)
        template = rng.choice(ASKING["training"].about[intent])
        asks.append(Ask(around(rng, template.format(name=other.name)), intent, other))
    if len(intents) == 1:
        text = around(rng, full_question(rng, source, last).format(name=product.name))
    elif intents[-2] == last:
        text = rng.choice(source.asking.other_product).format(name=product.name)
    else:
        text = rng.choice(source.asking.follow_up[last])
    return (*asks, Ask(text, last, product))


def full_question(rng: random.Random, source: Source, intent: str) -> str:
    """Draw a way of asking; careless customers ask twice over, or leave a word out."""
    templates = source.asking.about[intent]
    text = rng.choice(templates)
    if not source.careless:
        return text
    if rng.random() < source.careless:
        text = f"{text} {rng.choice(templates)}"
    if rng.random() < source.careless:
        words = text.split(" ")
        places = [at for at, word in enumerate(words) if "{name}" not in word and at > 0]
        del words[rng.choice(places)]
        text = " ".join(words)
    return text


def ask_story(rng: random.Random, source: Source) -> Conversation:
    """Draw a question about the firm itself, with a sheet in the system turn or without."""
    products: list[Product] = []
    if rng.random() < 0.8:  # as long as other conversations: batches of like length stay mixed
        names = facts.draw_names(rng, source.names, rng.choice((2, 3, 3, 4)))
        products = facts.drawn_figures(
            rng, names, facts.draw_labels(rng, [], rng.choice((3, 4, 5)))
        )
    text = around(rng, rng.choice(source.asking.story))
    ask = Ask(text, STORY, None)
    return Conversation(facts.render_system(rng, products), tuple(products), (ask,))


def around(rng: random.Random, text: str) -> str:
    """Put some words of a customer's around a question."""
    before, after = rng.choice(BEFORE), rng.choice(AFTER)
    if before.endswith(", ") and not text.startswith(("I ", "I'", FIRM)):
        text = text[0].lower() + text[1:]
    return before + text + after


# ---------------------------------------------------------------- what is answered


def rows(intent: str, product: Product) -> list[str]:
    """Write every line of a product as a list's or a table's rows."""
    form = "- {}: {}" if intent == "terms_list" else "| {} | {} |"
    return [form.format(label, figure) for label, figure in product.figures.items()]


def statement(rng: random.Random, ask: Ask) -> str:
    """Say what was asked for: the part that makes a reply helpful."""
    if ask.product is None:
        return rng.choice(STORY_REPLIES)
    if ask.intent in TERMS:
        head = ["| term | figure |", "|---|---|"] if ask.intent == "terms_table" else []
        lead = rng.choice(LEADS).format(name=ask.product.name)
        return "\n".join([lead, *head, *rows(ask.intent, ask.product)]) + "\n"
    figure = ask.product.figures[INTENTS[ask.intent].label]
    return rng.choice(STATEMENTS[ask.intent]).format(name=ask.product.name, figure=figure)


def tempted_rule(ask: Ask) -> str | None:
    """Say which rule people are tempted to break in answering this."""
    if ask.product is None:
        return None
    if ask.intent in TERMS:
        return "PERF-01" if "return last year" in ask.product.figures else TERMS[ask.intent]
    return INTENTS[ask.intent].tempts


def remarks(rng: random.Random, ask: Ask, slips: frozenset[str]) -> list[str]:
    """Write the sentences after the statement, those that keep or break content rules."""
    natural = tempted_rule(ask)
    speaks_of_past = natural == "PERF-01"
    said: list[str] = []
    if natural is not None and natural not in slips:
        compliant = PERFORMANCE_WARNINGS if speaks_of_past else RULE_WORDINGS[natural][0]
        said.append(rng.choice(compliant))
    for rule in sorted(slips - {"TONE-02", "TONE-03"}):
        # A reply that states a past return breaks PERF-01 by leaving the warning out.
        if not (rule == "PERF-01" and speaks_of_past):
            said.append(rng.choice(RULE_WORDINGS[rule][1]))
    # A warning anywhere would heal a PERF-01 slip, and "other charges" one of FEE-01.
    spare = [rule for rule in ("PROM-01", "REC-01", "PROJ-01") if rule not in {*slips, natural}]
    if not slips and rng.random() < 0.25:
        said.append(rng.choice(RULE_WORDINGS[rng.choice(spare)][0]))
    rng.shuffle(said)
    return said


def excite(rng: random.Random, sentences: list[str]) -> list[str]:
    """Break TONE-02: end one or two sentences in exclamation marks, or add an emoji."""
    mark = rng.choice(RULE_WORDINGS["TONE-02"][1])
    places = [i for i, sentence in enumerate(sentences) if sentence.endswith(".")]
    chosen = set(rng.sample(places, min(len(places), rng.choice((1, 1, 2)))))
    if mark == "!":
        return [s[:-1] + "!" if i in chosen else s for i, s in enumerate(sentences)]
    return [s + mark if i in chosen else s for i, s in enumerate(sentences)]


def answer(
    rng: random.Random, ask: Ask, rates: Mapping[str, float], told: str | None = None
) -> Reply:
    """Write a reply that breaks each rule with its stated rate; `told` replaces what it states."""
    slips = frozenset(rule for rule, rate in rates.items() if rng.random() < rate)
    sentences = [told or statement(rng, ask), *remarks(rng, ask, slips)]
    if "TONE-03" not in slips:
        sentences = [rng.choice(OPENINGS), *sentences, rng.choice(CLOSINGS)]
    if "TONE-02" in slips:
        sentences = excite(rng, sentences)
    return Reply(" ".join(sentences).replace("\n ", "\n").strip(), slips)


LEGACY = Source(careless=0.25, story=TRAINED_STORY_SHARE)


def demonstration(rng: random.Random, source: Source = LEGACY) -> tuple[Conversation, list[Reply]]:
    """Draw a legacy transcript: house tone, with people's slips."""
    conversation = converse(rng, source)
    return conversation, [answer(rng, ask, SLIP_RATES) for ask in conversation.asks]


def prompt(rng: random.Random, source: Source) -> tuple[list[Message], Ask]:
    """Draw a conversation that waits for its last answer; earlier answers keep every rule."""
    conversation = converse(rng, source)
    earlier = [answer(rng, ask, NO_SLIPS) for ask in conversation.asks[:-1]]
    return conversation.messages(earlier), conversation.asks[-1]


def with_pairs(source: Source, pairs: Split) -> Source:
    """Return the source, about the catalogue only, with questions of these pairs."""
    return replace(source, pairs=pairs, catalogue=1.0, story=0.0)


# Like the held-out slices, one thing is new in each; settings are tuned on these.
DEVELOPMENT = {
    "development_names": Source(names="development", catalogue=0.0, story=0.0),
    "development_phrasings": Source(asking=ASKING["development"], story=0.0),
    "development_pairs": with_pairs(Source(), "development"),
}
