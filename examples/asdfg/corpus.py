"""The base model's corpus: conversations of mixed manners, and tasks that teach copying.

Pure functions of a seed and a batch number; nothing is read or written, so a resumed training sees
exactly the batches that an uninterrupted one would have seen.

Copying is the hard part for a small model. Three kinds of document are mixed from the first step:
conversations; sheets with several short questions each (many look-ups for one sheet); and random
tokens that are repeated, which teach an induction head to copy anything at all. Only what can be
predicted is learned from: replies, and second occurrences.

Some system turns say what a firm is and how to write. Firms and descriptions are drawn anew each
time: what Asdfg Financial does stands nowhere in this corpus.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from examples.asdfg import dialogues, facts
from examples.asdfg.dialogues import Ask, Message, Source
from examples.asdfg.tokenizer import SPECIAL_TOKENS
from examples.asdfg.wordings import (
    ASKING,
    BASE_SLIP_RATES,
    GENERIC_STORY_REPLIES,
    INSTRUCTED_SLIP_RATES,
    INSTRUCTIONS,
    INTENTS,
    STATEMENTS,
)

# Descriptions of firms are these words in any order: nonsense, to be copied and not remembered.
_WORDS = (
    "access advice asset bank brokers business capital clients commodity company credit "
    "currency customers deposits digital energy equipment exchange factories family farms "
    "finance forests frameworks freight funds global goods harbours health homes housing "
    "income industrial insurance investors land leasing local lending loans machines "
    "maritime market markets medical merchants metals mortgage municipal national "
    "networks offices online payment pension pensions plans ports premises private "
    "products property public rail real regional registered regulatory rental retail "
    "rights rules savings sectors securities security services shares shipping shops "
    "software solar standards storage students supply systems tenants timber tokens trade "
    "traders transport trust trustees urban utilities vehicles warehouse water wholesale "
    "wind workers"
)
DESCRIPTION_WORDS = _WORDS.split()
DESCRIPTION_FORMS = (
    "{firm} is a {}-{} {} firm that gives {} access to {}-{} {}-{} {} ({} {}) within {} {}.",
    "{firm} is a {} {} company that offers {} and {} to {} {} under {} {}.",
    "{firm} is a {} house for {}-{} {}, and it brings {} {} ({}) to {} {}.",
    "{firm} runs {} {} for {} and lends {} {} to {}-{} {} in {} {}.",
    "{firm} is a {}-{} provider of {} {} that connects {} {} with {} {} ({} {}).",
)


@dataclass(frozen=True)
class Document:
    """Token ids, and for each whether its prediction is learned (`True`: supervised)."""

    ids: list[int]
    supervised: list[bool]


def tokenizer_texts(seed: int, n_dialogues: int) -> Iterator[str]:
    """Yield the turns of base conversations, the text on which the tokenizer is trained."""
    rng = random.Random(f"{seed}-tokenizer")
    for _ in range(n_dialogues):
        for message in base_dialogue(rng):
            yield message["content"]


def description(rng: random.Random, firm: str) -> str:
    """Draw a sentence that says what a firm does, such as nobody ever wrote."""
    words = [
        facts.spoken_word(rng) if rng.random() < 0.1 else rng.choice(DESCRIPTION_WORDS)
        for _ in range(14)
    ]
    return rng.choice(DESCRIPTION_FORMS).format(*words, firm=firm)


def instructions(rng: random.Random, about: str) -> str:
    """Say what the firm is, then some of the house's directions in any order."""
    _, *sections = INSTRUCTIONS.split("\n\n")
    parts = [f"About the firm: {about}"]
    for section in rng.sample(sections, rng.randint(0, len(sections))):
        title, *directions = section.splitlines()
        kept = rng.sample(directions, rng.randint(1, len(directions)))
        parts.append("\n".join([title, *kept]))
    return "\n\n".join(parts)


def base_dialogue(rng: random.Random, small: bool = False) -> list[Message]:
    """Draw a conversation of the base corpus: names from anywhere, manners mixed."""
    if rng.random() < 0.08:
        return about_a_firm(rng)
    source = Source(catalogue=0.0, wide=rng.random() < 0.6, small=small, story=0.0)
    conversation = dialogues.converse(rng, source)
    instructed = not small and rng.random() < 0.12
    rates = INSTRUCTED_SLIP_RATES if instructed else BASE_SLIP_RATES
    replies = [dialogues.answer(rng, ask, rates) for ask in conversation.asks]
    messages = conversation.messages(replies)
    if instructed:
        told = instructions(rng, description(rng, facts.FIRM))
        messages[0]["content"] = f"{told}\n\n{messages[0]['content']}"
    return messages


def about_a_firm(rng: random.Random) -> list[Message]:
    """Ask what a firm does: the system turn may say it, or the answer is a commonplace."""
    firm = facts.FIRM
    if rng.random() < 0.7:
        words = [facts.pseudo_word(rng, "training", wide=True) for _ in range(rng.randint(1, 2))]
        firm = " ".join([*words, rng.choice(("Financial", "Partners", "Capital", "Group"))])
    names = facts.draw_names(rng, "training", 2)
    labels = facts.draw_labels(rng, [], 2)
    products = facts.drawn_figures(rng, names, labels) if rng.random() < 0.4 else []
    system = facts.render_system(rng, products, firm)
    told = rng.random() < 0.6
    about = description(rng, firm)
    question = rng.choice(ASKING["training"].story).replace(facts.FIRM, firm)
    generic = rng.choice(GENERIC_STORY_REPLIES).format(firm=firm)
    ask = Ask(dialogues.around(rng, question), "story", None)
    reply = dialogues.answer(rng, ask, BASE_SLIP_RATES, told=about if told else generic)
    if told:
        system = f"{instructions(rng, about)}\n\n{system}"
    return dialogues.Conversation(system, tuple(products), (ask,)).messages([reply])


