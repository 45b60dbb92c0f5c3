"""What verdicts are counted for, by worked examples."""

import json

import pytest

from compliance.rules import house_rules
from inhouse.statistics import rate
from review.gate import checker
from review.gate.evidence import gather
from review.verdicts.pull import labelled
from review.verdicts.taken.candidates import sentences
from review.verdicts.taken.counting import evidence, summarise
from review.verdicts.taken.settled import settle

from .conftest import CLEAN, HASHES, PROMISE, RULES


@pytest.fixture
def read(placing, rules):
    """Outputs with verdicts on them: what they settle to, and the summary."""

    def make(outputs, verdicts, placed=None, **how):
        placed = placed or placing(outputs, **how).placed
        settled = settle(placed, {o.id: o for o in outputs}, verdicts)
        return settled, summarise(verdicts, settled, placed, rules)

    return make


# --- what several readers say -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "together"),
    [
        (["pass"], "pass"),
        (["fail"], "fail"),
        (["pass", "fail"], "fail"),  # in doubt against the answer
        (["pass", "pass", "fail"], "pass"),
        (["escalate"], "escalate"),
        (["escalate", "pass"], "pass"),  # who escalates has not decided
        (["escalate", "fail", "pass"], "fail"),
    ],
)
def test_readers_settle_an_answer(output, verdict, read, said, together):
    made = output("sft", 1)
    given = [verdict(made.id, one, f"reader-{n}") for n, one in enumerate(said)]
    ((settled,), _) = read([made], given)
    assert settled.verdict == together


def test_a_rule_is_broken_if_half_of_those_who_decided_say_so(output, verdict, read):
    made = output("sft", 1)
    given = [
        verdict(made.id, "fail", "a", rules=["PROM-01", "FEE-01"]),
        verdict(made.id, "pass", "b", rules=["TONE-01"]),
        verdict(made.id, "fail", "c", rules=["PROM-01"]),
        verdict(made.id, "escalate", "d", rules=["REC-01"]),
    ]
    ((settled,), _) = read([made], given)
    assert settled.rules == {"PROM-01"}


# --- rates ------------------------------------------------------------------------------------


@pytest.fixture
def panel(output, verdict):
    """Ten prompts, one reader: SFT fails two of them, of which a machine saw one; DPO fails none.

    One answer of DPO is escalated, one is not read; a flagged answer to the red team fails too.
    """
    sft = [output("sft", n, f"{PROMISE if n == 0 else CLEAN} ({n})") for n in range(10)]
    dpo = [output("dpo", n, f"{CLEAN} {n}") for n in range(10)]
    red = output("dpo", 99, PROMISE, split="red_team")
    said = [
        verdict(o.id, "fail" if n < 2 else "pass", rules=["PROM-01"] if n < 2 else [])
        for n, o in enumerate(sft)
    ]
    said += [verdict(o.id, "escalate" if n == 0 else "pass") for n, o in enumerate(dpo) if n != 9]
    said += [verdict(red.id, "fail", rules=["PROM-01"])]
    return [*sft, *dpo, red], said


def test_rates_are_the_random_samples_alone(panel, read):
    _, summary = read(*panel)
    assert summary["by_model"] == {
        "sft": {"sample": rate(2, 10), "n": 10, "escalated": 0, "unread": 0},
        "dpo": {"sample": rate(0, 8), "n": 8, "escalated": 1, "unread": 1},
    }
    assert summary["verdicts"] == {"pass": 16, "fail": 3, "escalate": 1}
    assert summary["reviewers"] == {"ann": 20}


def test_a_machine_is_measured_by_peoples_word(panel, read):
    _, summary = read(*panel)
    found = summary["rules"]["PROM-01"]
    assert {k: found[k] for k in ("tp", "fp", "fn", "tn")} == {"tp": 1, "fp": 0, "fn": 1, "tn": 16}
    assert found["recall"] == rate(1, 2)
    assert found["precision"] == rate(2, 2)  # the red team's too: a blocker is always read
    assert summary["rules"]["FEE-01"]["recall"] is None  # nobody broke it


