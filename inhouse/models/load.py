"""The only place that decides how a model is loaded: full or LoRA, data type, attention.

What may be loaded at all is decided in :mod:`inhouse.models.folder`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.utils import load_peft_weights
from peft.utils.other import TrainableTokensWrapper
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from inhouse import special_tokens
from inhouse.errors import InputError
from inhouse.models.adapters import ADAPTER_CONFIG, is_adapter, read_config, record
from inhouse.models.folder import (
    check_folder,
    find_base,
    first_line,
    generation_config,
    load_config,
)

# peft asks transformers for it at each adapter, by its old name: nothing a user could mend.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)

# TRL's head asks what it runs for its bias, and peft's wrapper around trained rows answers for the
# weight only. A head that has a bias is never wrapped so, see sft/load.py.
_wrapper: Any = TrainableTokensWrapper
_wrapper.bias = None
transformers_logging.disable_progress_bar()  # loading and saving weights; training keeps its bar

# A whole model, or an adapter on one: peft hands on to the model what it does not know itself.
Model = PreTrainedModel | PeftModel


def load_tokenizer(
    name_or_path: str, *, chat_template: str | Path | None = None
) -> PreTrainedTokenizerBase:
    """A tokenizer that keeps the contract of :mod:`inhouse.special_tokens` with its model.

    Args:
        chat_template: a file with another template than the folder's.

    Raises:
        InputError: it cannot be loaded, or cannot be trained with safely.
    """
    check_folder(name_or_path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path)
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer in {name_or_path}: {first_line(error)}") from None
    if chat_template:
        tokenizer.chat_template = Path(chat_template).read_text(encoding="utf-8")
    base = find_base(name_or_path)
    special_tokens.check(tokenizer, name_or_path, load_config(base))
    special_tokens.check_ends(tokenizer, base, generation_config(base))
    return tokenizer


def load_causal_lm(
    name_or_path: str,
    *,
    dtype: str | torch.dtype = "float32",
    attn_implementation: str | None = None,
    trainable: bool = False,
    quantization: Any = None,
) -> Any:
    """A causal language model, or an adapter on its base.

    Args:
        quantization: how the weights below an adapter are rounded: inhouse.models.quantised.

    Raises:
        InputError: not a model folder, one that could run code, or a reward model.
    """
    check_writes(name_or_path)
    extra = {"quantization_config": quantization} if quantization else {}
    base = find_base(name_or_path)
    model = _load(AutoModelForCausalLM, base, dtype, attn_implementation, **extra)
    _mend_sampling(model.generation_config)
    if not is_adapter(name_or_path):
        return model
    adapted = PeftModel.from_pretrained(model, name_or_path, is_trainable=trainable)
    if trainable:
        _start_from_trained_rows(adapted)
    return adapted


def check_writes(name_or_path: str) -> None:
    """Refuse a folder that could run code, and one of which no causal model can be made.

    Raises:
        InputError: not a model folder, one that could run code, or a reward model.
    """
    check_folder(name_or_path)
    if _is_scalar(name_or_path):
        raise InputError(f"{name_or_path} is a reward model, not one that writes: name another")


def _start_from_trained_rows(model: Model) -> None:
    """Let adapters that are added later begin with the rows of the vocabulary that this one has.

    TRL copies an adapter to keep it as the reference, but not its rows: a new adapter takes them
    from the weights below, in memory, which nothing else reads while an adapter is active.
    """
    for layer in model.modules():
        if isinstance(layer, TrainableTokensLayer) and layer.tied_adapter is None:
            rows: Any = layer.trainable_tokens_delta["default"]
            base: Any = layer.get_base_layer()
            base.weight.data[layer.token_indices["default"]] = rows.detach()


def load_reward_model(name_or_path: str, *, dtype: str | torch.dtype = "float32") -> Any:
    """A reward model to score with: a model, or an adapter on its base, with one output a head.

    Raises:
        InputError: a model without such a head: transformers would make one up, and only warn.
    """
    check_folder(name_or_path)
    if not _is_scalar(name_or_path):
        raise InputError(f"{name_or_path} is no reward model: `python -m reward` trains one")
    own = AutoConfig.from_pretrained(name_or_path) if _has_config(name_or_path) else None
    base, heads = find_base(name_or_path), own.num_labels if own else 1
    model = _load_scalar(base, dtype, heads, any_head=is_adapter(name_or_path))
    if not is_adapter(name_or_path):
        return model
    if own is not None:  # what the stage wrote beside the adapter: what its scores mean
        model.config.reward = own.to_dict().get("reward")
    return PeftModel.from_pretrained(model, name_or_path)


def new_reward_model(
    name_or_path: str, *, dtype: str | torch.dtype, seed: int, heads: int = 1
) -> Model:
    """A reward model to train, from a causal one: its layers below ``heads`` fresh scalar heads.

    Each head starts at a standard deviation of 1/sqrt(d + 1), d the hidden size (Huang et al. 2024,
    https://arxiv.org/abs/2403.17031). A causal model's adapter is carried over and
    trained on, with the head beside it.
    """
    check_folder(name_or_path)
    torch.manual_seed(seed)
    model = _load_scalar(find_base(name_or_path), dtype, heads, any_head=True)
    hidden = model.config.get_text_config().hidden_size
    torch.nn.init.normal_(model.score.weight, std=(hidden + 1) ** -0.5)
    if not is_adapter(name_or_path):
        return model
    lora = LoraConfig.from_pretrained(name_or_path)
    lora.task_type, lora.modules_to_save, lora.inference_mode = "SEQ_CLS", ["score"], False
    weights = load_peft_weights(name_or_path, device="cpu")
    # peft wants a weight for each of modules_to_save: the head's is the fresh one.
    head = model.score.state_dict().items()
    weights |= {f"base_model.model.score.{name}": tensor.clone() for name, tensor in head}
    wrapped = get_peft_model(model, lora)
    loaded: Any = set_peft_model_state_dict(wrapped, weights)
    left_over = loaded.unexpected_keys
    assert not left_over, f"the adapter in {name_or_path} has weights of no layer: {left_over}"
    return wrapped


def save_model(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write safetensors and the tokenizer with its chat template, and nothing pickled.

    What generates also gets a generation config that stops where its replies end: beside an
    adapter too, whose base may stop elsewhere.

    Args:
        weights: the model's, put together, where the model itself lies in pieces.
    """
    writes = "SequenceClassification" not in type(_below(model)).__name__
    if writes:
        carry_ends(model, tokenizer)
    if isinstance(model, PeftModel):
        # DPO keeps its frozen reference as a second adapter; only the trained one is a result.
        model.save_pretrained(str(folder), selected_adapters=["default"], state_dict=weights)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        if writes:
            _below(model).generation_config.save_pretrained(folder)
        else:
            model.config.save_pretrained(folder)  # how many heads, and what their scores mean
        record(folder, str(model.peft_config["default"].base_model_name_or_path))
    else:
        model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)


