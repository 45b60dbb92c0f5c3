"""Four roles on one model: policy, critic, reference and reward.

With LoRA all four are adapters on one frozen base (``default``, ``critic``, ``ref``, ``reward``):
a role costs a few megabytes, not another model. In full-parameter training the critic is a module
inside the policy, and the reference a second model, which TRL keeps.

Both ways the model's own ``forward`` learns one switch, ``head=``: that head's numbers for each
token instead of logits. It goes through the root module, so that what DDP and FSDP hook into it
runs.

Which adapter acts is flipped by hand. ``PeftModel.set_adapter`` would also turn gradients on and
off, and a backward pass through two roles would then lose those of the first.
"""

from __future__ import annotations

import copy
import functools
import re
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

from inhouse.chat import reply_ids
from inhouse.errors import InputError
from inhouse.generation.score import Calibration, Scored, Scorer
from inhouse.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

POLICY, CRITIC, REFERENCE, REWARD = "default", "critic", "ref", "reward"  # peft's adapter names
TRAINED = (POLICY, CRITIC)
VALUE_HEAD, REWARD_HEAD = "v_head", "score"
ROWS = 16  # conversations that the shared reward adapter scores at once
ADAPTER_OF = re.compile(r"\.(?:lora_\w+|modules_to_save)\.(\w+)")


class Roles(Protocol):
    """What the trainer needs of a model that plays several parts."""

    model: Any

    def acting(self, role: str) -> AbstractContextManager[None]:
        """Let ``role`` answer every forward pass inside the ``with`` block."""

    def mark_trained(self) -> None:
        """Policy and critic get gradients, and nothing else does."""

    def is_critic(self, name: str) -> bool:
        """Whether a parameter of that name is the critic's."""

    def policy_alone(self) -> Any:
        """The model as it is saved: without critic, heads and switch."""


# --- adapters on one base ---------------------------------------------------------------------


