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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inhouse import run as runs
from inhouse.config import Stage, parse, setting
from inhouse.errors import InputError
from inhouse.files import read_utf8, write_json
from inhouse.judge import find_judge
from inhouse.records import Prompt, content_id, plain, read
from review import summary as counting
from review.summary import PROMPTED

STAGE = Stage(
    "review",
    "python -m review",
    "models answer held-out prompts, and rules count",
    reads="data/held_out.jsonl",
    mend="give held-out prompts with --dataset_name",
    held_out=True,
)
STAGE_COMMANDS = {"sft": "python -m sft"} | {
    name: f"python -m rlhf.{name}" for name in ("dpo", "kto", "ppo", "rloo")
}


@dataclass
class ReviewOptions:
    """Which models answer which prompts, and by which rules they are read."""

    house_rules: str = field(metadata={"help": "The house rules: a YAML file or a folder."})
    dataset_name: list[str] | None = setting(
        None, "Files of held-out prompts; else RUN_DIR/data/held_out.jsonl."
    )
    limit: int | None = setting(None, "Prompts that are asked of each file: the first ones.")
    models: list[str] | None = setting(
        None, "Stages of the run, and base: what sft started from. Else all that are done."
    )
    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Seeds; every prompt is asked with each (0)."},
    )
    story_prompts: str | None = setting(
        None, "Questions about the firm itself; their facts are its description."
    )
    instructions: str | None = setting(
        None, f"What {PROMPTED} is told above every system turn: a text file."
    )
    general_text: str | None = setting(
        None,
        'General text, one {"text": "…"} a line: each model\'s perplexity on it shows what was '
        "forgotten.",
    )
    judge: str | None = setting(
        None, "A standard that nothing was optimised on, as module:function."
    )
    max_new_tokens: int = setting(128, "Tokens an answer may have.")
    batch_size: int = setting(64, "Prompts sampled together.")
    note: str = setting("", "A line that opens the report: whose ratings these were.")

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


def main() -> None:
    """Config, models, prompts, answers, summary, report, finish."""
    parsed = parse(STAGE, ReviewOptions)
    options, own = parsed
    campaign = Path(options.run_dir)
    names = own.models or finished_models(campaign, prompted=own.instructions is not None)
    folders = model_folders(campaign, names)
    sources = own.dataset_name or [str(runs.require(campaign / STAGE.reads, STAGE.mend))]
    inputs = find_inputs(campaign, folders, sources, own)
    judge = find_judge(own.judge) if own.judge else None
    try:
        run = runs.open_run(STAGE, options, parsed.settings, inputs)
    except runs.UpToDate:
        from review.report import write_report

        folder = campaign / STAGE.name
        counting.print_table(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        print(f"the report: {write_report(campaign)}")  # also where a kill came before it
        raise

    from compliance.rules import house_rules
    from review import answer
    from review.report import write_report

    rules = house_rules.load(own.house_rules)
    prompts = [record for source in sources for record in read(source, Prompt)[: own.limit]]
    check_distinct(prompts, ", ".join(sources))
    story = read(own.story_prompts, Prompt) if own.story_prompts else []
    if options.dry_run:
        print(f"{len(prompts)} prompts, models {', '.join(folders)}, seeds {own.seeds}")
        return

    run.start()
    told = ""
    if own.instructions and PROMPTED in folders:
        told = read_utf8(Path(own.instructions)).strip()
    rounds = answer.plan(prompts, story, own.seeds)
    outputs = answer.answer_all(
        run, folders, rounds, {PROMPTED: told}, rules, own.max_new_tokens, own.batch_size
    )
    summary: dict[str, Any] = {"temperature": answer.TEMPERATURE}
    summary |= counting.summarise(outputs, list(folders), rules, judge)
    if told:
        summary["prompt_tokens_saved"] = answer.tokens_of(told, str(folders["sft"]))
    if own.general_text:
        summary["general_perplexity"] = answer.perplexities(folders, own.general_text)
    write_json(run.path("summary.json"), summary)
    counting.print_table(summary)
    run.finish(
        config=(options, own),
        seed=own.seeds[0],
        metrics=summary["models"],
        next_command=f"read {run.path('report.html')}",
    )
    write_report(campaign)  # a view of what was written, which the manifest does not name


def find_inputs(
    campaign: Path, folders: dict[str, str | Path], sources: Sequence[str], own: ReviewOptions
) -> dict[str, str | Path]:
    """What is read, by the setting that names it; the reward model too, if one is done."""
    inputs: dict[str, str | Path] = {**folders, "house_rules": own.house_rules}
    inputs |= {f"dataset_name {n}": source for n, source in enumerate(sources, start=1)}
    inputs |= {
        k: v for k in ("story_prompts", "instructions", "general_text") if (v := getattr(own, k))
    }
    if (campaign / "reward" / runs.MANIFEST).is_file():
        inputs["reward"] = campaign / "reward"
    return inputs


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
