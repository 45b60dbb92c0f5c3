"""Several answers to each prompt become pairs for raters to compare.

    python -m labeling.candidates

Answers are sampled at temperature 1 from the undistorted distribution, checked against the house
rules, and paired so that the two differ: the one with the fewest findings against the one with the
most. Which of the two is A is drawn by lot, so that a habit of position cannot favour either.

Records in: prompt. Out: ``runs/<name>/candidates/candidates.jsonl``, candidate pairs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse import run as runs
from inhouse.config import DataOptions, Stage, parse, setting
from inhouse.errors import InputError
from inhouse.records import (
    CandidatePair,
    Finding,
    Journal,
    Prompt,
    content_id,
    is_blank,
    plain,
    read,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from compliance.rules.house_rules import HouseRules
    from inhouse.generation.sample import Reply

STAGE = Stage(
    "candidates",
    "python -m labeling.candidates",
    "several answers a prompt, paired for raters",
    reads="data/prompts.jsonl",
    mend="give your prompts with --dataset_name (the demonstration house makes its own: "
    "`python -m examples.asdfg.prepare`)",
)

EMPTY = "empty_answers"  # in a pair's metadata: of all answers to its prompt


@dataclass
class CandidateOptions:
    """What is asked, of which model, and how often."""

    house_rules: str = field(metadata={"help": "The house rules: a YAML file or a folder."})
    model_name_or_path: str | None = setting(None, "The model that answers; else RUN_DIR/sft.")
    samples_per_prompt: int = setting(4, "Answers sampled to each prompt, at least 2.")
    pairs_per_prompt: int = setting(1, "Pairs made of them, at most half as many.")
    temperature: float = setting(1.0, "1 is the model's own distribution.")
    max_new_tokens: int = setting(128, "Tokens an answer may have.")
    batch_size: int = setting(64, "Prompts sampled together.")
    seed: int = setting(0, "Seed of the sampling and of the lots.")

    def __post_init__(self) -> None:
        for name in ("temperature", "max_new_tokens", "batch_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give more than 0")
        if not 1 <= self.pairs_per_prompt <= self.samples_per_prompt // 2:
            raise ValueError(
                f"samples_per_prompt {self.samples_per_prompt} make at most "
                f"{self.samples_per_prompt // 2} pairs, pairs_per_prompt is {self.pairs_per_prompt}"
            )


def main() -> None:
    """Config, prompts, model, sample, pair, finish."""
    parsed = parse(STAGE, DataOptions, CandidateOptions)
    options, data, own = parsed
    inputs = find_inputs(Path(options.run_dir), data.dataset_name, own)
    run = runs.open_run(STAGE, options, parsed.settings, inputs)

    from compliance.rules import house_rules
    from inhouse import chat
    from inhouse.models.load import load_causal_lm, load_tokenizer

    rules = house_rules.load(own.house_rules)
    prompts = read(inputs["dataset_name"], Prompt)
    folder = str(inputs["model_name_or_path"])
    tokenizer, model = load_tokenizer(folder), load_causal_lm(folder)
    rows = [chat.prompt_ids(tokenizer, record.prompt) for record in prompts]
    if options.dry_run:
        print(f"{len(prompts)} prompts, {own.samples_per_prompt} answers each; the first:")
        print(tokenizer.decode(rows[0]))
        return

    run.start()
    pairs, empty = sample_pairs(run, model, tokenizer, prompts, rows, rules, own)
    answers = len(prompts) * own.samples_per_prompt
    check_not_all_empty(empty, answers, folder)
    if not pairs:
        raise InputError("every prompt got the same answer each time: nothing to compare")
    paired = {pair.metadata["prompt_index"] for pair in pairs}
    run.finish(
        config=(options, data, own),
        seed=own.seed,
        metrics={
            "prompts": len(prompts),
            "pairs": len(pairs),
            "answers": answers,
            "empty_answers": empty,
            "prompts_without_a_pair": len(prompts) - len(paired),
        },
        next_command="python -m labeling.server start, then python -m labeling.push",
    )


def find_inputs(
    campaign: Path, dataset_name: str | None, own: CandidateOptions
) -> dict[str, str | Path]:
    """What is read, by the setting that names it.

    Raises:
        InputError: the model or the prompts are neither named nor in the campaign.
    """
    mend = f"run `python -m sft --run_dir {campaign}` first"
    return {
        "model_name_or_path": own.model_name_or_path or runs.require(campaign / "sft", mend),
        "dataset_name": dataset_name or runs.require(campaign / STAGE.reads, STAGE.mend),
        "house_rules": own.house_rules,
    }


def sample_pairs(
    run: runs.Run,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    rows: Sequence[list[int]],
    rules: HouseRules,
    own: CandidateOptions,
) -> tuple[list[CandidatePair], int]:
    """Sample answers to every prompt; the pairs go to ``candidates.jsonl`` batch by batch.

    Returns the pairs, and how many of all answers are empty.

    Args:
        run: goes on where it stood.
        rows: the prompts as token ids. Shape: (tokens,) each.
    """
    from inhouse.generation import sample

    hashes = {entry["name"]: entry["sha256"][:12] for entry in run.inputs}
    sampled_from = {
        "model": hashes["model_name_or_path"],
        "temperature": own.temperature,
        "seed": own.seed,
    }
    repeats = repeats_of(prompts)
    journal = Journal(run.path("candidates.jsonl"), CandidatePair)
    known = {pair.metadata["prompt_index"]: pair.metadata.get(EMPTY, 0) for pair in journal.records}
    empty = sum(known.values())
    for batch in sample.replies(
        model,
        tokenizer,
        rows,
        samples=own.samples_per_prompt,
        max_new_tokens=own.max_new_tokens,
        temperature=own.temperature,
        seed=own.seed,
        batch_size=own.batch_size,
        done=set(known),
        title="candidates",
    ):
        for index, replies in batch.items():
            if index not in known:
                prompt, repeat = prompts[index], repeats[index]
                empty += sum(is_blank(reply.text) for reply in replies)
                journal.append(pair_up(index, prompt, replies, rules, sampled_from, own, repeat))
    return journal.finish(), empty


def check_not_all_empty(empty: int, answers: int, model: str) -> None:
    """Say how many answers are empty.

    Raises:
        InputError: all of them are.
    """
    if empty == answers:
        raise InputError(
            f"all {answers} answers are empty: {model} ends at once, whatever it is asked. See "
            f"`python -m review.chat {model}`, then train it on answers that have words, or name "
            "another with --model_name_or_path"
        )
    if empty:
        print(f"{empty} of {answers} answers are empty: the model ends at once; no pair has them")


def repeats_of(prompts: Sequence[Prompt]) -> list[int]:
    """How many equal prompts stand before each: their pairs have ids of their own."""
    seen: Counter[str] = Counter()
    repeats = []
    for record in prompts:
        name = content_id(plain(record.prompt))
        repeats.append(seen[name])
        seen[name] += 1
    return repeats


def pair_up(
    index: int,
    prompt: Prompt,
    replies: Sequence[Reply],
    rules: HouseRules,
    sampled_from: dict[str, Any],
    own: CandidateOptions,
    repeat: int = 0,
) -> list[CandidatePair]:
    """The pairs of one prompt: fewest findings against most, then the next, and so inwards.

    Equal answers are no pair. The lots depend on the seed, the pair's content, and ``repeat``: how
    many equal prompts stand before this one.
    """
    answers: list[tuple[int, int, str, list[Finding]]] = []
    for number, reply in enumerate(replies):
        if not is_blank(reply.text) and all(reply.text != text for _, _, text, _ in answers):
            findings = rules.check(prompt.prompt, reply.text)
            answers.append((len(findings), number, reply.text, findings))
    answers.sort(key=lambda answer: answer[:2])
    noted: dict[str, Any] = {"prompt_index": index}
    if empty := sum(is_blank(reply.text) for reply in replies):
        noted[EMPTY] = empty  # so that a run that is gone on with counts them, too
    pairs = []
    for at in range(min(own.pairs_per_prompt, len(answers) // 2)):
        two = [answers[at], answers[-1 - at]]
        name = content_id(plain(prompt.prompt), sorted(answer[2] for answer in two), repeat)
        random.Random(f"{own.seed} {name}").shuffle(two)
        (_, number_a, text_a, findings_a), (_, number_b, text_b, findings_b) = two
        pairs.append(
            CandidatePair(
                id=name,
                prompt=prompt.prompt,
                response_a=text_a,
                response_b=text_b,
                source_a={**sampled_from, "sample": number_a},
                source_b={**sampled_from, "sample": number_b},
                findings_a=findings_a,
                findings_b=findings_b,
                metadata={**prompt.metadata, **noted},
            )
        )
    return pairs


if __name__ == "__main__":
    runs.command(main)