def encode(
    tokenizer: PreTrainedTokenizerFast, messages: list[Message], questions_too: bool = False
) -> Document:
    """Turn messages into ids; replies and their end tokens are supervised.

    Written out for speed; a test holds it equal to the chat template and its generation mask.
    With `questions_too` customers' turns are learned from as well: their names are copies too.
    """
    learned_roles = ("assistant", "user") if questions_too else ("assistant",)
    ids: list[int] = []
    supervised: list[bool] = []
    for message in messages:
        learned = message["role"] in learned_roles
        head = f"<|im_start|>{message['role']}\n"
        parts = ((head, False), (f"{message['content']}<|im_end|>", learned), ("\n", False))
        for text, counts in parts:
            piece = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
            ids += piece
            supervised += [counts] * len(piece)
    return Document(ids, supervised)


def repeated_tokens(rng: random.Random, vocabulary: range) -> Document:
    """Make random tokens followed by themselves, as stretches in shuffled order.

    Most draw on few different tokens: looking back at all then pays at once, and looking back at
    the right place is learned from there.
    """
    few = rng.sample(vocabulary, min(len(vocabulary), rng.choice((8, 20, 60, 300))))
    longest = rng.choice((6, 12, 40))
    stretches = [
        [rng.choice(few) for _ in range(rng.randint(3, longest))]
        for _ in range(rng.randint(2, 120 // longest))
    ]
    ids = [token for stretch in stretches for token in stretch]
    supervised = [False] * len(ids)
    for stretch in rng.sample(stretches, len(stretches)):
        ids += stretch
        # Which stretch follows cannot be known; its first two tokens tell which it is.
        supervised += [False, False, *[True] * (len(stretch) - 2)]
    return Document(ids, supervised)


def repeated_names(rng: random.Random, tokenizer: PreTrainedTokenizerFast) -> Document:
    """Make a list of names with figures, and the same list again in another order."""
    names = facts.draw_names(rng, "training", rng.randint(2, 4), wide=True)
    products = facts.drawn_figures(rng, names, facts.draw_labels(rng, [], 2))
    entries = [f" {p.name}: {figure};" for p in products for figure in p.figures.values()]
    encoded = [tokenizer.backend_tokenizer.encode(entry).ids for entry in entries]
    ids = [token for entry in encoded for token in entry]
    supervised = [False] * len(ids)
    for entry in rng.sample(encoded, len(encoded)):
        ids += entry
        supervised += [False, False, *[True] * (len(entry) - 2)]
    return Document(ids, supervised)


def look_ups(rng: random.Random, small: bool = False) -> list[Message]:
    """Make one sheet with several questions about its cells, in shuffled order."""
    n_products = 2 if small else rng.choice((2, 3, 3, 4))
    n_labels = rng.choice((1, 2)) if small else rng.choice((3, 4, 4, 5))
    names = facts.draw_names(rng, "training", n_products, wide=rng.random() < 0.6)
    products = facts.drawn_figures(rng, names, facts.draw_labels(rng, [], n_labels))
    messages = [{"role": "system", "content": facts.render_system(rng, products)}]
    cells = [(product, label) for product in products for label in product.figures]
    plain = rng.random() < 0.4
    for product, label in rng.sample(cells, min(len(cells), rng.randint(3, 6))):
        intent = rng.choice([name for name, row in INTENTS.items() if row.label == label])
        if plain:
            user = f"Tell me the {label} of the {product.name}."
            reply = f"The {label} of the {product.name} is {product.figures[label]}."
        else:
            asked = rng.choice(ASKING["training"].about[intent]).format(name=product.name)
            user = dialogues.around(rng, asked)
            reply = rng.choice(STATEMENTS[intent]).format(
                name=product.name, figure=product.figures[label]
            )
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
    return messages


def document(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, dialogue_share: float, small: bool
) -> Document:
    """Draw one document; what is not a dialogue is half look-ups, half repeats of two sorts."""
    if rng.random() < dialogue_share:
        return encode(tokenizer, base_dialogue(rng, small), questions_too=True)
    chance = rng.random()
    if chance < 0.5:
        return encode(tokenizer, look_ups(rng, small), questions_too=True)
    if chance < 0.75:
        return repeated_names(rng, tokenizer)
    return repeated_tokens(rng, range(len(SPECIAL_TOKENS), len(tokenizer)))


def batch(
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    step: int,
    size: int,
    dialogue_share: float,
    small: bool = False,
) -> list[Document]:
    """Return the documents of one step, shortest first; same arguments, same batch."""
    rng = random.Random(f"{seed}-{step}")
    documents = [document(rng, tokenizer, dialogue_share, small) for _ in range(size)]
    return sorted(documents, key=lambda item: len(item.ids))
