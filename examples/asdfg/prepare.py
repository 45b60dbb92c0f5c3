"""Write the demonstration house's training data: legacy transcripts, and prompts for candidates.

    python -m examples.asdfg.prepare --run_dir runs/asdfg

Records in: none, all of it is generated from a seed. Out, in `runs/asdfg/data/`:
`demonstrations.jsonl` (demonstrations) and `prompts.jsonl` (prompts whose `metadata.facts` are what
a right answer states). The held-out prompts are neither read nor drawn from here.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from examples.asdfg import dialogues
from inhouse import config, records, run, scrubbing

STAGE = config.Stage(
    name="data",
    command="python -m examples.asdfg.prepare",
    about="Writes the demonstration house's demonstrations and prompts.",
)
SOURCE = "asdfg legacy transcripts (generated)"


@dataclass
class PrepareOptions:
    """How much is generated, and from which seed."""

    demonstrations: int = field(default=2000, metadata={"help": "Legacy transcripts to write."})
    prompts: int = field(default=500, metadata={"help": "Prompts for candidates to write."})
    data_seed: int = field(default=1, metadata={"help": "Seed of the generator."})


def demonstrations(seed: int, n: int) -> Iterator[records.Demonstration]:
    """Yield legacy transcripts in house tone, with people's slips."""
    rng = random.Random(f"demonstrations-{seed}")
    for _ in range(n):
        dialogue = dialogues.demonstration(rng)
        yield records.Demonstration.model_validate(
            {
                "messages": dialogue.messages,
                "metadata": {
                    "topic": dialogue.question.intent,
                    "source": SOURCE,
                    "rights": "generated",
                },
            }
        )


def prompts(seed: int, n: int) -> Iterator[records.Prompt]:
    """Yield questions with training names, drawn apart from the demonstrations."""
    rng = random.Random(f"prompts-{seed}")
    for _ in range(n):
        question = dialogues.ask(rng, "training")
        yield records.Prompt.model_validate(
            {
                "prompt": question.prompt,
                "metadata": {"topic": question.intent, "facts": question.facts},
            }
        )


def main() -> None:
    """Generate both files and finish the run folder."""
    parsed = config.parse(STAGE, PrepareOptions)
    options, own = parsed
    stage_run = run.open_run(STAGE, options, parsed.settings, {})
    if options.dry_run:
        print(f"would write {own.demonstrations} demonstrations and {own.prompts} prompts")
        return
    stage_run.start()
    made = list(demonstrations(own.data_seed, own.demonstrations))
    records.write(stage_run.path("demonstrations.jsonl"), made)
    records.write(stage_run.path("prompts.jsonl"), prompts(own.data_seed, own.prompts))
    stage_run.finish(
        config=(options, own),
        seed=own.data_seed,
        metrics={"personal_data": scrubbing.check_training_data(made, SOURCE, False)},
        next_command="python -m sft",
    )


if __name__ == "__main__":
    run.command(main)
