"""``python -m compliance.rules``: what it prints, how it ends, and every bad input."""

import json
import re
import subprocess
import sys
import time
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from compliance.rules import house_rules
from compliance.rules.__main__ import main
from inhouse.errors import GateError, InputError

ROOT = Path(__file__).parents[3]
HOUSE = ROOT / "configs" / "house"
FINANCE = house_rules.load(HOUSE / "finance")
RULE = """house: Test
rules:
  - id: R-1
    title: No promises
    severity: {severity}
    kind: existence
    authority: ["A 1"]
    match: ['{match}']
    fix: Promise nothing.
    bad: [It is guaranteed.]
    good: [It may fall.]
{more}"""


@pytest.fixture
def rules(tmp_path):
    def write(severity="blocker", match="guaranteed", more="", name="rules.yaml"):
        path = tmp_path / name
        path.write_text(RULE.format(severity=severity, match=match, more=more))
        return str(path)

    return write


@pytest.fixture
def run(run_main):
    """Run a command in this process: what it printed, and what it raised."""
    return partial(run_main, main)


def jsonl(path: Path, *records) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


# --- check ---------------------------------------------------------------------------------------


def test_json_is_one_line_a_record_with_exactly_these_keys(run, rules, tmp_path):
    file = jsonl(
        tmp_path / "r.jsonl",
        {"prompt": "q", "response": "It is gua\u200branteed."},
        {"prompt": [{"role": "user", "content": "q"}], "response": "Fine.", "turn": "later"},
    )
    printed, raised = run("check", file, "--rules", rules(), "--json")
    assert [json.loads(line) for line in printed.out.splitlines()] == [
        {
            "line": 1,
            "findings": [
                {
                    "rule": "R-1",
                    "severity": "blocker",
                    "start": 6,
                    "end": 17,
                    "text": "gua\u200branteed",
                }
            ],
        },
        {"line": 2, "findings": []},
    ]
    assert raised.exit_code == 2


def test_text_shows_span_rule_authority_severity_and_fix(run, rules, tmp_path):
    (tmp_path / "reply.txt").write_text("It is guaranteed.")
    printed, raised = run("check", tmp_path / "reply.txt", "--rules", rules())
    for said in ("6-16", "R-1", "A 1", "blocker", "Promise nothing."):
        assert said in printed.out
    assert raised.exit_code == 2


def test_only_a_blocker_is_a_gate(run, rules, tmp_path):
    (tmp_path / "reply.txt").write_text("It is guaranteed.")
    printed, raised = run("check", tmp_path / "reply.txt", "--rules", rules(severity="major"))
    assert raised is None and "1 major" in printed.err


def test_facts_turn_and_jurisdiction_come_with_the_record(run, tmp_path):
    file = jsonl(
        tmp_path / "r.jsonl",
        {"prompt": "", "response": "It pays 5.25%.", "jurisdiction": "US"},
        {"prompt": "", "response": "It pays 4.1%.", "jurisdiction": "US"},
        {"prompt": "", "response": "Good morning.", "turn": "first"},
        {"prompt": "", "response": "Good morning.", "turn": "later"},
        {"prompt": "", "response": "Start trading crypto today.", "jurisdiction": "UK"},
        {"prompt": "", "response": "You can trade crypto with us.", "jurisdiction": "US"},
    )
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps({"facts": [{"id": "a", "text": "Rate.", "figures": ["4.10%"]}]}))
    printed, _ = run("check", file, "--facts", facts, "--json")
    found = [{f["rule"] for f in json.loads(line)["findings"]} for line in printed.out.splitlines()]
    assert "SUBS-01" in found[0] and "SUBS-01" not in found[1]
    assert "AI-01" in found[2] and "AI-01" not in found[3]
    assert "CRYP-01" in found[4] and "CRYP-01" not in found[5]


def test_another_language_is_said(run, rules, tmp_path):
    text = "Vielen Dank für Ihre Anfrage, wir melden uns in den nächsten Tagen bei Ihnen."
    file = jsonl(tmp_path / "r.jsonl", {"response": text})
    printed, raised = run("check", file, "--rules", rules())
    assert "line 1: not in English" in printed.err and raised is None


def test_what_no_machine_checks_is_said(run, tmp_path):
    (tmp_path / "reply.txt").write_text("Thank you.")
    printed, _ = run("check", tmp_path / "reply.txt")
    assert "ADV-01: not checked by machine (judge)" in printed.err
    assert "SUBS-01: not checked: no approved figures" in printed.err


# --- the other verbs -----------------------------------------------------------------------------


