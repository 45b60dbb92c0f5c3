"""Queues, sorts, similarity, progress and metrics, case by case, with three raters on one data set.

record   ann        ben        cleo       status (two submitted answers complete a record)
r0       submitted  submitted             completed
r1       submitted  draft                 pending
r2       discarded  submitted  submitted  completed
r3       draft                 discarded  pending
r4                             submitted  pending
r5                                        pending
"""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

ANSWERS = {
    "ann": {0: "submitted", 1: "submitted", 2: "discarded", 3: "draft"},
    "ben": {0: "submitted", 1: "draft", 2: "submitted"},
    "cleo": {2: "submitted", 3: "discarded", 4: "submitted"},
}
CHOICES = {"ann": "a", "ben": "b", "cleo": "tie"}
SCORES = {"ann": 1, "ben": 3, "cleo": 5}
VECTORS = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], None]
METADATA: list[dict[str, Any]] = [
    {"topic": "refund", "length": 10, "weight": 0.5},
    {"topic": "loan", "length": 2, "weight": -1.5},
    {"topic": "refund", "length": 0},
    {"topic": "true", "length": -3, "weight": 2.0},
    {"topic": "7"},
    {},
]
TEXTS = ["alpha beta", "alpha", "beta gamma", "gamma alpha beta", "naïve Äpfel", "it's 3.5 %"]


@pytest.fixture(scope="module")
def rated(server, make_dataset) -> tuple[Any, str, dict[str, str]]:
    for rater in ANSWERS:
        server.add_user(rater, "house")
    records = []
    for number, text in enumerate(TEXTS):
        each: dict[str, Any] = {
            "id": f"r{number}",
            "fields": {"prompt": [{"role": "user", "content": f"case {number}"}], "answer": text},
            "metadata": METADATA[number],
        }
        if VECTORS[number] is not None:
            each["vectors"] = {"embedding": VECTORS[number]}
        records.append(each)
    where = str(make_dataset(server, records, min_submitted=2).id)
    ids = server.api().ids(where)
    for rater, answers in ANSWERS.items():
        for number, status in answers.items():
            values = {"preferred": CHOICES[rater], "score": SCORES[rater]}
            server.api(rater).answer(ids[f"r{number}"], status, **values)
    return server, where, ids


def terms(values: list[Any], **scope: Any) -> dict[str, Any]:
    return {"type": "terms", "scope": scope, "values": values}


def between(ge: Any = None, le: Any = None, **scope: Any) -> dict[str, Any]:
    return {"type": "range", "scope": scope, "ge": ge, "le": le}


def metadata(name: str) -> dict[str, Any]:
    return {"entity": "metadata", "metadata_property": name}


STATUS = {"entity": "response", "property": "status"}


def find(rated: Any, user: str, **query: Any) -> list[int]:
    """The numbers of the records that a user's search finds, sorted; `owner` sees all answers."""
    server, where, _ = rated
    found, total = server.api(user).search(where, user != "owner", **query)
    assert len(found) == total
    return sorted(int(name[1:]) for name in found)


@pytest.mark.parametrize(
    ("user", "statuses", "expected"),
    [
        ("ann", ["pending"], [4, 5]),
        ("ann", ["submitted"], [0, 1]),
        ("ann", ["draft"], [3]),
        ("ann", ["discarded"], [2]),
        ("ann", ["draft", "discarded"], [2, 3]),
        ("ann", ["pending", "draft"], [3, 4, 5]),
        ("ann", ["pending", "submitted", "draft", "discarded"], [0, 1, 2, 3, 4, 5]),
        ("ben", ["pending"], [3, 4, 5]),
        ("ben", ["draft"], [1]),
        ("ben", ["discarded"], []),
        ("cleo", ["pending"], [0, 1, 5]),
        ("cleo", ["pending", "discarded"], [0, 1, 3, 5]),
        ("owner", ["pending"], [5]),  # no answer by anybody
        ("owner", ["submitted"], [0, 1, 2, 4]),
        ("owner", ["draft"], [1, 3]),
        ("owner", ["discarded"], [2, 3]),
        ("owner", ["pending", "draft"], [1, 3, 5]),
    ],
)
def test_queues(rated, user: str, statuses: list[str], expected: list[int]) -> None:
    assert find(rated, user, filters={"and": [terms(statuses, **STATUS)]}) == expected


