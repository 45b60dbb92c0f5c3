"""The contract between a chat template, the tokenizer's special tokens and a model's embeddings.

What ends a reply is read off the template, not off ``eos_token``: families write another token
behind a turn than behind a text (Gemma's ``<end_of_turn>``, Phi 3's ``<|end|>``, Llama 3's
``<|eot_id|>``). That token is supervised, generation stops at it, at ``eos_token`` and at whatever
the model's generation config adds, and a model that is saved carries all of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jinja2

from inhouse.errors import InputError

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedTokenizerBase

# A question and its answer, to see what a template writes around them.
ASKED = {"role": "user", "content": "What does it cost?"}
SAID = {"role": "assistant", "content": "It costs nothing."}
# What makers call tokens that are kept for what a user may need, the likeliest first.
SPARE = ("pad", "reserved", "unused", "extra", "placeholder", "dummy", "control")
NAMES = ("bos", "eos", "unk", "cls", "sep", "mask")  # of tokens, to a tokenizer
OPENED_THOUGHT, CLOSED_THOUGHT = "<think>", "</think>"


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """The tokens that a template writes and no text may hold.

    ``all_special_tokens`` has only those with a name; Llama's turn headers, for one, are special
    in the vocabulary and named nowhere.
    """
    return _control_tokens(tokenizer, len(tokenizer), tuple(tokenizer.all_special_tokens))


@lru_cache(maxsize=8)
def _control_tokens(
    tokenizer: PreTrainedTokenizerBase, _size: int, named: tuple[str, ...]
) -> frozenset[str]:
    added = tokenizer.added_tokens_decoder.values()  # thousands, in some families
    return frozenset({*named, *(token.content for token in added if token.special)})


def written(tokenizer: PreTrainedTokenizerBase, messages: Any, add_generation_prompt: bool) -> Any:
    """What the chat template writes: the text of a conversation, or of each in a list of them.

    Raises:
        InputError: the template is broken, or refuses the conversation.
    """
    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except jinja2.TemplateError as error:
        raise InputError(f"the chat template refuses this conversation: {error}") from None


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """The id of one token."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)  # several would give a list
    return found


def end_of_reply(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The control token that the template writes behind a reply; None where it writes none.

    Raises:
        InputError: the template is broken.
    """
    return _end_of_reply(
        tokenizer, str(tokenizer.chat_template), control_tokens(tokenizer), tokenizer.eos_token
    )


@lru_cache(maxsize=8)
def _end_of_reply(
    tokenizer: PreTrainedTokenizerBase, _template: str, control: frozenset[str], end: str | None
) -> int | None:
    _, reply, behind = written(tokenizer, [ASKED, SAID], False).rpartition(SAID["content"])
    known = sorted({*control, *([end] if end else [])}, key=len, reverse=True)
    found = next((token for token in known if behind.lstrip().startswith(token)), None)
    if not reply or found is None:
        return None
    return token_id(tokenizer, found)


def stop_ids(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None = None
) -> list[int]:
    """Every token at which a reply ends, the template's own first.

    Args:
        generation_config: the model's, whose ``eos_token_id`` may name more.
    """
    every = [end_of_reply(tokenizer), tokenizer.eos_token_id, *_ends(generation_config)]
    return list(dict.fromkeys(token for token in every if token is not None))


def _ends(generation_config: GenerationConfig | None) -> list[int | None]:
    named = getattr(generation_config, "eos_token_id", None)
    return named if isinstance(named, list) else [named]


def opens_thought(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a prompt ends in the beginning of a thought, as those of DeepSeek R1's kind do."""
    return written(tokenizer, [ASKED], True).rstrip().endswith(OPENED_THOUGHT)


# --- what is checked before a model is used -----------------------------------------------------


def check(
    tokenizer: PreTrainedTokenizerBase, source: str, config: PreTrainedConfig | None = None
) -> None:
    """Refuse a tokenizer and a template that cannot be trained with; give padding its own token.

    Rows are masked by their lengths, so that a tokenizer without padding, or one that pads with an
    end token, trains as it is. A file that must name a padding names a spare token of the
    tokenizer's, which is chosen here.

    Args:
        config: the model's; its embeddings are what the ids are checked against.

    Raises:
        InputError: no chat template; no token that ends a reply; a prompt that does not end in the
            reply's header; a special token without an embedding. Each with what mends it.
    """
    if not tokenizer.chat_template:
        raise InputError(
            f"the tokenizer in {source} has no chat template: give one with `python -m sft "
            f"--chat_template FILE`, or write it to {source}/chat_template.jinja"
        )
    try:
        _check_end(tokenizer, source)
        _check_header(tokenizer, source)
    except jinja2.TemplateError as error:
        raise InputError(f"the chat template in {source} is broken: {error}") from None
    size = None if config is None else config.get_text_config().vocab_size
    if size is not None:
        _check_embeddings(tokenizer, source, size)
    if tokenizer.pad_token is None or tokenizer.pad_token_id in stop_ids(tokenizer):
        tokenizer.pad_token = _spare(tokenizer, size) or tokenizer.pad_token or tokenizer.eos_token


def _check_end(tokenizer: PreTrainedTokenizerBase, source: str) -> None:
    end = end_of_reply(tokenizer)
    if end is None:
        raise InputError(
            f"the chat template in {source} writes no end token behind a reply, so that a model "
            "trained with it would never learn to stop: write "
            f"{tokenizer.eos_token or 'an end token'} behind the assistant's content"
        )
    if tokenizer.eos_token_id is None:  # TRL and plain transformers want one by that name
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)


