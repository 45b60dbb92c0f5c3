"""The only place that turns messages into token ids and a supervised mask.

SFT, reward, DPO and generation all come here, so that what a model is trained on is what it is
asked with. A conversation is rendered once, whole, by the tokenizer's chat template; where a reply
begins and ends is read off that one rendering, never glued from pieces (pieces grow a second
beginning-of-sequence token, or a system turn nobody wrote).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2

from inhouse.errors import InputError
from inhouse.records import Message, plain

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


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, source: str) -> None:
    """Refuse a tokenizer that cannot be trained with safely.

    Raises:
        InputError: no chat template, no end token, or padding that hides the end token.
    """
    if not tokenizer.chat_template:
        raise InputError(
            f"the tokenizer in {source} has no chat template: add chat_template.jinja to it"
        )
    if tokenizer.eos_token_id is None:
        raise InputError(f"the tokenizer in {source} has no end token (eos_token)")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise InputError(
            f"the tokenizer in {source} pads with {tokenizer.pad_token!r}, which is its end token "
            "or nothing: a model trained so never learns to stop. Set pad_token to a token that "
            "no text uses"
        )


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of a conversation that waits for the assistant. Shape: (tokens,)."""
    return _render(tokenizer, messages, add_generation_prompt=True)


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Rendered:
    """A whole conversation with every assistant turn supervised that is to be learned.

    Raises:
        InputError: the template renders a prompt otherwise alone than before its reply, so that
            what is trained would differ from what is asked; or it ends a reply without the end
            token, so that the model would never learn to stop; or it begins the text twice.
    """
    ids = _render(tokenizer, messages)
    _check_beginning(tokenizer, ids)
    supervised = [False] * len(ids)
    for turn, message in enumerate(messages):
        if message.role != "assistant" or not message.train:
            continue
        before = prompt_ids(tokenizer, messages[:turn])
        end = _end_of_turn(tokenizer, ids, messages, turn)
        _check_reply(tokenizer, before, ids, end, turn)
        supervised[len(before) : end] = [True] * (end - len(before))
    return Rendered(ids, supervised)


def reply_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], reply: Message
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the reply behind it. Shapes: (prompt,) and (reply,)."""
    rendered = render(tokenizer, [*prompt, reply])
    start = len(prompt_ids(tokenizer, prompt))
    # What a template writes after the end token (a newline, mostly) is never sampled: cut it.
    end = len(rendered.ids) - rendered.supervised[::-1].index(True)
    return rendered.ids[:start], rendered.ids[start:end]


def replies_ids(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[tuple[Sequence[Message], Message]]
) -> list[tuple[list[int], list[int]]]:
    """:func:`reply_ids` of many (prompt, reply) at once, several times faster.

    Only the last turn of each is checked, which is the one that is read.
    """
    if not conversations:
        return []
    wholes = _render_all(tokenizer, [[*prompt, reply] for prompt, reply in conversations])
    keys = [tuple((turn.role, turn.content) for turn in prompt) for prompt, _ in conversations]
    prompts = dict(zip(keys, (prompt for prompt, _ in conversations), strict=True))
    rendered = _render_all(tokenizer, list(prompts.values()), add_generation_prompt=True)
    befores = dict(zip(prompts, rendered, strict=True))
    made = []
    for key, ids in zip(keys, wholes, strict=True):
        before, end = befores[key], _last_end(tokenizer, ids)
        _check_beginning(tokenizer, ids)
        _check_reply(tokenizer, before, ids, end, len(key))
        made.append((ids[: len(before)], ids[len(before) : end]))
    return made


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many leading tokens two renderings share."""
    pairs = zip(left, right, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def text_of(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], skip_special_tokens: bool = False
) -> str:
    """What one row of tokens says. Shape of ``ids``: (tokens,)."""
    text = tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
    assert isinstance(text, str)  # several rows would give a list
    return text


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


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The tokens that a template writes and no text may hold.

    ``all_special_tokens`` has only those with a name; Llama's turn headers, for one, are special
    in the vocabulary and named nowhere.
    """
    added = tokenizer.added_tokens_decoder.values()
    return {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}


def _render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    add_generation_prompt: bool = False,
) -> list[int]:
    _check_forged(control_tokens(tokenizer), messages)
    return _apply(tokenizer, plain(messages), add_generation_prompt)


def _render_all(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Message]],
    add_generation_prompt: bool = False,
) -> list[list[int]]:
    control = control_tokens(tokenizer)
    for messages in conversations:
        _check_forged(control, messages)
    return _apply(tokenizer, [plain(messages) for messages in conversations], add_generation_prompt)


def _apply(tokenizer: PreTrainedTokenizerBase, messages: Any, add_generation_prompt: bool) -> Any:
    """Token ids of one conversation, or of each in a list of them."""
    try:
        return tokenizer.apply_chat_template(
            messages,
            tokenize=True,
            add_generation_prompt=add_generation_prompt,
            return_dict=False,
        )
    except jinja2.TemplateError as error:
        raise InputError(f"the chat template refuses this conversation: {error}") from None


def _check_forged(control: set[str], messages: Sequence[Message]) -> None:
    for turn, message in enumerate(messages, start=1):
        forged = next((token for token in control if token in message.content), None)
        if forged:  # a customer who types the end token would end the turn
            raise InputError(
                f"turn {turn} ({message.role}) holds {forged!r}, which is the chat template's own: "
                "take it out of the text"
            )


def _check_reply(
    tokenizer: PreTrainedTokenizerBase, before: list[int], ids: list[int], end: int, turn: int
) -> None:
    """Refuse a reply whose prompt is rendered otherwise without it, or that nothing ends.

    Args:
        before: the prompt alone. Shape: (prompt,)
        ids: the whole conversation. Shape: (tokens,)
        end: behind the end token that is the reply's, as far as there is one.
        turn: the reply's, from 0.
    """
    if ids[: len(before)] != before:
        at = common_prefix(before, ids)
        raise InputError(
            "the chat template renders the prompt otherwise than the prompt with its reply: "
            f"they part at token {at} ({tokenizer.decode(before[at : at + 5])!r} against "
            f"{tokenizer.decode(ids[at : at + 5])!r}). The template must render a prompt the "
            "same way with and without its reply"
        )
    if end <= len(before):
        raise InputError(
            f"the chat template writes no end token ({tokenizer.eos_token}) behind the reply "
            f"in turn {turn + 1}, or renders that reply otherwise when more turns follow: a "
            "model trained so never learns to stop. Change the template, or give each reply a "
            "record of its own"
        )


def _check_beginning(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> None:
    begin = tokenizer.bos_token_id
    if begin is not None and ids[:2] == [begin, begin]:
        raise InputError(
            f"the chat template begins the text twice ({tokenizer.bos_token}): take one of the two "
            "out of it"
        )


def _end_of_turn(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], messages: Sequence[Message], turn: int
) -> int:
    """Where an assistant turn ends in the whole rendering, its end token included.

    Before the turn's own beginning if nothing ends it: the last end token is another turn's.
    """
    until = common_prefix(_render(tokenizer, messages[: turn + 1]), ids)
    return _last_end(tokenizer, ids[:until])


def _last_end(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> int:
    """Behind the last end token; 0 if there is none."""
    ends = end_token_ids(tokenizer)
    return next((at + 1 for at in range(len(ids) - 1, -1, -1) if ids[at] in ends), 0)


def end_token_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that end a reply: ``eos_token`` (generation configs may add more)."""
    return {tokenizer.eos_token_id}
