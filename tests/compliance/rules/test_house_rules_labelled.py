"""The finance rules on replies that were labelled without the patterns in view.

Recall is measured by benchmarks/house_rules.py; docs/decisions/0005-house-rules.md says how far it
is from what we want.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from compliance.rules import house_rules
from compliance.rules.figures import approved
from compliance.rules.house_rules import DEFAULT
from inhouse.records import Message

FILE = Path(__file__).parents[2] / "data" / "house_rules_labelled.jsonl"
SHA256 = "7bd4947f24ad7cb1f4d740ba187a8c7480ed85aa748066c8a0078b28658e9d7c"
RECORDS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
LATER = {
    "development": "526e1ed0b4d992dfc3f41cce4afd24ec5bd87499d3f7b51c166e67db94a7e4a3",
    "validation": "8815728ced3f255b5f1ca3ea1a50ee2ceaae2280316176533561f20726a2d79a",
    "development_2": "72e00a748a2523212998f0a92bfa7aa87eee3374b3cfa3971ccb2ae5595ea3db",
    "validation_2": "7ff9670bb0350233750fd2bc2c1c80f3eac29bd516ed5858dbb3625cc1814e67",
    "development_3": "6808675bfb640518a60a06e70536c933399c66dd2936dd8259e76f76e3440039",
    "development_4": "c272656f46290724259b7e82f23539f777bf3cc6f90860f1cb62eed0ba10bc8c",
    "validation_3": "f280ce7e0f4ece2215807797e614c81637a781111834223ab35c98df73d3a498",
}
OWN = FILE.with_name("house_rules_own_wording.jsonl")
TUNED_ON = ("development", "validation", "development_2", "development_3", "development_4")
RULES = house_rules.load(DEFAULT)
MACHINE = {rule.id: rule for rule in RULES.rules if rule.by_machine}


def rules_found(record: dict) -> set[str]:
    """The rules of which something is found in a labelled record."""
    prompt = [Message(role="user", content=record["prompt"])] if record["prompt"] else []
    found = RULES.check(
        prompt,
        record["response"],
        turn=record["turn"],
        jurisdiction=record["jurisdiction"],
        facts=frozenset(map(approved, record["facts"])),
    )
    return {finding.rule for finding in found}


@pytest.fixture(scope="module")
def counts() -> dict[str, Counter]:
    """True and false positives and false negatives by rule."""
    made = {"true": Counter(), "false": Counter(), "missed": Counter()}
    for record in RECORDS:
        found, broken = rules_found(record), set(record["violates"]) & MACHINE.keys()
        made["true"].update(found & broken)
        made["false"].update(found - broken)
        made["missed"].update(broken - found)
    return made


def test_the_labels_are_those_that_were_written_before_the_patterns_were_tuned():
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256


@pytest.mark.parametrize("name", LATER)
def test_the_later_files_are_as_their_writers_left_them(name):
    file = FILE.with_name(f"house_rules_{name}.jsonl")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == LATER[name]


def test_there_are_enough_records_and_half_of_them_near_misses():
    assert len(RECORDS) >= 600
    near = sum(not record["violates"] and bool(record["near_miss_of"]) for record in RECORDS)
    assert near >= 0.4 * len(RECORDS)


def test_pooled_recall_and_precision_of_the_whole_file(counts):
    """What the rules were asked for, on the file that was written for it.

    Half of the file was development data, so this says that nothing is lost, not what to expect of
    new wording: for that, see docs/decisions/0005-house-rules.md.
    """
    hit, false, missed = (counts[name].total() for name in ("true", "false", "missed"))
    assert hit / (hit + missed) >= 0.90
    assert hit / (hit + false) >= 0.90


@pytest.mark.parametrize(
    "rule", [rule.id for rule in MACHINE.values() if rule.severity == "blocker"]
)
def test_recall_of_each_blocker_rule_on_the_whole_file(counts, rule):
    """The same for each rule."""
    hit, missed = counts["true"][rule], counts["missed"][rule]
    assert hit + missed >= 30
    assert hit / (hit + missed) >= 0.85


def test_wording_that_the_patterns_were_developed_on_stays_found():
    # Labelled for one rule each. It guards the patterns, and says nothing of unseen wording.
    hit = missed = false = 0
    for line in OWN.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        (rule,) = record["violates"] or record["near_miss_of"]
        found = rule in rules_found(record)
        hit += found and bool(record["violates"])
        missed += not found and bool(record["violates"])
        false += found and not record["violates"]
    assert hit + missed >= 500
    assert hit / (hit + missed) >= 0.94
    assert hit / (hit + false) >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNED_ON)
def test_replies_that_the_patterns_were_tuned_on_stay_found(name):
    hit = missed = false = 0
    file = FILE.with_name(f"house_rules_{name}.jsonl")
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        found, broken = rules_found(record), set(record["violates"]) & MACHINE.keys()
        hit += len(found & broken)
        missed += len(broken - found)
        false += len(found - broken)
    assert hit / (hit + missed) >= 0.93
    assert hit / (hit + false) >= (0.95 if name == "development" else 0.92)