def _check_header(tokenizer: PreTrainedTokenizerBase, source: str) -> None:
    """Refuse a template that leaves (a part of) the reply's header to the model.

    What comes between the prompt and the content may be blank, or begin with a token of its own (a
    thought, a channel), but only where the generation prompt has written the header before it.
    """
    bare, asked = (written(tokenizer, [ASKED], asks) for asks in (False, True))
    whole = written(tokenizer, [ASKED, SAID], False)
    if not whole.startswith(asked):
        return  # how that reply is rendered, each record will show
    between = whole[len(asked) :].rpartition(SAID["content"])[0]
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    own = (*added, OPENED_THOUGHT, CLOSED_THOUGHT)
    if between.strip() and (bare == asked or not between.lstrip().startswith(own)):
        raise InputError(
            f"the chat template in {source} ends a prompt without the header of the reply "
            f"({between!r} comes only with the reply), so that the model would be trained to write "
            "it, and would be asked without it. Let the template end with {% if "
            f"add_generation_prompt %}}{{{{ {between!r} }}}}{{% endif %}}"
        )


def _check_embeddings(tokenizer: PreTrainedTokenizerBase, source: str, size: int) -> None:
    for name in ("pad", "eos", "bos"):
        token = getattr(tokenizer, f"{name}_token_id")
        if token is not None and token >= size:
            written_as = getattr(tokenizer, f"{name}_token")
            spare = _spare(tokenizer, size)
            instead = f'set {name}_token in {source}/tokenizer_config.json to "{spare}"'
            raise InputError(
                f"{name}_token {written_as!r} of the tokenizer in {source} is token {token}, and "
                f"the model has embeddings for {size}: "
                + (f"{instead}, or c" if spare and name == "pad" else "c")
                + "all `model.resize_token_embeddings(len(tokenizer))` and save both again"
            )


def check_ends(
    tokenizer: PreTrainedTokenizerBase, source: str, generation_config: GenerationConfig
) -> None:
    """Refuse a generation config that stops at a token which the tokenizer lacks.

    Raises:
        InputError: names the model's folder and the id.
    """
    beyond = [end for end in _ends(generation_config) if end is not None and end >= len(tokenizer)]
    if beyond:
        raise InputError(
            f"the generation config in {source} names {beyond[0]} as eos_token_id, and the "
            f"tokenizer has {len(tokenizer)} tokens: set it to one that is there, or take it out"
        )


def _spare(tokenizer: PreTrainedTokenizerBase, size: int | None) -> str | None:
    """A control token that nothing uses: no name, no place in the template, an embedding."""
    named = {getattr(tokenizer, f"{name}_token") for name in NAMES}
    ends = set(stop_ids(tokenizer))
    written_down, found = str(tokenizer.chat_template) + _rendered(tokenizer), []
    for token in control_tokens(tokenizer) - named:
        number = token_id(tokenizer, token)
        if token not in written_down and number not in ends and number < (size or number + 1):
            kind = next((at for at, word in enumerate(SPARE) if word in token.lower()), len(SPARE))
            found.append((kind, number, token))
    return min(found)[2] if found else None


def _rendered(tokenizer: PreTrainedTokenizerBase) -> str:
    """A conversation with a turn of each role, as far as the template takes a system turn."""
    told = {"role": "system", "content": "Be brief."}
    try:
        return written(tokenizer, [told, ASKED, SAID], True)
    except InputError:
        return written(tokenizer, [ASKED, SAID], True)


def notes(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig) -> list[str]:
    """What a user should know of a template before training with it, in lines.

    Args:
        generation_config: the base's.
    """
    said = []
    own = end_of_reply(tokenizer)
    assert own is not None  # refused, else
    end = tokenizer.convert_ids_to_tokens(own)
    if own not in _ends(generation_config):
        said.append(
            f"replies end with {end}, at which the base does not "
            "stop: what is saved stops there too"
        )
    if opens_thought(tokenizer):
        said.append("prompts open a thought: replies are trained behind an empty one")
    bare, asked = (written(tokenizer, [ASKED, SAID], asks) for asks in (False, True))
    if bare == asked and bare.rpartition(SAID["content"])[2].strip() != end:
        said.append(
            "the chat template writes something behind every conversation, asked to or not "
            f"({bare.rpartition(end)[2]!r}): it is not trained"
        )
    if "strftime_now" in str(tokenizer.chat_template):
        said.append("the chat template writes the date of the day into prompts")
    return [f"chat template: {words}" for words in said]
