"""A reviewed campaign, and what people said of it."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from compliance.rules import house_rules
from inhouse.files import describe_file, write_json
from inhouse.records import Output, Verdict, write
from review.summary import summarise
from review.verdicts.given.placing import Placing, place

ROOT = Path(__file__).parents[3]
RULES = ROOT / "configs" / "house" / "asdfg.yaml"
HASHES = {"base": "b" * 12, "sft": "5" * 12, "dpo": "d" * 12}
PROMISE = "We guarantee your money."  # a blocker, PROM-01
CLEAN = "Thank you for your question. The management fee is 1.20% a year."


@pytest.fixture(scope="session")
def rules():
    return house_rules.load(RULES)


@pytest.fixture(scope="session")
def output(rules):
    """An answer as the review has it, with what the rules find in it."""

    def make(model: str, number: int, response: str = CLEAN, **changes) -> Output:
        prompt = [{"role": "user", "content": f"Question {number}: what is the fee?"}]
        seed, split = changes.get("seed", 0), changes.get("split", "held_out")
        made = Output(
            **{
                "id": f"{model}-{number}-{seed}-{split}",
                "prompt": prompt,
                "model": {"name": model, "hash": HASHES[model]},
                "seed": 0,
                "response": response,
                "tokens": 4,
                "end_token": True,
                "findings": [],
                "reward": {},
                "facts_ok": True,
                "metadata": {"topic": "fees"},
                **changes,
            }
        )
        return made.model_copy(update={"findings": rules.check(made.prompt, made.response)})

    return make


@pytest.fixture
def campaign(rules, tmp_path):
    """Write a review of these outputs as `python -m review` would; returns the run folder."""

    def make(outputs: Sequence[Output]) -> Path:
        folder = tmp_path / "runs" / tmp_path.name / "review"
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "outputs.jsonl", outputs)
        names = list(dict.fromkeys(o.model["name"] for o in outputs))
        write_json(folder / "summary.json", summarise(outputs, names, rules))
        files = [describe_file(folder / name, folder) for name in ("outputs.jsonl", "summary.json")]
        manifest = {"stage": "review", "outputs": files, "config": {"house_rules": str(RULES)}}
        write_json(folder / "manifest.json", manifest)
        return folder.parent

    return make


@pytest.fixture(scope="session")
def placing(rules):
    """Place outputs, with nothing planted and nothing capped unless it is asked."""

    def make(outputs: Sequence[Output], models=("sft", "dpo"), **changes) -> Placing:
        how = {"sample": 1000, "flagged": 1000, "planted": 0.0, "seed": 0}
        return place(outputs, models, rules, **how | changes).named("once", "twice", 0)

    return make


@pytest.fixture(scope="session")
def verdict():
    """A reviewer's verdict on an output."""

    def make(output_id: str, said: str = "pass", reviewer: str = "ann", **changes) -> Verdict:
        at = "2026-12-01T00:00:00"
        given = {"output_id": output_id, "reviewer": reviewer, "submitted_at": at, **changes}
        return Verdict(verdict=said, **given)

    return make


# --- a real server ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def credentials(tmp_path_factory) -> Iterator[Path]:
    """Run an embedded server for the tests here; its credentials file."""
    folder = tmp_path_factory.mktemp("argilla") / "data"
    server, where = [sys.executable, "-m", "labeling.server"], ["--data_dir", str(folder)]
    subprocess.run([*server, "start", *where, "--port", "0"], check=True, cwd=ROOT)
    yield folder / "credentials.json"
    subprocess.run([*server, "stop", *where], check=True, cwd=ROOT)
