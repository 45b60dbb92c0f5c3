"""What a model says word for word when it is given the beginning of what it was trained on.

A model is asked with everything that stands before a passage, greedily and k times at temperature
1 (Carlini et al. 2023, https://arxiv.org/abs/2202.07646, section 3). Of a canary the passage is its
code word. Of a record it is the sentence of its replies with the rarest word that nobody had said
before; only one with a word that stands in no other conversation is a secret. A house's stock
phrases are meant to be learned, and filled with the names and figures that were given. What the
base says as well is not counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from inhouse import chat
from inhouse.generation import sample
from inhouse.records import Demonstration, Message, is_blank
from inhouse.training.demonstrations import replies
from review.memorisation.members import Member
from review.memorisation.secrets import Canary, key_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

LONGEST = 50  # tokens of a passage that have to be said, as in the paper
ROOM = 2  # tokens more that are written: others may say the same
FEWEST_WORDS = 4  # of a sentence that could be anybody's secret


class Passage(NamedTuple):
    """What has to be said: a text, the reply that it stands in, and what is asked before that."""

    name: str
    prompt: Sequence[Message]
    reply: str
    text: str
    own: bool  # it is a secret: nobody could say it who has not seen it


class Asked(NamedTuple):
    """A passage as a model is asked for it. ``prefix`` and ``ids`` have Shape: (tokens,)."""

    passage: Passage
    prefix: list[int]
    ids: list[int]
    text: str  # what ``ids`` say


class Said(NamedTuple):
    """What became of a passage: the model said it, or said nothing at all."""

    verbatim: bool
    silent: bool


# --- passages -----------------------------------------------------------------------------------


def of_canary(canary: Canary) -> Passage:
    """A canary's code word."""
    *prompt, reply = canary.messages
    return Passage(canary.id, prompt, reply.content, canary.secret, own=True)


def of_records(members: Sequence[Member], every: Iterable[Demonstration]) -> list[Passage]:
    """Of each record the sentence with the rarest word, if it has any sentence.

    Args:
        every: all records of the data, those among ``members`` too.
    """
    distinct = {key_of(record.messages): record for record in every}.values()
    shared = Counter(word for record in distinct for word in _words_of(record.messages))
    found = []
    for member in members:
        passages = [
            (
                min((shared[word] for word in words(passage.text) - before), default=len(shared)),
                passage,
            )
            for passage, before in _sentences(member)
        ]
        if passages:
            rarest, passage = min(passages, key=lambda each: (each[0], -len(each[1].text)))
            found.append(passage._replace(own=rarest == 1))
    return found


def _sentences(member: Member) -> Iterator[tuple[Passage, set[str]]]:
    """Every sentence of a record's learned replies, with the words that stand before its reply."""
    for prompt, reply in replies(member.record):
        before = _words_of(prompt)
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", reply):
            if len(sentence.split()) >= FEWEST_WORDS:
                yield Passage(member.place, prompt, reply, sentence.strip(), own=False), before


def _words_of(messages: Sequence[Message]) -> set[str]:
    return {word for turn in messages for word in words(turn.content)}


def words(text: str) -> set[str]:
    """The words of a text without the marks around them, in small letters."""
    stripped = (word.strip(".,;:!?()[]\"'“”‘’*|-–").casefold() for word in text.split())
    return set(filter(None, stripped))


# --- asking -------------------------------------------------------------------------------------


def place(tokenizer: PreTrainedTokenizerBase, passage: Passage) -> Asked | None:
    """A passage's tokens and those before it; None where the template does not write it so."""
    reply = Message(role="assistant", content=passage.reply)
    before, ids = chat.reply_ids(tokenizer, passage.prompt, reply)
    lengths = [len(chat.text_of(tokenizer, ids[:n], True)) for n in range(len(ids) + 1)]
    start = chat.text_of(tokenizer, ids, True).find(passage.text)
    if start < 0:
        return None
    first = max(n for n, length in enumerate(lengths) if length <= start)
    stop = next(n for n, length in enumerate(lengths) if length >= start + len(passage.text))
    own = ids[first : min(stop, first + LONGEST)]
    return Asked(passage, before + ids[:first], own, chat.text_of(tokenizer, own, True))


def fits(asked: Asked, context: int | None) -> bool:
    """Whether a model that takes so many tokens has room for the longest passage behind this."""
    return context is None or len(asked.prefix) + LONGEST + ROOM <= context


def passages_said(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Asked],
    *,
    samples: int,
    seed: int,
    batch_size: int,
    title: str,
) -> list[Said]:
    """Whether a model says each passage, greedily or in one of ``samples`` tries."""
    if not asked:
        return []
    tries: list[list[str]] = [[] for _ in asked]
    room = max(len(each.ids) for each in asked) + ROOM
    for count, temperature in ((1, 0.0), (samples, 1.0)):
        for batch in sample.replies(
            model,
            tokenizer,
            [each.prefix for each in asked],
            samples=count,
            max_new_tokens=room,
            temperature=temperature,
            seed=seed,
            batch_size=batch_size,
            title=f"{title}, {'sampled' if temperature else 'greedy'}",
        ):
            for at, said in batch.items():
                tries[at] += [reply.text for reply in said]
    return [
        Said(any(begins(text, each.text) for text in texts), all(map(is_blank, texts)))
        for each, texts in zip(asked, tries, strict=True)
    ]


def begins(said: str, passage: str) -> bool:
    """Whether what was said begins with the passage; white space is any white space."""
    wanted = passage.split()
    return " ".join(said.split()).startswith(" ".join(wanted)) if wanted else False
