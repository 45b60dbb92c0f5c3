"""How far a policy has moved from where it started, and whether its answers got worse meanwhile.

At a few points of a run the policy answers the same held-out prompts again: how many answers end,
how long they are, how many state their facts (where the prompts' ``metadata.facts`` say them). And
it is asked for the log-probability of what the reference answered to them, which estimates

    KL(reference || policy) = E_{y ~ reference}[log reference(y) - log policy(y)]

without a second model in memory. What the trainer logs and what is measured here is drawn into
``training.svg``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from inhouse import plots
from inhouse.chat import prompt_ids
from inhouse.files import write_atomically
from inhouse.generation.sample import Reply, log_probabilities, replies
from inhouse.judge import states_facts
from inhouse.records import Prompt
from inhouse.run import is_main_process
from inhouse.training.data import say
from inhouse.training.plan import length_classes

if TYPE_CHECKING:
    from inhouse.models.load import Model

POINTS = 4  # measurements after the one at the start
# A rate that falls by more is an alarm. One prompt of 16 is 0.06: chance, at temperature 1.
ALARM = 0.1
FALL = -1.0  # nats by which the chosen answers' log-probability falls before it is explained

Entry = dict[str, float]


class Drift(TrainerCallback):
    """Measures a policy on a few prompts, at the start and :data:`POINTS` times after it.

    What is measured goes into the trainer's log history, so that it survives a kill with the
    checkpoint. Random numbers are put back: training draws the same with and without this.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        seed: int,
    ):
        self.tokenizer, self.max_new_tokens, self.seed = tokenizer, max_new_tokens, seed
        self.prompts = [prompt_ids(tokenizer, record.prompt) for record in prompts]
        self.facts = [record.facts for record in prompts]
        self.replies: list[Reply] = []  # the reference's
        self.log_probabilities: list[float] = []  # the reference's, of its own replies
        self.start: Entry = {}

    def begin(self, model: Model) -> None:
        """Ask the model as it is before training, which is the reference."""
        if not is_main_process():
            return
        self.replies = self._sample(model)
        self.log_probabilities = self._score(model)
        self.start = self._entry(self.replies, self.log_probabilities, step=0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Log the start, unless the history already goes on from it."""
        if is_main_process() and state.global_step == 0:
            state.log_history.append(self.start)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Measure at the last step and evenly before it."""
        step, model = state.global_step, given["model"]
        due = step % math.ceil(state.max_steps / POINTS) == 0 or step == state.max_steps
        if is_main_process() and due:
            replies = self._sample(model)
            state.log_history.append(self._entry(replies, self._score(model), step))
            model.train()  # TRL files what it logs next under the mode that the model is in

    def _sample(self, model: Model) -> list[Reply]:
        own = model.generation_config  # sampling sets another one, which would be saved
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            found: dict[int, list[Reply]] = {}
            for batch in replies(
                model,
                self.tokenizer,
                self.prompts,
                max_new_tokens=self.max_new_tokens,
                seed=self.seed,
                title="answers",
            ):
                found |= batch
        model.generation_config = own
        return [found[index][0] for index in range(len(self.prompts))]

    def _score(self, model: Model) -> list[float]:
        pairs = [
            (prompt, reply.ids) for prompt, reply in zip(self.prompts, self.replies, strict=True)
        ]
        return log_probabilities(model, pairs, pad_token_id=self.tokenizer.pad_token_id)

    def _entry(self, replies: Sequence[Reply], logps: Sequence[float], step: int) -> Entry:
        count = len(replies)
        fallen = (old - new for old, new in zip(self.log_probabilities, logps, strict=True))
        entry = {
            "step": step,
            "answers/kl": sum(fallen) / count,
            "answers/end_token_rate": sum(reply.ended for reply in replies) / count,
            "answers/mean_tokens": sum(len(reply.ids) for reply in replies) / count,
        }
        stated = [
            states_facts(reply.text, facts)
            for reply, facts in zip(replies, self.facts, strict=True)
            if facts
        ]
        return entry | ({"answers/helpful_rate": sum(stated) / len(stated)} if stated else {})


# --- what is said and drawn afterwards --------------------------------------------------------


def conclude(
    history: Sequence[Entry], beta: float, lengths: Sequence[int], folder: Path
) -> dict[str, Any]:
    """Draw ``training.svg``, say what a reader must not miss, and return it for ``metrics.json``.

    Args:
        history: the trainer's log history.
        beta: what TRL's implicit rewards are divided by to get log-ratios, in nats.
        lengths: tokens of each record that was trained on.
    """
    if is_main_process():
        write_atomically(folder / "training.svg", draw(history, beta, lengths))
    answers = [entry for entry in history if "answers/kl" in entry]
    concluded: dict[str, Any] = {"alarms": alarms(answers)}
    if answers:
        concluded["answers"] = {
            when: {key.removeprefix("answers/"): value for key, value in entry.items()}
            for when, entry in (("before", answers[0]), ("after", answers[-1]))
        }
    for alarm in concluded["alarms"]:
        say(f"ALARM: {alarm}")
    ratios = [entry["rewards/chosen"] / beta for entry in history if "rewards/chosen" in entry]
    if ratios and ratios[-1] < FALL:
        say(
            f"the chosen answers' log-probability fell by {-ratios[-1]:.1f} nats: the loss asks "
            "only that the rejected ones fall further. Harmless while answers stay good; else add "
            "the sft loss, raise beta, or lower learning_rate"
        )
    return concluded


def alarms(answers: Sequence[Entry]) -> list[str]:
    """Rates that fell by more than :data:`ALARM` between the first entry and the last."""
    named = {
        "answers/end_token_rate": "answers that end by themselves",
        "answers/helpful_rate": "answers that state their facts",
    }
    said = []
    for key, words in named.items():
        values = [entry[key] for entry in answers if key in entry]
        if values and values[-1] < values[0] - ALARM:
            said.append(
                f"{words} fell from {values[0]:.0%} to {values[-1]:.0%}: do not use this model "
                "before you have read its answers; lower learning_rate or add the sft loss"
            )
    return said


def draw(history: Sequence[Entry], beta: float, lengths: Sequence[int]) -> str:
    """Log-probabilities, margin, drift, KL, length and rates over steps, as one SVG.

    The lengths of the records stand first.
    """
    classes = [(float(upper), float(count)) for upper, count in length_classes(lengths)]

    def line(key: str, per: float = 1.0) -> list[tuple[float, float]]:
        return [(entry["step"], entry[key] / per) for entry in history if key in entry]

    sides = ("chosen", "rejected")
    charts = [
        plots.lines({"records": classes}, "Lengths", "records", "tokens, up to"),
        plots.lines(
            {side: line(f"logps/{side}") for side in sides}, "Log-probability of an answer", "nats"
        ),
        plots.lines(
            {side: line(f"rewards/{side}", beta) for side in sides},
            "Log-probability less the reference's",
            "nats",
        ),
        plots.lines(
            {"margin": line("rewards/margins", beta)},
            "Margin: the line above, chosen less rejected",
            "nats",
        ),
    ]
    if any("answers/kl" in entry for entry in history):
        rates = {"ended": line("answers/end_token_rate"), "helpful": line("answers/helpful_rate")}
        charts += [
            plots.lines({"KL": line("answers/kl")}, "KL(reference || policy), an answer", "nats"),
            plots.lines({"length": line("answers/mean_tokens")}, "Length of an answer", "tokens"),
            plots.lines(
                {name: points for name, points in rates.items() if points},
                "Share of answers that end, that state their facts",
            ),
        ]
    return plots.page("Over training", charts)
