"""The personal-data scan on sentences that were labelled without the detectors in view."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from compliance.privacy.names import Names
from compliance.privacy.scan import scan

DATA = Path(__file__).parents[2] / "data"
FILE, CUSTOMERS = DATA / "privacy_labelled.jsonl", DATA / "customers.txt"
SHA256 = {
    FILE: "9b22ac58584d3dab0ba21e095a0aae83a78254f8b7c6f8b97902da3e3b4b2564",
    CUSTOMERS: "688b156d3d2b15669cfc984a187690b01a39fa5e507340f8cc98ddd8a71582a7",
}
RECORDS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def overlaps(one: tuple[int, int, str], two: tuple[int, int, str]) -> bool:
    return one[0] < two[1] and two[0] < one[1] and one[2] == two[2]


@pytest.fixture(scope="module")
def counts() -> dict[str, Counter]:
    """By type: what was found, what was missed, and what was found and is none."""
    names = Names.read(CUSTOMERS)
    made = {"true": Counter(), "false": Counter(), "missed": Counter()}
    for record in RECORDS:
        found = [(e.start, e.end, e.type) for e in scan(record["text"], names)]
        wanted = [(e["start"], e["end"], e["type"]) for e in record["entities"]]
        for one in wanted:
            made["true" if any(overlaps(one, two) for two in found) else "missed"][one[2]] += 1
        made["false"].update(
            two[2] for two in found if not any(overlaps(one, two) for one in wanted)
        )
    return made


@pytest.mark.parametrize("path", SHA256, ids=lambda path: path.name)
def test_the_labels_are_those_that_were_written_before_the_detectors_were_tuned(path):
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[path]


def test_there_are_enough_sentences_with_and_without():
    assert len(RECORDS) >= 1200
    assert sum(not record["entities"] for record in RECORDS) >= 400


def test_recall_of_structured_kinds(counts):
    hit = counts["true"].total() - counts["true"]["PERSON"]
    missed = counts["missed"].total() - counts["missed"]["PERSON"]
    assert hit / (hit + missed) >= 0.99


def test_recall_of_listed_names(counts):
    hit, missed = counts["true"]["PERSON"], counts["missed"]["PERSON"]
    assert hit / (hit + missed) >= 0.95


def test_precision(counts):
    hit, false = counts["true"].total(), counts["false"].total()
    assert hit / (hit + false) >= 0.97
