"""The page that raters see, in a real browser: Debian's Chromium, driven by Playwright."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import chromium

TIMEOUT = 15_000  # milliseconds, for a step on a busy machine
pytestmark = chromium.NEEDED

HTML = (
    "<script>window.top.document.title = 'owned'</script>"
    "<img src=x onerror=\"window.top.document.title = 'owned'\">"
    "<img src='http://192.0.2.1/seen.png'><b>bold words</b>"
)
LONG = "beginning " + "word " * 200_000 + "unfindable end"  # 1 MB


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.launched() as running:
        yield running


@pytest.fixture(scope="module")
def dataset(server, make_client) -> Any:
    """Twelve records with every kind of question, for one rater."""
    import argilla as rg

    make_client(server)  # without any the SDK makes no settings
    settings = rg.Settings(
        guidelines="Choose the better answer.",
        fields=[rg.ChatField(name="prompt"), rg.TextField(name="answer")],
        questions=[
            rg.LabelQuestion(name="preferred", labels=["a", "b", "tie"]),
            rg.MultiLabelQuestion(name="violations", labels=["tone", "promise"], required=False),
            rg.RatingQuestion(name="score", values=[1, 2, 3, 4, 5], required=False),
            rg.RankingQuestion(name="order", values=["first", "second"], required=False),
            rg.SpanQuestion(name="marks", field="answer", labels=["claim"], required=False),
            rg.TextQuestion(name="comment", required=False),
        ],
        metadata=[rg.TermsMetadataProperty(name="topic"), rg.IntegerMetadataProperty("length")],
        vectors=[rg.VectorField(name="embedding", dimensions=2)],
        distribution=rg.TaskDistribution(min_submitted=2),
    )
    return publish(server, make_client, "page", settings, map(record, range(12)))


def publish(
    server: Any, make_client: Any, name: str, settings: Any, records: Iterable[dict[str, Any]]
) -> Any:
    import argilla as rg

    server.add_user("anna", "house")
    client, workspace = make_client(server)
    made = rg.Dataset(name=name, workspace=workspace, client=client, settings=settings).create()
    made.records.log([rg.Record(**each) for each in records])
    return made


def record(number: int) -> dict[str, Any]:
    return {
        "id": f"pair-{number}",
        "fields": {
            "prompt": [{"role": "user", "content": f"Question {number}"}],
            "answer": f"Answer number {number} about refunds",
        },
        "metadata": {"topic": ["refund", "loan"][number % 2], "length": number},
        "vectors": {"embedding": [1.0, number / 10]},
    }


@pytest.fixture(scope="module")
def hostile(server, make_client) -> str:
    """A data set with HTML and scripts in every field of one record, and another of a megabyte."""
    import argilla as rg

    settings = rg.Settings(
        fields=[
            rg.ChatField(name="prompt"),
            rg.TextField(name="plain"),
            rg.TextField("marked"),
        ],
        questions=[
            rg.LabelQuestion(name="preferred", labels=["a", "b"]),
            rg.SpanQuestion(name="marks", field="marked", labels=["claim"], required=False),
        ],
    )
    contents = {"html": HTML, "long": LONG}
    shown = {"html": HTML, "long": "long"}
    records = [
        {
            "id": name,
            "fields": {
                "prompt": [{"role": "user", "content": shown[name]}],
                "plain": content,
                "marked": shown[name],
            },
        }
        for name, content in contents.items()
    ]
    made = publish(server, make_client, "hostile", settings, records)
    assert {each.id: each.fields["plain"] for each in made.records()} == contents
    return f"{server.url}/dataset/{made.id}/annotation-mode"


class Page:
    """The annotation page as one rater sees it."""

    def __init__(self, page: Any, url: str, screenshots: Path) -> None:
        self.page, self.url, self.screenshots = page, url, screenshots

    def open(self, query: str = "page=1&status=pending", url: str = "") -> None:
        self.page.goto(f"{url or self.url}?{query}")
        self.page.get_by_label("Total Records").wait_for()

    def total(self, expected: int) -> Any:
        """Wait until the page says that there are so many records."""
        if expected == 0:
            return self.page.get_by_text("You have no").first.wait_for()
        chromium.expect(self.page.get_by_label("Total Records")).to_have_text(f"of {expected}")
        return None

    def question(self, name: str) -> Any:
        return self.page.get_by_label(f"Question: {name}")

    def choose(self, question: str, label: str) -> None:
        self.question(question).locator(f'label[title="{label}"]').click()

    def press(self, button: str) -> Any:
        """Press a button that saves; return what the page sent."""
        with self.page.expect_response(
            lambda answer: "/responses" in answer.url and answer.request.method in ("POST", "PUT")
        ) as saved:
            self.page.get_by_role("button", name=button).click()
        assert saved.value.ok, saved.value.text()
        return json.loads(saved.value.request.post_data)

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self.screenshots / f"{name}.png")


def sign_in(context: Any, server: Any, user: str) -> Any:
    """Open the server's page and sign in through its form."""
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.goto(server.url)
    page.locator("input[type=text]").fill(user)
    page.locator("input[type=password]").fill(server.credentials()["users"][user]["password"])
    page.keyboard.press("Enter")
    page.get_by_text("Home").first.wait_for()
    return page


