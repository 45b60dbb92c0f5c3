"""Every model answers the plan: checked, scored, and journalled batch by batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compliance.rules.house_rules import HouseRules
from inhouse.generation.perplexity import perplexity, read_texts
from inhouse.generation.sample import Reply, log_probabilities
from inhouse.generation.score import Scorer
from inhouse.judge import states_facts
from inhouse.models.folder import context_length
from inhouse.models.shared import SharedModels
from inhouse.records import Journal, Message, Output, is_blank
from inhouse.run import Run
from review.asking.panel import REFERENCE, Panel, Question, local
from review.asking.plan import ABILITY, Plan, Round, able, duration, words_of
from review.asking.progress import Progress
from review.checked import approved_figures
from review.general_ability import answering, lm_eval
from review.general_ability.answering import Answered
from review.summary import HELD_OUT

if TYPE_CHECKING:
    from inhouse.models.load import Model


@dataclass(frozen=True)
class Said:
    """What all models said: to prompts, to general items, and how well they predict text."""

    outputs: list[Output]
    answered: list[Answered]
    perplexity: dict[str, float]


def answer_all(
    run: Run,
    panel: Panel,
    plan: Plan,
    *,
    general_text: str | None = None,
    tasks: Sequence[str] = (),
    task_folder: str | None = None,
) -> Said:
    """Let every model answer the whole plan; the run goes on where it stood.

    What they say goes to ``outputs.jsonl``, their answers to items to ``ability.jsonl``. The tasks
    of lm-eval, which says nothing until it has all answers, and the perplexity are done again.
    """
    outputs = Journal(run.path("outputs.jsonl"), Output)
    ability = plan.items or tasks
    items = Journal(run.path("ability.jsonl"), Answered) if ability else None
    there = len(outputs.records) + (len(items.records) if items and not tasks else 0)
    reward = next((entry["path"] for entry in run.inputs if entry["name"] == "reward"), None)
    scorer = Scorer(reward) if reward else None
    models = SharedModels(panel.folders, keep=REFERENCE)
    found: dict[str, float] = {}
    names = list(panel.folders)
    with Progress(sum(plan.answers(names).values()), there) as progress:
        for name in names:
            for asked in plan.rounds:
                progress.at(f"{name}, {words_of(asked.split)}")
                answer_round(panel, models, name, asked, outputs, scorer, progress)
            if name in able(names) and (items is not None or general_text):
                progress.at(f"{name}, {words_of(ABILITY)}")
                with models.use(name) as model:
                    if items is not None:
                        answer_items(panel, model, name, plan, items, progress)
                        answer_tasks(panel, model, name, tasks, task_folder, items)
                    if general_text:
                        found[name] = perplexity_of(panel, model, general_text)
                del model  # or its weights would stay while the next are loaded
    return Said(outputs.finish(), items.finish() if items else [], found)


def estimate(panel: Panel, plan: Plan) -> str:
    """How long the whole plan takes, by one batch that SFT answers: in words."""
    names, asked = list(panel.folders), plan.rounds[0]
    with SharedModels(panel.folders, keep=REFERENCE).use(REFERENCE) as model:
        began = time.monotonic()
        batch = next(local(panel, model)(panel.questions(asked, REFERENCE), asked, ()))
        seconds = time.monotonic() - began
    answers = sum(plan.answers(names).values())
    return (
        f"about {duration(seconds / len(batch) * answers)}, as {REFERENCE} answered {len(batch)} "
        f"{words_of(asked.split)} prompts in {seconds:.1f} s here"
    )


def answer_round(
    panel: Panel,
    models: SharedModels,
    name: str,
    asked: Round,
    journal: Journal[Output],
    scorer: Scorer | None,
    progress: Progress,
) -> None:
    """One model's answers to one round, without those that are in the journal already."""
    before = {output.id for output in journal.records}
    questions = panel.questions(asked, name)
    done = {at for at, question in enumerate(questions) if question.output_id in before}
    if len(done) == len(questions):
        return
    with models.use(name) as model:
        for batch in local(panel, model)(questions, asked, done):
            said = [(questions[at], reply) for at, reply in batch.items()]
            drift: list[float | None] = [None] * len(said)
            if asked.split == HELD_OUT:
                drift = [*drift_from_reference(panel, models, name, said)]
            outputs = outputs_of(said, drift, asked, panel.known(name), panel.rules, scorer)
            new = [output for output in outputs if output.id not in before]
            journal.append(new)
            progress.add(len(new))