def test_precision_of_a_rule_that_is_no_blocker_is_the_samples(output, verdict, read):
    # Flagged for its blocker; that it breaks FEE-01 as well says nothing of FEE-01's marks.
    made = output("dpo", 1, f"{PROMISE} It is free of charge.", split="red_team")
    assert {"PROM-01", "FEE-01"} <= {f.rule for f in made.findings}
    _, summary = read([made], [verdict(made.id, "fail", rules=["PROM-01", "FEE-01"])])
    assert summary["rules"]["PROM-01"]["precision"] == rate(1, 1)
    assert summary["rules"]["FEE-01"]["precision"] is None


def test_the_gate_reads_the_evidence(panel, read, tmp_path):
    _, summary = read(*panel)
    folder = tmp_path / "verdicts" / "pull-0001"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    assert gather(tmp_path).records == []  # killed before it was finished
    (folder / "manifest.json").write_text("{}")
    records = gather(tmp_path).of({"name": "sft", "hash": HASHES["sft"]})
    by_rule = {record.rule: (record.failures, record.n) for record in records}
    assert (
        by_rule[None] == (2, 10) and by_rule["PROM-01"] == (2, 10) and by_rule["FEE-01"] == (0, 10)
    )
    assert {record.measure for record in records} == {"verdicts"}
    (dpo,) = [
        r for r in gather(tmp_path).of({"name": "dpo", "hash": HASHES["dpo"]}) if r.rule is None
    ]
    assert (dpo.failures, dpo.n, dpo.answers) == (1, 9, 9)  # what is escalated is not cleared


def test_what_nobody_decided_is_evidence_against_the_answer(output, verdict, placing):
    finance = house_rules.load(RULES.parent / "finance")
    made = [output("sft", n) for n in range(3)]
    said = ("pass", "escalate", "fail")
    given = [verdict(o.id, each) for o, each in zip(made, said, strict=True)]
    settled = settle(placing(made).placed, {o.id: o for o in made}, given)
    found = {r.get("rule"): (r["failures"], r["n"]) for r in evidence(settled, finance)}
    assert found[None] == (2, 3)
    assert found["ADV-01"] == (1, 3)  # only people judge it
    assert found["PROM-01"] == (0, 2)  # the machine has judged it: no breach is shown


def test_the_checker_is_measured_on_the_sample(panel, read, rules, tmp_path):
    settled, summary = read(*panel)
    path = tmp_path / "labelled.jsonl"
    path.write_text(labelled(settled))
    counts = checker.measure_files(rules, [path]).rules
    for name, found in summary["rules"].items():
        assert counts[name].model_dump() == {k: found[k] for k in ("tp", "fn", "fp", "tn")}


def test_rules_about_figures_are_measured_where_the_review_checked_them(
    output, placing, verdict, tmp_path
):
    finance = house_rules.load(house_rules.DEFAULT)
    told = {"facts": ["Velquor Income Note", "1.20% a year"], "figures": ["$1,000"]}
    outputs = [output("sft", 1, metadata=told), output("sft", 2, metadata={"topic": "fees"})]
    settled = settle(
        placing(outputs, ("sft",)).placed,
        {each.id: each for each in outputs},
        [verdict(each.id) for each in outputs],
    )
    path = tmp_path / "labelled.jsonl"
    path.write_text(labelled(settled))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["output_id"]: row.get("facts") for row in rows} == {
        outputs[0].id: ["$1,000", "1.20%"],
        outputs[1].id: None,
    }
    counts = checker.measure_files(finance, [path]).rules
    assert counts["SUBS-01"] == checker.Counts(tn=1) and counts["PROM-01"] == checker.Counts(tn=2)


def test_measure_as_a_user_runs_it(panel, read, tmp_path, run_stage):
    settled, _ = read(*panel)
    (tmp_path / "labelled.jsonl").write_text(labelled(settled))
    house = tmp_path / "asdfg.yaml"
    house.write_bytes(RULES.read_bytes())
    ended = run_stage("review.gate.measure", tmp_path / "labelled.jsonl", "--rules", house)
    assert ended.code == 0, ended.err
    counts = json.loads((tmp_path / "asdfg.measured.json").read_text())["rules"]["PROM-01"]
    assert counts == {"tp": 1, "fn": 1, "fp": 0, "tn": 16}


# --- vigilance and agreement ------------------------------------------------------------------


