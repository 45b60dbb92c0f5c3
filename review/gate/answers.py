"""What models answered to the held-out prompts, counted by prompt.

Answers to one prompt with several seeds are not independent, so a prompt is the unit: it counts
once, by the share of its answers that are meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from inhouse.errors import InputError
from inhouse.records import Output, content_id, is_blank, plain
from inhouse.statistics import Pairs
from review.summary import HELD_OUT

Meant = Callable[[Output], bool]


@dataclass(frozen=True)
class Answers:
    """One model's answers: ``said[prompt][seed]``, the same prompts and seeds for every model."""

    model: dict[str, str]
    said: dict[str, dict[int, Output]]

    @property
    def seeds(self) -> list[int]:
        """Every seed that the prompts were asked with."""
        return sorted({seed for by_seed in self.said.values() for seed in by_seed})

    @property
    def outputs(self) -> list[Output]:
        """All of them."""
        return [output for by_seed in self.said.values() for output in by_seed.values()]

    def of_seed(self, seed: int) -> Answers:
        """The answers that were given with one seed."""
        return Answers(self.model, {at: {seed: by_seed[seed]} for at, by_seed in self.said.items()})

    def where(self, meant: Meant) -> Answers:
        """Only the prompts of which every answer is meant."""
        kept = {at: said for at, said in self.said.items() if all(map(meant, said.values()))}
        return Answers(self.model, kept)

    @property
    def spoken(self) -> Answers:
        """Without the prompts to which nothing was said: an empty answer breaks hardly a rule."""
        kept = {at: said for at, said in self.said.items() if not all(map(silent, said.values()))}
        return Answers(self.model, kept)

    def count(self, meant: Meant) -> tuple[float, int]:
        """How many prompts are meant, each by its share, and of how many."""
        return sum(_share(by_seed, meant) for by_seed in self.said.values()), len(self.said)


def by_model(outputs: Sequence[Output]) -> dict[str, Answers]:
    """The answers to the held-out prompts, by the model's name.

    Raises:
        InputError: a model was not asked what the others were asked.
    """
    said: dict[str, dict[str, dict[int, Output]]] = defaultdict(lambda: defaultdict(dict))
    models = {}
    for output in outputs:
        if output.split == HELD_OUT:
            at = content_id(plain(output.prompt))
            said[output.model["name"]][at][output.seed] = output
            models[output.model["name"]] = output.model
    asked = {name: {(at, seed) for at in of for seed in of[at]} for name, of in said.items()}
    for name, own in asked.items():
        first, others = next(iter(asked.items()))
        seeds = {seed for _, seed in own}
        if own != others or len(own) != len(said[name]) * len(seeds):
            raise InputError(
                f"{name} was not asked every prompt that {first} was asked, with every seed: run "
                "`python -m review --overwrite`"
            )
    return {name: Answers(models[name], dict(of)) for name, of in said.items()}


def silent(output: Output) -> bool:
    """Whether there is nothing to read, and nothing was found missing."""
    return is_blank(output.response) and not output.findings


def compare(before: Answers, after: Answers, good: Meant) -> Pairs:
    """Gained and lost by prompt, each by how much its share of good answers moved."""
    moves = _moves(before, after, good)
    gained, lost = (sum(max(0.0, side * move) for move in moves) for side in (1, -1))
    return Pairs(gained, lost, len(moves))


def signs(before: Answers, after: Answers, good: Meant) -> tuple[int, int]:
    """Prompts that are answered well more often, and less often; with one seed McNemar's counts."""
    moves = _moves(before, after, good)
    return sum(move > 0 for move in moves), sum(move < 0 for move in moves)


def _moves(before: Answers, after: Answers, good: Meant) -> list[float]:
    shared = [at for at in before.said if at in after.said]
    return [_share(after.said[at], good) - _share(before.said[at], good) for at in shared]


def _share(by_seed: dict[int, Output], meant: Meant) -> float:
    return fmean(map(meant, by_seed.values()))
