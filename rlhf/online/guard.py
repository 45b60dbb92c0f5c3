"""Keeps the last good policy while it trains on, and goes back when the watch says so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rlhf.online.kl_control import KLController
from rlhf.online.progress import Progress
from rlhf.online.snapshot import Snapshot
from rlhf.online.watch import Health, Watch

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

    def accept(self, now: Health, model: Any, optimizer: Any) -> None:
        """Build on this rollout: the weights that wrote it are the last good ones now."""
        self.watch.accept(now)
        self.good = Snapshot.take(model, optimizer)
        if self.progress:
            self.progress.show(now, self.kl.value)
        self.kl.update(now.kl)

    def roll_back(self, reasons: Sequence[str], model: Any, optimizer: Any) -> None:
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

    def conclude(self, now: Health, model: Any, optimizer: Any) -> None:
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
