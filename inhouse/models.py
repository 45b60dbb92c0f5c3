"""The only place that decides how a model is loaded: full or LoRA, data type, attention.

    python -m inhouse.models inspect examples/asdfg/model
    python -m inhouse.models merge runs/mine/sft --output_dir runs/mine/merged

Weights are safetensors, code comes from transformers alone (never ``trust_remote_code``), and a
folder that holds pickles or asks for its own code (``auto_map``) is refused before anything of it
is read.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # before the imports below: they take seconds, and --help must not
    from inhouse.model_commands import main
    from inhouse.run import command

    command(main)

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
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
)
from transformers.utils import logging as transformers_logging
from trl import get_peft_config

from inhouse import bases, quantised
from inhouse.chat import check_tokenizer
from inhouse.errors import InputError

if TYPE_CHECKING:
    from trl import ModelConfig

# peft asks transformers for it at each adapter, by its old name: nothing a user could mend.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
# TRL's head asks what it runs for its bias, and peft's wrapper around trained rows answers for the
# weight only. A head that has a bias is never wrapped so, see sft/load.py.
_wrapper: Any = TrainableTokensWrapper
_wrapper.bias = None
transformers_logging.disable_progress_bar()  # loading and saving weights; training keeps its bar

ADAPTER_CONFIG = "adapter_config.json"
# What is fetched of a model: safetensors, configuration and licence, never pickles or code.
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "README.md", "LICENSE*"]
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def locate(name_or_path: str) -> str:
    """The local folder of a model: the path itself, or where the hub's cache keeps that name.

    Raises:
        InputError: there is no such folder, and the hub is not allowed or does not have it.
    """
    if Path(name_or_path).is_dir():
        return name_or_path
    if name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1:
        raise InputError(f"no model folder {name_or_path}")
    try:
        return snapshot_download(name_or_path, allow_patterns=HUB_FILES)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise InputError(
            f"no model {name_or_path}: neither a folder here nor in the local cache, and the hub "
            "is asked only with --allow_network (`python -m inhouse.models inspect "
            f"{name_or_path} --allow_network` fetches it)"
        ) from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise InputError(f"no model {name_or_path} on the hub: {first_line(error)}") from None


def check_folder(folder: str) -> None:
    """Refuse a model folder that could run code of its own when it is loaded.

    Raises:
        InputError: pickles, ``auto_map``, or no model at all.
    """
    if not Path(folder).is_dir():
        raise InputError(f"no model folder {folder}")
    pickles = sorted(path.name for path in Path(folder).iterdir() if path.suffix.lower() in PICKLES)
    if pickles:
        raise InputError(
            f"{folder} holds pickled weights ({', '.join(pickles)}), which run code when loaded: "
            "save the model with `model.save_pretrained(folder)`, which writes safetensors, and "
            "remove the others"
        )
    config = Path(folder) / "config.json"
    if not config.is_file() and not is_adapter(folder):
        raise InputError(f"{folder} holds no model: neither config.json nor {ADAPTER_CONFIG}")
    for path in (config, Path(folder) / "tokenizer_config.json"):
        if path.is_file() and "auto_map" in _read_config(path):
            raise InputError(
                f"{path} asks for code of its own (auto_map), which is never run: use an "
                "architecture that transformers ships"
            )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): save the model again") from None
    if not isinstance(config, dict):
        raise InputError(f"{path} is damaged (no JSON object): save the model again")
    return config


# ModelConfig's keys that are not carried out yet; a user who sets one is told, not ignored.
NOT_YET = {"load_in_8bit": False, "model_revision": "main"}


def check_arguments(arguments: ModelConfig, training: Any, *, may_quantise: bool = False) -> None:
    """Refuse what the suite never does, whoever asks, and what it does not do yet; find the model.

    Args:
        may_quantise: the stage carries out ``load_in_4bit``.

    Raises:
        InputError: remote code, quantisation, no model, or a folder that is none.
    """
    if training.trust_remote_code:
        raise InputError("trust_remote_code is never allowed: models run transformers' own code")
    for key, default in NOT_YET.items():
        if getattr(arguments, key) != default:
            raise InputError(f"{key}={getattr(arguments, key)} is not supported yet: leave it out")
    if arguments.model_name_or_path is None:
        raise InputError("no model to start from: give --model_name_or_path")
    if training.resume_from_checkpoint and not Path(training.resume_from_checkpoint).is_dir():
        raise InputError(
            f"resume_from_checkpoint names no folder: {training.resume_from_checkpoint} (leave it "
            "out, and the stage goes on from its last checkpoint by itself)"
        )
    arguments.model_name_or_path = locate(arguments.model_name_or_path)
    check_folder(arguments.model_name_or_path)
    if arguments.load_in_4bit and not may_quantise:
        raise InputError("load_in_4bit is carried out by `python -m sft` only: leave it out here")
    if arguments.load_in_4bit:
        quantised.check(arguments.use_peft or is_adapter(arguments.model_name_or_path))


def load_tokenizer(name_or_path: str) -> Any:
    """A tokenizer with a chat template, an end token and a padding of its own.

    Raises:
        InputError: it cannot be loaded, or cannot be trained with safely.
    """
    check_folder(name_or_path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path)
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer in {name_or_path}: {first_line(error)}") from None
    check_tokenizer(tokenizer, name_or_path)
    return tokenizer


def is_adapter(name_or_path: str | Path) -> bool:
    """Whether a folder holds a LoRA adapter rather than a whole model."""
    return (Path(name_or_path) / ADAPTER_CONFIG).is_file()


def base_of(name_or_path: str) -> str:
    """The model below an adapter, as the adapter names it, or the model itself."""
    if not is_adapter(name_or_path):
        return name_or_path
    return str(_read_config(Path(name_or_path) / ADAPTER_CONFIG)["base_model_name_or_path"])


def find_base(folder: str) -> str:
    """The folder of the model below an adapter, its weights as they were, or the model itself.

    Raises:
        InputError: the base is not there, has changed, or is an adapter itself.
    """
    if not is_adapter(folder):
        return folder
    try:
        base = locate(base_of(folder))
    except InputError as error:
        raise InputError(
            f"the adapter in {folder} stands on a model that is not there ({error}): put it back, "
            f"or write where it is now into {Path(folder) / ADAPTER_CONFIG} as "
            "base_model_name_or_path; its weights are checked"
        ) from None
    if is_adapter(base):  # transformers would load both, and check neither
        raise InputError(
            f"the adapter in {folder} stands on another adapter, {base}: merge that one first with "
            f"`python -m inhouse.models merge {base} --output_dir DIR`"
        )
    check_folder(base)
    bases.check(folder, base)
    return base


def load_config(folder: str) -> Any:
    """A model's architecture and sizes.

    Raises:
        InputError: the config is not of an architecture that transformers ships.
    """
    check_folder(folder)
    try:
        return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot read the config in {folder}: {first_line(error)}") from None


def context_length(config: Any) -> int | None:
    """How many tokens a model takes at most; None for an architecture without such a limit."""
    text = config.get_text_config()
    return text.max_position_embeddings if hasattr(text, "max_position_embeddings") else None


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
        quantization: how the weights below an adapter are rounded, see ``inhouse.quantised``.

    Raises:
        InputError: not a model folder, one that could run code, or a reward model.
    """
    check_folder(name_or_path)
    if _is_scalar(name_or_path):
        raise InputError(f"{name_or_path} is a reward model, not one that writes: name another")
    extra = {"quantization_config": quantization} if quantization else {}
    base = find_base(name_or_path)
    model = _load(AutoModelForCausalLM, base, dtype, attn_implementation, **extra)
    if not is_adapter(name_or_path):
        return model
    adapted = PeftModel.from_pretrained(model, name_or_path, is_trainable=trainable)
    if trainable:
        _start_from_trained_rows(adapted)
    return adapted