def test_test_counts_examples(run, rules):
    printed, raised = run("test", "--rules", rules())
    assert "1 rules keep their 2 examples" in printed.out and raised is None


def test_a_rule_past_its_review_is_reported_and_stops_a_release(run, rules, tmp_path):
    path = rules(more="    review_by: 2020-01-01\n    owner: Ann\n")
    (tmp_path / "reply.txt").write_text("Thank you.")
    printed, raised = run("check", tmp_path / "reply.txt", "--rules", path)
    assert "R-1: was to be reviewed by 2020-01-01, owner Ann" in printed.err and raised is None
    printed, raised = run("test", "--rules", path)
    assert "1 rules keep their 2 examples" in printed.out and raised.exit_code == 2
    assert "R-1 was to be reviewed by 2020-01-01, owner Ann" in str(raised)
    loaded = house_rules.load(path)
    with pytest.raises(GateError, match="1 of 1 rules are past their review"):
        loaded.check_reviewed()
    loaded.check_reviewed(date(2020, 1, 1))  # the last day


def test_explain_tells_a_rule_in_words(run, rules):
    printed, _ = run("explain", "R-1", "--rules", rules())
    for said in ("No promises", "A 1", "Promise nothing.", "It is guaranteed.", "nobody yet"):
        assert said in printed.out
    _, raised = run("explain", "r-1", "--rules", rules())
    assert "no rule r-1; did you mean R-1?" in str(raised)


def test_diff_says_what_changed(run, rules):
    old, new = rules(name="old.yaml"), rules(severity="major", name="new.yaml")
    printed, _ = run("diff", old, new)
    assert "changed  R-1: severity" in printed.out and "blocker -> major" in printed.out
    printed, _ = run("diff", old, old)
    assert "no rule differs" in printed.out


def test_diff_shows_what_went_from_a_list_and_what_came(run, rules):
    old, new = Path(rules(name="old.yaml")), Path(rules(name="new.yaml"))
    # Two lines further down, which is no difference.
    text = new.read_text().replace("rules:", "\n\nrules:", 1)
    new.write_text(text.replace("bad: [It is guaranteed.]", "bad: [That is guaranteed.]"))
    printed, _ = run("diff", old, new)
    assert [line.strip() for line in printed.out.splitlines()] == [
        "changed  R-1: bad",
        "- bad: It is guaranteed.",
        "+ bad: That is guaranteed.",
    ]


def test_coverage_counts_records_that_touch_a_rule(run, rules, tmp_path):
    turn = {"role": "assistant", "content": "It is guaranteed."}
    file = jsonl(tmp_path / "d.jsonl", {"messages": [{"role": "user", "content": "q"}, turn]})
    _, raised = run("coverage", jsonl(tmp_path / "b.jsonl", {"messages": "a"}), "--rules", rules())
    assert "b.jsonl, line 1: no assistant's words" in str(raised)
    printed, _ = run("coverage", file, "--rules", rules())
    assert re.search(r"R-1\s+1\s+1\s+1", printed.out)
    printed, _ = run(
        "coverage", jsonl(tmp_path / "e.jsonl", {"response": "No."}), "--rules", rules()
    )
    assert "touched by no record" in printed.out


def test_guidelines_are_the_raters_page(run, rules):
    printed, _ = run("guidelines", "--rules", rules())
    assert printed.out.startswith("# How to compare two answers for Test")


