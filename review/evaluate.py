"""Base, fine-tuned and aligned model answer the held-out prompts, and the house rules count.

    python -m review

Every model answers every prompt at temperature 1 with every seed: greedy answers hide what a model
may say to a customer. Rates come with exact bounds. With ``story_prompts`` each model is also asked
about the firm itself, greedily and at temperature 1; with ``instructions`` a model named
``base_prompted`` is the base that is told all of it in its system turn.

Records in: held-out prompts. Out, in ``runs/<name>/review/``: ``outputs.jsonl``, one line per
prompt, model and seed; ``summary.json``; ``report.html``, one file that needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inhouse import run as runs
from inhouse.config import Stage, parse
from inhouse.errors import InputError
from inhouse.files import read_utf8, write_atomically, write_json
from inhouse.judge import find_judge, states_facts
from inhouse.records import Journal, Message, Output, Prompt, content_id, plain, read
from review import summary as counting

if TYPE_CHECKING:
    from compliance.rules.house_rules import HouseRules

STAGE = Stage(
    "review", "python -m review", "models answer held-out prompts, and rules count", held_out=True
)
TEMPERATURE = 1.0
STAGE_COMMANDS = {"sft": "python -m sft"} | {
    name: f"python -m rlhf.{name}" for name in ("dpo", "kto", "ppo", "rloo")
}
PROMPTED = "base_prompted"
STORY_SAMPLES = 100  # at least, over all questions about the firm


@dataclass
class ReviewOptions:
    """Which models answer which prompts, and by which rules they are read."""

    house_rules: str = field(metadata={"help": "The house rules' YAML file."})
    dataset_name: list[str] | None = field(
        default=None,
        metadata={"help": "Files of held-out prompts; else RUN_DIR/data/held_out.jsonl."},
    )
    limit: int | None = field(
        default=None, metadata={"help": "Prompts that are asked of each file: the first ones."}
    )
    models: list[str] | None = field(
        default=None,
        metadata={
            "help": "Stages of the run, and base: what sft started from. Else all that are done."
        },
    )
    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Seeds; every prompt is asked with each (0)."},
    )
    story_prompts: str | None = field(
        default=None,
        metadata={"help": "Questions about the firm itself; their facts are its description."},
    )
    instructions: str | None = field(
        default=None,
        metadata={"help": f"What {PROMPTED} is told above every system turn: a text file."},
    )
    judge: str | None = field(
        default=None,
        metadata={"help": "A standard that nothing was optimised on, as module:function."},
    )
    max_new_tokens: int = field(default=128, metadata={"help": "Tokens an answer may have."})
    batch_size: int = field(default=64, metadata={"help": "Prompts sampled together."})
    note: str = field(
        default="", metadata={"help": "A line that opens the report: whose ratings these were."}
    )

    def __post_init__(self) -> None:
        if self.models is not None and "sft" not in self.models:
            raise ValueError("models must name sft: kl_to_sft is measured against it")
        if PROMPTED in (self.models or []) and self.instructions is None:
            raise ValueError(f"models names {PROMPTED}: instructions has to say what it is told")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}: give each once, and at least one")
        for name in ("max_new_tokens", "batch_size", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: give 1 or more")


class Round(NamedTuple):
    """Prompts that each model answers once, with one seed; temperature 0 is greedy."""

    split: str
    prompts: Sequence[Prompt]
    seed: int
    temperature: float = TEMPERATURE


def main() -> None:
    """Config, models, prompts, answers, summary, report, finish."""
    parsed = parse(STAGE, ReviewOptions)
    options, own = parsed
    campaign = Path(options.run_dir)
    names = own.models or finished_models(campaign, prompted=own.instructions is not None)
    folders = model_folders(campaign, names)
    sources = own.dataset_name or [
        str(
            runs.require(
                campaign / "data" / "held_out.jsonl", "give held-out prompts with --dataset_name"
            )
        )
    ]
    inputs: dict[str, str | Path] = {**folders, "house_rules": own.house_rules}
    inputs |= {f"dataset_name {n}": source for n, source in enumerate(sources, start=1)}
    inputs |= {k: v for k in ("story_prompts", "instructions") if (v := getattr(own, k))}
    reward = campaign / "reward"
    if (reward / runs.MANIFEST).is_file():
        inputs["reward"] = reward
    judge = find_judge(own.judge) if own.judge else None
    try:
        run = runs.open_run(STAGE, options, parsed.settings, inputs)
    except runs.UpToDate:
        folder = campaign / STAGE.name
        counting.print_table(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        print(f"the report: {folder / 'report.html'}")
        raise

    from compliance.rules import house_rules
    from review.report import render_report

    rules = house_rules.load(own.house_rules)
    prompts = [record for source in sources for record in read(source, Prompt)[: own.limit]]
    check_distinct(prompts, ", ".join(sources))
    story = read(own.story_prompts, Prompt) if own.story_prompts else []
    if options.dry_run:
        print(f"{len(prompts)} prompts, models {', '.join(folders)}, seeds {own.seeds}")
        return

    run.start()
    hashes = {entry["name"]: entry["sha256"][:12] for entry in run.inputs}
    told = ""
    if own.instructions and PROMPTED in folders:
        told = read_utf8(Path(own.instructions)).strip()
    journal = Journal(run.path("outputs.jsonl"), Output)
    rounds = list(plan(prompts, story, own.seeds))
    answer_all(journal, folders, hashes, rounds, told, rules, inputs.get("reward"), own)
    outputs = journal.finish()
    summary: dict[str, Any] = {"temperature": TEMPERATURE}
    summary |= counting.summarise(outputs, list(folders), rules, judge)
    if told:
        summary["prompt_tokens_saved"] = tokens_of(told, str(folders["sft"]))
    write_json(run.path("summary.json"), summary)
    provenance = {"inputs": run.inputs, "rules": rules.hash, "note": own.note, "told": told}
    provenance["opening"] = story[0].prompt if story else None
    write_atomically(
        run.path("report.html"), render_report(campaign.name, summary, outputs, rules, provenance)
    )
    counting.print_table(summary)
    run.finish(
        config=(options, own),
        seed=own.seeds[0],
        metrics=summary["models"],
        next_command=f"read {run.path('report.html')}",
    )


def check_distinct(prompts: Sequence[Prompt], source: str) -> None:
    """Refuse a prompt that stands there twice: its answers would count twice, and pair with none.

    Raises:
        InputError: names both records.
    """
    seen: dict[str, int] = {}
    for number, record in enumerate(prompts, start=1):
        first = seen.setdefault(content_id(plain(record.prompt)), number)
        if first != number:
            raise InputError(
                f"{source}, record {number}: the same prompt as record {first}; take one out"
            )


def finished_models(campaign: Path, *, prompted: bool) -> list[str]:
    """The base, with ``prompted`` also told its instructions, and the stages whose result is there.

    A stage that was begun and not finished is left out, and named.
    """
    if runs.is_main_process():
        for name in STAGE_COMMANDS:
            if (campaign / name / runs.BEGUN).is_file():
                print(f"{campaign / name} is not finished: reviewed without it")
    aligned = [name for name in STAGE_COMMANDS if (campaign / name / runs.MANIFEST).is_file()]
    return ["base", *([PROMPTED] if prompted else []), *(aligned or ["sft"])]


def model_folders(campaign: Path, names: Sequence[str]) -> dict[str, str | Path]:
    """The folder of each model by its name in the report.

    Raises:
        InputError: a stage has not run, or a name is none.
    """
    folders: dict[str, str | Path] = {}
    for name in names:
        if name in ("base", PROMPTED):
            sft = runs.require(campaign / "sft" / runs.MANIFEST, "run `python -m sft` first")
            config = json.loads(sft.read_text(encoding="utf-8"))["config"]
            folders[name] = config["model_name_or_path"]
        elif name in STAGE_COMMANDS:
            mend = f"run `{STAGE_COMMANDS[name]} --run_dir {campaign}` first"
            runs.require(campaign / name / runs.MANIFEST, mend)
            folders[name] = campaign / name
        else:
            known = ", ".join(["base", PROMPTED, *STAGE_COMMANDS])
            raise InputError(f"models names {name!r}, which is none of {known}")
    return folders


def plan(
    prompts: Sequence[Prompt], story: Sequence[Prompt], seeds: Sequence[int]
) -> Iterator[Round]:
    """What every model is asked, in order."""
    yield from (Round(counting.HELD_OUT, prompts, seed) for seed in seeds)
    if story:
        times = -(-STORY_SAMPLES // len(story))
        yield from (Round(counting.STORY, story, seed) for seed in range(times))
        yield Round(counting.STORY_GREEDY, story, 0, temperature=0.0)


def answer_all(
    journal: Journal[Output],
    folders: dict[str, str | Path],
    hashes: dict[str, str],
    rounds: Sequence[Round],
    told: str,
    rules: HouseRules,
    reward: str | Path | None,
    own: ReviewOptions,
) -> None:
    """Let every model answer every round, and journal what they said."""
    from inhouse import chat
    from inhouse.generation import sample
    from inhouse.generation.score import Scorer
    from inhouse.models.load import load_causal_lm, load_tokenizer

    done = {output.id for output in journal.records}
    scorer = Scorer(str(reward)) if reward else None
    tokenizer = load_tokenizer(str(folders["sft"]))
    reference = load_causal_lm(str(folders["sft"]))

    def log_probabilities(model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        return sample.log_probabilities(model, pairs, pad_token_id=tokenizer.pad_token_id)

    for name, folder in folders.items():
        model = reference if name == "sft" else load_causal_lm(str(folder))
        for asked in rounds:
            prompts = asked.prompts
            ids = [content_id(name, hashes[name], asked.split, plain(record.prompt), asked.seed)
                   for record in prompts]  # fmt: skip
            rows = [chat.prompt_ids(tokenizer, record.prompt) for record in prompts]
            given = rows
            if name == PROMPTED:
                longer = [instructed(record.prompt, told) for record in prompts]
                given = [chat.prompt_ids(tokenizer, prompt) for prompt in longer]
            for batch in sample.replies(
                model,
                tokenizer,
                given,
                max_new_tokens=own.max_new_tokens,
                temperature=asked.temperature,
                seed=asked.seed,
                batch_size=own.batch_size,
                done={index for index, output in enumerate(ids) if output in done},
                title=f"{name}, {asked.split}, seed {asked.seed}",
            ):
                indices = list(batch)
                replies = [batch[index][0] for index in indices]
                drift = [0.0] * len(indices)
                if asked.split == counting.HELD_OUT and name != "sft":
                    said = zip(indices, replies, strict=True)
                    pairs = [(given[i], rows[i], reply.ids) for i, reply in said]
                    policy = log_probabilities(model, [(prompt, ids) for prompt, _, ids in pairs])
                    sft = log_probabilities(reference, [(prompt, ids) for _, prompt, ids in pairs])
                    drift = [p - q for p, q in zip(policy, sft, strict=True)]
                texts = [(prompts[i].prompt, r.text) for i, r in zip(indices, replies, strict=True)]
                scores = score(scorer, texts)
                journal.append(
                    Output(
                        id=ids[index],
                        prompt=prompts[index].prompt,
                        model={"name": name, "hash": hashes[name]},
                        seed=asked.seed,
                        response=reply.text,
                        tokens=len(reply.ids),
                        end_token=reply.ended,
                        findings=rules.check(prompts[index].prompt, reply.text),
                        reward=scores[at],
                        facts_ok=states_facts(reply.text, prompts[index].facts),
                        kl_to_sft=drift[at],
                        split=asked.split,
                        metadata=prompts[index].metadata,
                    )
                    for at, (index, reply) in enumerate(zip(indices, replies, strict=True))
                    if ids[index] not in done
                )


def instructed(prompt: Sequence[Message], told: str) -> list[Message]:
    """The prompt with ``told`` above its system turn, or as its system turn where it has none."""
    first, *others = prompt
    if first.role != "system":
        return [Message(role="system", content=told), *prompt]
    return [Message(role="system", content=f"{told}\n\n{first.content}"), *others]


def tokens_of(text: str, folder: str) -> int:
    """Tokens that a text takes in a prompt."""
    from inhouse.models.load import load_tokenizer

    return len(load_tokenizer(folder)(text, add_special_tokens=False).input_ids)


def score(scorer: Any, texts: Sequence[tuple[Any, str]]) -> list[dict[str, float]]:
    """Each answer's reward by part: the learned one, where there is a reward model.

    An empty answer cannot be rendered as a turn and has no learned reward.
    """
    parts: list[dict[str, float]] = [{} for _ in texts]
    if scorer is not None:
        spoken = [at for at, (_, text) in enumerate(texts) if text]
        for at, value in zip(spoken, scorer.score([texts[at] for at in spoken]), strict=True):
            parts[at] = {"learned": value}
    return parts