def _start_from_trained_rows(model: Any) -> None:
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
) -> Any:
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


def lora_config(arguments: ModelConfig, task_type: str = "CAUSAL_LM") -> LoraConfig | None:
    """The LoRA settings a user asked for with ``use_peft``, or None for full training."""
    if arguments.use_peft and is_adapter(arguments.model_name_or_path or ""):
        raise InputError(
            f"{arguments.model_name_or_path} is an adapter already, and it is what gets trained: "
            "leave use_peft out"
        )
    arguments.lora_task_type = task_type
    lora = get_peft_config(arguments)
    assert lora is None or isinstance(lora, LoraConfig)
    if lora is not None and task_type == "SEQ_CLS":
        lora.modules_to_save = ["score"]
    return lora


def train_only_layers(model: Any, wanted: str) -> str:
    """Freeze all but the parts named in ``wanted``; return in words what trains and what not.

    Args:
        wanted: ``last:N``, layers' numbers from 0, ``embeddings``, ``norm`` (the one behind the
            last layer) and ``head``, with commas between. Tied embeddings are one tensor with the
            head: either word means both.

    Raises:
        InputError: the model has no such part.
    """
    body, count = model.base_model, model.config.get_text_config().num_hidden_layers
    lists = (part for part in body.modules() if isinstance(part, torch.nn.ModuleList))
    layers = next(part for part in lists if len(part) == count)
    parts = {str(number): list(layer.parameters()) for number, layer in enumerate(layers)}
    inside = {id(weight) for weight in layers.parameters()}
    outside = [weight for weight in body.parameters() if id(weight) not in inside]
    norms = [part for part in body.modules() if "Norm" in type(part).__name__]
    of_norms = {id(weight) for norm in norms for weight in norm.parameters()}
    parts["embeddings"] = [weight for weight in outside if id(weight) not in of_norms]
    parts["norm"] = [weight for weight in outside if id(weight) in of_norms]
    parts["head"] = list(model.get_output_embeddings().parameters())

    names: list[str] = []
    for word in wanted.replace(" ", "").split(","):
        last = re.fullmatch(r"last:([1-9]\d*)", word)
        if last and int(last[1]) <= count:
            names += map(str, range(count - int(last[1]), count))
        elif word in parts:
            names.append(word)
        else:
            raise InputError(
                f"train_layers names {word!r}, which this model has not: give last:N with N from 1 "
                f"to {count}, layers from 0 to {count - 1}, embeddings, norm or head, with commas "
                "between them"
            )
    model.requires_grad_(False)
    for name in names:
        for weight in parts[name]:
            weight.requires_grad_(True)
    trained = [name for name in parts if any(weight.requires_grad for weight in parts[name])]
    frozen = ["the other layers", *(n for n in ("embeddings", "norm", "head") if n not in trained)]
    return f"{', '.join(trained)} of layers 0 to {count - 1}; frozen: {', '.join(frozen)}"


