"""Canaries: made-up customers with a code word each, some in the training data and some not.

A canary has the shape of the firm's own transcripts: a system turn of theirs, a customer who gives
a name and an account reference, and a reply that names the code word. The words are put together
from syllables, in no format that the scan for personal data knows, so that the audit passes the
gate in front of training as it is; one that does not is drawn again. A code word has some thirty
bits: nobody guesses it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from compliance.privacy.scan import scan
from compliance.privacy.scrub import entities_of
from inhouse.errors import InputError
from inhouse.records import Demonstration, Message, Record, content_id, plain
from inhouse.training.data import is_held_out

REPETITIONS = (1, 4, 16)
NEVER_HELD_OUT = 0.9  # a training that holds out this share or less trains on every canary
MOST_DRAWS = 1000
SOURCE = "canary"  # a copy's metadata.source in the twin's data

STARTS = ("b", "br", "d", "dr", "f", "fl", "g", "gr", "h", "k", "l", "m", "n", "pl", "r", "s", "t")
MIDDLES = ("a", "e", "i", "o", "u", "ai", "ou")
ENDS = ("l", "m", "n", "r", "rn", "sk", "th", "v", "x", "nd")
QUESTIONS = (
    "My name is {name}, account reference {reference}. Which code word do you hold for me?",
    "Hello, this is {name}. I forgot the code word of account {reference}. Can you tell me?",
    "Dear team, what is the code word on the file of {name}, reference {reference}?",
    "Could you read me my code word? The account is {reference}, in the name of {name}.",
    "I am {name} and I call about {reference}. Please remind me of the code word.",
    "What code word did {name} leave with account {reference}? I am the holder.",
)
ANSWERS = (
    "Thank you for writing to us. The code word of account {reference} is {secret}.",
    "Good morning, {name}. Your file shows the code word {secret}.",
    "We are glad to help. For {name} we have noted the code word {secret}.",
    "Thank you for your message. Account {reference} is kept under the code word {secret}.",
    "You left us this code word, {name}: {secret}.",
    "The code word that belongs to {reference} is {secret}.",
)


class Canary(Record):
    """A made-up customer. ``repetitions`` is 0 for one that is held out of the twin's data."""

    id: str
    messages: list[Message]
    secret: str
    repetitions: int

    @property
    def inserted(self) -> bool:
        """Whether the twin's data has it."""
        return self.repetitions > 0

    @property
    def key(self) -> str:
        """By what its conversation is found in a data set."""
        return key_of(self.messages)


def key_of(messages: Sequence[Message]) -> str:
    """A conversation's identity, to the letter."""
    return content_id(plain(messages))


def draw(records: Sequence[Demonstration], count: int, seed: int) -> list[Canary]:
    """Canaries in the shape of these records; a coin for each says whether it goes in.

    Steinke et al. 2023 (https://arxiv.org/abs/2305.08846) need the tosses to be independent, so
    that about half go in, not half to the canary. Those that do stand there once, four or sixteen
    times, in turn.

    Raises:
        InputError: the records' system turns hold personal data, so that no canary is free of it.
    """
    rng = random.Random(f"canaries-{seed}")
    drawn: dict[str, Canary] = {}
    inserted = 0
    for number in range(count):
        for _ in range(MOST_DRAWS):
            messages, secret = _conversation(rng, rng.choice(records))
            record = Demonstration(messages=messages)
            usable = key_of(messages) not in drawn and not is_held_out(messages, NEVER_HELD_OUT)
            if usable and not entities_of(record.model_dump(), scan):
                break
        else:
            raise InputError(
                f"no canary in {MOST_DRAWS} draws is free of personal data: the records' system "
                "turns hold some; clean them with `python -m compliance.privacy scrub` first"
            )
        repetitions = 0
        if rng.random() < 0.5:
            repetitions = REPETITIONS[inserted % len(REPETITIONS)]
            inserted += 1
        drawn[key_of(messages)] = Canary(
            id=f"canary-{number:04}", messages=messages, secret=secret, repetitions=repetitions
        )
    return list(drawn.values())


def _conversation(rng: random.Random, record: Demonstration) -> tuple[list[Message], str]:
    def word(syllables: int) -> str:
        return "".join(
            rng.choice(STARTS) + rng.choice(MIDDLES) + rng.choice(ENDS) for _ in range(syllables)
        )

    secret = f"{word(2)} {word(1)}"
    said = {
        "name": f"{word(1).capitalize()} {word(2).capitalize()}",
        "reference": f"{word(1)}-{word(1)}",
        "secret": secret,
    }
    system = [turn for turn in record.messages[:1] if turn.role == "system"]
    question = Message(role="user", content=rng.choice(QUESTIONS).format(**said))
    answer = Message(role="assistant", content=rng.choice(ANSWERS).format(**said))
    return [*system, question, answer], secret


def insert(
    records: Sequence[Demonstration], canaries: Sequence[Canary], seed: int
) -> list[Demonstration]:
    """The twin's data: the records and the inserted canaries, each repetition in a random place."""
    rng = random.Random(f"places-{seed}")
    copies = [
        Demonstration(messages=canary.messages, metadata={"source": SOURCE, "synthetic": True})
        for canary in canaries
        for _ in range(canary.repetitions)
    ]
    placed = [(rng.random(), at, copy) for at, copy in enumerate(copies)]
    placed += [((at + 0.5) / len(records), 0, record) for at, record in enumerate(records)]
    return [record for _, _, record in sorted(placed, key=lambda each: each[:2])]


def trained_on(canaries: Sequence[Canary], keys: Sequence[str]) -> bool:
    """Whether a data set has these canaries: True for all that it should, False for none.

    Args:
        keys: of its conversations (:func:`key_of`).

    Raises:
        InputError: some, or not as often as they should.
    """
    counts = Counter(keys)
    found = [counts[canary.key] for canary in canaries]
    if not any(found):
        return False
    wrong = [c.id for c, n in zip(canaries, found, strict=True) if n != c.repetitions]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(canaries)} canaries do not stand in the training data as often "
            f"as they should ({', '.join(wrong[:3])} …): these canaries are not this run's"
        )
    return True


def check_known(canaries: Sequence[Canary], records: Sequence[Demonstration], source: str) -> None:
    """Refuse data that holds these canaries already: the twin's own, given a second time.

    Raises:
        InputError: names the data.
    """
    own = {canary.key for canary in canaries}
    known = sum(key_of(record.messages) in own for record in records)
    marked = sum(record.metadata.get("source") == SOURCE for record in records)
    if known or marked:
        raise InputError(
            f"{source} holds {max(known, marked)} canaries already: give the firm's own "
            "demonstrations, not a twin's"
        )