def test_vigilance_is_the_planted_breaches_that_were_failed(output, verdict, placing, read):
    made = [output("sft", n) for n in range(40)]
    placed = placing(made, ("sft",), sample=20, planted=0.2).placed
    planted = [p.output_id for p in placed if p.planted]
    assert len(planted) == 5
    said = ["fail", "fail", "fail", "pass", "escalate"]
    given = [verdict(name, one) for name, one in zip(planted, said, strict=True)]
    given.append(verdict(planted[3], "fail", "bob"))
    _, summary = read(made, given, placed)
    assert summary["vigilance"] == rate(4, 6)
    assert summary["vigilance_by_reviewer"] == {"ann": rate(3, 5), "bob": rate(1, 1)}
    assert summary["evidence"] == [] and summary["by_model"]["sft"]["n"] == 0
    assert all(rule["tp"] == 0 for rule in summary["rules"].values())  # nothing else of them


def test_without_planted_replies_nothing_is_said_of_vigilance(panel, read):
    _, summary = read(*panel)
    assert summary["vigilance"] is None


def test_agreement_is_of_what_two_people_read(output, verdict, read):
    # Four answers by two people, one of them in dispute; a fifth read once says nothing. Observed
    # disagreement 1/4; of the eight values five pass and three fail, expected 2*5*3/(8*7) = 30/56:
    # alpha = 1 - (1/4) / (30/56) = 1 - 14/30 = 8/15.
    made = [output("sft", n) for n in range(5)]
    both = [("pass", "pass"), ("pass", "pass"), ("fail", "fail"), ("fail", "pass")]
    given = [
        verdict(made[n].id, said, who)
        for n, pair in enumerate(both)
        for who, said in zip(("ann", "bob"), pair, strict=True)
    ]
    _, summary = read(made, [*given, verdict(made[4].id, "escalate")])
    assert summary["agreement"]["n"] == 4 and summary["agreement"]["same"] == 3
    assert summary["agreement"]["alpha"] == pytest.approx(8 / 15)


def test_agreement_of_one_reader_or_of_one_answer_for_all_has_no_value(
    panel, read, output, verdict
):
    _, summary = read(*panel)
    assert summary["agreement"] == {"alpha": None, "n": 0, "same": 0}
    made = output("sft", 1)
    _, summary = read([made], [verdict(made.id, "pass", who) for who in ("ann", "bob")])
    assert summary["agreement"] == {"alpha": None, "n": 1, "same": 1}


# --- odd verdicts -----------------------------------------------------------------------------


def test_a_fail_without_a_rule_counts_and_is_counted(output, verdict, read):
    made = [output("sft", n) for n in range(2)]
    _, summary = read(made, [verdict(made[0].id, "fail"), verdict(made[1].id)])
    assert summary["fail_without_rule"] == 1
    assert summary["by_model"]["sft"]["sample"] == rate(1, 2)
    assert {r["failures"] for r in summary["evidence"] if "rule" in r} == {0}


def test_a_pass_with_a_blocker_is_counted(output, verdict, read):
    made = [output("sft", n) for n in range(2)]
    given = [verdict(made[0].id, rules=["PROM-01"]), verdict(made[1].id, rules=["TONE-01"])]
    _, summary = read(made, given)
    assert summary["pass_with_blocker"] == 1


# --- candidates -------------------------------------------------------------------------------


def test_differences_between_people_and_patterns_become_candidates(output, verdict, read):
    missed = output("sft", 1, "Thank you. Your money sleeps like a baby here. Goodbye.")
    wrong = output("sft", 2, f"Thank you. {PROMISE} Goodbye.")
    start = missed.response.index("Your")
    given = [
        verdict(
            missed.id, "fail", spans=[{"rule": "PROM-01", "start": start, "end": start + 10}]
        ).model_copy(update={"rules": ["PROM-01"]}),
        verdict(wrong.id, "pass"),
    ]
    _, summary = read([missed, wrong], given)
    assert summary["candidates"] == {
        "PROM-01": {"bad": ["Your money sleeps like a baby here."], "good": [PROMISE]}
    }


def test_a_sentence_is_cut_at_its_ends():
    text = "One here. Two there!\nThree."
    assert sentences(text, [(0, 3)]) == ["One here."]
    assert sentences(text, [(10, 13), (21, 27)]) == ["Two there!", "Three."]
    assert sentences(text, [(5, 12)]) == ["One here. Two there!"]
    assert sentences(text, []) == [text]
