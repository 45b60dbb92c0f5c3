"""Searching through the server: text, filters, sorts, pages, similarity, metrics."""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

TOPICS = ["refund", "loan", None]


def record(number: int) -> dict[str, Any]:
    topic = TOPICS[number % 3]
    text = "late payment" if number % 2 else "payment arrived late"
    return {
        "id": f"r{number:02}",
        "fields": {
            "prompt": [
                {"role": "system", "content": "Facts"},
                {"role": "user", "content": f"Where is invoice {number}?"},
            ],
            "answer": text,
        },
        "metadata": {"length": number, "weight": number / 4} | ({"topic": topic} if topic else {}),
        "vectors": {"embedding": [1.0, number / 10]},
    }


@pytest.fixture(scope="module")
def searched(server, make_dataset) -> tuple[Any, str]:
    """Thirty records, some answered by two raters, some with a suggestion."""
    import argilla as rg

    for rater in ("rater1", "rater2"):
        server.add_user(rater, "house")
    records = [record(number) for number in range(30)]
    for each in records[:5]:
        each["suggestions"] = [
            rg.Suggestion("score", value=3, score=int(each["id"][1:]) / 10, agent="rules")
        ]
    where = str(make_dataset(server, records, min_submitted=2).id)
    items = server.api()("GET", f"datasets/{where}/records", params={"limit": 100})["items"]
    ids = {item["external_id"]: item["id"] for item in items}
    for number in range(6):
        server.api("rater1").answer(
            ids[f"r{number:02}"], preferred="a", score=1 + number % 5, violations=["tone"]
        )
    for number in range(3):
        server.api("rater2").answer(
            ids[f"r{number:02}"], preferred="b", score=5, violations=["tone", "promise"]
        )
    server.api("rater2").answer(ids["r10"], "draft", preferred="tie")
    return server, where


def names(*numbers: int) -> list[str]:
    return [f"r{number:02}" for number in numbers]


def terms(values: list[Any], **scope: Any) -> dict[str, Any]:
    return {"type": "terms", "scope": scope, "values": values}


def between(ge: Any = None, le: Any = None, **scope: Any) -> dict[str, Any]:
    return {"type": "range", "scope": scope, "ge": ge, "le": le}


def metadata(name: str) -> dict[str, Any]:
    return {"entity": "metadata", "metadata_property": name}


def answered(question: str) -> dict[str, Any]:
    return {"entity": "response", "question": question}


def suggested(name: str) -> dict[str, Any]:
    return {"entity": "suggestion", "question": "score", "property": name}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"q": "arrived"}, range(0, 30, 2)),
        ({"q": '"late payment"'}, range(1, 30, 2)),
        ({"q": "invoice arrived 4"}, [4]),  # each word in any field
        ({"q": "invoice 4", "field": "answer"}, []),
        ({"q": "7 | 8", "field": "prompt"}, [7, 8]),
        ({"q": "system"}, range(30)),  # a role
        ({"q": "inv* -arrived (3 | 4 | 5)"}, [3, 5]),
        ({"q": "*"}, range(30)),
        ({"q": "?!"}, []),
    ],
)
def test_text(searched, query: dict[str, str], expected: list[int]) -> None:
    server, where = searched
    for user, mine in [("owner", False), ("rater1", True)]:
        found, total = server.api(user).search(where, mine, query={"text": query})
        assert sorted(found) == names(*expected)
        assert total == len(found)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (terms(["refund"], **metadata("topic")), range(0, 30, 3)),
        (terms(["refund", "loan"], **metadata("topic")), [n for n in range(30) if n % 3 < 2]),
        (terms(["7"], **metadata("length")), [7]),  # text that is a number
        (between(5, 7, **metadata("length")), [5, 6, 7]),
        (between(le=0.5, **metadata("weight")), [0, 1, 2]),
        (terms(["b"], **answered("preferred")), [0, 1, 2]),
        (terms(["promise"], **answered("violations")), [0, 1, 2]),  # any element
        (between(ge=5, **answered("score")), [0, 1, 2, 4]),
        (terms(["3"], **suggested("value")), range(5)),
        (between(ge=0.3, **suggested("score")), [3, 4]),
        (terms(["rules"], **suggested("agent")), range(5)),
        (terms(["completed"], entity="record", property="status"), [0, 1, 2]),
        (terms(["r03"], entity="record", property="external_id"), [3]),
        (between(ge="2020-01-01T00:00:00Z", entity="record", property="inserted_at"), range(30)),
        (between(le="2020-01-01T00:00:00", entity="record", property="updated_at"), []),
    ],
)
def test_filters(searched, condition: dict[str, Any], expected: list[int]) -> None:
    server, where = searched
    found, total = server.api().search(where, mine=False, filters={"and": [condition]})
    assert sorted(found) == names(*expected)
    assert total == len(found)


