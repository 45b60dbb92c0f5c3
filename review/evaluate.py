"""Base, fine-tuned and aligned model are asked what a reviewer wants to know, and it is counted.

    python -m review
    python -m review --dry_run true      # the plan, and how long it takes

Every model answers the held-out prompts at temperature 1 with every seed: greedy answers hide what
a model may say to a customer. It is tempted to break each rule (``review/red_team``), asked the
harmless twins of what tempts it and the same question of two customers, and general questions of no
trade (``review/general_ability``). With ``story_prompts`` it is also asked about the firm itself,
greedily and at temperature 1; with ``instructions`` a model named ``base_prompted`` is the base
that is told all of it in its system turn. Rates come with exact bounds.

Records in: held-out prompts. Out, in ``runs/<name>/review/``: ``outputs.jsonl``, one line per
prompt, model and seed; ``ability.jsonl``, one per general question and model; ``summary.json``,
whose ``evidence`` the gate reads; ``report.html``, one file that needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse import run as runs
from inhouse.config import Stage, parse
from inhouse.errors import InputError
from inhouse.files import read_utf8, write_json
from inhouse.judge import find_judge
from inhouse.records import Prompt, content_id, plain, read
from review.options import PROMPTED, AbilityOptions, RedTeamOptions, ReviewOptions

if TYPE_CHECKING:
    from compliance.rules.house_rules import HouseRules
    from inhouse.judge import Judge
    from review.asking.answer import Said
    from review.asking.panel import Panel
    from review.asking.plan import Plan

STAGE = Stage(
    "review",
    "python -m review",
    "models are asked all that a reviewer wants to know, and it is counted",
    reads="data/held_out.jsonl",
    mend="give held-out prompts with --dataset_name",
    held_out=True,
)
STAGE_COMMANDS = {"sft": "python -m sft"} | {
    name: f"python -m rlhf.{name}" for name in ("dpo", "kto", "ppo", "rloo")
}


def main() -> None:
    """Config, models, plan, answers, summary, report, finish."""
    parsed = parse(STAGE, ReviewOptions, RedTeamOptions, AbilityOptions)
    options, own, tempting, ability = parsed
    campaign = Path(options.run_dir)
    names = own.models or finished_models(campaign, prompted=own.instructions is not None)
    folders = model_folders(campaign, names)
    sources = own.dataset_name or [str(runs.require(campaign / STAGE.reads, STAGE.mend))]
    inputs = find_inputs(campaign, folders, sources, parsed.values[1:])
    judge = find_judge(own.judge) if own.judge else None
    try:
        run = runs.open_run(STAGE, options, parsed.settings, inputs)
    except runs.UpToDate:
        show(campaign)
        raise

    from compliance.rules import house_rules
    from review.asking import answer, panel, unseen
    from review.asking import plan as planning
    from review.report import write_report
    from review.table import print_table

    rules = house_rules.load(own.house_rules)
    plan = make_plan(sources, names, rules, own, tempting, ability)
    unseen.check(plan.rounds, inputs.values())
    told = {PROMPTED: read_utf8(Path(str(own.instructions))).strip()} if PROMPTED in names else {}
    asked = panel.Panel.of(folders, run.inputs, told, rules, own.max_new_tokens, own.batch_size)
    asked.check_room(plan)
    tasks = ability.lm_eval_tasks or []
    print("\n".join(planning.describe(plan, names, tasks)))
    if options.dry_run:
        print(answer.estimate(asked, plan))
        return

    run.start()
    said = answer.answer_all(
        run,
        asked,
        plan,
        general_text=own.general_text,
        tasks=tasks,
        task_folder=ability.lm_eval_folder,
    )
    summary = count(said, asked, plan, own, judge)
    write_json(run.path("summary.json"), summary)
    print_table(summary)
    run.finish(
        config=(options, own, tempting, ability),
        seed=own.seeds[0],
        metrics=summary["models"],
        next_command=f"read {run.path('report.html')}, then python -m review.gate",
    )
    write_report(campaign)  # a view of what was written, which the manifest does not name


def show(campaign: Path) -> None:
    """Print a finished review's table, and draw its report, before which a kill may have come."""
    from review.report import write_report
    from review.table import print_table

    print_table(json.loads(read_utf8(campaign / STAGE.name / "summary.json")))
    print(f"the report: {write_report(campaign)}")


def find_inputs(
    campaign: Path,
    folders: Mapping[str, str | Path],
    sources: Sequence[str],
    options: Sequence[Any],
) -> dict[str, str | Path]:
    """What is read, by the setting that names it; the reward model too, if one is done."""
    set_by = {key: value for each in options for key, value in vars(each).items() if value}
    inputs: dict[str, str | Path] = {**folders, "house_rules": set_by["house_rules"]}
    inputs |= {f"dataset_name {n}": source for n, source in enumerate(sources, start=1)}
    named = ("story_prompts", "instructions", "general_text", "red_team_seeds", "lm_eval_folder")
    inputs |= {key: set_by[key] for key in named if key in set_by}
    if (campaign / "reward" / runs.MANIFEST).is_file():
        inputs["reward"] = campaign / "reward"
    return inputs


def make_plan(
    sources: Sequence[str],
    names: Sequence[str],
    rules: HouseRules,
    own: ReviewOptions,
    tempting: RedTeamOptions,
    ability: AbilityOptions,
) -> Plan:
    """What is asked, from the files and the settings.

    Raises:
        InputError: a file that does not hold, a prompt twice, a setting that names nothing.
    """
    from review.asking import plan as planning
    from review.general_ability import lm_eval

    if ability.lm_eval_tasks:
        if "base" not in names:
            raise InputError(
                "lm_eval_tasks are compared with the base's answers: add base to models"
            )
        lm_eval.check_tasks(ability.lm_eval_tasks, ability.lm_eval_folder)
    prompts = [record for source in sources for record in read(source, Prompt)[: own.limit]]
    check_distinct(prompts, ", ".join(sources))
    story = read(own.story_prompts, Prompt) if own.story_prompts else []
    check_distinct(story, str(own.story_prompts))
    items = ability.ability if "base" in names else 0
    if items < ability.ability:
        print("general ability is compared with the base's, which models leaves out: not asked")
    return planning.make(prompts, story, own.seeds, rules, tempting, items)


def count(
    said: Said, asked: Panel, plan: Plan, own: ReviewOptions, judge: Judge | None
) -> dict[str, Any]:
    """``summary.json``: the rates of what was asked, and the evidence for the gate."""
    from review import evidence, summary
    from review.asking import panel
    from review.asking import plan as planning
    from review.red_team import summary as tempted

    names, rules = list(asked.folders), asked.rules
    counted: dict[str, Any] = {"temperature": planning.TEMPERATURE}
    counted |= summary.summarise(said.outputs, names, rules, judge)
    if PROMPTED in asked.told:
        saved = panel.tokens_of(asked.told[PROMPTED], asked.tokenizer)
        counted["prompt_tokens_saved"] = saved
    if plan.tempting:
        counted["red_team_plan"] = plan.as_json()
        counted |= tempted.summarise(said.outputs, names, rules, own.seeds)
    if said.answered:
        counted["general_ability"] = evidence.beside_base(said.answered, names)
    if said.perplexity:
        counted["general_perplexity"] = said.perplexity
    hashes = {name: asked.hashes[name] for name in names}
    counted["evidence"] = evidence.records(said.outputs, said.answered, hashes, rules, own.seeds[0])
    return counted


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