@pytest.mark.parametrize("module", ["compliance.rules", "compliance.privacy"])
def test_help_is_quick_and_a_wrong_word_is_3(module):
    command = [sys.executable, "-m", module]
    seconds = []
    for _ in range(3):
        before = time.monotonic()
        ended = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True)
        seconds.append(time.monotonic() - before)
    assert ended.returncode == 0 and "VERB" in ended.stdout
    assert min(seconds) < 1
    wrong = subprocess.run([*command, "explode"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 3 and "Traceback" not in wrong.stderr


def test_exit_codes_of_the_command_itself(tmp_path, rules):
    (tmp_path / "reply.txt").write_text("It is guaranteed.")
    command = [sys.executable, "-m", "compliance.rules", "check"]
    for words, code in (
        ([tmp_path / "reply.txt", "--rules", rules()], 2),
        ([tmp_path / "reply.txt", "--rules", rules(severity="minor", name="m.yaml")], 0),
        ([tmp_path / "none.txt"], 3),
    ):
        ended = subprocess.run(
            [*command, *map(str, words)], cwd=ROOT, capture_output=True, text=True
        )
        assert ended.returncode == code, ended.stderr
        assert "Traceback" not in ended.stderr


# --- bad input -----------------------------------------------------------------------------------


def refusal(path) -> str:
    with pytest.raises(InputError) as raised:
        house_rules.load(path)
    return str(raised.value)


def test_a_pattern_that_re2_refuses(rules):
    assert "R-1, match: '(?=x)'" in refusal(rules(match="(?=x)"))


def test_a_rule_without_examples(rules, tmp_path):
    path = Path(rules())
    path.write_text(path.read_text().replace("    bad: [It is guaranteed.]\n", ""))
    assert re.search(r"line \d+, column \d+, .*bad.*R-1", refusal(path))


def test_a_yaml_bomb(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n")
    assert "line 2, column 8: aliases" in refusal(path)


def test_deep_nesting(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("house: " + "[" * 5000 + "]" * 5000)
    assert "line 1, column 27: nested deeper than 20" in refusal(path)


def test_a_huge_file(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_text("house: " + "x" * 3_000_000)
    assert "3,000,007 characters" in refusal(path)


def test_a_duplicate_key(rules):
    path = Path(rules(more="    severity: minor\n"))
    assert re.search(r"line \d+, column \d+.*duplicate", refusal(path))


def test_an_unknown_key_with_line_and_column(rules):
    assert re.search(
        r"line 13, column 5, rules.0.mach \(R-1\)", refusal(rules(more="\n    mach: [x]\n"))
    )


def test_yaml_1_1_words_stay_words(rules):
    loaded = house_rules.load(rules(more="    jurisdictions: [NO]\n"))
    assert loaded.rules[0].jurisdictions == ["NO"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    kind: metric\n", "duplicate"),
        ("    exempt: [whatever]\n", "exempt"),
        ("    also_when: [R-9]\n", "also_when names R-9"),
        ("    entities: [DNA]\n", "'DNA' is none of"),
        ("    within: 0\n", "within"),
        ("    review_by: soon\n", "review_by"),
    ],
)
def test_words_that_mean_nothing(rules, more, said):
    assert said in refusal(rules(more=more))


def test_a_list_that_is_not_there(rules):
    assert "R-1 names <nothing>" in refusal_of_lists(rules)


def refusal_of_lists(rules) -> str:
    path = Path(rules(match="<nothing>"))
    path.write_text(path.read_text().replace("rules:", "lists: {a: [b]}\nrules:", 1))
    return refusal(path)


def test_lists_are_put_into_patterns(rules):
    path = Path(rules(match="<sure>"))
    text = path.read_text().replace("rules:", "lists: {sure: [certain, guaranteed]}\nrules:", 1)
    path.write_text(text)
    found = house_rules.load(path).check([], "It is certain.")
    assert [finding.text for finding in found] == ["certain"]


def with_wordings(rules, more: str) -> Path:
    """A file whose one rule takes its patterns from below; ``more`` is what stands there."""
    path = Path(rules())
    lines = path.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("    match:"))
    path.write_text("\n".join([*lines[:at], *lines[at + 1 :], more]) + "\n")
    return path


def test_patterns_may_stand_apart_from_their_rule(rules):
    path = with_wordings(rules, "wordings:\n  R-1:\n    match: [\\bguaranteed\\b]")
    apart = house_rules.load(path)
    together = house_rules.load(rules(match=r"\bguaranteed\b", name="together.yaml"))
    assert [r.model_dump() for r in apart.rules] == [r.model_dump() for r in together.rules]
    found = apart.check([], "It is guaranteed.")
    assert [finding.text for finding in found] == ["guaranteed"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("wordings:\n  R-2:\n    match: [a]", "line 12: wordings of R-2, which is no rule of"),
        ("wordings:\n  R-1:\n    mach: [a]", "mach in the wordings of R-1 is none of match"),
        ("wordings:\n  R-1:\n    fix: Say less.", "fix in the wordings of R-1 is none of match"),
        ("wordings:\n  R-1: [a]", "expected keys like match:"),
        ("wordings: [a]", "line 11, wordings: expected rule ids"),
        ("wordings:\n  R-1:\n    match: [5]", "line 13, column 13, rules.0.match.0 (R-1)"),
        ("wording: {}", "there is no such key; did you mean wordings?"),
    ],
)
def test_wordings_that_belong_to_no_rule(rules, more, said):
    assert said in refusal(with_wordings(rules, more))


def test_patterns_that_stand_in_two_places(rules):
    path = Path(rules())
    path.write_text(path.read_text() + "wordings:\n  R-1:\n    match: [a]\n")
    assert "stands in the rule, too: keep it in one place" in refusal(path)


def test_invisible_and_look_alike_characters_do_not_hide_a_breach():
    for text in ("Your income is guаranteеd.", "Your income is gua\u200branteed."):
        found = [f for f in FINANCE.check([], text) if f.rule == "PROM-01"]
        assert found and all(f.text == text[f.start : f.end] for f in found)


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("We are open from 9am to 5pm, and a transfer costs $5.", ["$5"]),
        ("Thank you for your letter of 3 March about the 4% rate.", ["4%"]),
        ("The offer closes on 3 March.", ["3 March"]),
    ],
)
def test_opening_hours_and_dates_of_letters_need_no_source(text, figures):
    found = FINANCE.check([], text, turn="later", jurisdiction="US", facts=frozenset())
    assert [f.text for f in found if f.rule == "SUBS-01"] == figures


