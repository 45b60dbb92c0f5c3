"""Base, fine-tuned and aligned model answer the held-out prompts, and the house rules count.

    python -m review

Every model answers every prompt at temperature 1 with every seed: greedy answers hide what a model
may say to a customer. Rates come with exact bounds.

Records in: held-out prompts. Out, in ``runs/<name>/review/``: ``outputs.jsonl``, one line per
prompt, model and seed; ``summary.json``; ``report.html``, one file that needs nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse import run as runs
from inhouse.config import Stage, parse
from inhouse.errors import InputError
from inhouse.files import write_atomically, write_json
from inhouse.records import Journal, Output, Prompt, content_id, plain, read

if TYPE_CHECKING:
    from inhouse.house_rules import HouseRules

STAGE = Stage("review", "python -m review", "models answer held-out prompts, and rules count")
TEMPERATURE = 1.0
STAGE_COMMANDS = {"sft": "python -m sft", "dpo": "python -m rlhf.dpo"}


@dataclass
class ReviewOptions:
    """Which models answer which prompts, and by which rules they are read."""

    house_rules: str = field(metadata={"help": "The house rules' YAML file."})
    dataset_name: str | None = field(
        default=None, metadata={"help": "Held-out prompts; else RUN_DIR/data/held_out.jsonl."}
    )
    models: list[str] = field(
        default_factory=lambda: ["base", "sft", "dpo"],
        metadata={"help": "Stages of the run; base is what sft started from (base sft dpo)."},
    )
    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Seeds; every prompt is asked with each (0)."},
    )
    max_new_tokens: int = field(default=128, metadata={"help": "Tokens an answer may have."})
    batch_size: int = field(default=64, metadata={"help": "Prompts sampled together."})
    note: str = field(
        default="", metadata={"help": "A line that opens the report: whose ratings these were."}
    )

    def __post_init__(self) -> None:
        if "sft" not in self.models:
            raise ValueError("models must name sft: kl_to_sft is measured against it")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}: give each once, and at least one")
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give 1 or more")


def main() -> None:
    """Config, models, prompts, answers, summary, report, finish."""
    parsed = parse(STAGE, ReviewOptions)
    options, own = parsed
    campaign = Path(options.run_dir)
    folders = model_folders(campaign, own.models)
    source = own.dataset_name or runs.require(
        campaign / "data" / "held_out.jsonl", "give held-out prompts with --dataset_name"
    )
    inputs = {**folders, "dataset_name": source, "house_rules": own.house_rules}
    reward = campaign / "reward"
    if (reward / runs.MANIFEST).is_file():
        inputs["reward"] = reward
    try:
        run = runs.open_run(STAGE, options, parsed.settings, inputs)
    except runs.UpToDate:
        folder = campaign / STAGE.name
        print_table(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
        print(f"the report: {folder / 'report.html'}")
        raise

    from inhouse import house_rules  # torch takes a second to import, and --help must not
    from review.report import render_report

    rules = house_rules.load(own.house_rules)
    prompts = read(source, Prompt)
    check_distinct(prompts, str(source))
    if options.dry_run:
        print(f"{len(prompts)} prompts, models {', '.join(folders)}, seeds {own.seeds}")
        return

    run.start()
    hashes = {entry["name"]: entry["sha256"][:12] for entry in run.inputs}
    journal = Journal(run.path("outputs.jsonl"), Output)
    answer_all(journal, folders, hashes, prompts, rules, inputs.get("reward"), own)
    outputs = journal.finish()
    summary = summarise(outputs, list(folders), rules, own.seeds, len(prompts))
    write_json(run.path("summary.json"), summary)
    manifest = {"inputs": run.inputs, "rules": rules.hash, "note": own.note}
    write_atomically(
        run.path("report.html"), render_report(campaign.name, summary, outputs, rules, manifest)
    )
    print_table(summary)
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


def model_folders(campaign: Path, names: Sequence[str]) -> dict[str, str | Path]:
    """The folder of each model by its name in the report.

    Raises:
        InputError: a stage has not run, or a name is none.
    """
    folders: dict[str, str | Path] = {}
    for name in names:
        if name == "base":
            sft = runs.require(campaign / "sft" / runs.MANIFEST, "run `python -m sft` first")
            config = json.loads(sft.read_text(encoding="utf-8"))["config"]
            folders[name] = config["model_name_or_path"]
        elif name in STAGE_COMMANDS:
            mend = f"run `{STAGE_COMMANDS[name]} --run_dir {campaign}` first"
            runs.require(campaign / name / runs.MANIFEST, mend)
            folders[name] = campaign / name
        else:
            known = ", ".join(["base", *STAGE_COMMANDS])
            raise InputError(f"models names {name!r}, which is none of {known}")
    return folders


def answer_all(
    journal: Journal[Output],
    folders: dict[str, str | Path],
    hashes: dict[str, str],
    prompts: Sequence[Prompt],
    rules: HouseRules,
    reward: str | Path | None,
    own: ReviewOptions,
) -> None:
    """Let every model answer every prompt with every seed, and journal what they said."""
    from inhouse import chat, generate, models
    from inhouse.scoring import Scorer

    done = {output.id for output in journal.records}
    scorer = Scorer(str(reward)) if reward else None
    tokenizer = models.load_tokenizer(str(folders["sft"]))
    reference = models.load_causal_lm(str(folders["sft"]))
    rows = [chat.prompt_ids(tokenizer, record.prompt) for record in prompts]
    for name, folder in folders.items():
        model = reference if name == "sft" else models.load_causal_lm(str(folder))
        for seed in own.seeds:
            ids = [content_id(hashes[name], plain(record.prompt), seed) for record in prompts]
            for batch in generate.sample(
                model,
                tokenizer,
                rows,
                max_new_tokens=own.max_new_tokens,
                temperature=TEMPERATURE,
                seed=seed,
                batch_size=own.batch_size,
                done={index for index, output in enumerate(ids) if output in done},
                title=f"{name}, seed {seed}",
            ):
                indices = list(batch)
                replies = [batch[index][0] for index in indices]
                said = [(rows[i], r.ids) for i, r in zip(indices, replies, strict=True)]
                pad = tokenizer.pad_token_id
                own_logps = generate.log_probabilities(model, said, pad_token_id=pad)
                sft_logps = generate.log_probabilities(reference, said, pad_token_id=pad)
                texts = [(prompts[i].prompt, r.text) for i, r in zip(indices, replies, strict=True)]
                scores = score(scorer, texts)
                journal.append(
                    Output(
                        id=ids[index],
                        prompt=prompts[index].prompt,
                        model={"name": name, "hash": hashes[name]},
                        seed=seed,
                        response=reply.text,
                        tokens=len(reply.ids),
                        end_token=reply.ended,
                        findings=rules.check(prompts[index].prompt, reply.text),
                        reward=scores[at],
                        facts_ok=states_facts(reply.text, prompts[index].facts),
                        kl_to_sft=own_logps[at] - sft_logps[at],
                        metadata=prompts[index].metadata,
                    )
                    for at, (index, reply) in enumerate(zip(indices, replies, strict=True))
                    if ids[index] not in done
                )


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


def states_facts(response: str, facts: Sequence[str]) -> bool:
    """Whether every fact stands in the response: whole words, whole figures, any case."""
    text = " ".join(response.split())
    return all(
        re.search(rf"(?<![\w.,]){re.escape(fact)}(?!\w|[.,]\d)", text, re.IGNORECASE)
        for fact in (" ".join(fact.split()) for fact in facts)
    )


def summarise(
    outputs: Sequence[Output],
    names: Sequence[str],
    rules: HouseRules,
    seeds: Sequence[int],
    n_prompts: int,
) -> dict[str, Any]:
    """Rates with exact 95 % bounds for each model, and what changed from SFT, paired."""
    from inhouse.statistics import mcnemar, rate

    by_model = {
        name: sorted(
            (output for output in outputs if output.model["name"] == name),
            key=lambda output: (output.seed, content_id(plain(output.prompt))),
        )
        for name in names
    }
    models: dict[str, Any] = {}
    for name, said in by_model.items():
        n = len(said)
        asked = having_facts(said)
        models[name] = {
            "any_violation": rate(sum(violates(o, rules, "compliance") for o in said), n),
            "tone_violation": rate(sum(violates(o, rules, "tone") for o in said), n),
            "helpful": rate(sum(map(helpful, asked)), len(asked)) if asked else None,
            "end_token": rate(sum(o.end_token for o in said), n),
            "mean_tokens": sum(o.tokens for o in said) / n,
            "kl_to_sft": sum(o.kl_to_sft or 0.0 for o in said) / n,
            "rules": {
                rule.id: rate(sum(any(f.rule == rule.id for f in o.findings) for o in said), n)
                for rule in rules.rules
                if rule.by_machine
            },
        }
    sft = by_model["sft"]
    paired = {
        name: {
            "any_violation": mcnemar(
                [violates(o, rules, "compliance") for o in sft],
                [violates(o, rules, "compliance") for o in said],
            ),
            "helpful": mcnemar(
                [helpful(o) for o in having_facts(sft)], [helpful(o) for o in having_facts(said)]
            ),
        }
        for name, said in by_model.items()
        if name not in ("base", "sft")
    }
    return {
        "n_prompts": n_prompts,
        "temperature": TEMPERATURE,
        "seeds": list(seeds),
        "house_rules": rules.hash,
        "models": models,
        "mcnemar_p_against_sft": paired,
    }


def violates(output: Output, rules: HouseRules, group: str) -> bool:
    """Whether an answer breaks a rule of the group: ``compliance`` or ``tone``."""
    return any(rules.group_of(finding.rule) == group for finding in output.findings)


def having_facts(outputs: Sequence[Output]) -> list[Output]:
    """Answers to the prompts that say what a right answer states."""
    return [output for output in outputs if output.metadata.get("facts")]


def helpful(output: Output) -> bool:
    """Whether an answer ends properly and states the product and the figure asked about."""
    return output.end_token and output.facts_ok


def print_table(summary: dict[str, Any]) -> None:
    """The summary as a table: a rate with its bounds, in per cent."""
    measures = ("any_violation", "tone_violation", "helpful", "end_token")
    names = list(summary["models"])
    print(f"\n{'':16}" + "".join(f"{name:>22}" for name in names))
    for measure in measures:
        cells = [shown_rate(summary["models"][name][measure]) for name in names]
        print(f"{measure:16}" + "".join(f"{cell:>22}" for cell in cells))
    for measure in ("mean_tokens", "kl_to_sft"):
        cells = [f"{summary['models'][name][measure]:.2f}" for name in names]
        print(f"{measure:16}" + "".join(f"{cell:>22}" for cell in cells))
    n, seeds = summary["n_prompts"], len(summary["seeds"])
    print(f"{n} held-out prompts, {seeds} seed(s), temperature {summary['temperature']}\n")


def shown_rate(value: dict[str, float] | None) -> str:
    """``12.3 % (8.0 to 17.1)``, or a dash where nothing could be counted."""
    if value is None:
        return "–"
    return f"{100 * value['rate']:.1f} % ({100 * value['low']:.1f} to {100 * value['high']:.1f})"
