"""Time a round of verdicts on the embedded Argilla: push, simulated reviewers, pull.

    python -m benchmarks.verdicts --answers 2000

A review is made up by the demonstration house's generator: two models, one that slips as staff do
and one that slips a fifth as often. Everything else is the suite's own commands, each a process of
its own with its imports in the figure; the server stands in a temporary folder. It also says how
far the reviewers' rates are from the slips that were put in.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compliance.rules import house_rules
from examples.asdfg import dialogues
from examples.asdfg.dialogues import Source
from examples.asdfg.wordings import SLIP_RATES
from inhouse.config import ROOT
from inhouse.files import describe_file, write_json
from inhouse.records import Message, Output, write
from review.summary import summarise

RULES = ROOT / "configs" / "house" / "asdfg.yaml"
MODELS = {"sft": 1.0, "dpo": 0.2}  # how often each slips, beside the staff


def make_review(campaign: Path, answers: int, seed: int = 0) -> None:
    """Write a review as `python -m review` would, of so many answers."""
    rules, rng = house_rules.load(RULES), random.Random(seed)
    outputs = []
    for number in range(answers // len(MODELS)):
        turns, ask = dialogues.prompt(rng, Source())
        prompt = [Message.model_validate(turn) for turn in turns]
        for name, share in MODELS.items():
            rates = {rule: rate * share for rule, rate in SLIP_RATES.items()}
            reply = dialogues.answer(rng, ask, rates)
            outputs.append(
                Output(
                    id=f"{name}-{number}",
                    prompt=prompt,
                    model={"name": name, "hash": name.ljust(12, "0")},
                    seed=0,
                    response=reply.text,
                    tokens=len(reply.text) // 4,
                    end_token=True,
                    findings=rules.check(prompt, reply.text),
                    reward={},
                    facts_ok=True,
                    metadata={"topic": "made up", "slips": sorted(reply.slips)},
                )
            )
    folder = campaign / "review"
    folder.mkdir(parents=True)
    write(folder / "outputs.jsonl", outputs)
    write_json(folder / "summary.json", summarise(outputs, list(MODELS), rules))
    files = [describe_file(folder / name, folder) for name in ("outputs.jsonl", "summary.json")]
    manifest = {"stage": "review", "outputs": files, "config": {"house_rules": str(RULES)}}
    write_json(folder / "manifest.json", manifest)


def timed(*words: str) -> float:
    """Run a command of the suite; its wall-clock seconds."""
    before = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - before
    print(f"$ python -m {' '.join(words)}\n{ended.stdout}{ended.stderr[-2000:]}", flush=True)
    assert ended.returncode == 0, ended.stderr
    return seconds


def main() -> None:
    """Make a review, push it, let the reviewers answer, pull; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=2000, help="Answers of the review.")
    parser.add_argument("--credentials", type=Path, help="Of a server that runs already.")
    words = parser.parse_args()
    for name in ("ARGILLA_API_URL", "ARGILLA_API_KEY"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="bench-verdicts-") as place:
        campaign, server = Path(place) / f"bench-{os.getpid()}", Path(place) / "argilla"
        make_review(campaign, words.answers)
        if not words.credentials:
            timed("labeling.server", "start", "--data_dir", str(server), "--port", "0")
        known = str(words.credentials or server / "credentials.json")
        where = ("--run_dir", str(campaign), "--credentials", known)
        everything = ("--sample", str(words.answers), "--planted", "0.05")
        try:
            seconds = {
                "push": timed("review.verdicts", "push", *where, *everything),
                "simulated reviewers": timed("examples.asdfg.reviewers", *where),
                "pull": timed("review.verdicts", "pull", *where),
            }
        finally:
            if not words.credentials:
                timed("labeling.server", "stop", "--data_dir", str(server))
    print(f"{words.answers} answers, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for what, took in seconds.items():
        print(f"{what:20} {took:6.1f} s")


if __name__ == "__main__":
    main()