def carry_ends(model: Model, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a model's own configs name every token at which its replies end."""
    below = _below(model)
    ends = special_tokens.stop_ids(tokenizer, below.generation_config)
    below.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    below.config.get_text_config().eos_token_id = below.generation_config.eos_token_id


def _below(model: Model) -> Any:
    """The model itself, without an adapter around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _mend_sampling(generation_config: Any) -> None:
    """Let a generation config that names a temperature, and not that it samples, be saved again.

    Many a maker has published one such; transformers reads it and refuses to write it.
    """
    try:
        generation_config.validate(strict=True)
    except ValueError:
        generation_config.do_sample = True


def _is_scalar(folder: str) -> bool:
    """Whether a folder holds a model or an adapter that scores."""
    if is_adapter(folder):
        return read_config(Path(folder) / ADAPTER_CONFIG).get("task_type") == "SEQ_CLS"
    names = read_config(Path(folder) / "config.json").get("architectures") or []
    return any(name.endswith("ForSequenceClassification") for name in names)


def _has_config(folder: str) -> bool:
    return (Path(folder) / "config.json").is_file()


def _load_scalar(name: str, dtype: str | torch.dtype, heads: int, any_head: bool) -> Any:
    kind = AutoModelForSequenceClassification
    return _load(kind, name, dtype, None, any_head=any_head, num_labels=heads)


def _load(
    kind: Any,
    name: str,
    dtype: str | torch.dtype,
    attention: str | None,
    any_head: bool = False,
    **extra: Any,
) -> PreTrainedModel:
    """Load a whole model. With ``any_head`` the weights above its last layer may be missing."""
    check_folder(name)
    try:
        model, found = kind.from_pretrained(
            name,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            output_loading_info=True,
            **extra,
        )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise InputError(f"cannot load a model from {name}: {first_line(error)}") from None
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise InputError(f"the weights in {name} do not fit its config.json") from None
    below = f"{model.base_model_prefix}."
    missing = sorted(key for key in found["missing_keys"] if key.startswith(below) or not any_head)
    if missing:  # transformers fills them with noise, and only warns
        raise InputError(f"the weights in {name} lack {', '.join(missing[:3])}: save it again")
    # torch would give the row of the padding no gradient: where that is the end token, it would
    # never be learned as an input. Rows are masked by their lengths.
    model.get_input_embeddings().padding_idx = None
    return model
