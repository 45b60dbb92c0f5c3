"""Pull: what the REST API gives becomes ratings, and no snapshot is ever overwritten."""

from pathlib import Path

from inhouse.records import Rating, write
from labeling.pull import pseudonym, ratings_of, snapshot_folder


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


# --- snapshots --------------------------------------------------------------------------------


def snapshot(parent: Path, name: str, ratings: list[Rating], finished: bool = True) -> Path:
    write(parent / name / "ratings.jsonl", ratings)
    if finished:
        (parent / name / "manifest.json").write_text("{}")
    return parent / name


ONE = ratings_of([record("p", response())], "g")
TWO = ratings_of([record("p", response(), response(user_id="u-2"))], "g")


def test_the_first_snapshot_is_number_one(tmp_path):
    assert snapshot_folder(tmp_path / "ratings", ONE).name == "pull-0001"


def test_the_same_answers_are_the_last_snapshot(tmp_path):
    last = snapshot(tmp_path, "pull-0001", ONE)
    assert snapshot_folder(tmp_path, ONE) == last


def test_other_answers_are_a_new_snapshot(tmp_path):
    snapshot(tmp_path, "pull-0001", ONE)
    assert snapshot_folder(tmp_path, TWO).name == "pull-0002"
    snapshot(tmp_path, "pull-0002", TWO)
    # Back to what the first one held is still a third.
    assert snapshot_folder(tmp_path, ONE).name == "pull-0003"


def test_a_snapshot_that_was_cut_off_is_gone_on_with(tmp_path):
    snapshot(tmp_path, "pull-0001", ONE)
    cut_off = snapshot(tmp_path, "pull-0002", TWO, finished=False)
    assert snapshot_folder(tmp_path, TWO) == cut_off


def test_numbers_beyond_four_digits_still_rise(tmp_path):
    for number in (9999, 10000):
        snapshot(tmp_path, f"pull-{number:04d}", ONE)
    assert snapshot_folder(tmp_path, TWO).name == "pull-10001"
