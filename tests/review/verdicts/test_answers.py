"""What the REST API gives becomes verdicts; what is nobody's or another review's is not counted."""

import pytest

from inhouse.errors import InputError
from inhouse.records import MarkedSpan, Verdict
from review.verdicts.placed import Placed
from review.verdicts.taken.answers import answers_of, reviewers
from review.verdicts.taken.settled import split_changed

pytest.importorskip("argilla")
USERS = {"u-1": "ann", "u-2": "bob"}
PLACED = [
    Placed(record=f"r{n}", dataset="once", output_id=f"o{n}", hash="h", model="dpo") for n in (1, 2)
]


def response(user: str | None = "u-1", status: str = "submitted", **values) -> dict:
    given = {"verdict": "pass", **values}
    return {
        "id": f"id-{user}",
        "user_id": user,
        "status": status,
        "updated_at": "2026-12-01T00:00:00",
        "values": {name: {"value": value} for name, value in given.items()},
    }


def row(name: str | None, *responses: dict) -> dict:
    fields = {"response": "🚀🚀 guaranteed, all of it."}
    return {"id": f"argilla-{name}", "external_id": name, "fields": fields} | {
        "responses": list(responses)
    }


def test_a_submitted_response_becomes_a_verdict_on_the_output():
    spans = [{"label": "PROM-01", "start": 5, "end": 15}]  # as the page sends it: an emoji is two
    given = response(verdict="fail", rules=["FEE-01"], spans=spans, rewrite="So.", comment="Bad.")
    (found,) = answers_of([row("r1", given)], PLACED, USERS).verdicts
    assert found == Verdict(
        output_id="o1",
        reviewer="ann",
        verdict="fail",
        rules=["FEE-01", "PROM-01"],  # a rule that is marked on the words alone counts, too
        spans=[MarkedSpan(rule="PROM-01", start=3, end=13)],
        rewrite="So.",
        comment="Bad.",
        submitted_at="2026-12-01T00:00:00",
    )


def test_drafts_and_discards_are_no_verdicts_and_are_counted():
    rows = [
        row("r1", response(status="draft"), response("u-2", status="discarded")),
        row("r2", {**response(), "values": None}),
        {**row("r2"), "responses": None},
    ]
    found = answers_of(rows, PLACED, USERS)
    assert found.verdicts == [] and found.left_out == {"draft": 1, "discarded": 1, "submitted": 1}


def test_the_label_that_stands_for_no_rule_is_none():
    (found,) = answers_of([row("r1", response(rules=["none"]))], PLACED, USERS).verdicts
    assert found.rules == []


@pytest.mark.parametrize("name", ["r9", None])
def test_a_record_of_another_review_is_named_and_refused(name):
    with pytest.raises(InputError, match=rf"1 records .* \({name or 'argilla-None'}\)"):
        answers_of([row("r1", response()), row(name, response())], PLACED, USERS)


def test_two_reviewers_with_one_name_are_kept_apart(capsys):
    both = {"aaaaaaaa-1": "Ann", "bbbbbbbb-2": "ann ", "cccccccc-3": "Bob"}
    names = reviewers([response(user) for user in both], both)
    assert names == {
        "aaaaaaaa-1": "Ann#aaaaaaaa",
        "bbbbbbbb-2": "ann#bbbbbbbb",
        "cccccccc-3": "Bob",
    }
    assert "2 accounts are called 'Ann': kept apart as" in capsys.readouterr().out


def test_users_who_were_deleted_are_kept_apart():
    # As an older Argilla gives them, without the user: two of them are still two people.
    gone = [{**response(None), "id": name} for name in ("11111111-x", "22222222-y")]
    assert set(reviewers(gone, USERS).values()) == {"unknown#11111111", "unknown#22222222"}
    (one,) = reviewers([{**response(None), "id": "11111111-x"}], USERS).values()
    assert one == "unknown#11111111"


def test_verdicts_are_ordered_whatever_order_the_server_has():
    rows = [row(name, response("u-2"), response("u-1")) for name in ("r2", "r1")]
    found = answers_of(rows, PLACED, USERS).verdicts
    assert [(v.output_id, v.reviewer) for v in found] == [
        *(("o1", "ann"), ("o1", "bob"), ("o2", "ann"), ("o2", "bob")),
    ]


# --- answers that have changed since ----------------------------------------------------------


def test_a_verdict_on_an_answer_that_changed_or_is_gone_is_set_aside(output, placing, verdict):
    made = [output("sft", n, f"It is {n}%.") for n in range(3)]
    placed = placing(made, ("sft",)).placed
    verdicts = [verdict(o.id) for o in made]
    now = {o.id: o for o in made}
    assert split_changed(placed, now, verdicts) == (verdicts, [])
    now[made[0].id] = made[0].model_copy(update={"response": "It is 9%."})
    now[made[1].id] = made[1].model_copy(update={"model": {"name": "sft", "hash": "6" * 12}})
    del now[made[2].id]
    assert split_changed(placed, now, verdicts) == ([], verdicts)


def test_a_planted_reply_cannot_change(output, placing, verdict):
    placed = placing([output("sft", n) for n in range(20)], ("sft",), sample=10, planted=0.1).placed
    (planted,) = [p for p in placed if p.planted]
    kept, changed = split_changed(placed, {}, [verdict(planted.output_id, "fail")])
    assert len(kept) == 1 and changed == []