def answer_items(
    panel: Panel,
    model: Model,
    name: str,
    plan: Plan,
    journal: Journal[Answered],
    progress: Progress,
) -> None:
    """One model's answers to the general items that it has not answered yet."""
    known = panel.known(name)
    done = {one.item for one in journal.records if one.model == known}
    for batch in answering.answer(model, panel.tokenizer, plan.items, known, done=done, bars=False):
        journal.append(batch)
        progress.add(len(batch))


def answer_tasks(
    panel: Panel,
    model: Model,
    name: str,
    tasks: Sequence[str],
    task_folder: str | None,
    journal: Journal[Answered],
) -> None:
    """One model's answers to lm-eval's tasks, without those that are in the journal already."""
    if not tasks:
        return
    known = panel.known(name)
    done = {one.item for one in journal.records if one.model == known}
    answers = lm_eval.answer_tasks(model, panel.tokenizer, tasks, known, task_folder=task_folder)
    journal.append(one for one in answers if one.item not in done)


def perplexity_of(panel: Panel, model: Model, source: str) -> float:
    """A model's perplexity on general text.

    Raises:
        InputError: the text cannot be read.
    """
    texts = read_texts(panel.tokenizer, source, context_length(model.config))
    return perplexity(model, texts, panel.tokenizer.pad_token_id)


def drift_from_reference(
    panel: Panel, models: SharedModels, name: str, said: Sequence[tuple[Question, Reply]]
) -> list[float]:
    """log p(answer) of the model less that of SFT, in nats. Its mean estimates the KL."""
    if name == REFERENCE:
        return [0.0] * len(said)
    pad = panel.tokenizer.pad_token_id
    with models.use(name) as model:
        own = [(question.given, reply.ids) for question, reply in said]
        policy = log_probabilities(model, own, pad_token_id=pad)
    with models.use(REFERENCE) as reference:
        theirs = [(question.ids, reply.ids) for question, reply in said]
        before = log_probabilities(reference, theirs, pad_token_id=pad)
    return [p - q for p, q in zip(policy, before, strict=True)]


def outputs_of(
    said: Sequence[tuple[Question, Reply]],
    drift: Sequence[float | None],
    asked: Round,
    model: dict[str, str],
    rules: HouseRules,
    scorer: Scorer | None,
) -> list[Output]:
    """One batch's answers, checked and scored."""
    rewards = score(scorer, [(question.record.prompt, reply.text) for question, reply in said])
    return [
        Output(
            id=question.output_id,
            prompt=question.record.prompt,
            model=model,
            seed=asked.seed,
            response=reply.text,
            tokens=len(reply.ids),
            end_token=reply.ended,
            findings=rules.check(
                question.record.prompt,
                reply.text,
                facts=approved_figures(question.record.metadata),
            ),
            reward=reward,
            facts_ok=states_facts(reply.text, question.record.facts),
            kl_to_sft=kl,
            split=asked.split,
            metadata=question.record.metadata,
        )
        for (question, reply), reward, kl in zip(said, rewards, drift, strict=True)
    ]


def score(
    scorer: Scorer | None, texts: Sequence[tuple[Sequence[Message], str]]
) -> list[dict[str, float]]:
    """Each answer's reward by part: the learned one, where there is a reward model.

    An empty answer cannot be rendered as a turn and has no learned reward.
    """
    parts: list[dict[str, float]] = [{} for _ in texts]
    if scorer is not None:
        spoken = [at for at, (_, text) in enumerate(texts) if not is_blank(text)]
        for at, value in zip(spoken, scorer.score([texts[at] for at in spoken]), strict=True):
            parts[at] = {"learned": value}
    return parts
