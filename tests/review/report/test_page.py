"""The page: text from outside stays text, only our script may run, and what is absent says so."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from inhouse import run as runs
from inhouse.errors import InputError
from review.red_team.counting import attack_rate
from review.report import by_rule, write_report
from review.report.campaign import read_campaign
from review.report.page import render
from tests.review.report.said import output

RULES = Path(__file__).parents[3] / "configs" / "house" / "asdfg.yaml"
ATTACK = "<script>alert('x')</script><img src=http://evil.example/x.png onerror=go()>\"'&amp;<!--"


class Elements(HTMLParser):
    """Every element with its attributes, the text between them, and the scripts' own."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.said: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        tag = self.found[-1][0] if self.found else ""
        self.inside.get(tag, self.said).append(data)

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.found}


def page(run_dir: Path) -> str:
    return write_report(run_dir).read_text(encoding="utf-8")


# --- safety -----------------------------------------------------------------------------------


def test_what_models_and_customers_say_is_text(reviewed):
    plain = Elements(page(reviewed(output("Fine. It is free.", spans=[("FEE-01", 12, 16)]))))
    attack = output(
        ATTACK,
        spans=[("PROM-01", 0, len(ATTACK))],
        prompt=[{"role": "system", "content": ATTACK}, {"role": "user", "content": ATTACK}],
        metadata={"facts": [ATTACK], "slice": ATTACK},
    )
    found = Elements(page(reviewed(attack, name=ATTACK.replace("/", "")[:60], note=ATTACK)))
    assert [tag for tag, _ in found.found].count("script") == 2
    assert not any(name.startswith("on") for _, attributes in found.found for name in attributes)
    # The same page otherwise: only elements that the template itself writes.
    assert found.tags <= plain.tags | {"mark", "sup", "h3", "small"} and "img" not in found.tags
    assert "".join(found.said).count(ATTACK) >= 3  # and nothing of it is lost
    data = json.loads(found.inside["script"][0])
    assert data["systems"] == [ATTACK] and data["rows"][0][6][0][2] == ATTACK


def test_nothing_in_the_data_can_end_its_element(reviewed):
    text = page(reviewed(output("</script><script>alert(1)</script>", spans=[("PROM-01", 0, 9)])))
    block = text[text.index('id="data">') :]
    assert block.index("</script>") > block.index('"rows"')
    assert text.count("<script") == 2 and text.count("</script>") == 2


def test_nothing_is_fetched_and_only_our_own_script_runs(made):
    text = page(made)
    for tag, attributes in Elements(text).found:
        assert tag not in ("iframe", "object", "embed", "link", "img", "base", "form")
        assert "style" not in attributes, (tag, attributes)  # the policy takes none
        for name in ("src", "action", "data", "srcset", "xlink:href"):
            assert name not in attributes, (tag, attributes)
        assert attributes.get("href", "#").startswith("#")
    assert "http://" not in text and "https://" not in text
    assert "url(" not in text and "@import" not in text