def test_a_raters_filter_is_about_the_raters_answers(searched) -> None:
    server, where = searched
    both = [terms(["b"], **answered("preferred")), between(ge=5, **answered("score"))]
    assert server.api("rater1").search(where, filters={"and": both})[1] == 0
    assert server.api("rater2").search(where, filters={"and": both})[1] == 3
    # a filter each may be met by two different answers
    mixed = [terms(["b"], **answered("preferred")), terms(["1"], **answered("score"))]
    assert server.api().search(where, mine=False, filters={"and": mixed})[0] == ["r00"]


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ([("desc", metadata("length"))], [29, 28, 27]),
        ([("asc", metadata("topic")), ("desc", metadata("weight"))], [28, 25, 22]),
        ([("desc", metadata("topic")), ("asc", metadata("length"))], [0, 3, 6]),
        ([("desc", {"entity": "record", "property": "external_id"})], [29, 28, 27]),
        ([("asc", {"entity": "record", "property": "inserted_at"})], [0, 1, 2]),
        ([("desc", suggested("score"))], [4, 3, 2]),
        ([("desc", answered("score"))], [4, 2, 3]),  # means: 5, then 4 twice, in order of insertion
    ],
)
def test_sorts(searched, sort: list[tuple[str, dict[str, Any]]], first: list[int]) -> None:
    server, where = searched
    orders = [{"order": order, "scope": scope} for order, scope in sort]
    found, total = server.api().search(where, mine=False, sort=orders)
    assert found[: len(first)] == names(*first)
    assert total == len(found) == 30


def test_records_without_the_value_come_last_in_both_directions(searched) -> None:
    server, where = searched
    for order in ("asc", "desc"):
        sort = [{"order": order, "scope": metadata("topic")}]
        found, _ = server.api().search(where, mine=False, sort=sort)
        assert sorted(found[20:]) == names(*range(2, 30, 3))


def test_pages_join_to_the_whole(searched) -> None:
    server, where = searched
    for user, mine in [("owner", False), ("rater1", True)]:
        api = server.api(user)
        whole, _ = api.search(where, mine)
        pages = [api.search(where, mine, page=(offset, 7)) for offset in range(0, 35, 7)]
        assert [name for page, _ in pages for name in page] == whole
        assert sorted(whole) == names(*range(30))
        assert {total for _, total in pages} == {30}
        assert api.search(where, mine, page=(1000, 7)) == ([], 30)


def test_each_rater_has_a_stable_order_of_their_own(searched) -> None:
    server, where = searched
    one, two = server.api("rater1"), server.api("rater2")
    assert one.search(where) == one.search(where)
    assert one.search(where)[0] != two.search(where)[0]
    assert one.search(where)[0] != names(*range(30))


def test_scores(searched) -> None:
    server, where = searched

    def scores(**query: Any) -> set[float | None]:
        answer = server.api()("POST", f"datasets/{where}/records/search", query)
        return {item["query_score"] for item in answer["items"]}

    status = terms(["completed"], entity="record", property="status")
    assert scores() == {1.0}
    assert scores(filters={"and": [status]}) == {1.0}
    text = {"text": {"q": "arrived"}}
    assert scores(query=text, filters={"and": [status]}) <= scores(query=text)
    assert scores(query=text, sort=[{"order": "asc", "scope": metadata("length")}]) == {None}


def test_similar_records(searched) -> None:
    server, where = searched
    items = server.api()("GET", f"datasets/{where}/records", params={"limit": 100})["items"]
    origin = next(item["id"] for item in items if item["external_id"] == "r00")
    for order, expected in [("most_similar", [1, 2, 3]), ("least_similar", [29, 28, 27])]:
        vector = {"name": "embedding", "record_id": origin, "order": order}
        found, _ = server.api("rater1").search(where, query={"vector": vector}, page=(0, 3))
        assert found == names(*expected)


def test_metrics(searched) -> None:
    server, where = searched
    properties = server.api()("GET", f"me/datasets/{where}/metadata-properties")["items"]
    metrics = {
        each["name"]: server.api()("GET", f"metadata-properties/{each['id']}/metrics")
        for each in properties
    }
    counts = [{"term": "loan", "count": 10}, {"term": "refund", "count": 10}]
    assert metrics["topic"] == {"type": "terms", "total": 20, "values": counts}
    assert metrics["length"] == {"type": "integer", "min": 0, "max": 29}
    assert metrics["weight"] == {"type": "float", "min": 0.0, "max": 7.25}


@pytest.mark.parametrize(
    "query",
    [
        {"query": {"text": {"q": "x", "field": "gone"}}},
        {"filters": {"and": [terms(["x"], **metadata("gone"))]}},
        {"filters": {"and": [between(ge="soon", entity="record", property="inserted_at")]}},
        {"filters": {"and": [terms(["no-id"], entity="record", property="id")]}},
    ],
)
def test_wrong_searches_are_refused(searched, query: dict[str, Any]) -> None:
    server, where = searched
    api = server.api()
    answer = api.session.post(f"{api.url}/datasets/{where}/records/search", json=query, timeout=30)
    assert answer.status_code == 422
