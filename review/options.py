"""What `python -m review` can be told: which models, which prompts, which attacks, which items."""

from __future__ import annotations

from dataclasses import dataclass, field

from inhouse.config import setting

PROMPTED = "base_prompted"  # the base, when it is told what the others have learned


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


@dataclass
class RedTeamOptions:
    """What tempts the models to break the rules, and the harmless questions beside it."""

    red_team: bool = setting(
        True, "Ask what tempts to break each rule, harmless twins, and counterfactual pairs."
    )
    red_team_seeds: str | None = setting(
        None, "The firm's own seeds and pairs: a YAML file, asked before the suite's."
    )
    mutations: list[str] | None = setting(
        None, "Ways in which each seed is asked, such as plain and role_play; else all."
    )
    seeds_per_rule: int | None = setting(None, "Seeds of each rule: the first ones; else all.")
    pairs_per_trait: int | None = setting(
        None, "Counterfactual pairs of each trait: the first ones; else all."
    )


@dataclass
class AbilityOptions:
    """What shows whether a model can still do what its base could."""

    ability: int = setting(
        200, "Questions of no trade, as many of each kind; the suite has 200, and 0 asks none."
    )
    lm_eval_tasks: list[str] | None = setting(
        None, "Tasks of lm-evaluation-harness, by name; their data has to be on this machine."
    )
    lm_eval_folder: str | None = setting(
        None, "Task files of the firm's own. They may run code: name folders that you trust."
    )

    def __post_init__(self) -> None:
        if self.ability < 0:
            raise ValueError(f"ability is {self.ability}: give 0 or more")
        if self.lm_eval_folder and not self.lm_eval_tasks:
            raise ValueError("lm_eval_folder is given: name tasks of it with lm_eval_tasks")
