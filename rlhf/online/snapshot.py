"""The last good state of what is trained, in the main memory, to roll back to.

Weights and the optimiser's moments, not its rates: those follow the schedule.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Snapshot:
    """Copies of the trained weights by name, and of the optimiser's state."""

    weights: dict[str, Any]
    moments: dict[Any, Any]

    @classmethod
    def take(cls, model: Any, optimizer: Any) -> Snapshot:
        """Copy what is trained now."""
        weights = {n: _copied(p.detach()) for n, p in model.named_parameters() if p.requires_grad}
        moments = {
            key: {name: _copied(value) for name, value in state.items()}
            for key, state in optimizer.state_dict()["state"].items()
        }
        return cls(weights, moments)

    @torch.no_grad()
    def restore(self, model: Any, optimizer: Any) -> None:
        """Put it all back, to the last bit."""
        parameters = dict(model.named_parameters())
        for name, value in self.weights.items():
            parameters[name].copy_(value.to(parameters[name].device))
        state = optimizer.state_dict()
        optimizer.load_state_dict({**state, "state": copy.deepcopy(self.moments)})


def _copied(value: Any) -> Any:
    return value.to("cpu", copy=True) if isinstance(value, torch.Tensor) else value