class AdapterRoles:
    """One frozen base; each role is an adapter of it."""

    def __init__(self, model: PeftModel):
        self.model = model
        kinds = (BaseTunerLayer, ModulesToSaveWrapper)
        self._layers = [module for module in model.modules() if isinstance(module, kinds)]
        _checkpoint_under(model.get_base_model(), self._recompute)

    @contextmanager
    def acting(self, role: str) -> Iterator[None]:
        """Flip which adapter acts, and nothing else: gradients stay as they are."""
        before = self._layers[0].active_adapters
        self._flip([role])
        try:
            yield
        finally:
            self._flip(before)

    def _flip(self, names: list[str]) -> None:
        for layer in self._layers:
            layer._active_adapter = names

    def _recompute(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Contexts of a checkpointed layer: its recomputation acts as its forward did."""
        return nullcontext(), self.acting(self._layers[0].active_adapters[0])

    def mark_trained(self) -> None:
        """Policy and critic get gradients, and nothing else does."""
        for name, parameter in self.model.named_parameters():
            found = ADAPTER_OF.search(name)
            parameter.requires_grad_(found is not None and found[1] in TRAINED)

    def is_critic(self, name: str) -> bool:
        """Whether a parameter of that name is the critic's."""
        found = ADAPTER_OF.search(name)
        return found is not None and found[1] == CRITIC

    def policy_alone(self) -> PeftModel:
        """The model with its adapters: of these only ``default`` is saved."""
        return self.model


def adapters(
    model: Any,
    lora: LoraConfig | None,
    *,
    seed: int,
    reward: str | None = None,
    calibration: Calibration | None = None,
    critic: str = "zero",
) -> AdapterRoles:
    """Policy, critic and reward on one base; TRL adds the reference, a copy of the policy.

    Args:
        model: a causal model for a new adapter, or one that carries the adapter to train on.
        lora: the new adapter's settings; None where ``model`` carries one.
        seed: the new adapters' randomness.
        reward: the folder of a reward adapter on the same base, if it is to share it.
        calibration: what that adapter's raw outputs mean.
        critic: ``zero`` starts it as the policy with a head of zeros, ``reward`` as ``reward``.
    """
    torch.manual_seed(seed)
    # The policy first: "all-linear" is resolved here, before there are heads to be wrapped.
    peft_model = model if lora is None else get_peft_model(model, lora)
    base: Any = peft_model.get_base_model()
    base.v_head = _zero_head(base)
    if reward is not None:
        assert calibration is not None
        base.score = _zero_head(base, outputs=len(calibration.mean), bias=False)
        peft_model.load_adapter(reward, REWARD, is_trainable=False)
    _add_switch(base, lambda root, head: (root.base_model, getattr(root, head)))
    like = REWARD if critic == "reward" else POLICY
    settings: Any = copy.deepcopy(peft_model.peft_config[like])
    settings.task_type, settings.modules_to_save = "CAUSAL_LM", [VALUE_HEAD]
    settings.inference_mode = False
    peft_model.add_adapter(CRITIC, settings)
    _copy_adapter(peft_model, like, CRITIC)
    if critic == "reward":
        assert calibration is not None
        trained = base.score.modules_to_save[REWARD]
        _read_as_value(base.v_head.modules_to_save[CRITIC], trained, calibration)
    roles = AdapterRoles(peft_model)
    roles.mark_trained()
    return roles


def _copy_adapter(model: PeftModel, source: str, target: str) -> None:
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if "lora_" in name and f".{source}." in name:
            parameters[name.replace(f".{source}.", f".{target}.")].data.copy_(parameter.data)


# --- full parameters --------------------------------------------------------------------------


class Critic(nn.Module):
    """A critic of its own in full-parameter training: a body and a head for values."""

    def __init__(self, body: nn.Module, v_head: nn.Linear):
        super().__init__()
        self.body, self.v_head = body, v_head


class FullRoles:
    """The policy, with the critic as a module inside it; TRL keeps the reference."""

    def __init__(self, model: Model):
        self.model = model

    def acting(self, role: str) -> AbstractContextManager[None]:
        """Nothing to flip: each role has weights of its own."""
        return nullcontext()

    def mark_trained(self) -> None:
        """Everything is trained."""
        self.model.requires_grad_(True)

    def is_critic(self, name: str) -> bool:
        """Whether a parameter of that name is the critic's."""
        return "critic" in name.split(".")

    def policy_alone(self) -> Any:
        """The policy's own model, with the ``forward`` of its class."""
        del self.model.critic, self.model.forward
        return self.model


def full(model: Model, reward: Scorer | None = None) -> FullRoles:
    """A critic inside the policy: the policy's body and a head of zeros, or a reward model's both.

    Args:
        model: a causal model, all of which is trained.
        reward: a whole reward model that the critic starts as.
    """
    v_head = _zero_head(model)
    body = reward.model.base_model if reward else model.base_model
    if reward:
        _read_as_value(v_head, reward.model.score, reward.calibration)
    model.critic = Critic(copy.deepcopy(body), v_head)
    _add_switch(model, lambda root, head: (root.critic.body, root.critic.v_head))
    return FullRoles(model)


def check_same_shape(model: Model, reward_model: Any, folder: str) -> None:
    """Refuse a reward model whose body could not read the policy's tokens.

    Raises:
        InputError: another architecture or another size.
    """
    shapes = [
        {name: tuple(weight.shape) for name, weight in each.base_model.named_parameters()}
        for each in (model, reward_model)
    ]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"critic is 'reward', and the reward model in {folder} has another shape than the "
            "policy: leave critic out"
        )


# --- heads and the switch ---------------------------------------------------------------------


def _zero_head(model: Model, outputs: int = 1, bias: bool = True) -> nn.Linear:
    hidden = model.config.get_text_config().hidden_size
    head = nn.Linear(hidden, outputs, bias=bias, dtype=model.dtype, device=model.device)
    for parameter in head.parameters():  # a critic that expects nothing of any answer, at first
        nn.init.zeros_(parameter)
    return head


