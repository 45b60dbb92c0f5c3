"""The suite's composed reward as TRL's trainers call a reward function, for PPO and RLOO alike.

With an ensemble of reward heads the last head is held out: the policy is trained on the mean of
the others, and what the last one says shows whether a rising reward is still believed by a judge
that nobody climbs (Coste et al. 2023, https://arxiv.org/abs/2310.02743).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from inhouse.errors import GateError, InputError
from inhouse.generation.score import Calibration, Scored, template_hash
from inhouse.models.folder import load_config
from inhouse.records import Message
from rlhf.online.rewards import Reward, Rewards, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOTHING = "(no answer)"  # what is scored in place of an empty answer, and then not counted


class HeldOut:
    """An ensemble without its last head, whose opinion is kept aside."""

    def __init__(self, assess: Callable[[Sequence[Text]], Sequence[Scored]]):
        self._assess = assess
        self.opinions: list[float] = []

    def __call__(self, texts: Sequence[Text]) -> list[Scored]:
        """Scores by all heads but the last; what that one says goes to ``opinions``."""
        scored = self._assess(texts)
        self.opinions = [each.heads[-1] for each in scored]
        return [
            dataclasses.replace(each, score=fmean(each.heads[:-1]), heads=each.heads[:-1])
            for each in scored
        ]


class RewardFunction:
    """Prompts and completions in TRL's shape to one number each; every part is kept in ``last``."""

    __name__ = "composed"  # what TRL's logs call it

    def __init__(self, rewards: Rewards):
        learned = rewards.learned
        self.held_out: HeldOut | None = None
        if learned is not None and _heads(learned) > 1:
            self.held_out = HeldOut(learned)
            rewards = dataclasses.replace(rewards, learned=self.held_out)
        self.rewards = rewards
        self.last: list[Reward] = []

    def __call__(
        self, prompts: list[list[dict]], completions: list[list[dict]], **_: object
    ) -> list[float | None]:
        """The total of each answer; an empty one earns what a broken blocker rule earns.

        Raises:
            InputError: a part that is not a finite number.
        """
        replies = [completion[0]["content"].strip() for completion in completions]
        texts = [
            ([Message(**message) for message in prompt], reply or NOTHING)
            for prompt, reply in zip(prompts, replies, strict=True)
        ]
        self.last = [
            each if reply else dataclasses.replace(each, total=self.rewards.blocked_total)
            for each, reply in zip(self.rewards.score(texts), replies, strict=True)
        ]
        return [each.total for each in self.last]


def _heads(learned: Callable[..., Any]) -> int:
    """How many heads stand behind a scorer's ``assess``; 1 for a plain function."""
    scorer: Any = learned.__self__ if inspect.ismethod(learned) else None
    return 1 if scorer is None else len(scorer.calibration.mean)


# --- may this reward model teach? -------------------------------------------------------------


def calibration_of(folder: str, tokenizer: PreTrainedTokenizerBase) -> Calibration:
    """What a reward model's raw outputs mean, without loading its weights."""
    template = template_hash(tokenizer)
    if not (Path(folder) / "config.json").is_file():  # an adapter that the suite did not make
        return Calibration.none(1, template)
    return Calibration.of(SimpleNamespace(config=load_config(folder)), template, folder)


def check_fit(calibration: Calibration, folder: str) -> None:
    """Refuse to train on a reward model whose own evaluation says that it is not good enough.

    Raises:
        GateError: with the evaluation's reason.
    """
    if not calibration.fit_for_ppo:
        raise GateError(
            f"the reward model in {folder} is not fit for PPO: {calibration.reason}. A policy "
            "would learn its mistakes: gather more preferences and run `python -m reward "
            "--overwrite`"
        )


def check_template(
    tokenizer: PreTrainedTokenizerBase, reward_tokenizer: PreTrainedTokenizerBase, folder: str
) -> bool:
    """Whether policy and reward model share a tokenizer, template included.

    A reward model with a tokenizer of its own brings its own template and stands on its own base.

    Raises:
        InputError: the same vocabulary under another chat template.
    """
    if tokenizer.get_vocab() != reward_tokenizer.get_vocab():
        return False
    if template_hash(tokenizer) != template_hash(reward_tokenizer):
        raise InputError(
            f"the reward model in {folder} has the policy's vocabulary and another chat template, "
            "so it would score conversations that nobody writes: train it from the same model, "
            "with `python -m reward --overwrite`"
        )
    return True
