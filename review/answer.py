"""What each model is asked in a review, and what it says: checked, scored, and journalled.

A round is a set of prompts that each model answers once. Every prompt becomes a question, which is
the same for all models, but that one of them may be told more in its system turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compliance.rules.house_rules import HouseRules
from inhouse import chat
from inhouse.generation import sample
from inhouse.generation.perplexity import perplexity, read_texts
from inhouse.generation.sample import Reply, log_probabilities
from inhouse.generation.score import Scorer
from inhouse.judge import states_facts
from inhouse.models.folder import context_length
from inhouse.models.load import load_causal_lm, load_tokenizer
from inhouse.records import Journal, Message, Output, Prompt, content_id, is_blank, plain
from inhouse.run import Run
from review.summary import HELD_OUT, PROMPTED, STORY, STORY_GREEDY

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEMPERATURE = 1.0
STORY_SAMPLES = 100  # at least, over all questions about the firm


class Round(NamedTuple):
    """Prompts that each model answers once, with one seed; temperature 0 is greedy."""

    split: str
    prompts: Sequence[Prompt]
    seed: int
    temperature: float = TEMPERATURE


class Question(NamedTuple):
    """A prompt as one model is asked it in a round.

    ``ids`` are the tokens that every model is asked, ``given`` those that this one is: they differ
    by what base_prompted is told. Shape: (tokens,) each.
    """

    output_id: str
    record: Prompt
    ids: list[int]
    given: list[int]


def plan(prompts: Sequence[Prompt], story: Sequence[Prompt], seeds: Sequence[int]) -> list[Round]:
    """What every model is asked, in order."""
    rounds = [Round(HELD_OUT, prompts, seed) for seed in seeds]
    if story:
        times = -(-STORY_SAMPLES // len(story))
        rounds += [Round(STORY, story, seed) for seed in range(times)]
        rounds.append(Round(STORY_GREEDY, story, 0, temperature=0.0))
    return rounds


def answer_all(
    run: Run,
    folders: dict[str, str | Path],
    rounds: Sequence[Round],
    told: dict[str, str],
    rules: HouseRules,
    max_new_tokens: int,
    batch_size: int,
) -> list[Output]:
    """Let every model answer every round; what they said goes to ``outputs.jsonl`` batch by batch.

    Args:
        run: goes on where it stood; its input ``reward``, if there is one, scores the answers.
        folders: of the models, by name.
        told: what a model is told beyond each prompt, by name.
    """
    journal = Journal(run.path("outputs.jsonl"), Output)
    done = {output.id for output in journal.records}
    inputs = {entry["name"]: entry for entry in run.inputs}
    scorer = Scorer(inputs["reward"]["path"]) if "reward" in inputs else None
    tokenizer = load_tokenizer(str(folders["sft"]))
    reference = load_causal_lm(str(folders["sft"]))
    for name, folder in folders.items():
        model = reference if name == "sft" else load_causal_lm(str(folder))
        known = {"name": name, "hash": inputs[name]["sha256"][:12]}
        for asked in rounds:
            questions = ask(asked, known, tokenizer, told.get(name))
            for batch in sample.replies(
                model,
                tokenizer,
                [question.given for question in questions],
                max_new_tokens=max_new_tokens,
                temperature=asked.temperature,
                seed=asked.seed,
                batch_size=batch_size,
                done={at for at, question in enumerate(questions) if question.output_id in done},
                title=f"{name}, {asked.split}, seed {asked.seed}",
            ):
                said = [(questions[index], replies[0]) for index, replies in batch.items()]
                drift = [0.0] * len(said)
                if asked.split == HELD_OUT and name != "sft":
                    drift = drift_from(reference, model, said, tokenizer.pad_token_id)
                outputs = outputs_of(said, drift, asked, known, rules, scorer)
                journal.append(output for output in outputs if output.id not in done)
    return journal.finish()


def perplexities(folders: dict[str, str | Path], source: str) -> dict[str, float]:
    """Each model's perplexity on general text; what one is told changes nothing of it.

    Raises:
        InputError: the text cannot be read.
    """
    tokenizer, found = load_tokenizer(str(folders["sft"])), dict[str, float]()
    for name, folder in folders.items():
        if name != PROMPTED:
            model = load_causal_lm(str(folder))
            texts = read_texts(tokenizer, source, context_length(model.config))
            found[name] = perplexity(model, texts, tokenizer.pad_token_id)
    return found


def ask(
    asked: Round, model: dict[str, str], tokenizer: PreTrainedTokenizerBase, told: str | None
) -> list[Question]:
    """A round's prompts as one model is asked them, with what it is ``told`` beyond them."""
    questions = []
    for record in asked.prompts:
        name = (model["name"], model["hash"], asked.split, plain(record.prompt), asked.seed)
        ids = chat.prompt_ids(tokenizer, record.prompt)
        given = ids
        if told is not None:
            given = chat.prompt_ids(tokenizer, instructed(record.prompt, told))
        questions.append(Question(content_id(*name), record, ids, given))
    return questions


def drift_from(
    reference: PreTrainedModel,
    model: PreTrainedModel,
    said: Sequence[tuple[Question, Reply]],
    pad_token_id: int,
) -> list[float]:
    """log p(answer) of the model less that of the reference, in nats. Its mean estimates the KL."""
    own = [(question.given, reply.ids) for question, reply in said]
    theirs = [(question.ids, reply.ids) for question, reply in said]
    policy = log_probabilities(model, own, pad_token_id=pad_token_id)
    before = log_probabilities(reference, theirs, pad_token_id=pad_token_id)
    return [p - q for p, q in zip(policy, before, strict=True)]


def outputs_of(
    said: Sequence[tuple[Question, Reply]],
    drift: Sequence[float],
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
            findings=rules.check(question.record.prompt, reply.text),
            reward=reward,
            facts_ok=states_facts(reply.text, question.record.facts),
            kl_to_sft=kl,
            split=asked.split,
            metadata=question.record.metadata,
        )
        for (question, reply), reward, kl in zip(said, rewards, drift, strict=True)
    ]


def instructed(prompt: Sequence[Message], told: str) -> list[Message]:
    """The prompt with ``told`` above its system turn, or as its system turn where it has none."""
    first, *others = prompt
    if first.role != "system":
        return [Message(role="system", content=told), *prompt]
    return [Message(role="system", content=f"{told}\n\n{first.content}"), *others]


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


def tokens_of(text: str, folder: str) -> int:
    """Tokens that a text takes in a prompt."""
    return len(load_tokenizer(folder)(text, add_special_tokens=False).input_ids)
