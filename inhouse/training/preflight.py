"""What is looked at before a model trains: where a record stands, and whether its tokens can learn.

``inhouse.chat`` refuses what a template gets wrong in one conversation; here is what takes the
model's weights, or the user's file, to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from inhouse.errors import InputError
from inhouse.models.folder import context_length, find_base, generation_config, load_config
from inhouse.models.load import load_tokenizer
from inhouse.special_tokens import control_tokens, end_of_reply, notes
from inhouse.training.data import say

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

# Shares of the median embedding's length. A row that nothing ever trained is nil, or (as
# ``resize_token_embeddings`` draws it) lies all but on the mean of the others, or equals another.
NIL, NEAR = 0.01, 0.05


def tokenizer_for(
    name_or_path: str, training: Any, chat_template: str | None = None
) -> tuple[PreTrainedTokenizerBase, int | None]:
    """The tokenizer to train with, and how many tokens its model takes, None for any number.

    What a user should know of the template is said, and ``training.max_length`` is lowered to what
    the model takes.

    Raises:
        InputError: the tokenizer, its template and the model do not go together.
    """
    tokenizer = load_tokenizer(name_or_path, chat_template=chat_template)
    base = find_base(name_or_path)
    for words in notes(tokenizer, generation_config(base)):
        say(words)
    named = tokenizer.init_kwargs.get("pad_token")
    if str(named) != tokenizer.pad_token:
        say(f"padding: {tokenizer.pad_token}, which nothing else uses (the model's own: {named})")
    context = context_length(load_config(base))
    if context is not None:
        training.max_length = min(training.max_length or context, context)
    return tokenizer, context


def check_vocabulary(model: Any, rows: Iterable[list[int]], source: str) -> None:
    """Refuse token ids that the model has no embedding for: indexing them would crash, or worse.

    Raises:
        InputError: names the id and the model's vocabulary.
    """
    size = model.get_input_embeddings().weight.shape[0]
    highest = max(max(ids) for ids in rows)
    if highest >= size:
        raise InputError(
            f"{source} becomes token ids up to {highest}, and the model has embeddings for {size} "
            "tokens: its tokenizer has tokens that the model never got. Call "
            "`model.resize_token_embeddings(len(tokenizer))` and save both again"
        )


def untrained_tokens(
    model: Any, tokenizer: PreTrainedTokenizerBase, rows: Iterable[list[int]]
) -> dict[str, list[int]]:
    """Ids of the control tokens in ``rows`` that a matrix of the model never learned, by its name.

    All that are read count in the embeddings; in a head of its own the end token, which alone is
    written. Found by what fresh rows look like: nil, on the mean of all rows, or equal to another
    control token's. A row drawn at random at the others' length cannot be told from a trained one.
    """
    used = {token for ids in rows for token in ids}
    control = sorted(used & set(map(tokenizer.convert_tokens_to_ids, control_tokens(tokenizer))))
    names = {module: name for name, module in model.named_modules()}
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    found = {names[embeddings]: _fresh(embeddings.weight.detach(), control)}
    if not model.config.get_text_config().tie_word_embeddings:
        written = sorted(used & {end_of_reply(tokenizer)})
        found[names[head]] = [t for t in _fresh(head.weight.detach(), control) if t in written]
    return {name: tokens for name, tokens in found.items() if tokens}


def _fresh(weight: torch.Tensor, control: Sequence[int]) -> list[int]:
    """Which of these rows look as if nothing ever trained them. Shape: (vocabulary, hidden)."""
    weight = weight.float()
    typical = weight.norm(dim=1).median()
    mean = weight.mean(dim=0)
    vectors = {token: weight[token] for token in control}
    return [
        token
        for token, row in vectors.items()
        if row.norm() <= NIL * typical
        or (row - mean).norm() <= NEAR * typical
        or any(torch.equal(row, twin) for other, twin in vectors.items() if other != token)
    ]


def trains(model: Any, name: str, lora: LoraConfig | None = None) -> bool:
    """Whether a matrix, or rows of it, will learn: by itself, or as part of a new adapter."""
    if lora is None:
        return model.get_submodule(name).weight.requires_grad
    wanted = [*(lora.modules_to_save or ()), *(lora.trainable_token_indices or ())]
    return any(f".{name}".endswith(f".{part}") for part in wanted)


def check_frozen_tokens(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    rows: Iterable[list[int]],
    source: str,
    lora: LoraConfig | None = None,
) -> None:
    """Refuse to train around control tokens that are new to a matrix which stands still.

    Args:
        lora: the settings of an adapter that the model will get.

    Raises:
        InputError: names the tokens and the ways to train them.
    """
    found = untrained_tokens(model, tokenizer, rows)
    found = {name: ids for name, ids in found.items() if not trains(model, name, lora)}
    if found:
        tokens = sorted({token for ids in found.values() for token in ids})
        modules = " ".join(name.rpartition(".")[2] for name in found)
        raise InputError(
            f"the model never learned {', '.join(tokenizer.convert_ids_to_tokens(tokens))}, which "
            f"stands in the rendering of {source}, and a frozen matrix never will ({modules}), so "
            "that it could not tell where a turn ends. `python -m sft` trains it with --use_peft "
            "--train_new_tokens (these rows alone), with --use_peft --lora_modules_to_save "
            f"{modules} (every row), with --train_layers last:2,embeddings,head, or whole, without "
            "use_peft"
        )