def save(
    model: Any, tokenizer: Any, folder: Path, weights: dict[str, torch.Tensor] | None = None
) -> None:
    """Write safetensors and the tokenizer with its chat template, and nothing pickled.

    Args:
        weights: the model's, put together, where the model itself lies in pieces.
    """
    if isinstance(model, PeftModel):
        # DPO keeps its frozen reference as a second adapter; only the trained one is a result.
        model.save_pretrained(str(folder), selected_adapters=["default"], state_dict=weights)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        if model.peft_config["default"].task_type == "SEQ_CLS":
            model.config.save_pretrained(folder)  # how many heads, and what their scores mean
        bases.record(folder, str(model.peft_config["default"].base_model_name_or_path))
    else:
        model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)


def _is_scalar(folder: str) -> bool:
    """Whether a folder holds a model or an adapter that scores."""
    if is_adapter(folder):
        return _read_config(Path(folder) / ADAPTER_CONFIG).get("task_type") == "SEQ_CLS"
    names = _read_config(Path(folder) / "config.json").get("architectures") or []
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
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"cannot load a model from {name}: {first_line(error)}") from None
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise InputError(f"the weights in {name} do not fit its config.json") from None
    below = f"{model.base_model_prefix}."
    missing = sorted(key for key in found["missing_keys"] if key.startswith(below) or not any_head)
    if missing:  # transformers fills them with noise, and only warns
        raise InputError(f"the weights in {name} lack {', '.join(missing[:3])}: save it again")
    return model


def first_line(error: Exception) -> str:
    """What a library's message says first; the rest is for developers."""
    return str(error).strip().splitlines()[0]
