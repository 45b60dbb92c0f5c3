"""The model to train, and whether it suits the rows that it will see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inhouse.errors import InputError
from inhouse.models import quantised
from inhouse.models.adapters import is_adapter, lora_config
from inhouse.models.load import Model, load_causal_lm
from inhouse.training import preflight
from inhouse.training.batches import Rows
from inhouse.training.data import TrainingData, say
from inhouse.training.plan import count_parameters
from sft import packing
from sft.layers import train_only_layers
from sft.unpadded_trainer import UnpaddedSFTTrainer

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase
    from trl import SFTConfig


def load(model_args: Any, training: SFTConfig, train_layers: str | None) -> tuple[Any, Any]:
    """The model to train, and its new adapter's settings or None.

    Raises:
        InputError: ``train_layers`` beside an adapter, or naming what the model has not.
    """
    lora = lora_config(model_args)
    if train_layers and (lora or is_adapter(model_args.model_name_or_path)):
        raise InputError(
            f"train_layers {train_layers} freezes layers of the model itself, and an adapter "
            "(use_peft, or a model that is one) freezes all of them: give one of the two"
        )
    model = load_causal_lm(
        model_args.model_name_or_path,
        dtype=model_args.dtype,
        attn_implementation=model_args.attn_implementation,
        trainable=True,
        quantization=quantised.config(model_args, training),
    )
    if train_layers:
        say(f"layers that train: {train_only_layers(model, train_layers)}")
    if lora and lora.modules_to_save and model.config.get_text_config().tie_word_embeddings:
        lora.ensure_weight_tying = True  # else a copy of the embeddings learns, and the head not
    return model, lora


def add_new_tokens(
    model: Model, lora: LoraConfig, tokenizer: PreTrainedTokenizerBase, data: TrainingData
) -> None:
    """Let the adapter train the rows of control tokens that the model never learned.

    Raises:
        InputError: the model's head has a bias, which peft leaves out beside trained rows.
    """
    if model.get_output_embeddings().bias is not None:
        raise InputError(
            f"train_new_tokens does not go with {type(model).__name__}, whose head has a bias: "
            "leave it out, or train the model whole, without use_peft"
        )
    rows = [row.columns["input_ids"] for row in data.train + data.held_out]
    found = preflight.untrained_tokens(model, tokenizer, rows)
    found = {name: ids for name, ids in found.items() if not preflight.trains(model, name, lora)}
    lora.trainable_token_indices = found or None
    for name, ids in found.items():
        say(f"rows that train in {name}: {', '.join(tokenizer.convert_ids_to_tokens(ids))}")
    if not found:
        say("train_new_tokens: the model knows every control token of the data, none is added")


def rows_of(kind: type, lengths: Sequence[int], training: Any) -> Rows:
    """The rows to train on as a trainer of that kind runs them."""
    if training.packing:
        return Rows(lengths, packed=training.max_length)
    laid = kind is UnpaddedSFTTrainer
    return Rows(lengths, laid=lengths if laid else (), flat=training.padding_free, parted=laid)


def check(
    model: Model,
    lora: LoraConfig | None,
    tokenizer: PreTrainedTokenizerBase,
    data: TrainingData,
    packed: bool,
) -> dict[str, int]:
    """How many parameters there are and train, and whether the rows suit the model.

    Raises:
        InputError: tokens that the model has no embedding for, or that it never learned and will
            not; packing where attention leaks between rows.
    """
    ids = [row.columns["input_ids"] for row in data.train + data.held_out]
    preflight.check_vocabulary(model, ids, data.source)
    preflight.check_frozen_tokens(model, tokenizer, ids, data.source, lora)
    if packed:
        packing.check_no_leak(model, ids[:3])
    every, trained = count_parameters(model, lora)
    say(f"trains {trained:,} of {every:,} parameters{': an adapter' if lora else ''}")
    return {"parameters": every, "trained_parameters": trained}
