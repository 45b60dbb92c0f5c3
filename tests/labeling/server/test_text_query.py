"""The search box's language on a real full-text index, without a server."""

import json
import sqlite3
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from labeling.server.inside.search import search_index, sql_functions, text_query, text_sql
from labeling.server.inside.search.text_query import parse, words

FIELDS = {
    "question": "The refund of your late payment is on its way, isn't it?",
    "answer": "Invoice 4.25",
}


class Records:
    """A database with the tables that a search needs."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.database = sqlite3.connect(":memory:")
        sql_functions.add_to(self.database)
        self.database.execute("CREATE TABLE records (id, dataset_id, fields, inserted_at, status)")
        search_index.prepare(self.database)
        for number, fields in enumerate(records):
            self.add(str(number), fields)

    def add(self, record: str, fields: dict[str, Any]) -> None:
        row = (record, "set", json.dumps(fields))
        self.database.execute("INSERT INTO records VALUES (?, ?, ?, '', '')", row)

    def search(
        self, query: str, fields: Sequence[str] = ("question", "answer")
    ) -> dict[str, float]:
        """The ids of the records that match, and their scores."""

        async def vocabulary(shortest: int, longest: int) -> list[str]:
            among = "SELECT term FROM search_vocabulary WHERE length(term) BETWEEN ? AND ?"
            return [row[0] for row in self.database.execute(among, (shortest, longest))]

        bind = sql_functions.Parameters()
        found = _result(text_sql.search_for(parse(query), "set", fields, vocabulary, bind))
        return dict(
            self.database.execute(
                f"{found.before} SELECT r.id, {found.score} FROM {found.source} "
                f"WHERE {found.condition}",
                bind.values,
            ).fetchall()
        )


def _result(coroutine: Coroutine[Any, Any, text_sql.TextSearch]) -> text_sql.TextSearch:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


ONE = Records(FIELDS)


def matches(query: str) -> bool:
    return bool(ONE.search(query))


@pytest.mark.parametrize(
    "query",
    [
        "refund",
        "REFUND",
        "refund invoice",  # each word in any field
        "refund + payment",
        "missing | invoice",
        "refund | missing",
        "missing | refund invoice",  # (missing or refund) and invoice
        "refund -missing",
        "-missing",
        "--refund",  # twice not
        "- refund",  # a space takes the minus from the word
        '"late payment"',
        '"late PAYMENT"',
        '"refund payment"~3',
        '"payment late"~2',  # swapping two neighbours costs two
        "pay*",
        "Pay*",
        "*",
        "refund *",
        "pament~1",
        "paymnt~",
        "invoices~1",
        "(missing | refund) invoice",
        "missing | (refund invoice)",
        "refund -(missing | gone)",
        "(refund",  # what is left open is skipped
        "refund)",
        'refund "',
        "refund |",
        "| refund",
        "+ refund",
        "refund +| missing -missing | invoice",
        "isn't",
        "4.25",
        r"refund\*|",
        "refund ()",
    ],
)
def test_matches(query: str) -> None:
    assert matches(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "!?",
        '""',
        "()",
        "missing",
        "refund missing",
        "refund | invoice missing",  # (refund or invoice) and missing
        "refund -invoice",
        "-refund",
        '"payment late"',
        '"refund invoice"',  # a phrase does not cross fields
        '"refund payment"~2',
        "fund*",
        "pa",
        "pamt~1",
        "refund +| missing",  # the first of two operators counts
        "invoice-refund",  # one term's words are in one field
        "refund -(missing | payment)",
    ],
)
def test_does_not_match(query: str) -> None:
    assert not matches(query)


def test_never_fails() -> None:
    signs = ["a", " ", "+", "|", "-", '"', "*", "(", ")", "~", "\\", "2"]
    for first in signs:
        for second in signs:
            for third in signs:
                for fourth in signs:
                    matches(first + second + third + fourth)


def test_words_of_scripts_without_spaces_stand_alone() -> None:
    assert words("返金 Café l’été") == ["返", "金", "café", "l’été"]


def test_more_often_scores_higher() -> None:
    texts = ("refund refund x", "refund x x", "x x x")
    scores = Records(*({"answer": text} for text in texts)).search("refund")
    assert scores["0"] > scores["1"] > 0
    assert "2" not in scores


def test_a_word_in_every_record_still_scores() -> None:
    scores = Records(*({"answer": "refund"} for _ in range(5))).search("refund")
    assert len(scores) == 5
    assert min(scores.values()) > 0


@pytest.mark.parametrize(
    ("query", "fields", "expected"),
    [
        ("refund", ["prompt"], True),
        ("refund", ["answer"], False),
        ("user", ["prompt"], True),
        ("content", ["prompt"], False),
        ("refund soon", ["prompt", "answer"], True),
        ("refund", ["gone"], False),
        ("refund", [], False),
    ],
)
def test_chat_is_searched_by_content_and_role(
    query: str, fields: list[str], expected: bool
) -> None:
    record = {"prompt": [{"role": "user", "content": "My refund?"}], "answer": "Soon"}
    assert bool(Records(record).search(query, fields)) is expected


def test_another_data_set_is_not_searched() -> None:
    records = Records(FIELDS)
    records.database.execute("UPDATE search_documents SET dataset_id = 'other'")
    assert records.search("refund") == {}


def test_the_index_follows_every_change() -> None:
    records = Records({"answer": "one"}, {"answer": "two"}, {"answer": "three"})
    records.database.execute("""UPDATE records SET fields = '{"answer": "four"}' WHERE id = '0'""")
    records.database.execute("DELETE FROM records WHERE id = '1'")
    records.add("3", {"answer": "one"})
    for query, expected in [("one", ["3"]), ("two", []), ("three", ["2"]), ("four", ["0"])]:
        assert list(records.search(query)) == expected
    assert search_index.is_whole(records.database)
    records.database.commit()
    records.database.execute("VACUUM")  # gives records other row ids
    assert list(records.search("one")) == ["3"]
    assert search_index.is_whole(records.database)


def test_a_change_that_is_rolled_back_never_was() -> None:
    records = Records(FIELDS)
    records.database.commit()
    records.add("1", {"answer": "later"})
    assert list(records.search("later")) == ["1"]
    records.database.rollback()
    assert records.search("later") == {}
    assert search_index.is_whole(records.database)


def test_an_index_of_another_form_is_made_anew() -> None:
    records = Records(FIELDS)
    assert not search_index.prepare(records.database)
    records.database.execute("DELETE FROM search_documents")
    records.database.execute("PRAGMA user_version = 0")
    records.database.commit()
    assert search_index.prepare(records.database)
    assert search_index.is_whole(records.database)
    assert matches("refund")


def test_a_long_query() -> None:
    many = [f"word{number}" for number in range(300)]
    records = Records({"answer": " ".join(many)}, {"answer": " ".join(many[:-1])})
    assert list(records.search(" ".join(many))) == ["0"]
    assert list(records.search(" | ".join(many))) == ["0", "1"]
    with pytest.raises(text_sql.TooLongError, match="500 different words, 400 are possible"):
        records.search(" ".join(f"word{number}" for number in range(500)))
    assert not matches("(" * 3000 + "refund" + ")" * 3000)
    assert matches("(" * 20 + "refund" + ")" * 20)
    assert matches("-(" * 20 + "refund" + ")" * 20)


def test_a_tangled_query() -> None:
    """Operators that alternate nest; what SQLite cannot read is refused in words."""
    assert matches("refund" + " | missing invoice" * 10)
    with pytest.raises(text_sql.TooLongError, match="too many operators"):
        matches("refund" + " | missing invoice" * 40)


def test_what_only_looks_like_a_query_of_the_index() -> None:
    """FTS5 has a language of its own, none of which may come through."""
    for query in ("words:refund", "NEAR(refund)", "refund^", "{words}:refund", "' OR 1", '"a""b"'):
        records = Records({"answer": "nothing"})
        assert records.search(query) == {}
    assert list(Records({"answer": "refund or not"}).search("refund OR not")) == ["0"]


def test_a_picture_in_a_text_is_no_word() -> None:
    picture = "data:image/png;base64," + "iVBORw0KGgo" * 1000
    records = Records({"answer": f"before {picture} after"})
    assert list(records.search("before after")) == ["0"]
    longest = "SELECT MAX(length(term)) FROM search_vocabulary"
    assert records.database.execute(longest).fetchone()[0] <= text_query.LONGEST_WORD


def test_shuffled_is_stable_and_differs_between_raters() -> None:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE records (id)")
    ids = [f"{number * 2654435761 % 2**32:08x}{number:024x}" for number in range(1000)]
    database.executemany("INSERT INTO records VALUES (?)", [(each,) for each in ids])

    def order(user: str) -> list[str]:
        key = sql_functions.shuffled(user, "records")
        return [row[0] for row in database.execute(f"SELECT id FROM records ORDER BY {key}")]

    one, two = order("a"), order("b")
    assert one == order("a")
    assert sorted(one) == sorted(ids)
    assert one != ids
    # in two random orders the first hundred share about ten
    assert 1 <= len(set(one[:100]) & set(two[:100])) <= 25
    database.execute("DELETE FROM records WHERE id = ?", (one[0],))
    assert order("a") == one[1:]
