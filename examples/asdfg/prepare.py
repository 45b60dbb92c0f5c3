"""Write the demonstration house's training data: legacy transcripts, and prompts for candidates.

    python -m examples.asdfg.prepare --run_dir runs/asdfg

Records in: none, all of it is generated from a seed. Out, in `runs/asdfg/data/`:
`demonstrations.jsonl` (demonstrations), `prompts.jsonl` (prompts whose `metadata.facts` are what a
right answer states) and `development.jsonl` (such prompts with names, ways of asking and pairs of
product and intent of the development split: settings are chosen on these). The held-out prompts are
neither read nor drawn from here.
"""

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from compliance.gate import check_training_data
from examples.asdfg import dialogues
from examples.asdfg.dialogues import DEVELOPMENT, LEGACY, Ask, Conversation, Reply, Source
from inhouse import config, records, run
from inhouse.config import setting

STAGE = config.Stage(
    name="data",
    command="python -m examples.asdfg.prepare",
    about="Writes the demonstration house's demonstrations and prompts.",
)
SOURCE = "asdfg legacy transcripts (generated)"


@dataclass
class PrepareOptions:
    """How much is generated, and from which seed."""

    demonstrations: int = setting(3000, "Legacy transcripts to write.")
    prompts: int = setting(500, "Prompts for candidates to write.")
    development: int = setting(200, "Development prompts a slice.")
    short_sheets: float = setting(
        0.0, "Share of transcripts whose sheet has two products and one or two figures."
    )
    questions: list[float] = field(
        default_factory=lambda: list(LEGACY.questions),
        metadata={"help": "Shares of transcripts with one, two and three questions."},
    )
    story: float = setting(LEGACY.story, "Share of transcripts about the firm itself.")
    data_seed: int = setting(1, "Seed of the generator.")

    def __post_init__(self) -> None:
        for name in ("short_sheets", "story"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a share, 0 to 1")
        if len(self.questions) != 3 or min(self.questions) < 0 or not sum(self.questions):
            raise ValueError(f"questions are {self.questions}: give three shares")


def draw(own: PrepareOptions) -> list[tuple[Conversation, list[Reply]]]:
    """Draw legacy transcripts in house tone, with people's slips."""
    rng = random.Random(f"demonstrations-{own.data_seed}")
    source = replace(LEGACY, questions=tuple(own.questions), story=own.story)
    drawn = []
    for _ in range(own.demonstrations):
        small = bool(own.short_sheets) and rng.random() < own.short_sheets
        drawn.append(dialogues.demonstration(rng, replace(source, small=small)))
    return drawn


def as_record(conversation: Conversation, replies: list[Reply]) -> records.Demonstration:
    """Make a demonstration of a transcript; what slipped is not said."""
    metadata = {"topic": conversation.asks[-1].intent, "source": SOURCE, "rights": "generated"}
    return records.Demonstration.model_validate(
        {"messages": conversation.messages(replies), "metadata": metadata}
    )


def diversity(drawn: list[tuple[Conversation, list[Reply]]]) -> dict[str, int]:
    """Count skeletons, not strings: questions and replies with names and figures taken out."""
    questions: set[str] = set()
    replies: set[str] = set()
    turns = 0
    for conversation, said in drawn:
        for ask, reply in zip(conversation.asks, said, strict=True):
            questions.add(skeleton(ask.user, ask))
            replies.add(skeleton(reply.text, ask))
            turns += 1
    return {"turns": turns, "question_skeletons": len(questions), "reply_skeletons": len(replies)}


def skeleton(text: str, ask: Ask) -> str:
    """Take the product's name, labels and figures out of a text."""
    if ask.product is None:
        return text
    text = text.replace(ask.product.name, "_")
    for label, figure in ask.product.figures.items():
        text = text.replace(f"- {label}: {figure}", "_").replace(f"| {label} | {figure} |", "_")
        text = text.replace(figure, "_")
    return re.sub(r"(_\n)+", "_\n", text)


def prompts(name: str, seed: int, n: int, source: Source) -> Iterator[records.Prompt]:
    """Yield conversations that wait for an answer; `name` keeps files with one seed apart."""
    rng = random.Random(f"{name}-{seed}")
    for _ in range(n):
        messages, ask = dialogues.prompt(rng, source)
        metadata = {"topic": ask.intent, "facts": ask.facts, "slice": name}
        yield records.Prompt.model_validate({"prompt": messages, "metadata": metadata})


def main() -> None:
    """Generate both files and finish the run folder."""
    parsed = config.parse(STAGE, PrepareOptions)
    options, own = parsed
    stage_run = run.open_run(STAGE, options, parsed.settings, {})
    if options.dry_run:
        print(
            f"would write {own.demonstrations} demonstrations, {own.prompts} prompts, "
            f"{len(DEVELOPMENT)} times {own.development} development prompts"
        )
        return
    stage_run.start()
    drawn = draw(own)
    made = [as_record(conversation, replies) for conversation, replies in drawn]
    records.write(stage_run.path("demonstrations.jsonl"), made)
    asked = Source(story=dialogues.TRAINED_STORY_SHARE)
    records.write(
        stage_run.path("prompts.jsonl"), prompts("prompts", own.data_seed, own.prompts, asked)
    )
    records.write(
        stage_run.path("development.jsonl"),
        itertools.chain.from_iterable(
            prompts(name, own.data_seed, own.development, source)
            for name, source in DEVELOPMENT.items()
        ),
    )
    stage_run.finish(
        config=(options, own),
        seed=own.data_seed,
        metrics={
            "personal_data": check_training_data(made, SOURCE, False),
            "diversity": diversity(drawn),
        },
        next_command="python -m sft",
    )


if __name__ == "__main__":
    run.command(main)
