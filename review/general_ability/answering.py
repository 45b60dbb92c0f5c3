"""What a model replies to the items, and whether it is right: batch by batch, the same every time.

    for batch in answer(model, tokenizer, items, known):
        journal.append(batch)

Items with choices are scored by likelihood: the model has answered with the choice whose bytes it
finds likeliest on average, the log-probability of the whole text divided by its length in UTF-8.
That is lm-evaluation-harness' ``acc_norm``, and why bytes and not tokens stands in Gao (2021),
https://blog.eleuther.ai/multiple-choice-normalization/. As there, the end token is not counted:
training on a house's tone changes when a reply ends, which is no ability. All other items are
answered greedily, and :mod:`.scorers` read what was written.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from inhouse.chat import prompt_ids, replies_ids
from inhouse.errors import InputError
from inhouse.models.folder import context_length
from inhouse.records import Message, Record
from review.general_ability.items import Item
from review.general_ability.scorers import passes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

MAX_NEW_TOKENS = 128  # the longest reply that an item of ours asks for takes half of it


class Answered(Record):
    """One model's reply to one item; for choices, ``said`` is the one it finds likeliest.

    ``model`` has ``name`` and ``hash``.
    """

    item: str
    kind: str
    model: dict[str, str]
    correct: bool
    said: str


def answer(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    known: dict[str, str],
    *,
    done: Collection[str] = (),
    batch_size: int = 16,
    max_new_tokens: int = MAX_NEW_TOKENS,
    bars: bool = True,
) -> Iterator[list[Answered]]:
    """Let a model answer every item that is not ``done``, and yield its answers by the batch.

    Batches are the same whatever is done already, so that a killed run goes on with the same
    answers; those whose items are all done are passed over.

    Args:
        known: the model's ``name`` and ``hash``, as each answer carries them.
        done: ids of items that it has answered.
        bars: whether to show how far it is.

    Raises:
        InputError: an item that does not fit the model's context, or a model whose weights are
            damaged.
    """
    chosen = [item for item in items if item.choices]
    written = [item for item in items if item.accept]
    name = known["name"] if bars else None
    steps = (
        (chosen, _choose(model, tokenizer, chosen, done, batch_size, name)),
        (written, _write(model, tokenizer, written, done, batch_size, max_new_tokens, name)),
    )
    for asked, batches in steps:
        for batch in batches:
            yield [
                Answered(
                    item=asked[at].id,
                    kind=asked[at].kind,
                    model=known,
                    correct=_is_right(asked[at], said),
                    said=said,
                )
                for at, said in sorted(batch.items())
                if asked[at].id not in done
            ]


def likelihoods(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    *,
    batch_size: int = 16,
) -> list[list[float]]:
    """How likely each choice of each item is as the reply, in nats a byte. Ragged: one an item.

    Raises:
        InputError: an item that does not fit the model's context, or a log-probability that is not
            a number.
    """
    from inhouse.generation.sample import log_probabilities

    asked = [
        (item.prompt, Message(role="assistant", content=choice))
        for item in items
        for choice in item.choices
    ]
    pairs = [(before, reply[:-1]) for before, reply in replies_ids(tokenizer, asked)]
    _check_room(model, items, pairs)
    found = iter(
        log_probabilities(
            model, pairs, pad_token_id=int(tokenizer.pad_token_id), batch_size=batch_size
        )
    )
    made = [
        [next(found) / len(choice.encode("utf-8")) for choice in item.choices] for item in items
    ]
    for item, values in zip(items, made, strict=True):
        if not all(map(math.isfinite, values)):
            raise InputError(
                f"the model gives the choices of {item.id} log-probabilities that are no numbers: "
                "its weights are damaged, or its training diverged; train it again with a lower "
                "--learning_rate and --overwrite"
            )
    return made


def _choose(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    done: Collection[str],
    batch_size: int,
    name: str | None,
) -> Iterator[dict[int, str]]:
    """The choice that the model finds likeliest, by the item's place in ``items``."""
    from tqdm import tqdm

    title = f"{name}, general ability, choices"
    with tqdm(total=len(items), desc=title, unit="item", disable=name is None) as bar:
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            if not all(item.id in done for item in batch):
                values = likelihoods(model, tokenizer, batch, batch_size=batch_size)
                yield {
                    start + at: item.choices[max(range(len(one)), key=one.__getitem__)]
                    for at, (item, one) in enumerate(zip(batch, values, strict=True))
                }
            bar.update(len(batch))


def _write(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    done: Collection[str],
    batch_size: int,
    max_new_tokens: int,
    name: str | None,
) -> Iterator[dict[int, str]]:
    """What the model writes greedily, by the item's place in ``items``."""
    from inhouse.generation.sample import replies

    for batch in replies(
        model,
        tokenizer,
        [prompt_ids(tokenizer, item.prompt) for item in items],
        max_new_tokens=max_new_tokens,
        temperature=0.0,
        batch_size=batch_size,
        done={at for at, item in enumerate(items) if item.id in done},
        title=f"{name}, general ability, written" if name else None,
    ):
        yield {at: said[0].text for at, said in batch.items()}


def _is_right(item: Item, said: str) -> bool:
    if item.choices:
        assert item.answer is not None
        return said == item.choices[item.answer]
    return passes(said, item.accept)


def _check_room(
    model: Model, items: Sequence[Item], pairs: Sequence[tuple[list[int], list[int]]]
) -> None:
    """Refuse an item that is longer than the model takes: it would be scored all the same.

    Raises:
        InputError: names the item, its tokens, and the model's.
    """
    most = context_length(model.config)
    names = [item.id for item in items for _ in item.choices]
    for name, (before, reply) in zip(names, pairs, strict=True):
        if most is not None and len(before) + len(reply) > most:
            raise InputError(
                f"{name} has {len(before) + len(reply)} tokens with its choice, and the model "
                f"takes {most}: shorten the item, or take it out"
            )
