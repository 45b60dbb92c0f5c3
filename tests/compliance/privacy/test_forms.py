"""Unusual forms, every string of a record, and a turn with the one before it in view."""

import pytest

from compliance.normalise import normalise
from compliance.privacy.scan import scan
from compliance.privacy.scrub import entities_of, placeholder, scrubbed
from tests.compliance.privacy.forms import measure


@pytest.fixture(scope="module")
def told():
    """What was found of the half that nobody has looked at."""
    return measure("unseen")


@pytest.mark.parametrize(("kind", "least"), [("CARD", 0.97), ("PHONE", 0.94), ("ADDRESS", 0.9)])
def test_recall_on_forms_by_country(told, kind, least):
    assert told[f"{kind} found"] / told[kind] >= least


def test_precision_on_forms_by_country(told):
    assert told["right"] / (told["right"] + told["false"]) >= 0.97


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("card 4111–1111—1111 1111", "CARD"),
        ("card\t4111\t1111\t1111\t1111", "CARD"),
        ("card 4111 1111\n1111 1111", "CARD"),
        ("card 501800000009", "CARD"),
        ("call +٩٦٦ ٥٥ ١٢٣ ٤٥٦٧", "PHONE"),
        ("call 0151 – 234 567 89", "PHONE"),
        ("Desk: (898)666-3621x0135", "PHONE"),
        ("mail анна@пример.рф", "EMAIL"),
        ("mail 用户@例子.公司", "EMAIL"),
    ],
)
def test_each_form_is_found_whole(text, kind):
    assert [(e.start, e.end, e.type) for e in scan(text)] == [(5, len(text), kind)] or (
        text.startswith("Desk") and [(e.start, e.end) for e in scan(text)] == [(6, len(text))]
    )


def test_gift_cards_orders_and_prose_stay():
    assert scan("gift card 501800000009 and order 4111 1111 1111 1111 of 2019–2024 — paid") == []
    assert normalise("a – b — 3").text == "a – b — 3"


def test_what_the_agent_asked_says_what_the_answer_is():
    turns = [
        {"role": "assistant", "content": "Could you tell me your PIN, please?"},
        {"role": "user", "content": "It is 4577."},
        {"role": "assistant", "content": "How many shares would you like?"},
        {"role": "user", "content": "4577"},
    ]
    made, counts = scrubbed({"messages": turns}, scan, placeholder)
    assert [turn["content"] for turn in made["messages"]][1::2] == ["It is [SECRET].", "4577"]
    assert counts == {"SECRET": 1}


def test_every_string_of_a_record_is_looked_into_and_a_key_says_what_it_is():
    mail = "anna@example.org"
    call = {"function": {"name": "mail", "arguments": {"to": mail}}}
    record = {
        "messages": [{"role": "user", "name": mail, "content": "Hi", "tool_calls": [call]}],
        "metadata": {"customer": mail, "pin": "4577", "personal_data": "cleared by A"},
        "system": mail,
    }
    made, counts = scrubbed(record, scan, placeholder)
    assert mail not in str(made) and counts == {"EMAIL": 4, "SECRET": 1}
    assert made["metadata"]["personal_data"] == "cleared by A"
    assert len(entities_of(record, scan)) == 5


@pytest.mark.parametrize(
    "text",
    [
        "at 06:08:05.229409",
        "Chrome/33.0.857.0 Mobile",
        "by phone (817503310447731)",
        "device 003146280336254 is registered",
    ],
)
def test_times_and_serial_numbers_are_no_telephones(text):
    assert scan(text) == []
    assert [e.type for e in scan("call 0031 46 280 3362")] == ["PHONE"]
