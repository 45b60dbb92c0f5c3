"""Reviewed campaigns: a large one that is generated, small ones answer by answer."""

import json
from pathlib import Path

import pytest

from benchmarks.made_campaign import make
from compliance.rules import house_rules
from inhouse.files import describe_file, write_json
from inhouse.records import Output, write
from review.report.campaign import read_campaign
from review.summary import summarise

RULES = Path(__file__).parents[3] / "configs" / "house" / "asdfg.yaml"


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A campaign of 360 answers with everything that a report may show."""
    return make(tmp_path_factory.mktemp("made") / "made", 360)


@pytest.fixture(scope="session")
def rules():
    return house_rules.load(RULES)


@pytest.fixture
def reviewed(tmp_path, rules):
    """Write a campaign in which the models answered so; returns its folder."""

    def write_it(*outputs: Output, name: str = "x", note: str = "", **more) -> Path:
        run_dir = tmp_path / name
        folder = run_dir / "review"
        write(folder / "outputs.jsonl", outputs)
        names = list(dict.fromkeys(o.model["name"] for o in outputs))
        summary = summarise(outputs, names, rules) | {"temperature": 1.0} | more
        write_json(folder / "summary.json", summary)
        files = [describe_file(folder / at, folder) for at in ("outputs.jsonl", "summary.json")]
        manifest = {
            "stage": "review",
            "created_at": "2026-11-30T09:00:00.000+00:00",
            "config": {"house_rules": str(RULES), "note": note},
            "inputs": [],
            "parents": [],
            "outputs": files,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return run_dir

    return write_it


@pytest.fixture
def read_it(reviewed):
    """The same campaign, read."""
    return lambda *outputs, **more: read_campaign(reviewed(*outputs, **more))