def test_a_reply_of_a_megabyte():
    text = "The fee is 1.20% a year and you may get back less. " * 20_000
    before = time.process_time()
    FINANCE.check([], text + "Your income is guaranteed.")
    assert time.process_time() - before < 10


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        (("severity:", "severty:"), "severty (R-1): there is no such key; did you mean severity?"),
        (("kind: existence", "kind: existance"), "did you mean existence?"),
        (("match: ['guaranteed']", "match: guaranteed"), "is no list: put it in brackets"),
        (("title: No promises", "title: 5"), "5 is no text: put it in quotes"),
        (("title: No promises", "title: No: promises"), "a text that holds ': ' needs quotes"),
        (("    title", "\ttitle"), "indent with blanks, not tabs"),
        (("    fix", "    review_by: 31/12/2026\n    fix"), "is no date: write year-month-day"),
        (("rules:", "rule:"), "did you mean rules?"),
        (("id: R-1", "id: R 1"), "'R 1' is no id"),
        (("'guaranteed'", "'(?<=x)g'"), "line 3: R-1, match: '(?<=x)g'"),
        (("It is guaranteed.", "It is sure."), "line 3: R-1 does not find its own bad example"),
    ],
)
def test_a_slip_is_told_with_its_line_and_what_to_write(rules, slip, said):
    path = Path(rules())
    path.write_text(path.read_text().replace(*slip, 1))
    message = refusal(path)
    assert said in message and re.search(r"rules\.yaml, line \d+", message)


@pytest.mark.parametrize("content", [b"", b"- a\n", RULE.encode("utf-16")])
def test_a_file_that_holds_no_rules(tmp_path, content):
    (tmp_path / "r.yaml").write_bytes(content)
    assert re.search(
        r"r\.yaml.*(?:expected the keys house: and rules:|save it as UTF-8)",
        refusal(tmp_path / "r.yaml"),
    )


def test_two_rules_of_one_name_are_told_with_the_line_of_the_second(rules):
    path = Path(rules())
    path.write_text(path.read_text() + path.read_text().split("rules:\n")[1])
    assert "line 12: R-1: two rules are called R-1" in refusal(path)


def test_byte_order_marks_and_carriage_returns_are_read(run, rules, tmp_path):
    record = json.dumps({"response": "It is guaranteed."}) + "\r\n"
    (tmp_path / "r.jsonl").write_bytes(b"\xef\xbb\xbf" + record.encode() * 2)
    path = Path(rules())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    printed, _ = run("check", tmp_path / "r.jsonl", "--rules", path, "--json")
    found = [json.loads(line)["findings"] for line in printed.out.splitlines()]
    assert [(f["start"], f["end"]) for (f,) in found] == [(6, 16)] * 2


@pytest.mark.parametrize("named", ["UK", "gb", "U.K.", "United Kingdom"])
def test_a_jurisdiction_is_known_by_its_usual_names(run, rules, tmp_path, named):
    file = jsonl(tmp_path / "r.jsonl", {"response": "It is guaranteed.", "jurisdiction": named})
    path = rules(more="    jurisdictions: [UK]\n")
    _, raised = run("check", file, "--rules", path)
    assert raised.exit_code == 2


