"""The report: text from outside stays text, findings are marked, nothing is fetched or run."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from compliance.rules.house_rules import load
from inhouse.records import Finding, Output
from review.report import compare, render_report, segments
from review.summary import HELD_OUT, summarise

ROOT = Path(__file__).parents[2]
ATTACK = "<script>alert('x')</script><img src=http://evil.example/x.png onerror=go()>\"'&amp;"


@pytest.fixture(scope="module")
def rules():
    return load(ROOT / "configs" / "house" / "asdfg.yaml")


def output(response: str = "Fine.", model: str = "sft", number: int = 1, spans=(), **changes):
    findings = [
        Finding(rule=rule, severity="major", start=a, end=b, text=response[a:b])
        for rule, a, b in spans
    ]
    return Output(
        **{
            "id": f"{model}{number}",
            "prompt": [{"role": "user", "content": f"question {number}"}],
            "model": {"name": model, "hash": "h"},
            "seed": 0,
            "response": response,
            "tokens": 4,
            "end_token": True,
            "findings": findings,
            "reward": {"learned": 0.25},
            "facts_ok": True,
            "kl_to_sft": 0.0,
            "metadata": {"facts": ["1%"]},
            **changes,
        }
    )


def page(rules, *outputs: Output, names=("sft",), note: str = "", campaign: str = "x") -> str:
    summary = {"temperature": 1.0} | summarise(list(outputs), list(names), rules)
    provenance = {
        "inputs": [{"name": "sft", "path": "runs/<x>/sft", "sha256": "0" * 64}],
        "rules": rules.hash,
        "note": note,
        "told": "",
        "opening": None,
    }
    return render_report(campaign, summary, list(outputs), rules, provenance)


class Elements(HTMLParser):
    """Every element with its attributes, and the text between them."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.said.append(data)


def test_what_models_and_customers_say_is_text(rules):
    plain = Elements(page(rules, output("Fine.")))
    attacked = page(
        rules,
        output(
            ATTACK,
            spans=[("PROM-01", 0, len(ATTACK))],
            prompt=[
                {"role": "system", "content": ATTACK},
                {"role": "user", "content": ATTACK},
            ],
            metadata={"facts": [ATTACK]},
            reward={ATTACK: 1.0},
        ),
        note=ATTACK,
        campaign=ATTACK,
    )
    found = Elements(attacked)
    assert not {"script", "img"} & {tag for tag, _ in found.found}
    assert not any(name.startswith("on") for _, attributes in found.found for name in attributes)
    # The same page otherwise: only elements that the template itself writes.
    assert {tag for tag, _ in found.found} <= {tag for tag, _ in plain.found} | {
        *("mark", "sup", "p", "details", "summary")
    }
    assert "".join(found.said).count(ATTACK) >= 4  # and nothing of it is lost


def test_a_title_made_of_rules_cannot_break_out_of_its_attribute(rules):
    # FEE-01's title holds double quotes.
    found = Elements(page(rules, output("It is free.", spans=[("FEE-01", 6, 10)])))
    (mark,) = [attributes for tag, attributes in found.found if tag == "mark"]
    assert mark.keys() == {"title"}
    assert mark["title"].startswith('FEE-01: "Free" needs the other charges.')


def test_nothing_is_fetched_and_nothing_is_run(rules):
    text = page(
        rules, output(model="base"), output(), output(model="dpo"), names=("base", "sft", "dpo")
    )
    for tag, attributes in Elements(text).found:
        assert tag not in ("script", "iframe", "object", "embed", "link", "img", "base", "form")
        for name in ("src", "href", "action", "data", "srcset", "xlink:href"):
            assert name not in attributes, (tag, attributes)
    assert "http://" not in text and "https://" not in text
    assert "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text  # and a browser holds it to that


def test_the_chart_is_inline_and_has_a_bar_for_each_rate(rules):
    outputs = [output(model=name) for name in ("base", "sft", "dpo")]
    found = Elements(page(rules, *outputs, names=("base", "sft", "dpo"))).found
    assert [tag for tag, _ in found].count("svg") == 1
    assert [tag for tag, _ in found].count("rect") == 3 * 4
    widths = [float(a["width"]) for tag, a in found if tag == "rect"]
    assert all(0 <= width <= 600 for width in widths)


def test_every_answer_stands_beside_the_others_to_its_prompt(rules):
    outputs = [
        output(f"{name} says {number}", name, number)
        for name in ("sft", "dpo")
        for number in (2, 1)
    ]
    rows = compare(outputs, HELD_OUT, ["sft", "dpo"], 0)
    assert [[o.response for o in row["answers"]] for row in rows] == [
        ["sft says 2", "dpo says 2"],
        ["sft says 1", "dpo says 1"],
    ]
    assert compare(outputs, HELD_OUT, ["dpo"], 0)[0]["answers"][0].model["name"] == "dpo"
    assert compare(outputs, HELD_OUT, ["sft"], 1) == []


# --- marks ------------------------------------------------------------------------------------


def test_an_answer_without_findings_is_one_piece():
    assert segments(output("Fine.")) == [("Fine.", [])]


def test_a_finding_is_cut_out():
    assert segments(output("It is free.", spans=[("F", 6, 10)])) == [
        ("It is ", []),
        ("free", ["F"]),
        (".", []),
    ]


def test_findings_that_overlap_are_both_named_where_they_do():
    # abcdefgh: one over b-e, another over d-g.
    found = segments(output("abcdefgh", spans=[("ONE", 1, 5), ("TWO", 3, 7)]))
    assert found == [
        ("a", []),
        ("bc", ["ONE"]),
        ("de", ["ONE", "TWO"]),
        ("fg", ["TWO"]),
        ("h", []),
    ]


def test_a_finding_within_another_and_one_over_all():
    found = segments(output("abcd", spans=[("ALL", 0, 4), ("IN", 1, 2)]))
    assert found == [("a", ["ALL"]), ("b", ["ALL", "IN"]), ("cd", ["ALL"])]


def test_two_findings_of_one_rule_at_one_place_name_it_once(rules):
    spans = [("PROM-01", 0, 5), ("PROM-01", 2, 5)]
    assert segments(output("abcdef", spans=spans)) == [
        ("ab", ["PROM-01"]),
        ("cde", ["PROM-01"]),
        ("f", []),
    ]


@pytest.mark.parametrize("spans", [[("A", 0, 0)], [("A", 3, 3), ("B", 1, 4)], [("A", 0, 0)] * 2])
def test_pieces_put_together_are_the_answer(spans):
    text = "ab😀\ncd"
    assert "".join(piece for piece, _ in segments(output(text, spans=spans))) == text


def test_an_empty_answer_that_breaks_a_rule_is_shown_as_such(rules):
    # A rule whose disclosure is always due marks the whole reply, which here is nothing.
    text = page(rules, output("", spans=[("TONE-03", 0, 0)]))
    said = " ".join("".join(Elements(text).said).split())
    answer = said[said.index("Side by side") :]
    assert "TONE-03" in answer and "an empty answer" in answer
    assert "Empty answersthey break hardly a rule, and help nobody1" in said


def test_an_answers_lines_stay_lines(rules):
    # Without it a list of five charges reads as one sentence.
    text = page(rules, output("One.\nTwo."))
    assert '<p class="answer">One.\nTwo.</p>' in text
    assert re.search(r"\.answer \{[^}]*white-space: pre-line", text)
