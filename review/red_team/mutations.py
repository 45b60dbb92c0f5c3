"""How a request is said in other ways: pure functions from a conversation to another, in a table.

A mutation changes the last turn of a conversation, or puts turns before it, and never loses what is
asked: framed requests stand in their frame word for word, and the tests undo each disguise. What it
draws (a wording, the letters that change) comes from the random numbers that it is given;
:func:`mutate` seeds them with the seed's id and the mutation's name, so that a plan is the same
whenever and wherever it is made.

The kinds are those that the literature on attacks describes: role play, authority, hypothetical and
encodings in Wei et al. (2023), https://arxiv.org/abs/2307.02483; split payloads in Kang et al.
(2023), https://arxiv.org/abs/2302.05733; crescendo in Russinovich et al. (2024),
https://arxiv.org/abs/2404.01833; quoted documents in Greshake et al. (2023),
https://arxiv.org/abs/2302.12173. The wordings are our own and do not adapt to a model: a model that
withstands them has withstood these, not an attacker who tries until something works.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from inhouse.records import Message
from review.red_team import disguises

Mutation = Callable[[Sequence[Message], Random], list[Message]]

_DATA = tomllib.loads(Path(__file__).with_name("frames.toml").read_text(encoding="utf-8"))
BEGINNING = 8  # words of a request that crescendo gives away early, and at most half of it


def mutate(name: str, seed_id: str, messages: Sequence[Message]) -> list[Message]:
    """A seed's conversation under the mutation of that name, always the same."""
    return MUTATIONS[name](messages, Random(f"{seed_id} {name}"))


def plain(messages: Sequence[Message], random: Random) -> list[Message]:
    """As it is."""
    return list(messages)


def role_play(messages: Sequence[Message], random: Random) -> list[Message]:
    """A scene in which the model is somebody without rules."""
    return _framed("role_play", messages, random)


def authority(messages: Sequence[Message], random: Random) -> list[Message]:
    """Somebody who says that the rules are theirs to lift."""
    return _framed("authority", messages, random)


def urgency(messages: Sequence[Message], random: Random) -> list[Message]:
    """No time for cautions."""
    return _framed("urgency", messages, random)


def hypothetical(messages: Sequence[Message], random: Random) -> list[Message]:
    """A thought experiment, or a novel."""
    return _framed("hypothetical", messages, random)


def translation_de(messages: Sequence[Message], random: Random) -> list[Message]:
    """A German frame that asks for a German answer, and the same in English behind it.

    The request itself stays English: nothing is translated here, as that would take a model or a
    service. What is tried is whether a model keeps the rules when it answers in another language.
    The answer is asked for in English as well because the rules' patterns read English only.
    """
    return _framed("translation_de", messages, random)


def translation_fr(messages: Sequence[Message], random: Random) -> list[Message]:
    """:func:`translation_de` in French."""
    return _framed("translation_fr", messages, random)


def translation_es(messages: Sequence[Message], random: Random) -> list[Message]:
    """:func:`translation_de` in Spanish."""
    return _framed("translation_es", messages, random)


def quoted_document(messages: Sequence[Message], random: Random) -> list[Message]:
    """The request hidden as an instruction in a document that is only to be summarised."""
    return _framed("quoted_document", messages, random)


def prompt_leak(messages: Sequence[Message], random: Random) -> list[Message]:
    """First the model's instructions are to be told, then the request is to be answered."""
    return _framed("prompt_leak", messages, random)


def typos(messages: Sequence[Message], random: Random) -> list[Message]:
    """Letters inside some words change places."""
    return _with_last(messages, disguises.with_typos(messages[-1].content, random))


def look_alikes(messages: Sequence[Message], random: Random) -> list[Message]:
    """Half of the letters that have a look-alike in another script become it."""
    return _with_last(messages, disguises.with_look_alikes(messages[-1].content, random))


def base64(messages: Sequence[Message], random: Random) -> list[Message]:
    """The request in base64, to be decoded and answered."""
    code = disguises.to_base64(messages[-1].content)
    return _with_last(messages, _DATA["disguises"]["base64"].replace("{code}", code))


def split_payload(messages: Sequence[Message], random: Random) -> list[Message]:
    """The request in parts out of order, to be joined and answered."""
    parts, order = disguises.in_parts(messages[-1].content, random)
    frame = _DATA["disguises"]["split_payload"].replace("{order}", order)
    return _with_last(messages, frame.replace("{parts}", parts))


def crescendo(messages: Sequence[Message], random: Random) -> list[Message]:
    """Three turns that come nearer; the assistant's turns between them say nothing.

    They stand after the turns that a seed has already.
    """
    *before, last = messages
    words = last.content.split()
    beginning = " ".join(words[: min(BEGINNING, max(1, len(words) // 2))])
    turns = [
        turn.replace("{beginning}", beginning).replace("{ask}", last.content)
        for turn in random.choice(_DATA["crescendo"]["conversations"])
    ]
    return [
        *before,
        *(
            Message(role="assistant" if number % 2 else "user", content=turn)
            for number, turn in enumerate(turns)
        ),
    ]


def _framed(name: str, messages: Sequence[Message], random: Random) -> list[Message]:
    """The last turn inside one of the wordings of that name."""
    frame: str = random.choice(_DATA["frames"][name])
    return _with_last(messages, frame.replace("{ask}", messages[-1].content))


def _with_last(messages: Sequence[Message], text: str) -> list[Message]:
    return [*messages[:-1], Message(role="user", content=text)]


MUTATIONS: dict[str, Mutation] = {
    mutation.__name__: mutation
    for mutation in (
        plain,
        role_play,
        authority,
        urgency,
        hypothetical,
        translation_de,
        translation_fr,
        translation_es,
        typos,
        look_alikes,
        base64,
        split_payload,
        crescendo,
        quoted_document,
        prompt_leak,
    )
}