@pytest.fixture(scope="module")
def rater(browser, server, dataset, screenshots: Path) -> Iterator[Page]:
    """A signed-in rater; afterwards, nothing but this server may have been asked for anything."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    blocked: list[str] = []
    context.on("requestfailed", lambda request: blocked.append(request.url))
    page = sign_in(context, server, "anna")
    page.screenshot(path=screenshots / "home.png")
    yield Page(page, f"{server.url}/dataset/{dataset.id}/annotation-mode", screenshots)
    context.close()
    outside = [url for url in asked if not url.startswith((server.url, "data:", "blob:"))]
    assert set(outside) <= set(blocked), outside


def progress(server: Any, dataset: Any) -> dict[str, int]:
    answer = server.api("anna")("GET", f"me/datasets/{dataset.id}/metrics")["responses"]
    return {name: answer[name] for name in ("submitted", "draft", "discarded", "pending")}


def test_a_wrong_password_is_refused(browser, server, dataset, screenshots: Path) -> None:
    page = browser.new_context().new_page()
    page.goto(server.url)
    page.locator("input[type=text]").fill("anna")
    page.locator("input[type=password]").fill("not the password")
    with page.expect_response(lambda answer: answer.url.endswith("/token")) as tried:
        page.keyboard.press("Enter")
    assert tried.value.status == 401
    page.screenshot(path=screenshots / "refused.png")
    assert page.locator("input[type=password]").is_visible()


def test_answer_every_question_and_go_on_to_the_next(rater: Page, server, dataset) -> None:
    rater.open("page=1&status=pending&search=number_7~all")
    rater.total(1)
    rater.page.get_by_text("Question 7").wait_for()
    rater.open()
    rater.total(12)
    rater.page.wait_for_selector(".span-annotation__field")
    read = rater.page.locator(".span-annotation__field").inner_text()
    rater.choose("preferred", "a")
    rater.choose("violations", "tone")
    rater.question("score").locator("#score_4 + label").click()
    slots = rater.question("order").locator(".draggable__slot-box")
    rater.question("order").locator("#second").drag_to(slots.nth(0))
    rater.question("order").locator("#first").drag_to(slots.nth(1))
    rater.choose("marks", "claim")
    rater.page.locator(".span-annotation__field").dblclick(position={"x": 20, "y": 10})
    rater.page.locator("[id^=entity-span-container] [role=mark]").wait_for(state="attached")
    rater.question("comment").locator("[contenteditable]").click()
    rater.page.keyboard.type("seen by anna")
    rater.shoot("answered")
    sent = rater.press("Submit")
    assert sent["status"] == "submitted"
    values = {name: each["value"] for name, each in sent["values"].items()}
    assert (values["preferred"], values["violations"], values["score"]) == ("a", ["tone"], 4)
    assert {each["value"]: each["rank"] for each in values["order"]} == {"second": 1, "first": 2}
    [mark] = values["marks"]
    assert (mark["label"], read[mark["start"] : mark["end"]]) == ("claim", read.split()[0])
    assert values["comment"] == "seen by anna"
    # the next pair, and the counters
    chromium.expect(rater.page.locator(".span-annotation__field")).not_to_have_text(read)
    counter = rater.page.locator(".my-progress__status .status-counter__counter")
    chromium.expect(counter).to_have_text("1")
    assert progress(server, dataset)["submitted"] == 1
    rater.shoot("next")
    rater.open()
    rater.total(11)


def test_draft_discard_and_the_four_queues(rater: Page, server, dataset) -> None:
    rater.open()
    rater.page.wait_for_selector(".span-annotation__field")
    rater.choose("preferred", "b")
    assert rater.press("Save as draft")["status"] == "draft"
    rater.page.get_by_label("Next (→)").click()
    assert rater.press("Discard")["status"] == "discarded"
    before = progress(server, dataset)
    assert (before["draft"], before["discarded"]) == (1, 1)
    for status in ("draft", "discarded", "submitted", "pending"):
        rater.page.get_by_label("Filter Records by Status").locator("button").first.click()
        rater.page.locator(f".filter-status li.{status}").click()
        rater.page.wait_for_url(re.compile(f"status={status}"))
        rater.total(before[status])
        rater.shoot(f"queue-{status}")
    # a draft is still there, and becomes an answer
    rater.open("page=1&status=draft")
    assert rater.page.locator("#preferred_b").is_checked()
    assert rater.press("Submit")["status"] == "submitted"
    assert progress(server, dataset) == {
        **{"submitted": before["submitted"] + 1, "draft": 0},
        **{"discarded": 1, "pending": before["pending"]},
    }


def test_search_filter_and_sort(rater: Page, server, dataset) -> None:
    pending = progress(server, dataset)["pending"]
    rater.open()
    [number] = re.findall(r"\d+", rater.page.locator(".span-annotation__field").inner_text())
    rater.page.locator("button[data-title=Search]").click()
    rater.page.get_by_placeholder("Introduce a query").fill(f"number {number}")
    rater.page.keyboard.press("Enter")
    rater.total(1)
    rater.shoot("search")
    rater.open()
    rater.page.get_by_role("button", name="Filters").click()
    rater.page.locator(".metadata-filter button").first.click()
    rater.page.locator(".metadata-filter").get_by_text("topic").click()
    rater.page.locator(".labels-selector__item", has_text="loan").locator("label").click()
    rater.page.wait_for_url(re.compile("metadata=topic"))
    text = rater.page.get_by_label("Total Records")
    chromium.expect(text).not_to_have_text(f"of {pending}")
    assert 1 <= int(text.inner_text().removeprefix("of ")) < pending
    rater.shoot("filter")
    rater.open()
    rater.page.locator(".sort-filter button").first.click()
    with rater.page.expect_response(lambda answer: "/records/search?" in answer.url) as sorted_:
        rater.page.locator(".sort-filter li[title=length] button").click()
        rater.page.get_by_role("button", name="Sort", exact=True).last.click()
    found = [each["record"]["metadata"]["length"] for each in sorted_.value.json()["items"]]
    assert found == sorted(found)
    rater.shoot("sort")


def test_find_similar(rater: Page) -> None:
    rater.open()
    with rater.page.expect_response(
        lambda answer: "vector" in (answer.request.post_data or "")
    ) as similar:
        rater.page.get_by_role("button", name="Find similar").first.click()
    assert similar.value.ok
    scores = [each["query_score"] for each in similar.value.json()["items"]]
    assert scores == sorted(scores, reverse=True)
    rater.page.get_by_text("Similar to").wait_for()
    rater.shoot("similar")


def test_bulk_view(rater: Page, server, dataset) -> None:
    before = progress(server, dataset)
    rater.open()
    rater.page.get_by_label("Switch to Bulk Mode").click()
    records = rater.page.locator(".record--bulk")
    chromium.expect(records).to_have_count(min(10, before["pending"]))
    for place in (0, 1):
        records.nth(place).locator(".fields__checkbox .checkbox__container").click()
    rater.choose("preferred", "tie")
    rater.shoot("bulk")
    sent = rater.press("Submit")
    assert len(sent["items"]) == 2
    rater.open()
    rater.total(before["pending"] - 2)
    assert progress(server, dataset)["submitted"] == before["submitted"] + 2
    rater.page.get_by_label("Switch to Focus Mode").click()


def test_html_and_script_in_a_record_do_no_harm(rater: Page, hostile: str) -> None:
    rater.open("page=1&status=pending&search=bold~all", hostile)
    rater.total(1)
    frame = rater.page.frame_locator("iframe").first
    frame.get_by_text("bold words").wait_for()
    rater.page.wait_for_timeout(1000)  # a script would have run by now
    rater.shoot("html")
    assert rater.page.title() != "owned"


def test_a_record_of_a_megabyte_is_shown(rater: Page, hostile: str) -> None:
    rater.open("page=1&status=pending&search=unfindable~all", hostile)
    rater.total(1)
    chromium.expect(rater.page.locator(".record")).to_contain_text("unfindable end")
    rater.shoot("long")


def test_the_browser_asks_no_other_host(
    browser, server, hostile: str, tmp_path: Path, chromium_hosts: Callable[[Path], set[str]]
) -> None:
    """By Chromium's own log of its network stack, with a record that asks for a picture."""
    log = tmp_path / "net.json"
    arguments = ["--no-sandbox", f"--log-net-log={log}"]
    own = browser.browser_type.launch(executable_path=chromium.CHROMIUM, args=arguments)
    page = sign_in(own.new_context(), server, "anna")
    page.goto(f"{hostile}?page=1&status=pending&search=bold~all")
    page.frame_locator("iframe").first.get_by_text("bold words").wait_for()
    page.wait_for_timeout(1000)
    own.close()
    assert chromium_hosts(log) == {"127.0.0.1"}
