"""The only place that turns messages into token ids and a supervised mask.

SFT, reward, DPO and generation all come here, so that what a model is trained on is what it is
asked with. A conversation is rendered once, whole, by the tokenizer's chat template; where a reply
begins and ends is read off that one rendering, never glued from pieces (pieces grow a second
beginning-of-sequence token, or a system turn nobody wrote).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from inhouse.errors import InputError
from inhouse.records import Message, plain
from inhouse.special_tokens import (
    CLOSED_THOUGHT,
    OPENED_THOUGHT,
    control_tokens,
    end_of_reply,
    written,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label that torch's loss leaves out


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens.

    ``ids`` and ``supervised`` have Shape: (tokens,). True in ``supervised`` means the token is
    the assistant's, its end-of-turn token included, and counts in the loss.
    """

    ids: list[int]
    supervised: list[bool]

    @property
    def labels(self) -> list[int]:
        """Token ids where supervised and :data:`IGNORED` elsewhere."""
        pairs = zip(self.ids, self.supervised, strict=True)
        return [token if counts else IGNORED for token, counts in pairs]


class _Differs(InputError):
    """A conversation whose replies cannot all be taught in one rendering."""


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of a conversation that waits for the assistant. Shape: (tokens,)."""
    return _ids(tokenizer, _text(tokenizer, messages, add_generation_prompt=True))


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[Rendered]:
    """A conversation with every assistant turn supervised that is to be learned.

    One rendering, where the template writes each turn the same whatever follows it. One for each
    reply, with only that one supervised, where it does not: templates for models that think take
    the thoughts out of earlier turns, and the prompt of a reply is what stood before it then.

    Raises:
        InputError: the template renders a prompt otherwise alone than before its reply, so that
            what is trained would differ from what is asked; or it ends a reply without the end
            token, so that the model would never learn to stop; or it begins the text twice.
    """
    try:
        return [_render_whole(tokenizer, messages)]
    except _Differs:
        made = []
        for turn in _learned(messages):
            before, reply = reply_ids(tokenizer, messages[:turn], messages[turn])
            supervised = [False] * len(before) + [True] * len(reply)
            made.append(Rendered(before + reply, supervised))
        return made


def _render_whole(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Rendered:
    ids = _ids(tokenizer, _text(tokenizer, messages))
    _check_beginning(tokenizer, ids)
    supervised = [False] * len(ids)
    for turn in _learned(messages):
        before = prompt_ids(tokenizer, messages[:turn])
        last = turn + 1 == len(messages)
        alone = ids if last else _ids(tokenizer, _text(tokenizer, messages[: turn + 1]))
        end = _end(tokenizer, alone, len(before))
        if alone[: len(before)] != before or end is None or ids[:end] != alone[:end]:
            raise _Differs(f"turn {turn + 1} is rendered otherwise when more turns follow")
        supervised[len(before) : end] = [True] * (end - len(before))
    return Rendered(ids, supervised)


def _learned(messages: Sequence[Message]) -> list[int]:
    return [at for at, turn in enumerate(messages) if turn.role == "assistant" and turn.train]


def reply_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], reply: Message
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the reply behind it. Shapes: (prompt,) and (reply,)."""
    return replies_ids(tokenizer, [(prompt, reply)])[0]


def replies_ids(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[tuple[Sequence[Message], Message]]
) -> list[tuple[list[int], list[int]]]:
    """:func:`reply_ids` of many (prompt, reply) at once, several times faster.

    What a template writes behind the end token (a newline, mostly) is never sampled: it is cut.
    """
    if not conversations:
        return []
    wholes = _texts(tokenizer, [[*prompt, reply] for prompt, reply in conversations])
    keys = [tuple((turn.role, turn.content) for turn in prompt) for prompt, _ in conversations]
    prompts = dict(zip(keys, (prompt for prompt, _ in conversations), strict=True))
    asked = _texts(tokenizer, list(prompts.values()), add_generation_prompt=True)
    befores = dict(zip(prompts, zip(asked, _ids(tokenizer, asked), strict=True), strict=True))
    made = []
    for key, whole, ids in zip(keys, wholes, _ids(tokenizer, wholes), strict=True):
        text, before = befores[key]
        _check_beginning(tokenizer, ids)
        behind = _behind(tokenizer, text, before, whole, ids)
        end = _end(tokenizer, behind, 0)
        if end is None:
            raise InputError(
                f"the chat template writes no end token behind the reply in turn {len(key) + 1}: a "
                "model trained so never learns to stop. Change the template"
            )
        made.append((before, behind[:end]))
    return made