@pytest.mark.parametrize(
    ("user", "conditions", "expected"),
    [
        ("owner", [terms(["pending"], entity="record", property="status")], [1, 3, 4, 5]),
        ("owner", [terms(["a"], entity="response", question="preferred")], [0, 1, 2, 3]),
        ("ben", [terms(["a"], entity="response", question="preferred")], []),
        ("ben", [terms(["b"], entity="response", question="preferred")], [0, 1, 2]),
        ("owner", [between(ge=4, entity="response", question="score")], [2, 3, 4]),
        ("ann", [between(ge=4, entity="response", question="score")], []),
        ("owner", [terms(["true"], **metadata("topic"))], [3]),
        ("owner", [terms(["7"], **metadata("topic"))], [4]),
        ("owner", [terms(["10", "2"], **metadata("length"))], [0, 1]),
        ("owner", [between(ge=0, **metadata("length"))], [0, 1, 2]),
        ("owner", [between(le=0, **metadata("length"))], [2, 3]),
        ("owner", [between(ge=-2, le=1, **metadata("weight"))], [0, 1]),
        # the rater's queue as the page asks for it: their own, while the record is not complete
        (
            "cleo",
            [
                terms(["pending"], **STATUS),
                terms(["pending"], entity="record", property="status"),
            ],
            [1, 5],
        ),
        (
            "owner",
            [terms(["refund"], **metadata("topic")), between(ge=1, **metadata("length"))],
            [0],
        ),
    ],
)
def test_filters(rated, user: str, conditions: list[Any], expected: list[int]) -> None:
    assert find(rated, user, filters={"and": conditions}) == expected


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("alpha", [0, 1, 3]),
        ("alpha beta", [0, 3]),
        ("alpha | gamma", [0, 1, 2, 3]),
        ("alpha -beta", [1]),
        ("-alpha", [2, 4, 5]),
        ('"alpha beta"', [0, 3]),
        ('"gamma beta"', []),
        ('"gamma beta"~1', [3]),  # one word between
        ('"gamma beta"~2', [2, 3]),  # two neighbours swapped
        ("gam*", [2, 3]),
        ("alhpa~2", [0, 1, 3]),
        ("(alpha | gamma) -case", []),
        ("case gamma", [2, 3]),
        ("äpfel", [4]),
        ("NAÏVE", [4]),
        ("it's", [5]),
        ("3.5", [5]),
        ("user", [0, 1, 2, 3, 4, 5]),
        ("*", [0, 1, 2, 3, 4, 5]),
        ('"', []),
    ],
)
def test_text(rated, q: str, expected: list[int]) -> None:
    for user in ("owner", "ann"):
        assert find(rated, user, query={"text": {"q": q}}) == expected


def test_text_with_a_queue(rated) -> None:
    query = {"query": {"text": {"q": "alpha"}}, "filters": {"and": [terms(["draft"], **STATUS)]}}
    assert find(rated, "ann", **query) == [3]
    assert find(rated, "ben", **query) == [1]


