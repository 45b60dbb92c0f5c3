"""A GGUF's tokenizer by transformers' reader, with what that reader leaves out put back.

transformers knows how some vocabularies split a text before they merge its bytes, and splits by
GPT-2's rule wherever it does not, without a word. SmolLM2 then reads "\\n\\n1." in other tokens
than it was trained on. llama.cpp is what a GGUF is made for, so its table decides:
https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from inhouse.chat import prompt_ids
from inhouse.errors import InputError
from inhouse.files import read_utf8
from inhouse.models.folder import first_line
from inhouse.models.gguf.file import GgufFile
from inhouse.records import Message

# tokenizer.ggml.pre by what llama.cpp does: GPT-2's split, and each digit alone before that.
GPT2 = {
    *("gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"),
    *("gigachat", "a.x-4.0", "mellum"),
}
DIGITS_THEN_GPT2 = {
    *("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2")
}
# A piece that is a token as a whole is that token, whatever the merges say.
WHOLE_PIECES_FIRST = {
    *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
    *("jina-v5-nano", "tekken"),
}
CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type: what no text is, what is always one token
NO_TEMPLATE = (
    "give the maker's with --chat_template FILE, a Jinja file as transformers' "
    "chat_template.jinja is"
)


def load(
    file: GgufFile, place: Path, name: str, chat_template: Path | None
) -> PreTrainedTokenizerBase:
    """The tokenizer of the GGUF at ``place / name``, checked against what ``file`` says.

    Raises:
        InputError: there is none, or no chat template, or one that transformers would build
            otherwise than llama.cpp does.
    """
    check(file, chat_template)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name)
    except Exception as error:  # whatever a reader of foreign files stumbles over
        raise InputError(
            f"transformers cannot read the tokenizer of {file.path}: {first_line(error)}"
        ) from error
    for key in ("is_local", "local_files_only"):  # how it was read here, and nothing of its own
        tokenizer.init_kwargs.pop(key, None)
    restore_splitting(tokenizer, file)
    check_tokens(tokenizer, file)
    if chat_template is not None:
        tokenizer.chat_template = read_utf8(chat_template)
    try:
        prompt_ids(tokenizer, [Message(role="user", content="What does it cost?")])
    except InputError as error:
        raise InputError(f"the chat template of {chat_template or file.path}: {error}") from None
    return tokenizer


def check(file: GgufFile, chat_template: Path | None) -> None:
    """Refuse, from metadata alone, a tokenizer that is not there or that would split otherwise."""
    said = file.metadata
    if "tokenizer.ggml.tokens" not in said or "tokenizer.ggml.model" not in said:
        raise InputError(
            f"{file.path} holds no tokenizer (tokenizer.ggml.tokens): take a GGUF that has one"
        )
    if "tokenizer.chat_template" not in said and chat_template is None:
        raise InputError(f"{file.path} has no chat template: {NO_TEMPLATE}")
    if said["tokenizer.ggml.model"] == "gpt2":
        split = said.get("tokenizer.ggml.pre", "nothing")
        if split not in {*GGUF_PRE_TOKENIZER_SPLITS, *GPT2, *DIGITS_THEN_GPT2}:
            raise InputError(
                f"how {file.path} splits a text (tokenizer.ggml.pre) is {split!r}, which "
                "transformers does not know: it would read texts in other tokens than the model "
                "learned. Take the maker's safetensors with their tokenizer.json"
            )


def restore_splitting(tokenizer: Any, file: GgufFile) -> None:
    """Split as llama.cpp does where transformers does not know it."""
    if file.metadata["tokenizer.ggml.model"] != "gpt2":
        return
    backend, split = tokenizer.backend_tokenizer, file.metadata["tokenizer.ggml.pre"]
    if split in DIGITS_THEN_GPT2:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    backend.model.ignore_merges = split in WHOLE_PIECES_FIRST


def check_tokens(tokenizer: PreTrainedTokenizerBase, file: GgufFile) -> None:
    """Hold the tokenizer to the file, token by token where a wrong one would not be seen.

    Raises:
        InputError: an id beyond the vocabulary, a control token that is cut into pieces or not
            special, an end token of another id, or a blank that the file does not put first.
    """
    said, tokens = file.metadata, file.metadata["tokenizer.ggml.tokens"]
    otherwise = f"transformers reads the tokenizer of {file.path} otherwise than it is: "
    if len(tokenizer) > len(tokens):
        raise InputError(f"{otherwise}{len(tokenizer)} tokens, and the file has {len(tokens)}")
    added = tokenizer.added_tokens_decoder
    for number, kind in enumerate(said.get("tokenizer.ggml.token_type", ())):
        if kind not in (CONTROL, USER_DEFINED):
            continue
        token = tokens[number]
        ids = tokenizer(token, add_special_tokens=False).input_ids
        if ids != [number] or (kind == CONTROL and not added[number].special):
            raise InputError(f"{otherwise}{token!r} is {ids}, and in the file it is {number}")
    for special, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        named = said.get(f"tokenizer.ggml.{key}_token_id")
        found = getattr(tokenizer, f"{special}_token_id")
        if named is not None and found != named:
            raise InputError(f"{otherwise}{special}_token is {found}, in the file it is {named}")
    if said.get("tokenizer.ggml.eos_token_id") is None:
        raise InputError(f"{file.path} names no end token (tokenizer.ggml.eos_token_id)")
    blank = said["tokenizer.ggml.model"] == "llama" and tokenizer.tokenize("a")[0][0] == "\u2581"
    if blank and said.get("tokenizer.ggml.add_space_prefix") is False:
        raise InputError(f"{otherwise}a text begins with a blank, and in the file it does not")


def end_ids(file: GgufFile) -> list[int]:
    """The tokens at which an answer ends: of the text, of the turn, of a message before a tool."""
    found = (file.metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom"))
    return list(dict.fromkeys(number for number in found if number is not None))
