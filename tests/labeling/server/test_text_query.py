"""The search box's language, without a server."""

import pytest

from labeling.server.sql_functions import shuffle, text_score
from labeling.server.text_query import parse, score, words

FIELDS = [words("The refund of your late payment is on its way, isn't it?"), words("Invoice 4.25")]


def matches(query: str, fields: list[list[str]] = FIELDS) -> bool:
    parsed = parse(query)
    return parsed is not None and score(parsed, fields) > 0


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
    query = parse("refund")
    assert query is not None
    assert score(query, [["refund", "refund", "x"]]) > score(query, [["refund", "x", "x"]]) > 0


def test_chat_is_searched_by_content_and_role() -> None:
    fields = '{"prompt": [{"role": "user", "content": "My refund?"}], "answer": "Soon"}'
    for query, names, expected in [
        ("refund", '["prompt"]', True),
        ("refund", '["answer"]', False),
        ("user", '["prompt"]', True),
        ("content", '["prompt"]', False),
        ("refund soon", '["prompt", "answer"]', True),
        ("refund", '["gone"]', False),
    ]:
        assert (text_score(fields, query, names) > 0) is expected, query


def test_shuffle_is_stable_and_differs_between_raters() -> None:
    records = [f"{number:032x}" for number in range(100)]
    orders = {
        user: sorted(records, key=lambda each, user=user: shuffle(user, each)) for user in "ab"
    }
    assert orders["a"] != records
    assert orders["a"] != orders["b"]
    assert orders["a"] == sorted(records, key=lambda each: shuffle("a", each))
