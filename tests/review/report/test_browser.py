"""The page in a real browser: it opens, filters, takes keys, and runs nothing that a model said."""

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from review.report import write_report
from tests import chromium
from tests.review.report.said import output

pytestmark = chromium.NEEDED
HOSTILE = (
    "Thank you. </script><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\"> It is free. 😀 &lt;b&gt;"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.launched() as running:
        yield running


@pytest.fixture
def open_page(browser):
    """Open a page; whatever it asks for beside itself, or complains about, is a failure."""
    opened = []

    def open_it(path: Path, **options) -> Any:
        page = browser.new_page(viewport={"width": 1200, "height": 900}, **options)
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        opened.append((page, asked, said, path))
        return page

    yield open_it
    for page, asked, said, path in opened:
        page.close()
        assert [url.partition("#")[0] for url in asked] == [path.as_uri()] and said == []


@pytest.fixture(scope="module")
def report(made) -> Path:
    return write_report(made)


def count(page: Any) -> list[int]:
    """The numbers of "5 of 120 questions, 7 answers"."""
    words = page.locator("#count").inner_text().replace(",", "").split()
    return [int(word) for word in words if word.isdigit()]


def current(page: Any) -> int:
    """The number of the row that has the focus."""
    return int(page.evaluate("document.activeElement.id").removeprefix("row-"))


def test_what_a_model_said_is_shown_and_not_run(reviewed, open_page):
    said = output(
        HOSTILE,
        spans=[("FEE-01", HOSTILE.index("It is free"), HOSTILE.index("It is free") + 10)],
        prompt=[{"role": "system", "content": HOSTILE}, {"role": "user", "content": HOSTILE}],
        metadata={"facts": [HOSTILE], "slice": HOSTILE},
    )
    page = open_page(write_report(reviewed(said)))
    page.wait_for_selector(".row")
    assert page.title() == "Review of x"
    assert page.locator("#rows img").count() == 0 and page.locator("main script").count() == 0
    assert page.locator("#rows .said .answer").inner_text() == HOSTILE.replace(
        "It is free", "It is freeFEE-01"
    )
    assert page.locator("#rows mark").inner_text() == "It is freeFEE-01"


def test_marks_stand_where_they_stand_in_the_text_behind_an_emoji(reviewed, open_page):
    page = open_page(write_report(reviewed(output("😀😀 so free", spans=[("FEE-01", 6, 10)]))))
    assert page.locator("#rows mark").inner_text() == "freeFEE-01"


def test_a_finding_of_the_whole_answer_does_not_hide_the_others(reviewed, open_page):
    said = output("It is free.", spans=[("TONE-03", 0, 11), ("FEE-01", 6, 10)])
    page = open_page(write_report(reviewed(said)))
    for place in ("#rows .answer", "#rule-TONE-03 .answer"):
        assert page.locator(f"{place} mark").all_inner_texts() == ["freeFEE-01"]
    assert "of the whole answer: TONE-03" in page.locator("#rule-TONE-03 .where").inner_text()
    assert "(advisory, of the whole answer)" in page.locator("#rows li").first.inner_text()


def test_only_what_is_in_view_is_in_the_page_and_scrolling_shows_the_rest(report, open_page):
    page = open_page(report)
    rows = count(page)[1]
    assert 0 < page.locator(".row").count() < rows / 2
    page.evaluate("scrollTo(0, document.getElementById('provenance').offsetTop - 900)")
    page.wait_for_selector(f"#row-{rows - 1}")
    assert page.locator(".row").count() < rows / 2
    # One below the other, without a gap and without an overlap.
    tops = page.evaluate(
        "[...document.querySelectorAll('.row')].map(row => row.getBoundingClientRect())"
        ".map(box => [Math.round(box.top), Math.round(box.bottom)])"
    )
    assert all(abs(below[0] - above[1]) <= 2 for above, below in pairwise(tops))


def test_filters_show_the_rows_with_such_an_answer(report, open_page):
    page = open_page(report)
    data = json.loads(page.locator("#data").text_content())
    answers = [(row, answer) for row in data["rows"] for answer in row[6]]
    rule = next(at for at, known in enumerate(data["rules"]) if known[0] == "PROM-01")

    def broken(answer) -> bool:
        return any(found[0] == rule for found in answer[4])

    assert count(page) == [len(data["rows"]), len(data["rows"]), len(answers)]
    page.select_option("#rule", str(rule))
    assert count(page)[2] == sum(broken(answer) for _, answer in answers) > 0
    page.select_option("#model", "0")
    assert count(page)[2] == sum(broken(a) and a[0] == 0 for _, a in answers)
    page.select_option("#part", "held_out")
    expected = sum(broken(a) and a[0] == 0 and row[0] == "held_out" for row, a in answers)
    assert count(page)[2] == expected > 0
    page.click("#clear")
    page.select_option("#verdict", "fail")
    given = sum(any(v[1] == "fail" for v in a[6]) for _, a in answers)
    assert count(page)[2] == given > 0
    page.click("#clear")
    page.select_option("#part", "red_team/plain")
    plain = [row for row in data["rows"] if row[0] == "red_team" and row[1] == "plain"]
    assert count(page)[0] == len(plain) > 0


def test_the_filter_tells_simulated_reviewers_from_people(made, open_page, tmp_path):
    for names, who in (
        ((), "a person: fail"),
        (("reviewer-1",), "a person or a simulated reviewer: fail"),
        (("reviewer-1", "reviewer-2"), "a simulated reviewer: fail"),
    ):
        copy = tmp_path / str(len(names))
        shutil.copytree(made, copy)
        for path in (copy / "verdicts" / "pull-0001").glob("*s*.json*"):
            said = path.read_text()
            for name in names:
                said = said.replace(name, f"simulated-{name}")
            path.write_text(said)
        page = open_page(write_report(copy))
        assert page.locator("#verdict option[value=fail]").inner_text() == who


def test_words_are_searched_in_questions_and_answers(report, open_page):
    page = open_page(report)
    page.fill("#text", "ASDFG FINANCIAL IS A BANK")
    chromium.expect(page.locator("#count")).not_to_contain_text("120 of 120")
    rows, _, answers = count(page)
    assert 0 < rows < 30 and answers >= rows
    page.fill("#text", "words that nobody said")
    chromium.expect(page.locator("#count")).to_contain_text("0 of 120 questions, 0 answers")
    assert page.locator(".row").count() == 0
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    assert count(page)[0] == count(page)[1] and page.input_value("#text") == ""


def test_keys_go_from_row_to_row_and_to_the_next_finding(report, open_page):
    page = open_page(report)
    data = json.loads(page.locator("#data").text_content())
    hits = [at for at, row in enumerate(data["rows"]) if any(answer[4] for answer in row[6])]
    page.keyboard.press("j")
    assert current(page) == 0
    for _ in range(40):
        page.keyboard.press("j")
    assert current(page) == 40
    box = page.locator("#row-40").bounding_box()
    assert 0 <= box["y"] < 400  # in view, below the filters
    page.keyboard.press("k")
    assert current(page) == 39
    page.keyboard.press("f")
    assert current(page) == next(at for at in hits if at > 39)
    page.keyboard.press("F")
    assert current(page) == max(at for at in hits if at <= 39 or at < current(page))
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("jk?")  # typed, and no key of ours
    assert page.input_value("#text") == "jk?" and not page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()


def test_tab_reaches_the_filters_and_the_rows_in_order(report, open_page):
    page = open_page(report)
    page.focus("#text")
    order = []
    for _ in range(9):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert order[:6] == ["rule", "model", "part", "verdict", "clear", "keys"]
    assert order[6] == "row-0"
    outline = page.evaluate(
        "document.getElementById('row-0').focus(), "
        "getComputedStyle(document.querySelector('#row-0 > div')).outlineStyle"
    )
    assert outline == "solid"


def test_a_findings_link_leads_to_its_row(report, open_page):
    page = open_page(report)
    link = page.locator("a[href^='#row-']").first
    row = link.get_attribute("href").removeprefix("#")
    page.select_option("#part", "story")  # which does not let it through
    link.click()
    chromium.expect(page.locator(f"#{row}")).to_be_focused()
    page.locator("a[data-rule]").first.click()
    assert 0 < count(page)[0] < count(page)[1]


def test_on_a_narrow_screen_nothing_is_wider_than_it(report, open_page):
    page = open_page(report)
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_timeout(300)  # the rows are drawn again at the next frame
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    one, other = (page.locator("#row-0 .said > section").nth(at).bounding_box() for at in (0, 1))
    assert other["y"] >= one["y"] + one["height"] - 1  # one below the other


def test_what_is_folded_is_printed(report, open_page):
    page = open_page(report)
    assert page.locator("#criteria ~ details:not([open])").count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#criteria ~ details:not([open])").count() == 0
    assert page.locator("#rows details[open]").count() == 0


def test_without_a_script_the_first_page_and_the_findings_are_there(report, browser):
    page = browser.new_page(java_script_enabled=False)
    page.goto(report.as_uri())
    assert page.get_by_role("heading", name="Not enough evidence").is_visible()
    assert page.locator(".findings mark").first.is_visible()
    assert page.locator("section[aria-labelledby=rules] table").is_visible()
    assert page.get_by_text("which the browser does not run").is_visible()
    page.close()
