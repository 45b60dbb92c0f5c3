"""Write the held-out prompts, once: the file is frozen before anything is tuned.

    python -m examples.asdfg.freeze

Records in: none. Out: `examples/asdfg/held_out.jsonl` (prompts, names of the held-out split). It
refuses to overwrite; a test holds the file's SHA-256. No training code may read this file.
"""

import json
import random
import sys
from pathlib import Path

from examples.asdfg import dialogues

HELD_OUT = Path(__file__).parent / "held_out.jsonl"
SEED = 20261120
N_PROMPTS = 300


def lines() -> list[str]:
    """Generate the held-out prompts, one JSON object a line."""
    rng = random.Random(f"held-out-{SEED}")
    records = []
    for _ in range(N_PROMPTS):
        question = dialogues.ask(rng, "held_out")
        metadata = {"topic": question.intent, "facts": question.facts, "split": "unseen_names"}
        records.append({"prompt": question.prompt, "metadata": metadata})
    return [json.dumps(record, ensure_ascii=False) for record in records]


def main() -> int:
    """Write the file unless it is there; return the exit code."""
    try:
        with HELD_OUT.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines()) + "\n")
    except FileExistsError:
        print(f"{HELD_OUT.name} is frozen and stays as it is", file=sys.stderr)
        return 3
    print(f"wrote {HELD_OUT.name}: {N_PROMPTS} prompts; it is frozen from now on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
