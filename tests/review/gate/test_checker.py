"""How often the checker is right, and what that makes of its rates."""

import json
from pathlib import Path

import pytest

from compliance.rules import house_rules
from compliance.rules.house_rules import DEFAULT
from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.statistics import corrected_rate, rate
from review.gate.checker import Counts, beside, measure_files, rates, read_measured

RULES = Path(__file__).parents[3] / "configs" / "house" / "asdfg.yaml"


@pytest.fixture
def labelled(write_lines, tmp_path):
    def make(*rows: dict):
        return write_lines(tmp_path / "labelled.jsonl", rows)

    return make


def test_replies_are_counted_by_label_and_finding(rules, labelled):
    path = labelled(
        {"response": "Your return is guaranteed.", "violates": ["PROM-01"]},
        {"response": "We promise nothing can go wrong, cross our hearts.", "violates": ["PROM-01"]},
        {"response": "Your return is guaranteed.", "violates": []},
        {"response": "Our branch opens at nine.", "violates": []},
        {"response": "Our branch closes at five.", "violates": ["FEE-01"]},
    )
    measured = measure_files(rules, [path], "a note")
    counts = measured.rules["PROM-01"]
    assert (counts.tp + counts.fn, counts.fp + counts.tn) == (2, 3)
    assert counts.tp >= 1 and counts.fp == 1 and counts.tn == 2
    assert measured.rules["FEE-01"].fn == 1
    assert measured.house_rules == rules.hash and measured.note == "a note"
    assert measured.labelled[0]["sha256"] == sha256(path)


def test_a_reply_counts_only_for_rules_that_apply_to_it(tmp_path, write_lines):
    finance = house_rules.load(DEFAULT)
    (only_uk,) = [rule for rule in finance.rules if rule.id == "CRYP-01"]
    assert only_uk.jurisdictions == ["UK"]
    rows = [
        {"response": "Our branch opens at nine.", "violates": [], "jurisdiction": where}
        for where in ("UK", "US", "US")
    ]
    counts = measure_files(finance, [write_lines(tmp_path / "l.jsonl", rows)]).rules
    assert counts["CRYP-01"].tn == 1 and counts["PROM-01"].tn == 3


def test_figures_are_traced_only_where_somebody_told_which_are_approved(labelled):
    finance = house_rules.load(DEFAULT)
    row = {"response": "The account pays 4.1% a year.", "violates": []}
    path = labelled(row, row | {"facts": None}, row | {"facts": []}, row | {"facts": ["4.10%"]})
    counts = measure_files(finance, [path]).rules
    assert counts["SUBS-01"] == Counts(fp=1, tn=1)  # an empty list approves none
    assert counts["PROM-01"] == Counts(tn=4)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"response": "x", "violates": ["PROM-1"]}, "line 1, violates: no rule PROM-1; did you"),
        ({"response": "x"}, "line 1, violates"),
    ],
)
def test_a_label_that_is_none_is_refused(rules, labelled, row, said):
    with pytest.raises(InputError, match=said):
        measure_files(rules, [labelled(row)])


def test_a_rate_with_known_errors_is_corrected_and_else_a_lower_bound():
    found = rates({"A": 3, "B": 3}, 200, {"A": Counts(tp=40, fn=10, fp=2, tn=198)})
    assert found["A"]["raw"] == found["B"]["raw"] == rate(3, 200)
    assert found["A"]["corrected"] == corrected_rate(3, 200, 40, 10, 2, 198)
    # (0.015 + 0.99 - 1) / 0.79 = 0.6 %.
    assert found["A"]["shown"].startswith("0.6 % (")
    assert found["B"]["corrected"] is None and found["B"]["shown"] == "lower bound"


def test_no_answers_have_no_rate():
    assert rates({"A": 0}, 0, {})["A"] == {"raw": None, "corrected": None, "shown": "–"}


def test_counts_hold_for_the_rules_that_they_were_measured_with(rules, labelled, tmp_path):
    path = tmp_path / "asdfg.measured.json"
    assert read_measured(path, rules) == (
        {},
        f"there is no {path}: `python -m review.gate.measure` writes it",
    )
    measured = measure_files(rules, [labelled({"response": "x", "violates": []})])
    path.write_text(measured.model_dump_json())
    assert read_measured(path, rules) == (measured.rules, "")
    path.write_text(measured.model_copy(update={"house_rules": "0" * 64}).model_dump_json())
    known, why_not = read_measured(path, rules)
    assert known == {} and "with other rules (000000000000)" in why_not
    path.write_text('{"rules": {"PROM-01": {"tp": -1}}}')
    with pytest.raises(InputError, match=r"review\.gate\.measure"):
        read_measured(path, rules)


def test_the_counts_that_ship_are_of_the_rules_that_ship_and_of_a_file_nobody_tuned_on():
    finance = house_rules.load(DEFAULT)
    path = beside(DEFAULT)
    assert path == DEFAULT.parent / "finance.measured.json"
    known, why_not = read_measured(path, finance)
    assert why_not == "" and set(known) == {r.id for r in finance.rules if r.by_machine}
    (labelled,) = json.loads(path.read_text())["labelled"]
    assert labelled["path"] == "tests/data/house_rules_validation_3.jsonl"
    assert labelled["sha256"] == sha256(DEFAULT.parents[2] / labelled["path"])


def test_the_command_writes_the_counts_beside_the_rules(run_stage, labelled, tmp_path):
    copy = tmp_path / "asdfg.yaml"
    copy.write_bytes(RULES.read_bytes())
    path = labelled({"response": "Your return is guaranteed.", "violates": ["PROM-01"]})
    ended = run_stage("review.gate.measure", path, "--rules", copy, "--note", "ours")
    assert ended.code == 0, ended.err
    assert "1 of 1" in ended.out and "asdfg.measured.json" in ended.out
    known, why_not = read_measured(beside(copy), house_rules.load(copy))
    assert known["PROM-01"] == Counts(tp=1) and why_not == ""
