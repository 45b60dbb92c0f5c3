"""The report in a real browser: it shows, it marks, and what a model said does not run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from compliance.rules import house_rules
from inhouse.records import Message, Output
from review.report import render_report
from review.summary import STORY, STORY_GREEDY, summarise

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
RULES = Path(__file__).parents[2] / "configs" / "house" / "asdfg.yaml"

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)


def output(
    name: str, response: str, rules: house_rules.HouseRules, split: str = "held_out"
) -> Output:
    prompt = [Message(role="user", content="What does the Velquor Note pay?")]
    return Output(
        id=f"{name}-{split}",
        prompt=prompt,
        model={"name": name, "hash": "0" * 12},
        seed=0,
        response=response,
        tokens=9,
        end_token=True,
        findings=rules.check(prompt, response),
        reward={},
        facts_ok=True,
        kl_to_sft=0.0,
        split=split,
        metadata={"facts": ["Velquor Note"]},
    )


def browse(page: Path, *arguments: str) -> str:
    """Chromium's DOM of a page, without a network and with a profile of its own."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={page.parent / 'profile'}", *arguments, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_report_marks_what_breaks_a_rule_and_runs_nothing_a_model_said(tmp_path):
    rules = house_rules.load(RULES)
    attack = "Thank you. <script>document.title='owned'</script><img src=x onerror=alert(1)>"
    outputs = [
        output("base", attack, rules),
        output("sft", "Thank you for asking. Your capital is guaranteed.", rules),
        output("dpo", "Thank you for asking. Your capital is at risk.", rules),
    ]
    for name in ("base", "sft", "dpo"):
        outputs += [
            output(name, f"We are {name}.", rules, split) for split in (STORY, STORY_GREEDY)
        ]
    summary = {"temperature": 1.0} | summarise(outputs, ["base", "sft", "dpo"], rules)
    page = tmp_path / "report.html"
    provenance = {"inputs": [], "note": "", "told": "", "opening": outputs[0].prompt}
    page.write_text(render_report("x", summary, outputs, rules, provenance))

    dom = browse(page, "--dump-dom")
    assert "<title>Review of x</title>" in dom
    assert "<script>" not in dom and "<img" not in dom
    assert "guaranteed<sup>PROM-01</sup></mark>" in dom
    assert dom.count("<mark") == 1
    assert dom.index("Before and after") < dom.index("We are sft.") < dom.index("In figures")

    picture = tmp_path / "report.png"
    browse(page, f"--screenshot={picture}", "--window-size=1200,1600")
    assert picture.stat().st_size > 20_000  # a blank page of this size is far smaller