@pytest.mark.parametrize(
    ("user", "sort", "expected"),
    [
        ("owner", [("asc", metadata("length"))], [3, 2, 1, 0, 4, 5]),
        ("owner", [("desc", metadata("length"))], [0, 1, 2, 3, 4, 5]),
        ("owner", [("asc", metadata("weight"))], [1, 0, 3, 2, 4, 5]),
        ("owner", [("asc", metadata("topic"))], [4, 1, 0, 2, 3, 5]),
        ("owner", [("desc", {"entity": "record", "property": "inserted_at"})], [5, 4, 3, 2, 1, 0]),
        (
            "owner",
            [("desc", {"entity": "record", "property": "status"}), ("desc", metadata("length"))],
            [1, 3, 4, 5, 0, 2],
        ),
        ("ben", [("asc", {"entity": "response", "property": "status"})], [1, 0, 2, 3, 4, 5]),
        ("ann", [("desc", {"entity": "response", "property": "status"})], [0, 1, 3, 2, 4, 5]),
        ("ann", [("asc", {"entity": "response", "question": "score"})], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_sorts(rated, user: str, sort: list[Any], expected: list[int]) -> None:
    server, where, _ = rated
    orders = [{"order": order, "scope": scope} for order, scope in sort]
    found, _ = server.api(user).search(where, user != "owner", sort=orders)
    assert found == [f"r{number}" for number in expected]


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ({"record": 0, "order": "most_similar"}, [1, 2, 3, 4]),
        ({"record": 0, "order": "least_similar"}, [4, 3, 2, 1]),
        ({"record": 4, "order": "most_similar"}, [3, 2, 1, 0]),
        ({"value": [0, 2], "order": "most_similar"}, [2, 1, 3, 0, 4]),
        ({"value": [0, -2], "order": "least_similar"}, [2, 1, 3, 0, 4]),
    ],
)
def test_similar(rated, vector: dict[str, Any], expected: list[int]) -> None:
    server, where, ids = rated
    asked: dict[str, Any] = {"name": "embedding", "order": vector["order"]}
    if "record" in vector:
        asked["record_id"] = ids[f"r{vector['record']}"]
    else:
        asked["value"] = vector["value"]
    found, total = server.api("ann").search(where, query={"vector": asked})
    assert found == [f"r{number}" for number in expected]
    assert total == len(expected)


def test_similarity_is_a_score_from_0_to_1_and_can_be_filtered(rated) -> None:
    server, where, ids = rated
    query = {"vector": {"name": "embedding", "record_id": ids["r0"], "order": "most_similar"}}
    answer = server.api()("POST", f"datasets/{where}/records/search", {"query": query})
    scores = [item["query_score"] for item in answer["items"]]
    assert scores == pytest.approx([(1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0.0])
    with_text = {**query, "text": {"q": "beta"}}
    assert find(rated, "ann", query=with_text) == [2, 3]
    assert find(rated, "ann", query=query, filters={"and": [terms(["draft"], **STATUS)]}) == [3]
    found, _ = server.api("ann").search(where, page=(1, 2), query=query)
    assert found == ["r2", "r3"]


def test_similar_to_a_record_without_a_vector_is_refused(rated) -> None:
    server, where, ids = rated
    query = {"query": {"vector": {"name": "embedding", "record_id": ids["r5"]}}}
    api = server.api()
    answer = api.session.post(f"{api.url}/datasets/{where}/records/search", json=query, timeout=30)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("rater", ANSWERS)
def test_a_raters_progress(rated, rater: str) -> None:
    server, where, _ = rated
    given = list(ANSWERS[rater].values())
    counts = {status: given.count(status) for status in ("submitted", "draft", "discarded")}
    metrics = server.api(rater)("GET", f"me/datasets/{where}/metrics")["responses"]
    assert {name: metrics[name] for name in counts} == counts
    assert metrics["pending"] == 6 - len(given)  # also what others have completed: Argilla's way


def test_the_teams_progress(rated) -> None:
    server, where, _ = rated
    progress = server.api()("GET", f"datasets/{where}/progress")
    assert (progress["total"], progress["completed"], progress["pending"]) == (6, 2, 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "topic",
            {
                "type": "terms",
                "total": 5,
                "values": [
                    {"term": "refund", "count": 2},
                    {"term": "7", "count": 1},
                    {"term": "loan", "count": 1},
                    {"term": "true", "count": 1},
                ],
            },
        ),
        ("length", {"type": "integer", "min": -3, "max": 10}),
        ("weight", {"type": "float", "min": -1.5, "max": 2.0}),
    ],
)
def test_metrics(rated, name: str, expected: dict[str, Any]) -> None:
    server, where, _ = rated
    properties = server.api()("GET", f"me/datasets/{where}/metadata-properties")["items"]
    [wanted] = [each["id"] for each in properties if each["name"] == name]
    assert server.api()("GET", f"metadata-properties/{wanted}/metrics") == expected


def test_metrics_of_nothing(server, make_dataset) -> None:
    where = str(make_dataset(server, [{"id": "r0", "fields": {"prompt": [], "answer": "x"}}]).id)
    found = {}
    for each in server.api()("GET", f"me/datasets/{where}/metadata-properties")["items"]:
        found[each["name"]] = server.api()("GET", f"metadata-properties/{each['id']}/metrics")
    assert found["topic"] == {"type": "terms", "total": 0, "values": []}
    assert found["length"] == {"type": "integer", "min": None, "max": None}


@pytest.mark.parametrize(("offset", "limit"), [(0, 1), (0, 6), (2, 2), (5, 5), (6, 1), (999, 10)])
def test_pages(rated, offset: int, limit: int) -> None:
    server, where, _ = rated
    for user, mine in (("owner", False), ("ann", True)):
        whole, _ = server.api(user).search(where, mine)
        found, total = server.api(user).search(where, mine, page=(offset, limit))
        assert found == whole[offset : offset + limit]
        assert total == 6


def test_an_answer_moves_no_other_record(rated, make_dataset) -> None:
    """A rater's order stays as it was while they answer, and while others edit."""
    server, _, _ = rated
    records: list[dict[str, Any]] = [
        {
            "id": f"r{number}",
            "fields": {"prompt": [{"role": "user", "content": "x"}], "answer": "y"},
        }
        for number in range(30)
    ]
    where = str(make_dataset(server, records, min_submitted=2).id)
    ids = server.api().ids(where)
    queue = {"filters": {"and": [terms(["pending"], **STATUS)]}}
    ann = server.api("ann")
    before, _ = ann.search(where, **queue)
    ann.answer(ids[before[0]], preferred="a")
    server.api()(
        "PATCH",
        f"records/{ids[before[5]]}",
        {"fields": {**records[0]["fields"], "answer": "changed"}},
    )
    assert ann.search(where, **queue)[0] == before[1:]