@torch.no_grad()
def _read_as_value(v_head: Any, score: Any, calibration: Calibration) -> None:
    """A value head that says what the reward's heads say on average, normalised as they are."""
    std = torch.tensor(calibration.std, device=score.weight.device)
    mean = torch.tensor(calibration.mean, device=score.weight.device)
    v_head.weight.copy_((score.weight / std[:, None]).mean(0, keepdim=True))
    v_head.bias.copy_(-(mean / std).mean())


def _add_switch(model: Any, parts: Callable[[Any, str], tuple[nn.Module, nn.Module]]) -> None:
    """Give ``model.forward`` the keyword ``head``: Shape of its answer: (rows, tokens, outputs)."""
    own = model.forward

    @functools.wraps(type(model).forward)  # `generate` looks at the signature
    def forward(self: Any, *args: Any, head: str | None = None, **kwargs: Any) -> Any:
        if head is None:
            return own(*args, **kwargs)
        body, reader = parts(self, head)  # looked up on each call: FSDP and peft replace modules
        kwargs = {name: kwargs[name] for name in kwargs if name != "labels"} | {"use_cache": False}
        hidden = body(*args, **kwargs).last_hidden_state
        return reader(hidden.to(reader.weight.dtype)).float()

    model.forward = types.MethodType(forward, model)


def _checkpoint_under(base: Any, contexts: Callable[[], tuple[Any, Any]]) -> None:
    """Give every activation checkpoint of ``base`` the contexts that restore its adapter.

    Without them a layer is recomputed under whichever adapter acts during the backward pass, and
    its gradients are wrong without a word. Not by TRL's ``gradient_checkpointing_kwargs``: those
    are written to disk with every checkpoint.
    """
    own = base._set_gradient_checkpointing

    def switch(enable: bool = True, gradient_checkpointing_func: Any = None, **kwargs: Any) -> None:
        if enable:
            kwargs["gradient_checkpointing_func"] = functools.partial(
                gradient_checkpointing_func, context_fn=contexts
            )
        own(enable=enable, **kwargs)

    base._set_gradient_checkpointing = switch


# --- the reward role --------------------------------------------------------------------------


class SharedScorer:
    """The reward adapter on the policy's base, read as a :class:`Scorer` reads."""

    def __init__(
        self, roles: AdapterRoles, tokenizer: PreTrainedTokenizerBase, calibration: Calibration
    ):
        self.roles, self.tokenizer = roles, tokenizer
        self.calibration = calibration
        self._reader = Scorer.around(None, tokenizer, calibration)

    @torch.no_grad()
    def assess(self, conversations: Sequence[tuple[Sequence[Message], str]]) -> list[Scored]:
        """Each (prompt, reply) scored at the reply's last token, in batches of like length."""
        rows = []
        for prompt, reply in conversations:
            message = Message(role="assistant", content=reply)
            before, after = reply_ids(self.tokenizer, prompt, message)
            rows.append(before + after)
        scored: dict[int, Scored] = {}
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        # By rows, not by tokens: under FSDP every process must run as many forward passes.
        for at in range(0, len(order), ROWS):
            batch = order[at : at + ROWS]
            raw = self._raw([rows[index] for index in batch])
            scored |= dict(zip(batch, map(self._reader.read, raw.tolist()), strict=True))
        return [scored[index] for index in range(len(rows))]

    def _raw(self, rows: list[list[int]]) -> Tensor:
        """Every head's output at each row's last token. Shape: (rows, heads)."""
        device, pad = self.roles.model.device, self.tokenizer.pad_token_id
        lengths = torch.tensor([len(row) for row in rows], device=device)
        width = int(lengths.max())
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
        mask = (torch.arange(width, device=device) < lengths[:, None]).long()
        with self.roles.acting(REWARD):
            numbers = self.roles.model(input_ids=ids, attention_mask=mask, head=REWARD_HEAD)
        return numbers[torch.arange(len(rows), device=device), lengths - 1]