def test_a_jurisdiction_that_no_rule_names_is_said(run, rules, tmp_path):
    file = jsonl(tmp_path / "r.jsonl", {"response": "It is guaranteed.", "jurisdiction": "Mars"})
    printed, raised = run("check", file, "--rules", rules(more="    jurisdictions: [UK, EU]\n"))
    assert "'Mars', which no rule names (they name EU, UK)" in printed.err and raised is None
    assert house_rules.jurisdictions_of("DE") == {"DE", "EU"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"prompt": "q"}\n', "line 1: field 'response'"),
        ('{"respons": "a"}\n', "line 1: unknown key 'respons'; did you mean response?"),
        ('{"response": "a", "jurisdicton": "UK"}\n', "did you mean jurisdiction?"),
        ('{"response": "a", "response": "b"}\n', "line 1: the key 'response' stands there twice"),
        ('{"response": "a \\ud800"}\n', "line 1: half a character"),
        ('{"response": ' + "[" * 100_000 + "\n", "line 1: nested too deep"),
        ('{"response": "a"}\n{"response": 5}\n', "line 2: field 'response'"),
        ('{"response": "a"}\n{"response"\n', "line 2: not JSON"),
        ("[1]\n", "line 1: expected a JSON object"),
        ('{"response": "a", "turn": "third"}\n', "line 1: field 'turn'"),
        ("\n", "holds no record"),
    ],
)
def test_bad_records_name_file_and_line(run, rules, tmp_path, content, said):
    (tmp_path / "r.jsonl").write_text(content)
    _, raised = run("check", tmp_path / "r.jsonl", "--rules", rules())
    assert said in str(raised) and "r.jsonl" in str(raised) and raised.exit_code == 3


def test_bad_facts(run, rules, tmp_path):
    file = jsonl(tmp_path / "r.jsonl", {"response": "a"})
    (tmp_path / "f.json").write_text('{"figures": []}')
    _, raised = run("check", file, "--facts", tmp_path / "f.json", "--rules", rules())
    assert "f.json: field 'facts'" in str(raised)


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        ("", "f.json, line 1: not JSON"),
        ('[{"id": "a"}]', "found a list"),
        ('{"facts": [{"id": "a", "figure": ["4%"]}]}', "fact 1: unknown key 'figure'; did you"),
        ('{"facts": [{"id": "a", "figures": ["some"]}]}', "'some' of a is no figure"),
        ('{"facts": [{"id": "a"}]}', "a has neither text nor figures"),
        ('{"facts": [{"id": "a", "text": "4%"}, {"id": "a", "text": "5%"}]}', "two facts are"),
    ],
)
def test_a_fact_sheet_that_would_approve_nothing_is_refused(run, rules, tmp_path, sheet, said):
    file = jsonl(tmp_path / "r.jsonl", {"response": "a"})
    (tmp_path / "f.json").write_text(sheet)
    _, raised = run("check", file, "--facts", tmp_path / "f.json", "--rules", rules())
    assert said in str(raised) and raised.exit_code == 3


# --- the files that are shipped -------------------------------------------------------------------


NOTE = """
PROM-01 PROM-02 PROJ-01 PERF-01 PERF-02 PERF-03 BAL-01 CRYP-01 REC-01 TEST-01 RANK-01
SUBS-01 FEE-01 FDIC-01 REG-01 PRES-01 UDAP-01 FAIR-01 ADV-01 APR-01 PII-01 PII-02 MNPI-01
COMP-01 VULN-01 TAX-01 AI-01 AI-02 SRC-01
"""


def test_finance_has_the_29_rules_and_26_are_checked_by_machine():
    assert {rule.id for rule in FINANCE.rules} == set(NOTE.split())
    assert sum(rule.by_machine for rule in FINANCE.rules) == 26


@pytest.mark.parametrize("rule", FINANCE.rules, ids=lambda rule: rule.id)
def test_every_finance_rule_is_a_template_with_examples_both_ways(rule):
    assert rule.status == "template" and rule.approved_by == []
    assert len(rule.bad) >= 5 and len(rule.good) >= 5
    assert rule.authority and rule.review_by and rule.owner


def test_tone_rules_are_minor_or_advisory():
    tone = house_rules.load(HOUSE / "tone.yaml")
    assert {rule.group for rule in tone.rules} == {"tone"}
    assert {rule.severity for rule in tone.rules} <= {"minor", "advisory"}


def test_the_search_for_all_patterns_at_once_finds_what_each_finds():
    from compliance.rules.clauses import Text

    for rule in FINANCE.rules:
        for example in [*rule.bad, *rule.good]:
            text = Text(house_rules.shown(example))
            names = FINANCE._awake(text)
            found = {finding.rule for finding in FINANCE.check([], text.written)}
            assert found <= names
            if house_rules.check_example(FINANCE, rule, example):
                assert rule.id in names


def test_speed_29_rules_over_1000_replies_of_100_words():
    sentence = "The fee is 1.20% a year, and the value of shares can fall as well as rise. "
    texts = [sentence * 6 + f"Reply {number}." for number in range(1000)]
    FINANCE.check([], texts[0])
    seconds = []
    for _ in range(3):
        before = time.process_time()
        for text in texts:
            FINANCE.check([], text)
        seconds.append(time.process_time() - before)
    assert min(seconds) <= 0.5, seconds