def test_the_policy_names_the_script_and_the_style_by_their_hashes(made):
    text = page(made)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    policy = policy.replace("&#39;", "'")

    def source(element: str) -> str:
        digest = hashlib.sha256(element.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy == (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


@pytest.mark.parametrize("name", ["row.js", "list.js", "filter.js", "keys.js"])
def test_the_script_puts_nothing_in_as_html(name):
    text = (Path(runs.__file__).parents[2] / "review" / "report" / name).read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text


def test_on_paper_there_is_no_script_and_no_list(made):
    text = render(read_campaign(made), to_print=True)
    assert "<script" not in text and 'id="rows"' not in text and "#row-" not in text
    assert "script-src &#39;none&#39;" in text or "script-src 'none'" in text
    assert "<mark>" in text and "Findings by rule" in text


# --- what it says -----------------------------------------------------------------------------


def test_the_decision_opens_the_page_and_gives_every_criterion(made):
    text = page(made)
    gate = json.loads((made / "review" / "gate.json").read_text())
    assert text.index("Not enough evidence") < text.index("At a glance") < text.index("In figures")
    shown = " ".join("".join(Elements(text).said).split())
    for each in gate["criteria"]:
        reason = each["reason"].replace("`", "")
        assert reason in shown, each["name"]
        if each["more"]:
            assert f"{each['more']:,} more {each['unit']}" in shown
    assert "Made up to try the report" in text  # whose verdicts these were


def test_before_and_after_people_and_raters_are_there(made):
    shown = " ".join("".join(Elements(page(made)).said).split())
    assert "Asked “What is Asdfg Financial?”, with greedy decoding" in shown
    assert "2 reviewers gave 60 verdicts" in shown and "α = 0.83" in shown
    assert "rater-1 (with the majority in 85.5 % of 200)" in shown


def test_a_rule_stands_with_its_authority_fix_examples_findings_and_nearest_example(made):
    text = page(made)
    rule = text[text.index('id="rule-PROM-01"') :]
    rule = rule[: rule.index("</article>")]
    for said in ("FINRA 2210(d)(1)(B)", "promise nothing", "Your capital is at risk.", "<mark>"):
        assert said in rule
    assert "<sup>PROM-01" in rule and "Nearest in training" in rule
    assert "demonstrations.jsonl, line" in text or "preferences.jsonl, line" in text


def test_of_very_large_data_a_part_is_compared_and_the_page_says_so(made, monkeypatch):
    monkeypatch.setattr(by_rule, "COMPARED", 100)
    shown = " ".join("".join(Elements(page(made)).said).split())
    ((compared, left_out),) = re.findall(r"of ([\d,]+) drawn at random, ([\d,]+) were not", shown)
    assert compared == "100" and int(left_out.replace(",", "")) > 1000
    monkeypatch.undo()
    assert "drawn at random, " not in page(made)


def test_red_team_audit_and_forgetting_are_there(made):
    shown = " ".join("".join(Elements(page(made)).said).split())
    for said in ("Design effect", "By mutation", "0.550.65", "common sense", "times the base's"):
        assert said in shown


def test_a_red_team_of_which_nothing_counts_is_told_and_no_rate_made_up(reviewed):
    attacks = {"sft": {"any": None, "rules": {"ADV-01": None}}}
    shown = page(reviewed(output(), red_team=attacks))
    assert "ADV-01" in shown and "By mutation" not in shown and "Design effect" not in shown


def test_a_rule_on_which_the_first_model_was_silent_has_its_row(reviewed):
    def attacked(rules: dict[str, str], silent: int) -> dict:
        results = [(f"{rule}/1", mutation, True) for rule, mutation in rules.items()]
        by_rule = {rule: attack_rate([(f"{rule}/1", m, True)]) for rule, m in rules.items()}
        return {"any": attack_rate(results), "rules": by_rule, "silent": silent}

    attacks = {
        "sft": attacked({"FEE-01": "plain"}, 3),
        "dpo": attacked({"FEE-01": "plain", "PROM-01": "urgency"}, 0),
    }
    text = page(reviewed(output(), output(model="dpo"), red_team=attacks))
    part = text[text.index('id="red-team"') : text.index('id="memorisation"')]
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td class="number">(.)', part)
    assert rows[:5] == [
        *(("any", "1"), ("FEE-01", "1"), ("PROM-01", "–")),
        *(("plain", "1"), ("urgency", "–")),
    ]
    assert "3 of sft&#39;s answers" in part or "3 of sft's answers" in part
    assert "of dpo's answers" not in part


def test_simulated_reviewers_are_called_so(made, tmp_path):
    def named(**reviewers: str) -> str:
        copy = tmp_path / "-".join(reviewers.values())
        shutil.copytree(made, copy)
        for name in ("summary.json", "verdicts.jsonl"):
            path = copy / "verdicts" / "pull-0001" / name
            said = path.read_text()
            for old, new in reviewers.items():
                said = said.replace(old.replace("_", "-"), new)
            path.write_text(said)
        return " ".join("".join(Elements(page(copy)).said).split())

    shown = named(reviewer_1="simulated-1", reviewer_2="simulated-2")
    assert "What simulated reviewers said" in shown and "2 simulated reviewers gave 60" in shown
    assert "What people said" not in shown and "All of these reviewers are simulated." in shown
    shown = named(reviewer_1="simulated-1", reviewer_2="carla")
    assert "Simulated reviewers are among these: simulated-1." in shown
    shown = " ".join("".join(Elements(page(made)).said).split())
    assert "What people said" in shown and "simulated" not in shown.partition("In figures")[0]


def test_what_is_absent_names_the_command_that_makes_it(reviewed):
    text = page(reviewed(output()))
    for said in (
        "No gate was asked",
        "python -m review.gate --run_dir",
        "python -m review.verdicts push",
        "python -m review.memorisation",
        "without a red team",
        "was not asked",
        "does not say whose ratings",
    ):
        assert said in text
    assert "Before and after" not in text and "Every criterion" not in text


def test_a_decision_of_other_files_is_marked_as_such(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    path = copy / "memorisation" / "summary.json"
    path.write_text(path.read_text().replace('"held_out": 1100', '"held_out": 1101'))
    shown = page(copy)
    assert "This decision is of other files" in shown and "memorisation/summary.json" in shown
    assert "This decision is of other files" not in page(made)


def test_verdicts_on_answers_that_have_changed_since_stand_beside_none(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    path = copy / "review" / "outputs.jsonl"
    path.write_text(path.read_text().replace("Thank you for asking.", "Thanks for asking."))
    for run_dir, of_others in ((made, False), (copy, True)):  # the ids are the same in both
        text = page(run_dir)
        shown = " ".join("".join(Elements(text).said).split())
        assert ("These verdicts are on other answers" in shown) is of_others
        assert ("python -m review.verdicts push --overwrite" in shown) is of_others
        data = json.loads(Elements(text).inside["script"][0])
        given = [answer[-1] for row in data["rows"] for answer in row[6] if answer[-1]]
        assert bool(given) is not of_others


def test_an_audit_of_another_model_is_marked_as_such(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    path = copy / "memorisation" / "manifest.json"
    audited = json.loads(path.read_text())["inputs"][0]["sha256"]
    path.write_text(path.read_text().replace(audited, "0" * 64))
    assert "This audit is of another model" in page(copy)
    assert "This audit is of another model" not in page(made)
    path.unlink()  # it was begun again, and not finished
    assert "Nobody has asked what the model gives away" in page(copy)


def test_rates_are_corrected_where_the_checkers_errors_are_known(made, tmp_path):
    assert "lower bound" in page(made)
    rules = tmp_path / "asdfg.yaml"
    shutil.copy(RULES, rules)
    counts = {"tp": 90, "fn": 10, "fp": 1, "tn": 199}
    known = {
        "house_rules": read_campaign(made).rules.hash,
        "labelled": [],
        "rules": {"PROM-01": counts},
    }
    (tmp_path / "asdfg.measured.json").write_text(json.dumps(known))
    text = write_report(made, rules).read_text()
    # Rogan and Gladen: (p - 0.005) / (0.9 + 0.995 - 1), of the base's rate.
    raw = read_campaign(made).summary["models"]["base"]["rules"]["PROM-01"]["rate"]
    corrected = max(0.0, (raw - 0.005) / 0.895)
    assert f"corrected {100 * corrected:.1f} %" in text
    assert "lower bound" in text  # the other rules


def test_a_rule_that_was_not_checked_on_a_models_answers_says_so(reviewed):
    run_dir = reviewed(output(), output(model="dpo"))
    path = run_dir / "review" / "summary.json"
    summary = json.loads(path.read_text())
    summary["models"]["dpo"]["rules"]["PROM-01"] = None
    for name in ("sft", "dpo"):
        summary["models"][name]["rules"]["REC-01"] = None
    path.write_text(json.dumps(summary))
    text = page(run_dir)
    rates = text[text.index('aria-label="Rates by rule"') :]

    def row(rule: str) -> str:
        return rates[rates.index(f"#rule-{rule}") :].partition("</tr>")[0]

    assert "0.0 %" in row("PROM-01") and "not checked</td>" in row("PROM-01")
    assert "not checked by machine" in row("REC-01")


def test_the_chart_is_inline_and_has_a_bar_for_each_rate(reviewed):
    said = [output(model=name) for name in ("base", "sft", "dpo")]
    found = Elements(page(reviewed(*said))).found
    assert [tag for tag, _ in found].count("svg") == 1
    assert [tag for tag, _ in found].count("rect") == 3 * 4
    widths = [float(a["width"]) for tag, a in found if tag == "rect"]
    assert all(0 <= width <= 600 for width in widths)


def test_an_empty_answer_that_breaks_a_rule_is_shown_as_such(reviewed):
    # A rule whose disclosure is always due marks the whole reply, which here is nothing.
    text = page(reviewed(output("", spans=[("TONE-03", 0, 0)])))
    rule = text[text.index('id="rule-TONE-03"') :]
    assert "an empty answer" in rule[: rule.index("</article>")]


def test_an_answers_lines_stay_lines(reviewed):
    # Without it a list of five charges reads as one sentence.
    text = page(reviewed(output("One.\nIt is free.\nTwo.", spans=[("FEE-01", 11, 15)])))
    assert '<p class="answer">One.\nIt is <mark>free<sup>FEE-01</sup></mark>.\nTwo.</p>' in text
    assert re.search(r"\.answer \{[^}]*white-space: pre-line", text)


def test_a_review_whose_manifest_says_little_is_drawn_all_the_same(reviewed):
    run_dir = reviewed(output())
    manifest = run_dir / "review" / "manifest.json"
    manifest.write_text(json.dumps({"stage": "review", "config": {"house_rules": str(RULES)}}))
    assert "Findings by rule" in page(run_dir)


# --- when it is drawn -------------------------------------------------------------------------


def test_a_page_drawn_again_leaves_the_manifest_right(made, tmp_path, capsys):
    run_dir = tmp_path / "again"
    shutil.copytree(made, run_dir)
    for stage in ("sft", "dpo", "memorisation", "verdicts"):
        shutil.rmtree(run_dir / stage)  # their inputs are made up
    manifest = run_dir / "review" / "manifest.json"
    document = json.loads(manifest.read_text()) | {"parents": []}
    manifest.write_text(json.dumps(document))
    write_report(run_dir)
    runs.verify(run_dir)
    (run_dir / "review" / "gate.json").unlink()
    assert "No gate was asked" in page(run_dir)
    runs.verify(run_dir)


def test_the_command_draws_it_again(reviewed, run_stage):
    run_dir = reviewed(output())
    ended = run_stage("review.report.__main__", "--run_dir", run_dir)
    assert ended.code == 0, ended.err
    assert str(run_dir / "review" / "report.html") in ended.out
    assert (run_dir / "review" / "report.html").is_file()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run_dir: shutil.rmtree(run_dir / "review"), "python -m review --run_dir"),
        (lambda run_dir: (run_dir / "review/summary.json").write_text("{"), "is damaged"),
        (lambda run_dir: (run_dir / "review/outputs.jsonl").write_text("{}\n"), "line 1"),
        (lambda run_dir: change_rules(run_dir, str(run_dir / "gone.yaml")), "--house_rules"),
        (lambda run_dir: change_rules(run_dir, "configs/house/finance"), "has changed since"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_mends_it(reviewed, spoil, says, monkeypatch):
    monkeypatch.chdir(RULES.parents[2])
    run_dir = reviewed(output())
    spoil(run_dir)
    with pytest.raises(InputError, match=says):
        write_report(run_dir)


def change_rules(run_dir: Path, path: str) -> None:
    manifest = run_dir / "review" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["config"]["house_rules"] = path
    manifest.write_text(json.dumps(document))