def _behind(
    tokenizer: PreTrainedTokenizerBase, asked: str, before: list[int], whole: str, ids: list[int]
) -> list[int]:
    """What a model that was asked with a prompt has to write for a conversation to come of it.

    Mostly the ids behind the prompt's. Where prompt and reply grow together into other tokens, the
    reply has tokens of its own, as it is written behind the prompt's; and where only the prompt
    opens a thought, the reply closes it.

    Args:
        asked: the prompt, as text. ``before`` are its ids, Shape: (prompt,)
        whole: the conversation, as text. ``ids`` are its ids, Shape: (tokens,)

    Raises:
        InputError: the conversation does not begin with the prompt.
    """
    if ids[: len(before)] == before:
        return ids[len(before) :]
    shared = common_prefix(asked, whole)
    rest = whole[shared:]
    if asked[shared:].strip() == OPENED_THOUGHT:
        return _ids(tokenizer, f"\n{CLOSED_THOUGHT}\n\n{rest}")
    behind = _ids(tokenizer, rest)
    if shared != len(asked) or tokenizer.decode(before + behind) != tokenizer.decode(ids):
        at = common_prefix(before, ids)
        raise InputError(
            "the chat template renders the prompt otherwise than the prompt with its reply: "
            f"they part at token {at} ({tokenizer.decode(before[at : at + 5])!r} against "
            f"{tokenizer.decode(ids[at : at + 5])!r}). The template must render a prompt the "
            "same way with and without its reply"
        )
    return behind


def common_prefix(left: Sequence[int] | str, right: Sequence[int] | str) -> int:
    """How many leading tokens, or characters, two renderings share."""
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def text_of(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], skip_special_tokens: bool = False
) -> str:
    """What one row of tokens says. Shape of ``ids``: (tokens,)."""
    text = tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
    assert isinstance(text, str)  # several rows would give a list
    return text


def said(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """What a sampled reply tells the user: without control tokens, and without its thought."""
    text = text_of(tokenizer, ids, skip_special_tokens=True)
    template = str(tokenizer.chat_template)
    if CLOSED_THOUGHT in template or OPENED_THOUGHT in template:
        text = text.rpartition(CLOSED_THOUGHT)[2].partition(OPENED_THOUGHT)[0]
    return text.strip()


def show_supervised(
    tokenizer: PreTrainedTokenizerBase, rendered: Rendered, colour: bool = False
) -> str:
    """The rendered text with what counts in the loss between ⟦ and ⟧, on a terminal in green."""
    parts = []
    runs = itertools.groupby(
        zip(rendered.ids, rendered.supervised, strict=True), key=lambda pair: pair[1]
    )
    for counts, run in runs:
        text = text_of(tokenizer, [token for token, _ in run])
        shown = f"⟦{text}⟧" if counts else text
        parts.append(f"\x1b[32m{shown}\x1b[0m" if counts and colour else shown)
    return "".join(parts)


def _text(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    add_generation_prompt: bool = False,
) -> str:
    return _texts(tokenizer, [messages], add_generation_prompt)[0]


def _texts(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Message]],
    add_generation_prompt: bool = False,
) -> list[str]:
    control = control_tokens(tokenizer)
    for messages in conversations:
        _check_forged(control, messages)
    turns = [plain(messages) for messages in conversations]
    return written(tokenizer, turns, add_generation_prompt)


@overload
def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]: ...
@overload
def _ids(tokenizer: PreTrainedTokenizerBase, text: list[str]) -> list[list[int]]: ...
def _ids(tokenizer: PreTrainedTokenizerBase, text: Any) -> Any:
    """Token ids of what a template wrote, which has written its own beginning."""
    return tokenizer(text, add_special_tokens=False).input_ids


def _check_forged(control: Collection[str], messages: Sequence[Message]) -> None:
    for turn, message in enumerate(messages, start=1):
        forged = next((token for token in control if token in message.content), None)
        if forged:  # a customer who types the end token would end the turn
            raise InputError(
                f"turn {turn} ({message.role}) holds {forged!r}, which is the chat template's own: "
                "take it out of the text"
            )


def _check_beginning(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> None:
    begin = tokenizer.bos_token_id
    if begin is not None and ids[:2] == [begin, begin]:
        raise InputError(
            f"the chat template begins the text twice ({tokenizer.bos_token}): take one of the two "
            "out of it"
        )


def _end(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], start: int) -> int | None:
    """Behind the first end token from ``start`` on; None if there is none."""
    end = end_of_reply(tokenizer)
    return next((at + 1 for at in range(start, len(ids)) if ids[at] == end), None)
