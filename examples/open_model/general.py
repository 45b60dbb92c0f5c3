"""Let the open model write general English, on which its forgetting is measured.

    python -m examples.open_model.general --run_dir runs/open

Out: ``runs/open/general/texts.jsonl``, one ``{"text": "…"}`` a line, what the model says at
temperature 1 about subjects that no stage trains on. Text that a model wrote before it was trained
tells more surely what training took from it than text that another wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from inhouse import config, run
from inhouse.config import setting
from inhouse.files import write_atomically

STAGE = config.Stage(
    name="general",
    command="python -m examples.open_model.general",
    about="Lets the open model write general English.",
)
SUBJECTS = (
    *(
        "how bread is baked",
        "why the sky is blue",
        "how a bicycle stays upright",
        "the water cycle",
    ),
    *("what a good letter needs", "how to grow tomatoes", "the history of the printing press"),
    *("why people dream", "how bees make honey", "the rules of chess", "a walk in a forest"),
    *("how a lock on a canal works", "what makes a good teacher", "the phases of the moon"),
    *("how to learn a language", "a day at the sea", "why leaves change their colour"),
    *("how glass is made", "what a museum is for", "the life of a river", "how to pack a suitcase"),
    *(
        "why iron rusts",
        "how to tell a story to a child",
        "the first railways",
        "how birds migrate",
    ),
    *("a recipe for vegetable soup", "how a violin makes its sound", "why we have leap years"),
    *("how to keep a garden tidy", "what friends are for", "how maps are drawn", "a snowy morning"),
)


@dataclass
class GeneralOptions:
    """Who writes, and how much."""

    model_name_or_path: str | None = setting(None, "The model; else RUN_DIR/model.")
    max_new_tokens: int = setting(96, "Tokens a text may have.")
    seed: int = setting(0, "Seed of the sampling.")


def main() -> None:
    """Ask for a text on each subject, and write them down."""
    parsed = config.parse(STAGE, GeneralOptions)
    options, own = parsed
    mend = f"run `python -m examples.open_model.fetch --run_dir {options.run_dir}` first"
    folder = str(own.model_name_or_path or run.require(f"{options.run_dir}/model", mend))
    stage_run = run.open_run(STAGE, options, parsed.settings, {"model_name_or_path": folder})
    if options.dry_run:
        print(f"would write {len(SUBJECTS)} texts")
        return

    import json

    from inhouse import chat
    from inhouse.generation import sample
    from inhouse.models.load import load_causal_lm, load_tokenizer
    from inhouse.records import Message

    tokenizer, model = load_tokenizer(folder), load_causal_lm(folder)
    stage_run.start()
    asked = [Message(role="user", content=f"Write a paragraph about {each}.") for each in SUBJECTS]
    rows = [chat.prompt_ids(tokenizer, [turn]) for turn in asked]
    settings = {"max_new_tokens": own.max_new_tokens, "seed": own.seed}
    said: dict[int, str] = {}
    for batch in sample.replies(model, tokenizer, rows, title="general texts", **settings):
        said |= {at: replies[0].text for at, replies in batch.items()}
    lines = [json.dumps({"text": said[at]}) + "\n" for at in range(len(rows)) if said[at]]
    write_atomically(stage_run.path("texts.jsonl"), "".join(lines))
    stage_run.finish(
        config=(options, own),
        seed=own.seed,
        metrics={"texts": len(lines)},
        next_command=f"python -m sft --run_dir {options.run_dir}",
    )


if __name__ == "__main__":
    run.command(main)
