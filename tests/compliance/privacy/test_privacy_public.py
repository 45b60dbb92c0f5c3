"""A firm's own public contacts: left alone where they stand whole, and only kinds one publishes."""

import json
import sys

import pytest

from compliance.gate import check_training_data
from compliance.privacy.__main__ import main
from compliance.privacy.entities import Entity
from compliance.privacy.public_contacts import PublicContacts
from compliance.privacy.scan import scan
from compliance.privacy.scrub import cleared_by_list
from compliance.privacy.supplied import Supplied
from inhouse.errors import GateError, InputError
from inhouse.records import Demonstration

OURS = ("+44 20 7946 0018", "help@asdfg.example", "14 Birch Lane, Leeds LS1 4AP", "Café 9 Élan")


def found(text: str, *ours: str) -> list[tuple[str, str]]:
    return [
        (text[e.start : e.end], e.type) for e in scan(text, public=PublicContacts(ours or OURS))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Call us on +44 20 7946 0018.",
        "Call +44 20  7946\n0018 now",
        "Write to Help@ASDFG.example, or come by.",
        "We are at 14 Birch Lane, Leeds LS1 4AP.",
        "Write to help@asdfg\u200b.example",
    ],
)
def test_public_contacts_are_left_alone(text):
    assert scan(text), "without the list it is found"
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        ("Call +44 20 7946 0019.", "+44 20 7946 0019", "PHONE"),
        ("Mail nohelp@asdfg.example.", "nohelp@asdfg.example", "EMAIL"),
        ("Mail no.help@asdfg.example.", "no.help@asdfg.example", "EMAIL"),
        ("Mail help@asdfg.example.com.", "help@asdfg.example.com", "EMAIL"),
        ("I live at 114 Birch Lane, Leeds LS1 4AP.", "114 Birch Lane, Leeds LS1 4AP", "ADDRESS"),
    ],
)
def test_what_only_resembles_a_contact_or_holds_one_is_found(text, words, kind):
    assert found(text) == [(words, kind)]


def test_part_of_a_contact_is_no_more_than_the_contact():
    # The detector sees the street only; the list has the name above it as well.
    text = "Asdfg Bank, 14 Birch Lane, Leeds LS1 4AP"
    assert [text[e.start : e.end] for e in scan(text)] == ["14 Birch Lane, Leeds LS1 4AP"]
    assert found(text, text) == []


@pytest.mark.parametrize(
    ("text", "listed", "kind"),
    [
        ("My card is 4111 1111 1111 1111.", "4111 1111 1111 1111", "CARD"),
        ("My password is hunter2", "My password is hunter2", "SECRET"),
        ("SSN 536-22-8714", "536-22-8714", "SSN"),
    ],
)
def test_no_list_lets_through_what_nobody_publishes(text, listed, kind):
    assert [k for _, k in found(text, listed)] == [kind]


def test_a_contact_is_literal_not_a_pattern():
    assert found("Mail helpXasdfg@asdfg.example", ".*", "help.asdfg@asdfg.example") != []


def test_a_supplied_models_hit_inside_a_contact_is_left_alone():
    text = "Visit Café 9 Élan, or ask Zoë."

    def model(text):
        yield Entity(6, 17, "PERSON")
        yield Entity(26, 29, "PERSON")

    kept = scan(text, extra=[model], public=PublicContacts(OURS))
    assert [text[e.start : e.end] for e in kept] == ["Zoë"]


@pytest.mark.parametrize("lines", ["", "# ours\n\n", "\u200b\n"])
def test_a_list_without_contacts_is_refused(tmp_path, lines):
    (tmp_path / "ours.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(InputError, match="holds no contact"):
        PublicContacts.read(tmp_path / "ours.txt")


def test_a_missing_list_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        PublicContacts.read(tmp_path / "ours.txt")


# --- the commands, and the way to training -------------------------------------------------------


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["privacy", *map(str, words)])
        main()
        return capsys.readouterr()

    return call


@pytest.fixture
def files(tmp_path):
    """Three demonstrations: one with a public contact, one with a customer's, one with neither."""
    texts = ("Call +44 20 7946 0018.", "Call +44 20 7946 0019.", "Call us.")
    records = [
        {
            "messages": [
                {"role": "user", "content": "How?"},
                {"role": "assistant", "content": text},
            ],
            "metadata": {"topic": "contact"},
        }
        for text in texts
    ]
    data, ours = tmp_path / "d.jsonl", tmp_path / "ours.txt"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    ours.write_text("# our own\n\n+44 20 7946 0018\n")
    return data, ours


def test_scan_passes_over_what_is_allowed(run, files, capsys):
    data, ours = files
    with pytest.raises(GateError, match="2 pieces"):
        run("scan", data)
    capsys.readouterr()
    with pytest.raises(GateError, match="1 pieces"):
        run("scan", data, "--allow", ours)
    assert capsys.readouterr().out.startswith(f"{data}:2: ")


def test_scrub_leaves_what_is_allowed_and_training_takes_what_it_wrote(run, files, tmp_path):
    data, ours = files
    out = tmp_path / "clean.jsonl"
    run("scrub", data, "--allow", ours, "--out", out)
    made = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["messages"][1]["content"] for record in made] == [
        "Call +44 20 7946 0018.",
        "Call [PHONE].",
        "Call us.",
    ]
    said = [record["metadata"].get("personal_data") for record in made]
    assert said[0].startswith("cleared by ours.txt, sha256 ") and said[1:] == [None, None]
    assert all(record["metadata"]["topic"] == "contact" for record in made)
    demonstrations = [Demonstration.model_validate(record) for record in made]
    assert check_training_data(demonstrations, "d", False)["found"] == {}
    before = [
        Demonstration.model_validate(json.loads(line)) for line in data.read_text().splitlines()
    ]
    with pytest.raises(InputError, match=r"2 PHONE(.|\n)*--allow FILE"):
        check_training_data(before, "d", False)


def test_training_takes_what_the_firm_itself_supplies(files, tmp_path):
    data, ours = files
    records = [
        Demonstration.model_validate(json.loads(line)) for line in data.read_text().splitlines()
    ]
    search = Supplied.read(allow=ours)
    assert check_training_data(records[::2], "d", False, search)["found"] == {}
    with pytest.raises(InputError, match="1 PHONE"):  # the customer's
        check_training_data(records, "d", False, search)
    (tmp_path / "names.txt").write_text("Rosalind Quenby\n")
    named = Demonstration.model_validate({"prompt": "I am Rosalind Quenby.", "completion": "Yes."})
    assert check_training_data([named], "d", False)["found"] == {}
    search = Supplied.read(names=tmp_path / "names.txt")
    with pytest.raises(InputError, match="1 PERSON"):
        check_training_data([named], "d", False, search)


def test_what_a_person_has_said_about_a_record_stays():
    record = {"text": OURS[0], "metadata": {"personal_data": "cleared by A. Person"}}
    assert cleared_by_list(record, PublicContacts(OURS), "list") == record
