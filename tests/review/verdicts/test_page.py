"""The page that reviewers see, in a real browser: Debian's Chromium, driven by Playwright."""

import json
import secrets

import pytest

from inhouse import argilla
from inhouse.records import Message
from review.verdicts.given import dataset
from review.verdicts.given.placing import Shown
from review.verdicts.placed import Placed
from review.verdicts.taken.answers import answers_of
from tests import chromium

pytestmark = chromium.NEEDED
ANSWER = "🚀🚀 guaranteed is your money. Thank you, and please ask again."


@pytest.fixture
def owner(credentials):
    return argilla.connect(argilla.find_access(credentials))


@pytest.fixture
def pushed(owner, rules):
    """One answer with emoji, as a push puts it there."""
    workspace = argilla.ensure_workspace(owner, "page-verdicts")
    made = argilla.ensure_dataset(owner, "page", workspace, dataset.settings("Read.", rules, 1))
    asked = [Message(role="user", content="What is the fee?")]
    argilla.push_missing(owner, made, [dataset.record(Shown("abc", asked, ANSWER))])
    return made


@pytest.fixture
def page(owner, pushed):
    """The data set's page, open before a reviewer who has signed in."""
    password = secrets.token_urlsafe(12)
    argilla.ensure_annotator(owner, "carla", pushed.workspace)
    path = f"/api/v1/users/{owner.users('carla').id}"
    argilla.rest(owner, "PATCH", path, json={"password": password})
    with chromium.launched() as browser:
        opened = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        opened.set_default_timeout(60_000)
        opened.goto(str(owner.api_url))
        opened.locator("input[type=text]").fill("carla")
        opened.locator("input[type=password]").fill(password)
        opened.keyboard.press("Enter")
        opened.get_by_text("Home").first.wait_for()
        opened.goto(f"{owner.api_url}/dataset/{pushed.id}/annotation-mode")
        opened.get_by_text("guaranteed is your money").wait_for()
        yield opened


def test_a_reviewer_decides_by_key_and_marks_words_behind_an_emoji(page, owner, pushed, rules):
    shown = {each.get_attribute("title") for each in page.locator("label[title]").all()}
    assert {f"{rule.id} — {rule.title}" for rule in rules.rules} <= shown
    assert not page.locator("input:checked").count(), "nothing is preselected"
    page.keyboard.press("2")  # fail
    page.get_by_label("Question: spans").locator("label").first.click()
    page.get_by_text("guaranteed is your money").dblclick(position={"x": 60, "y": 10})
    page.locator("[id^=entity-span-container] [role=mark]").wait_for(state="attached")
    with page.expect_response(
        lambda a: "/responses" in a.url and a.request.method in ("POST", "PUT")
    ) as saved:
        page.get_by_role("button", name="Submit").click()
    assert saved.value.ok and json.loads(saved.value.request.post_data)["status"] == "submitted"

    one = Placed(record="abc", dataset="page", output_id="o", hash="h")
    rows = argilla.records_with_responses(owner, pushed)
    (verdict,) = answers_of(rows, [one], {str(owner.users("carla").id): "carla"}).verdicts
    assert (verdict.reviewer, verdict.verdict, verdict.rules) == ("carla", "fail", ["PROM-01"])
    (span,) = verdict.spans
    assert ANSWER[span.start : span.end] == "guaranteed"
