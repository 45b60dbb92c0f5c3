"""Write the held-out prompts, once: the files are frozen before anything is tuned.

    python -m examples.asdfg.freeze

Records in: none; ways of asking from `held_out/asking.yaml`, which nothing else reads. Out, in
`examples/asdfg/held_out/`: a thousand prompts each with unseen product names, with unseen ways of
asking, and with unseen pairs of product and intent; and 21 ways of asking for the firm's own story.
It refuses to overwrite; a test holds the files' SHA-256. No training code may read them.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from examples.asdfg import dialogues, facts, wordings
from examples.asdfg.dialogues import Source
from inhouse.errors import InputError
from inhouse.run import command
from inhouse.strict_yaml import load_yaml

HELD_OUT = Path(__file__).parent / "held_out"
SEED = 20261120
N_PROMPTS = 1000  # a slice


def slices() -> dict[str, Source]:
    """Say what each slice is drawn from: one thing in each is new to every model."""
    asking = wordings.read_asking(load_yaml(HELD_OUT / "asking.yaml"))
    return {
        "unseen_names": Source(names="held_out", catalogue=0.0, story=0.0),
        "unseen_phrasings": Source(asking=asking, today=True, story=0.0),
        "unseen_pairs": dialogues.with_pairs(Source(today=True), "held_out"),
    }


def draw(name: str, source: Source) -> Iterator[dict]:
    """Yield a slice's prompts, no two alike."""
    rng = random.Random(f"{name}-{SEED}")
    seen: set[str] = set()
    while len(seen) < N_PROMPTS:
        messages, ask = dialogues.prompt(rng, source)
        if json.dumps(messages) not in seen:
            seen.add(json.dumps(messages))
            metadata = {"topic": ask.intent, "facts": ask.facts, "slice": name}
            yield {"prompt": messages, "metadata": metadata}


def story(questions: list[str]) -> Iterator[dict]:
    """Yield the questions about the firm itself, under the plainest of system turns."""
    for question in questions:
        system = facts.INTRODUCTIONS[0][0].format(firm=facts.FIRM)
        turns = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        metadata = {"topic": "story", "facts": list(facts.FIRM_STORY), "slice": "story"}
        yield {"prompt": turns, "metadata": metadata}


def freeze(path: Path, records: Iterator[dict]) -> bool:
    """Write a file unless it is there; say whether it was written."""
    if path.exists():
        print(f"{path.name} is frozen and stays as it is", file=sys.stderr)
        return False
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    with path.open("x", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    print(f"wrote {path.name}: {len(lines)} prompts; it is frozen from now on")
    return True


def main() -> None:
    """Write what is not there yet.

    Raises:
        InputError: something was there.
    """
    drawn = slices()
    written = [freeze(HELD_OUT / f"{n}.jsonl", draw(n, source)) for n, source in drawn.items()]
    questions = drawn["unseen_phrasings"].asking.story
    written.append(freeze(HELD_OUT / "story.jsonl", story(questions)))
    if not all(written):
        raise InputError(f"{HELD_OUT} holds what is frozen: nothing is written over it")


if __name__ == "__main__":
    command(main)
