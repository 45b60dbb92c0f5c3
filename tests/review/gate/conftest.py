"""A reviewed campaign, made from what each model is to have answered."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from compliance.rules import house_rules
from inhouse.files import describe_file, write_json
from inhouse.records import Finding, Output
from review.summary import summarise

RULES = Path(__file__).parents[3] / "configs" / "house" / "asdfg.yaml"
HASHES = {"base": "b" * 12, "sft": "5" * 12, "dpo": "d" * 12, "ppo": "9" * 12}
Says = Callable[[int, int], dict]


def output(model: str, number: int, seed: int = 0, broken: str = "", **changes) -> Output:
    """An answer; ``broken`` names the rules that it breaks."""
    findings = [
        Finding(rule=rule, severity="major", start=0, end=1, text="A") for rule in broken.split()
    ]
    return Output(
        **{
            "id": f"{model}-{number}-{seed}",
            "prompt": [{"role": "user", "content": f"question {number}"}],
            "model": {"name": model, "hash": HASHES[model]},
            "seed": seed,
            "response": "Answer.",
            "tokens": 4,
            "end_token": True,
            "findings": findings,
            "reward": {},
            "facts_ok": True,
            "metadata": {"facts": ["1%"]},
            **changes,
        }
    )


@pytest.fixture(scope="session")
def rules():
    return house_rules.load(RULES)


@pytest.fixture
def campaign(rules, write_lines, tmp_path):
    """Make a campaign in which the models answered; ``says[model](number, seed)`` is what changes.

    ``add(name, *records)`` puts evidence beside it, ``limits(text)`` writes a gate.yaml.
    """

    def make(says: dict[str, Says], prompts: int, seeds=(0, 1)) -> SimpleNamespace:
        run_dir = tmp_path / "x"
        folder = run_dir / "review"
        outputs = [
            output(name, number, seed, **say(number, seed))
            for name, say in says.items()
            for seed in seeds
            for number in range(prompts)
        ]
        write_lines(folder / "outputs.jsonl", [each.model_dump(mode="json") for each in outputs])
        summary = summarise(outputs, list(says), rules) | {"temperature": 1.0}
        write_json(folder / "summary.json", summary)
        write_manifest(folder)

        def limits(text: str) -> Path:
            path = tmp_path / "gate.yaml"
            path.write_text(text, encoding="utf-8")
            return path

        def add(name: str, *records: dict) -> Path:
            path = folder / name
            write_json(path, {"evidence": list(records)})
            return path

        return SimpleNamespace(run_dir=run_dir, folder=folder, limits=limits, add=add)

    return make


def write_manifest(folder: Path) -> None:
    """As the review's own: what it wrote, and by which rules."""
    files = [describe_file(folder / name, folder) for name in ("outputs.jsonl", "summary.json")]
    manifest = {"stage": "review", "outputs": files, "config": {"house_rules": str(RULES)}}
    manifest |= {"created_at": "2026-11-30T09:00:00.000+00:00", "inputs": [], "parents": []}
    (folder / "manifest.json").write_text(json.dumps(manifest))
