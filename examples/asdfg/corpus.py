"""The base model's corpus: dialogues of mixed manners, and tasks that teach copying.

Pure functions of a seed and a batch number; nothing is read or written, so a resumed training sees
exactly the batches that an uninterrupted one would have seen.

Copying is the hard part for a small model. Three kinds of document are mixed from the first step:
dialogues; sheets with several short questions each (many look-ups for one sheet); and random tokens
that are repeated, which teach an induction head to copy anything at all. Only what can be
predicted is learned from: replies, and second occurrences.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from examples.asdfg import dialogues
from examples.asdfg.dialogues import Message
from examples.asdfg.tokenizer import SPECIAL_TOKENS
from examples.asdfg.wordings import BASE_SLIP_RATES, INTENTS


@dataclass(frozen=True)
class Document:
    """Token ids, and for each whether its prediction is learned (`True`: supervised)."""

    ids: list[int]
    supervised: list[bool]


def tokenizer_texts(seed: int, n_dialogues: int) -> Iterator[str]:
    """Yield the turns of base dialogues, the text on which the tokenizer is trained."""
    rng = random.Random(f"{seed}-tokenizer")
    for _ in range(n_dialogues):
        for message in dialogues.base_dialogue(rng).messages:
            yield message["content"]


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
    question = dialogues.ask(rng, "training", wide=True)
    entries = [
        f" {product.name}: {figure};"
        for product in question.products
        for figure in list(product.figures.values())[:2]
    ]
    encoded = [tokenizer.backend_tokenizer.encode(entry).ids for entry in entries]
    ids = [token for entry in encoded for token in entry]
    supervised = [False] * len(ids)
    for entry in rng.sample(encoded, len(encoded)):
        ids += entry
        supervised += [False, False, *[True] * (len(entry) - 2)]
    return Document(ids, supervised)


def look_ups(rng: random.Random, small: bool = False) -> list[Message]:
    """Make one sheet with several questions about its cells, in shuffled order."""
    question = dialogues.ask(rng, "training", wide=rng.random() < 0.6, small=small)
    messages = [{"role": "system", "content": question.system}]
    cells = [(product, label) for product in question.products for label in product.figures]
    plain = rng.random() < 0.5
    for product, label in rng.sample(cells, min(len(cells), rng.randint(3, 6))):
        intent = rng.choice([name for name, row in INTENTS.items() if row.label == label])
        row = INTENTS[intent]
        if plain:
            user = f"Tell me the {label} of the {product.name}."
            reply = f"The {label} of the {product.name} is {product.figures[label]}."
        else:
            user = dialogues.question_text(rng, rng.choice(row.questions), product.name)
            reply = rng.choice(row.statements).format(
                name=product.name, figure=product.figures[label]
            )
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
    return messages


def document(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, dialogue_share: float, small: bool
) -> Document:
    """Draw one document; what is not a dialogue is half look-ups, half repeats of two sorts."""
    if rng.random() < dialogue_share:
        question = dialogues.ask(rng, "training", wide=rng.random() < 0.6, small=small)
        reply = dialogues.answer(rng, question, BASE_SLIP_RATES)
        return encode(tokenizer, reply.messages, questions_too=True)
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
