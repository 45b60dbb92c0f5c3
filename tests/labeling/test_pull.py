"""Pull: what the REST API gives becomes ratings."""

from inhouse.records import Rating
from labeling.pull import pseudonym, ratings_of


def response(**changes) -> dict:
    return {
        "id": "r-1",
        "user_id": "u-1",
        "status": "submitted",
        "updated_at": "2026-01-02T03:04:05",
        "values": {"preferred": {"value": "a"}},
        **changes,
    }


def record(name: str, *responses: dict) -> dict:
    return {"external_id": name, "responses": list(responses)}


def test_a_submitted_answer_becomes_a_rating():
    values = {
        "preferred": {"value": "tie"},
        "score_a": {"value": 4},
        "violations_b": {"value": ["R-1"]},
        "comment": {"value": "Both fine.\n😀"},
    }
    (found,) = ratings_of([record("p", response(values=values))], "hash")
    assert found == Rating(
        pair_id="p",
        rater=pseudonym("u-1"),
        choice="tie",
        score_a=4,
        violations_b=["R-1"],
        comment="Both fine.\n😀",
        shown_order=["a", "b"],
        submitted_at="2026-01-02T03:04:05",
        guidelines="hash",
    )


def test_drafts_discards_and_silence_are_no_ratings():
    rows = [
        record("p", response(status="draft"), response(status="discarded", values=None)),
        {"external_id": "q", "responses": None},
        record("r"),
        record("s", response(values=None)),
    ]
    assert ratings_of(rows, "g") == []


def test_ratings_are_ordered_whatever_order_the_server_has():
    rows = [record(p, *(response(user_id=u) for u in "cab")) for p in ("q", "p")]
    keys = [(r.pair_id, r.rater) for r in ratings_of(rows, "g")]
    assert keys == sorted(keys) and len(keys) == 6
    turned = [{**row, "responses": row["responses"][::-1]} for row in rows[::-1]]
    assert ratings_of(turned, "g") == ratings_of(rows, "g")


def test_a_pseudonym_is_stable_and_does_not_hold_the_name():
    assert pseudonym("ann@firm") == pseudonym("ann@firm") != pseudonym("bob@firm")
    assert "ann" not in pseudonym("ann@firm")


def test_answers_of_users_who_were_deleted_are_kept_apart():
    # As an older Argilla gives them, without the user (today's deletes them with the user): two of
    # them are still two answers.
    rows = [record("p", response(id="r-1", user_id=None), response(id="r-2", user_id=None))]
    assert len({rating.rater for rating in ratings_of(rows, "g")}) == 2
