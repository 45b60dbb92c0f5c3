"""Keeps the last good policy while it trains on, and goes back when the watch says so.

Beside the guard stand its parts: the state to return to, the price of KL, and the bar.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from inhouse.run import is_main_process
from rlhf.online.watch import Health, Watch

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from inhouse.models.load import Model

REACTION = 0.5  # of the paper's proportional error, each rollout
MOST = 0.2  # the error is cut off here, either way
LOWEST, HIGHEST = 1e-4, 10.0


class KLController:
    """The KL coefficient, ``value`` in score for each nat.

    Deviation from the paper: it reacts by rollout, not by episode over a horizon of 10,000 (with
    64 answers a rollout that would move the coefficient by a thousandth). ``double`` is the answer
    to an alarm.
    """

    def __init__(self, start: float, target: float | None):
        self.value, self.target = start, target

    def update(self, kl: float) -> None:
        """Move towards ``target`` nats an answer, by at most a tenth; without one stay."""
        if self.target is None:
            return
        # e = clip((KL - target)/target, ±0.2); beta' = beta (1 + K e), section 2.2 of
        # https://arxiv.org/abs/1909.08593
        error = max(-MOST, min(MOST, kl / self.target - 1))
        self._set(self.value * (1 + REACTION * error))

    def double(self) -> None:
        """Hold the policy back twice as hard."""
        self._set(2 * self.value)

    def _set(self, value: float) -> None:
        self.value = min(HIGHEST, max(LOWEST, value))


@dataclass
class Snapshot:
    """Copies of the trained weights by name, and of the optimiser's state."""

    weights: dict[str, Any]
    moments: dict[Any, Any]

    @classmethod
    def take(cls, model: Model, optimizer: Optimizer) -> Snapshot:
        """Copy what is trained now."""
        weights = {n: _copied(p.detach()) for n, p in model.named_parameters() if p.requires_grad}
        moments = {
            key: {name: _copied(value) for name, value in state.items()}
            for key, state in optimizer.state_dict()["state"].items()
        }
        return cls(weights, moments)

    @torch.no_grad()
    def restore(self, model: Model, optimizer: Optimizer) -> None:
        """Put it all back, to the last bit."""
        parameters = dict(model.named_parameters())
        for name, value in self.weights.items():
            parameters[name].copy_(value.to(parameters[name].device))
        state = optimizer.state_dict()
        optimizer.load_state_dict({**state, "state": copy.deepcopy(self.moments)})


def _copied(value: object) -> Any:
    return value.to("cpu", copy=True) if isinstance(value, torch.Tensor) else value


class Progress:
    """Shows each rollout as it is accepted, and says in a line of its own what went wrong."""

    def __init__(self, title: str, rollouts: int):
        self._bar = tqdm(total=rollouts, desc=title, unit="rollout", disable=not is_main_process())

    def show(self, now: Health, coefficient: float) -> None:
        """A rollout that is built on."""
        self._bar.set_postfix_str(
            f"score {now.score:.2f}, KL {now.kl:.2f} (x{coefficient:.3f}), "
            f"length {now.length:.0f}, ends {now.ends:.0%}"
        )
        self._bar.update(now.rollout + 1 - self._bar.n)

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._bar.write(line)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


MOST_ROLL_BACKS = 5
STATE, LAST_GOOD = "guard.json", "last_good-{}.pt"


class Guard:
    """The watch, the KL coefficient, and the weights to return to.

    ``stopped`` is True once training has been rolled back too often to go on.
    """

    def __init__(self, watch: Watch, kl: KLController, progress: Progress | None = None):
        self.watch, self.kl, self.progress = watch, kl, progress
        self.good: Snapshot | None = None
        self.roll_backs: list[dict[str, Any]] = []

    @property
    def stopped(self) -> bool:
        return len(self.roll_backs) > MOST_ROLL_BACKS

    def accept(self, now: Health, model: Model, optimizer: Optimizer) -> None:
        """Build on this rollout: the weights that wrote it are the last good ones now."""
        self.watch.accept(now)
        self.good = Snapshot.take(model, optimizer)
        if self.progress:
            self.progress.show(now, self.kl.value)
        self.kl.update(now.kl)

    def roll_back(self, reasons: Sequence[str], model: Model, optimizer: Optimizer) -> None:
        """Return to the weights that wrote the last good rollout, and hold KL twice as dear."""
        assert self.good is not None, f"unhealthy before any training: {'; '.join(reasons)}"
        self.good.restore(model, optimizer)
        self.kl.double()
        rollout = len(self.watch.history)
        self.roll_backs.append({"rollout": rollout, "reasons": list(reasons)})
        if self.progress:
            line = f"rolled back to rollout {rollout - 1}: {'; '.join(reasons)}"
            ending = f"; stopped, after {len(self.roll_backs)} times" if self.stopped else ""
            self.progress.say(line + ending)

    def conclude(self, now: Health, model: Model, optimizer: Optimizer) -> None:
        """Keep what the last update made only if it is healthy; else the last good weights."""
        if reasons := self.watch.alarms(now):
            self.roll_back(reasons, model, optimizer)
            now = dataclasses.replace(self.watch.history[-1], rollout=now.rollout)
        self.watch.accept(now)

    def save(self, folder: Path, process: int) -> None:
        """Write it all into a checkpoint; each process keeps its own part of the weights."""
        assert self.good is not None
        torch.save(vars(self.good), folder / LAST_GOOD.format(process))
        if process == 0:
            state = {"kl": self.kl.value, "watch": self.watch.state(), "backs": self.roll_backs}
            (folder / STATE).write_text(json.dumps(state), encoding="utf-8")

    def load(self, folder: Path, process: int) -> None:
        """Take over what :meth:`save` wrote."""
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self.kl.value, self.roll_backs = state["kl"], state["backs"]
        self.watch.load(state["watch"])
        self.good = Snapshot(**torch.load(folder / LAST_GOOD.format(process), weights_only=True))

    def metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` keeps: the last rollout against the first, and every roll-back."""
        first, last = self.watch.history[0], self.watch.history[-1]
        return {
            "rollouts": len(self.watch.history) - 1,  # the last one only measured
            "first": vars(first),
            "last": vars(last),
            "kl_coefficient": self.kl.value,
            "roll_backs": self.roll_backs,
            "stopped_early": self.stopped,
        }
