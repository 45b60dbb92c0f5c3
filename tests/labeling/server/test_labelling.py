"""A round of labelling through the real SDK and as real users: push, answer, pull."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any

import pytest

pytestmark = pytest.mark.slow

HTML = "<script>document.title = 'owned'</script> & <b>bold</b>"


def record(number: int) -> dict[str, Any]:
    return {
        "id": f"pair-{number}",
        "fields": {
            "prompt": [{"role": "user", "content": f"Question {number}"}],
            "answer": HTML if number == 0 else f"Answer {number}",
        },
        "metadata": {"topic": "refund", "length": number, "weight": number / 10},
    }


def record_ids(api, dataset: str) -> dict[str, str]:
    """Argilla's ids by ours."""
    items = api("GET", f"datasets/{dataset}/records", params={"limit": 1000})["items"]
    return {item["external_id"]: item["id"] for item in items}


def test_push_answer_pull(server, make_dataset) -> None:
    for rater in ("rater1", "rater2", "rater3"):
        server.add_user(rater, "house")
    dataset = make_dataset(server, [record(number) for number in range(50)], min_submitted=2)
    where = str(dataset.id)
    ids = record_ids(server.api(), where)
    assert list(ids) == [f"pair-{number}" for number in range(50)]

    def rate(rater: str, numbers: range) -> None:
        api = server.api(rater)
        for number in numbers:
            values = {"violations": ["tone"], "score": 4, "comment": f"{rater} was here"}
            api.answer(ids[f"pair-{number}"], preferred="a", **values)

    with ThreadPoolExecutor() as pool:  # at the same time, on the same records
        plan = [("rater1", range(50)), ("rater2", range(30)), ("rater3", range(10))]
        list(pool.map(lambda each: rate(*each), plan))

    progress = server.api()("GET", f"datasets/{where}/progress")
    assert (progress["total"], progress["completed"], progress["pending"]) == (50, 30, 20)
    assert server.api("rater2")("GET", f"me/datasets/{where}/metrics")["responses"] == {
        **{"total": 50, "submitted": 30, "draft": 0, "discarded": 0, "pending": 20}
    }

    pulled = {each.id: each for each in dataset.records(with_responses=True)}
    assert len(pulled) == 50
    assert pulled["pair-0"].fields["answer"] == HTML
    [turn] = pulled["pair-0"].fields["prompt"]
    assert (turn.role, turn.content) == ("user", "Question 0")
    for number in range(50):
        one = pulled[f"pair-{number}"]
        raters = 1 + (number < 30) + (number < 10)
        assert one.status == ("completed" if raters >= 2 else "pending")
        assert [each.value for each in one.responses["preferred"]] == ["a"] * raters
        assert [each.value for each in one.responses["violations"]] == [["tone"]] * raters
        assert [each.value for each in one.responses["score"]] == [4] * raters
        assert len({each.value for each in one.responses["comment"]}) == raters


def test_one_record_with_vectors_and_a_chat_can_be_read_and_changed(server, make_dataset) -> None:
    """Argilla 2.8 as shipped fails at both."""
    where = str(make_dataset(server, [{**record(1), "vectors": {"embedding": [1.0, 2.0]}}]).id)
    api = server.api()
    path = f"records/{record_ids(api, where)['pair-1']}"
    assert api("GET", path)["vectors"] == {"embedding": [1.0, 2.0]}
    api("PATCH", path, {"fields": {**record(1)["fields"], "answer": "changed"}})
    assert api("GET", path)["fields"]["answer"] == "changed"
    assert api.search(where, mine=False, query={"text": {"q": "changed"}}) == (["pair-1"], 1)


def test_queues_are_each_raters_own(server, make_dataset) -> None:
    for rater in ("rater1", "rater2"):
        server.add_user(rater, "house")
    where = str(make_dataset(server, [record(number) for number in range(6)], 2).id)
    ids = record_ids(server.api(), where)
    one, two = server.api("rater1"), server.api("rater2")
    one.answer(ids["pair-0"], preferred="a")
    one.answer(ids["pair-1"], "draft", preferred="b")
    one.answer(ids["pair-2"], "discarded")
    two.answer(ids["pair-3"], preferred="b")

    def queue(api, *statuses: str) -> set[str]:
        scope = {"entity": "response", "property": "status"}
        terms = {"type": "terms", "scope": scope, "values": list(statuses)}
        found, total = api.search(where, filters={"and": [terms]})
        assert len(found) == total
        return set(found)

    assert queue(one, "submitted") == {"pair-0"}
    assert queue(one, "draft") == {"pair-1"}
    assert queue(one, "discarded") == {"pair-2"}
    assert queue(one, "pending") == {"pair-3", "pair-4", "pair-5"}
    assert queue(one, "pending", "draft") == {"pair-1", "pair-3", "pair-4", "pair-5"}
    assert queue(two, "pending") == {f"pair-{number}" for number in (0, 1, 2, 4, 5)}
    assert queue(two, "draft", "discarded") == set()


def test_a_changed_number_of_raters_changes_the_statuses(server, make_dataset) -> None:
    """Argilla leaves this to a background job."""
    server.add_user("rater1", "house")
    where = str(make_dataset(server, [record(number) for number in range(3)], 2).id)
    api = server.api()
    server.api("rater1").answer(record_ids(api, where)["pair-0"], preferred="a")
    assert api("GET", f"datasets/{where}/progress")["completed"] == 0
    distribution = {"strategy": "overlap", "min_submitted": 1}
    api("PATCH", f"datasets/{where}", {"distribution": distribution})
    deadline = time.monotonic() + 20
    while api("GET", f"datasets/{where}/progress")["completed"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_webhook_is_called(server, make_dataset) -> None:
    """Argilla leaves this to a background job as well; the rest of the time no payload is built."""
    heard: Queue[dict[str, Any]] = Queue()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server.add_user("rater1", "house")
    where = str(make_dataset(server, [record(0)]).id)
    listener = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{listener.server_port}"
    api = server.api()
    webhook = api(
        "POST", "webhooks", {"url": url, "events": ["response.created"], "description": "test"}
    )
    try:
        server.api("rater1").answer(record_ids(api, where)["pair-0"], preferred="a")
        event = heard.get(timeout=20)
        assert event["type"] == "response.created"
        assert event["data"]["values"]["preferred"]["value"] == "a"
    finally:
        api("DELETE", f"webhooks/{webhook['id']}")
        listener.shutdown()
        listener.server_close()


def test_a_user_with_answers_is_not_removed_by_accident(server, make_dataset, command) -> None:
    server.add_user("leaver", "house")
    where = str(make_dataset(server, [record(number) for number in range(2)]).id)
    ids = record_ids(server.api(), where)
    server.api("leaver").answer(ids["pair-0"], preferred="a")
    remove = ("users", "remove", "leaver", "--data_dir", server.folder)
    refused = command(*remove)
    assert refused.returncode == 3
    assert "1 answers" in refused.stderr
    assert command(*remove, "--delete_answers").returncode == 0
    left = server.api()("GET", f"datasets/{where}/records", params={"include": "responses"})
    assert len(left["items"]) == 2
    assert not any(item["responses"] for item in left["items"])  # not kept without the user


def test_many_at_once(server, make_dataset) -> None:
    """A search needs a second connection while its handler holds one: no dead-lock, no 5xx."""
    server.add_user("rater1", "house")
    where = str(make_dataset(server, [record(number) for number in range(50)]).id)

    def look(number: int) -> int:
        found, _ = server.api("rater1").search(where, query={"text": {"q": f"Answer {number}"}})
        return len(found)

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(look, range(1, 41))) == [1] * 40
