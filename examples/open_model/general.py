"""Let the open model write general English: to measure its forgetting on, and to prevent it with.

    python -m examples.open_model.general --run_dir runs/open

Out, in ``runs/open/general/``: ``texts.jsonl``, one ``{"text": "…"}`` a line, what the model says
at temperature 1 about subjects that no stage trains on; and ``conversations.jsonl``, demonstrations
of what it says about others, by which ``python -m sft --retain_dataset`` holds it to what it was.
Text that a model wrote before it was trained tells more surely what training took from it than text
that another wrote.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse import config, run
from inhouse.config import setting
from inhouse.files import write_atomically
from inhouse.strict_yaml import load_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

STAGE = config.Stage(
    name="general",
    command="python -m examples.open_model.general",
    about="Lets the open model write general English.",
)
SUBJECTS = load_yaml(Path(__file__).parent / "subjects.yaml")
MEASURED, RETAINED = (SUBJECTS[name].split("; ") for name in ("measured", "retained"))


@dataclass
class GeneralOptions:
    """Who writes, and how much."""

    model_name_or_path: str | None = setting(None, "The model; else RUN_DIR/model.")
    conversations: int = setting(250, "Conversations to hold the model to.")
    max_new_tokens: int = setting(96, "Tokens a text may have.")
    seed: int = setting(0, "Seed of the sampling.")


def main() -> None:
    """Ask for a text on each subject, and for conversations on others; write them down."""
    parsed = config.parse(STAGE, GeneralOptions)
    options, own = parsed
    mend = f"run `python -m examples.open_model.fetch --run_dir {options.run_dir}` first"
    folder = str(own.model_name_or_path or run.require(f"{options.run_dir}/model", mend))
    stage_run = run.open_run(STAGE, options, parsed.settings, {"model_name_or_path": folder})
    if options.dry_run:
        print(f"would write {len(MEASURED)} texts and {own.conversations} conversations")
        return

    from inhouse.models.load import load_causal_lm, load_tokenizer

    tokenizer, model = load_tokenizer(folder), load_causal_lm(folder)
    stage_run.start()
    # Apart, so that how many conversations are asked for changes no text that is measured on.
    told = answers(
        model, tokenizer, [SUBJECTS["asked"][0].format(subject) for subject in MEASURED], own
    )
    texts = [{"text": text} for text in told if text]
    asked = draw(random.Random(own.seed), own.conversations)
    said = answers(model, tokenizer, asked, own)
    conversations = [as_record(*each) for each in zip(asked, said, strict=True) if each[1]]
    for name, rows in (("texts", texts), ("conversations", conversations)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomically(stage_run.path(f"{name}.jsonl"), lines)
    stage_run.finish(
        config=(options, own),
        seed=own.seed,
        metrics={"texts": len(texts), "conversations": len(conversations)},
        next_command=f"python -m sft --run_dir {options.run_dir}",
    )


def draw(rng: random.Random, count: int) -> list[str]:
    """Requests on the retained subjects; each subject as often as any other, give or take one."""
    subjects = [RETAINED[number % len(RETAINED)] for number in range(count)]
    return [rng.choice(SUBJECTS["asked"]).format(subject) for subject in subjects]


def answers(
    model: Model, tokenizer: PreTrainedTokenizerBase, asked: Sequence[str], own: GeneralOptions
) -> list[str]:
    """What the model says to each request, at temperature 1."""
    from inhouse import chat
    from inhouse.generation import sample
    from inhouse.records import Message

    rows = [chat.prompt_ids(tokenizer, [Message(role="user", content=ask)]) for ask in asked]
    settings: dict[str, Any] = {"max_new_tokens": own.max_new_tokens, "seed": own.seed}
    said: dict[int, str] = {}
    for batch in sample.replies(model, tokenizer, rows, title="general texts", **settings):
        said |= {at: replies[0].text for at, replies in batch.items()}
    return [said[at] for at in range(len(rows))]


def as_record(ask: str, text: str) -> dict[str, object]:
    """A demonstration, as `python -m sft` reads them."""
    turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": text}]
    return {"messages": turns, "metadata": {"topic": "general", "synthetic": True}}


if __name__ == "__main__":
    run.command(main)
