"""Several models by name, of which those that stand on the same weights hold them once.

    models = SharedModels({"base": "m", "sft": "adapter-1", "dpo": "adapter-2"}, keep="sft")
    with models.use("dpo") as model: ...

A base and two adapters on it are one model in memory, with the adapter that is used switched on, or
none. What has weights of its own is loaded when it is asked for, and let go for the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from inhouse.models.adapters import is_adapter
from inhouse.models.folder import find_base
from inhouse.models.load import Model, check_writes, load_causal_lm


class SharedModels:
    """Models by name; the weights below ``keep`` stay loaded, of the others one at a time.

    Raises:
        InputError: a folder that could run code, a reward model, or an adapter whose base is not
            there or has changed.
    """

    def __init__(self, folders: Mapping[str, str | Path], keep: str) -> None:
        self._folders = {name: str(folder) for name, folder in folders.items()}
        for folder in self._folders.values():
            check_writes(folder)
        self._weights = {name: find_base(folder) for name, folder in self._folders.items()}
        self._keep = keep
        self._loaded: dict[str, Model] = {}
        self._in_use: list[str] = []  # names, the innermost last

    @contextmanager
    def use(self, name: str) -> Iterator[Model]:
        """A model; inside another's ``with``, that one is what it was when this one ends."""
        weights = self._weights[name]
        model = self._load(weights)
        around = [each for each in self._in_use if self._weights[each] == weights]
        self._in_use.append(name)
        self._switch(model, name)
        try:
            yield model
        finally:
            self._in_use.pop()
            if around:
                self._switch(model, around[-1])

    def _switch(self, model: Model, name: str) -> None:
        if isinstance(model, PeftModel):
            layers: Any = model.base_model
            if is_adapter(self._folders[name]):
                layers.enable_adapter_layers()
                model.set_adapter(name, inference_mode=True)
            else:
                layers.disable_adapter_layers()

    def _load(self, weights: str) -> Model:
        """The weights, with every adapter that stands on them; loaded if they are not."""
        if weights not in self._loaded:
            needed = {self._weights[each] for each in (self._keep, *self._in_use)}
            self._loaded = {at: held for at, held in self._loaded.items() if at in needed}
            model: Any = load_causal_lm(weights)
            for name, folder in self._folders.items():
                if self._weights[name] == weights and is_adapter(folder):
                    model = _with_adapter(model, folder, name)
            self._loaded[weights] = model.to("cuda") if torch.cuda.is_available() else model
        return self._loaded[weights]


def _with_adapter(model: Any, folder: str, name: str) -> PeftModel:
    if isinstance(model, PeftModel):
        model.load_adapter(folder, adapter_name=name)
        return model
    return PeftModel.from_pretrained(model, folder, adapter_name=name)
