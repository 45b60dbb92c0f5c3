"""Personal data: each detector, its hard negatives, replacement, and that nothing found is told."""

import json
import resource
import stat
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from compliance.gate import check_training_data
from compliance.privacy.__main__ import main
from compliance.privacy.detectors import spelt_numbers
from compliance.privacy.entities import Entity
from compliance.privacy.names import Names
from compliance.privacy.scan import scan
from compliance.privacy.scrub import (
    Pseudonyms,
    persons_of,
    placeholder,
    read_key,
    replaced,
    scrubbed,
    texts_of,
)
from inhouse.errors import InputError
from inhouse.records import Demonstration

ROOT = Path(__file__).parents[3]
# What a search for leaks looks for; all invented.
PLANTED = {
    "CARD": "4111 1111 1111 1111",
    "SSN": "536-22-8714",
    "IBAN": "GB33 BUKB 2020 1555 5555 55",
    "EMAIL": "rosa.kline@example.com",
    "PERSON": "Rosalind Quenby",
}


def found(text: str, *names: str) -> list[tuple[str, str]]:
    listed = Names(names) if names else None
    return [(text[e.start : e.end], e.type) for e in scan(text, listed)]


# --- structured kinds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        ("Card 4111 1111 1111 1111 12/27", "4111 1111 1111 1111", "CARD"),
        ("My Amex is 3782-822463-10005.", "3782-822463-10005", "CARD"),
        ("Pay GB33BUKB20201555555555 today", "GB33BUKB20201555555555", "IBAN"),
        ("IBAN DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00", "IBAN"),
        ("SSN 536-22-8714", "536-22-8714", "SSN"),
        ("my social security number is 536228714", "536228714", "SSN"),
        ("NI number AB 12 34 56 C", "AB 12 34 56 C", "NINO"),
        ("routing number 021000021", "021000021", "ROUTING"),
        ("sort code 20-00-00", "20-00-00", "ROUTING"),
        ("account number is 55779911", "55779911", "ACCOUNT"),
        ("write to a.b+c@mail.example.co.uk.", "a.b+c@mail.example.co.uk", "EMAIL"),
        ("call me on +44 20 7946 0018", "+44 20 7946 0018", "PHONE"),
        ("my mobile: 07700 900123", "07700 900123", "PHONE"),
        ("(212) 555-0123 after six", "(212) 555-0123", "PHONE"),
        ("I was born on 4 March 1971.", "4 March 1971", "DOB"),
        ("DOB: 03/04/1971", "03/04/1971", "DOB"),
        ("logged in from 81.2.69.142 today", "81.2.69.142", "IP"),
        ("from 2001:db8::8a2e:370:7334", "2001:db8::8a2e:370:7334", "IP"),
        ("my password is hunter2!", "hunter2", "SECRET"),
        ("api_key=f20a668e07d39d41838d5e2c3ae0abdd", "f20a668e07d39d41838d5e2c3ae0abdd", "SECRET"),
        ("my PIN is 4072", "4072", "SECRET"),
        ("I live at 14 Birch Lane, Leeds LS1 4AP", "14 Birch Lane, Leeds LS1 4AP", "ADDRESS"),
        ("Lindenstraße 12", "Lindenstraße 12", "ADDRESS"),
        ("passport number 533401372", "533401372", "PASSPORT"),
        ("my SIN is 046 454 286", "046 454 286", "NATIONAL_ID"),
        ("my s/c is 20 41 15", "20 41 15", "ROUTING"),
        ("Bankleitzahl 370 400 44", "370 400 44", "ROUTING"),
        ("deposit: 026009593 / 6677889900", "026009593", "ROUTING"),
        ("deposit: 026009593 / 6677889900", "6677889900", "ACCOUNT"),
        ("Kontonr. 0648489890", "0648489890", "ACCOUNT"),
        ("500 euros depuis BE68 5390 0754 7034 hier", "BE68 5390 0754 7034", "IBAN"),
        ("lena dot vogt at beispiel dot de", "lena dot vogt at beispiel dot de", "EMAIL"),
        ("ana.gomez arroba ejemplo.es", "ana.gomez arroba ejemplo.es", "EMAIL"),
        ("Sie erreichen mich unter 0151 23456789", "0151 23456789", "PHONE"),
        ("oder 030/901820", "030/901820", "PHONE"),
        ("Llámame al 612 345 678", "612 345 678", "PHONE"),
        ("Il mio cellulare è 347 123 4567", "347 123 4567", "PHONE"),
        ("Mi fijo es 91 123 45 67", "91 123 45 67", "PHONE"),
        ("der 14. Juli 1978 ist mein Geburtstag, geboren 14. Juli 1978", "14. Juli 1978", "DOB"),
        ("Nací el 5 de mayo de 1992", "5 de mayo de 1992", "DOB"),
        ("Ich wurde am 9. September 1964 geboren.", "9. September 1964", "DOB"),
        (
            "born on the twelfth of June nineteen eighty-four in Cardiff",
            "twelfth of June nineteen eighty-four",
            "DOB",
        ),
        ("She turned eighteen on 4 April 2006", "4 April 2006", "DOB"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI/K7MDENG", "SECRET"),
        ("postgres://app:s3cr3tPa55@db.internal:5432", "s3cr3tPa55", "SECRET"),
        ("My memorable word is bluebell.", "bluebell", "SECRET"),
        ("I set N3wP@ssw0rd as my password", "N3wP@ssw0rd", "SECRET"),
        ("the three digits on the back are 447", "447", "SECRET"),
        ("PO Box 3318, Portland, OR 97208", "PO Box 3318, Portland, OR 97208", "ADDRESS"),
        ("at 3 Station Road, Hythe.", "3 Station Road, Hythe", "ADDRESS"),
        ("Reisepass C4VJ0X1R7 liegt bei", "C4VJ0X1R7", "PASSPORT"),
        ("DVLA: SMITH801062J99KA", "SMITH801062J99KA", "LICENCE"),
        ("Sécurité sociale 2 95 10 99 126 111 93", "2 95 10 99 126 111 93", "NATIONAL_ID"),
        ("Sozialversicherungsnummer 65 170839 J 008", "65 170839 J 008", "NATIONAL_ID"),
    ],
)
def test_each_kind_is_found(text, words, kind):
    assert (words, kind) in [(w.rstrip("!"), k) for w, k in found(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Order 4111 1111 1111 1111 is on its way.",
        "Your ticket 536-22-8714 is closed.",
        "Card ending in 1111.",
        "4111 1111 1111 1112 fails the check digit.",
        "The ISIN is US0378331005.",
        "It costs £1,234,567.89.",
        "The rate is 5.25% until 31 December 2027.",
        "Version 10.2.3.4 of the app.",
        "Call between 9 and 17 on 3/4/2025.",
        "A password is required.",
        "Your PIN will arrive by post.",
        "Form 1099-R and Rule 606.",
        "The fund holds 12,345,678 shares.",
        "Invoice 20250304-001 of 2025-03-04.",
        "Please keep your account number safe.",
        "The memorable word is case sensitive.",
        "The product code 713-610-9822-B stands for the reader.",
        "PIN pads were replaced in 300 shops.",
        "Employees born after 1 January 1980 get the new plan.",
        "Seite 12, Absatz 6.7.8.9",
        "Die Rechnung 0151 23456789 ist offen.",
        "At some point it will rise.",
        "We counted one, two, three, four, off we go.",
        "One hundred and twenty five thousand dollars were raised.",
    ],
)
def test_product_facts_are_left_alone(text):
    assert found(text) == []


def test_invisible_characters_do_not_hide_a_number():
    text = "Card 4111\u200b 1111 1111 1111, thanks"
    assert found(text) == [("4111\u200b 1111 1111 1111", "CARD")]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("oh seven seven double zero, nine hundred one two three", "PHONE"),
        ("four one five, five five five, two six seven one", "PHONE"),
        ("null eins sieben sechs, fünf fünf fünf eins zwei drei vier fünf", "PHONE"),
        ("four one one one, one one one one, one one one one, one one one one", "CARD"),
    ],
)
def test_numbers_that_are_spelt_out_are_found_whole(words, kind):
    assert found(f"My number is {words}, thanks.") == [(words, kind)]


def test_the_digits_of_spelt_out_numbers():
    read = spelt_numbers.in_digits("Dial twenty-one double five oh, three hundred, please.")
    assert read.text == "Dial 21550 300, please."
    assert read.original(5, 14) == (5, 45)
    assert spelt_numbers.in_digits("one or two of the three, or four") is None


def test_an_accent_that_is_a_character_of_its_own_belongs_to_its_letter():
    text = "Frau Andre\u0301 und Ren\u0065\u0301 Andre\u0301 und 4111\u0301 1111 1111 1111\u0301!"
    assert found(text, "René André") == [
        ("Andre\u0301", "PERSON"),
        ("Rene\u0301 Andre\u0301", "PERSON"),
        ("4111\u0301 1111 1111 1111\u0301", "CARD"),
    ]


def test_half_a_character_stops_no_scan():
    assert found("\ud800 card 4111 1111 1111 1111 \udfff") == [("4111 1111 1111 1111", "CARD")]


# --- names ---------------------------------------------------------------------------------------

CUSTOMERS = ("Grace Whitfield", "Will Hart", "José Núñez", "Jürgen Müller", "Mark O'Neill")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ms Whitfield's form is here.", "Whitfield"),
        ("I spoke to Grace yesterday.", "Grace"),
        ("grace whitfield wrote again", "grace whitfield"),
        ("Whitfield, Grace: case closed", "Whitfield, Grace"),
        ("G. Whitfield signed.", "G. Whitfield"),
        ("Jose Nunez has moved.", "Jose Nunez"),
        ("Herr Mueller ruft an.", "Mueller"),
        ("Please tell Will that it is done.", "Will"),
        ("Dear Mark, thank you.", "Mark"),
        ("Grace Ann Whitfield asked.", "Grace Ann Whitfield"),
        ("Señora Whitfield llamó.", "Whitfield"),
        ("Bitte schreiben Sie Herrn Müller.", "Müller"),
    ],
)
def test_customers_are_found_in_every_form(text, words):
    assert (words, "PERSON") in found(text, *CUSTOMERS)


@pytest.mark.parametrize(
    "text",
    [
        "Will you call us?",
        "There is a grace period of 15 days.",
        "Grace Period: 15 days.",
        "Mark the box below.",
        "We will mark it.",
        "Will Writing Service",
        "Mark Twain was a writer.",
        "A change of heart.",
        "a brochure of Will & Partners",
    ],
)
def test_ordinary_words_are_no_names(text):
    assert found(text, *CUSTOMERS) == []


def test_a_supplied_model_goes_behind_the_same_function():
    def model(text):
        yield Entity(0, 3, "PERSON")

    assert scan("Zoe called.", None, [model]) == [Entity(0, 3, "PERSON")]


def test_a_list_without_names_is_refused(tmp_path):
    (tmp_path / "n.txt").write_text("# nobody\n")
    with pytest.raises(InputError, match="holds no name"):
        Names.read(tmp_path / "n.txt")
    with pytest.raises(InputError, match="cannot read"):
        Names.read(tmp_path / "none.txt")


# --- replacement ---------------------------------------------------------------------------------


def test_placeholders_name_the_type():
    text = "Card 4111 1111 1111 1111, SSN 536-22-8714."
    made = replaced(text, scan(text), placeholder)
    assert made == "Card [CARD], SSN [SSN]."


def test_pseudonyms_hold_within_a_conversation_and_not_beyond():
    search = partial(scan, names=Names(["Rosalind Quenby"]))
    turns = [
        {"role": "user", "content": "I am Rosalind Quenby."},
        {"role": "assistant", "content": "Thank you, Rosalind  Quenby. Quenby it is."},
    ]
    one, other = (Pseudonyms(b"k" * 32, name) for name in ("1", "2"))
    made, counts = scrubbed({"messages": turns}, search, one)
    first = made["messages"][0]["content"].removeprefix("I am ").rstrip(".")
    assert first.startswith("[PERSON-") and first in made["messages"][1]["content"]
    assert counts == {"PERSON": 3}
    again, _ = scrubbed({"messages": turns}, search, other)
    assert first not in again["messages"][0]["content"]


def test_a_name_in_part_keeps_its_pseudonym_where_it_can_mean_one_person():
    names = partial(scan, names=Names(["Grace Höpper", "Mark Field", "Ann Field"]))
    record = {
        "messages": [
            {"role": "user", "content": "I am Grace Höpper. Mark Field and Ann Field sent me."},
            {"role": "assistant", "content": "Dear Ms Hopper, dear Mr Field, I told Grace so."},
        ]
    }
    persons = persons_of(record, names)
    told = Pseudonyms(b"k" * 32, "1", persons)
    grace, field = told("PERSON", "Grace Höpper"), told("PERSON", "Mark Field")
    assert told("PERSON", "Hopper") == told("PERSON", "GRACE") == grace
    assert len({grace, field, told("PERSON", "Ann Field"), told("PERSON", "Field")}) == 4
    made, counts = scrubbed(record, names, told)
    asked, said = (turn["content"] for turn in made["messages"])
    assert counts == {"PERSON": 6} and asked.startswith(f"I am {grace}. {field} and ")
    assert said.startswith(f"Dear Ms {grace}, dear Mr ") and said.endswith(f"I told {grace} so.")


def test_the_key_is_made_private_and_outside_run_folders(tmp_path):
    key = tmp_path / "keys" / "k"
    made = read_key(key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and len(made) >= 32
    assert read_key(key) == made
    key.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        read_key(key)
    (tmp_path / "runs" / "x").mkdir(parents=True)
    with pytest.raises(InputError, match="run folder"):
        read_key(tmp_path / "runs" / "x" / "key")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="run folder"):
        read_key(tmp_path / "keys" / "other")


def test_a_turn_of_several_parts_is_scanned_and_cleaned():
    parts = [{"type": "text", "text": f"Mail {PLANTED['EMAIL']}"}, {"type": "image", "url": "x"}]
    record = {"messages": [{"role": "user", "content": parts}]}
    assert texts_of(record) == [f"Mail {PLANTED['EMAIL']}"]
    made, counts = scrubbed(record, scan, placeholder)
    assert made["messages"][0]["content"] == [{"type": "text", "text": "Mail [EMAIL]"}, parts[1]]
    assert counts == {"EMAIL": 1}


def test_every_string_is_cleaned_metadata_too():
    mail = PLANTED["EMAIL"]
    record = {
        "prompt": [{"role": "user", "content": mail}],
        "chosen": mail,
        "rejected": "none",
        "metadata": {"topic": mail},
    }
    made, _ = scrubbed(record, scan, placeholder)
    assert made["prompt"][0]["content"] == made["chosen"] == "[EMAIL]"
    assert made["metadata"] == {"topic": "[EMAIL]"}


# --- what is trained on --------------------------------------------------------------------------


def demonstration(text: str, **metadata) -> Demonstration:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}]
    return Demonstration.model_validate({"messages": turns, "metadata": metadata})


def test_training_data_with_personal_data_is_refused_unless_cleared_or_allowed():
    clean, dirty = demonstration("Hello."), demonstration(f"My card is {PLANTED['CARD']}.")
    assert check_training_data([clean], "d.jsonl", False) == {
        "scanned": 1,
        "found": {},
        "allow_unscrubbed": False,
    }
    with pytest.raises(InputError, match="neither scrubbed nor cleared: 1 CARD") as refusal:
        check_training_data([clean, dirty], "d.jsonl", False)
    assert PLANTED["CARD"] not in str(refusal.value) and "record 2" in str(refusal.value)
    told = check_training_data([dirty], "d.jsonl", True)
    assert told == {"scanned": 1, "found": {"CARD": 1}, "allow_unscrubbed": True}
    cleared = demonstration(PLANTED["CARD"], personal_data="cleared by A. Person, 2026-11-01")
    assert check_training_data([cleared], "d.jsonl", False)["found"] == {}


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def run(run_main):
    """Run a command in this process: what it printed, and what it raised."""
    return partial(run_main, main)


@pytest.fixture
def files(tmp_path):
    """Records with everything planted, and the customer list."""
    told = "; ".join(PLANTED.values())
    records = [
        {"text": told},
        {"messages": [{"role": "user", "content": "Hello."}, {"role": "user", "content": told}]},
    ]
    data, names = tmp_path / "d.jsonl", tmp_path / "names.txt"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    names.write_text(PLANTED["PERSON"] + "\n")
    return data, names


def test_scan_json_is_one_line_a_record(run, files):
    data, names = files
    printed, raised = run("scan", data, "--names", names, "--json")
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [set(line) for line in lines] == [{"line", "entities"}] * 2
    assert {e["type"] for e in lines[0]["entities"]} == set(PLANTED)
    texts = ["; ".join(PLANTED.values()), "Hello.\n" + "; ".join(PLANTED.values())]
    for line, text in zip(lines, texts, strict=True):
        told = {text[e["start"] : e["end"]] for e in line["entities"]}
        assert told == set(PLANTED.values())
        assert all(set(e) == {"start", "end", "type"} for e in line["entities"])
    assert raised.exit_code == 2


@pytest.mark.parametrize("words", [("scan",), ("scan", "--json"), ("scrub",), ("scrub", "--key")])
def test_what_is_found_is_never_told(files, tmp_path, words):
    data, names = files
    verb, *rest = words
    rest += [str(tmp_path / "key")] if "--key" in rest else []
    out = ["--out", str(tmp_path / "out.jsonl")] if verb == "scrub" else []
    command = [sys.executable, "-m", "compliance.privacy", verb, str(data), "--names", str(names)]
    ended = subprocess.run([*command, *rest, *out], cwd=ROOT, capture_output=True, text=True)
    told = ended.stdout + ended.stderr
    if out:
        told += (tmp_path / "out.jsonl").read_text()
        assert ended.returncode == 0, ended.stderr
    for value in PLANTED.values():
        assert value not in told


@pytest.mark.parametrize("damage", ['{"text": "%s"', '["%s"]', '{"other": "%s"}'])
def test_a_broken_record_is_named_without_its_words(run, tmp_path, damage):
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n' + damage % PLANTED["SSN"] + "\n")
    printed, raised = run("scan", tmp_path / "d.jsonl")
    assert "d.jsonl, line 2" in str(raised) and raised.exit_code == 3
    assert PLANTED["SSN"] not in printed.out + printed.err + str(raised)


def test_a_reply_that_leaks_is_found_but_not_repeated():
    from compliance.rules import house_rules
    from compliance.rules.house_rules import DEFAULT

    rules = house_rules.load(DEFAULT)
    found = rules.check([], f"The number we hold is {PLANTED['SSN']}.")
    assert "PII-01" in {finding.rule for finding in found}
    assert all(PLANTED["SSN"] not in finding.text for finding in found)


def test_scrub_leaves_the_original_and_what_it_writes_scans_clean(run, files, tmp_path):
    data, names = files
    before = data.read_text()
    _, raised = run("scrub", data, "--names", names)
    assert raised is None and data.read_text() == before
    _, raised = run("scan", tmp_path / "d.clean.jsonl", "--names", names)
    assert raised is None
    _, raised = run("scrub", data, "--out", data)
    assert "give another --out" in str(raised)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "FOLDER"), "is a folder: give another --out"),
        (("--out", "DATA/x.jsonl"), "cannot write"),
        (("--key", "FOLDER"), "is a folder: name the key's file"),
    ],
)
def test_what_cannot_be_written_is_told(run, files, tmp_path, words, said):
    (tmp_path / "folder").mkdir()
    places = {"FOLDER": str(tmp_path / "folder"), "DATA": str(files[0])}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    _, raised = run("scrub", files[0], *words)
    assert said in str(raised) and raised.exit_code == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"text": "\\ud800"}', "line 2: half a character"),
        ('{"text": "a", "text": "b"}', "line 2: the key 'text' stands there twice"),
        ('{"text": 5}', "line 2: no text in any of the fields"),
        ("[" * 100_000, "line 2: nested too deep"),
    ],
)
def test_a_record_that_cannot_be_read_names_its_line(run, tmp_path, row, said):
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n' + row + "\n")
    for verb in ("scan", "scrub"):
        _, raised = run(verb, tmp_path / "d.jsonl")
        assert said in str(raised) and raised.exit_code == 3


def test_plain_text_is_scrubbed_as_a_whole(run, tmp_path):
    (tmp_path / "t.txt").write_text("Mail rosa.kline@example.com\nnow.\n")
    run("scrub", tmp_path / "t.txt")
    assert (tmp_path / "t.clean.txt").read_text() == "Mail [EMAIL]\nnow.\n"


def test_400_texts_of_100_words_a_second():
    text = "Please send the form to 14 Birch Lane, call 020 7946 0018 by 3 May 2025. " * 7
    names = Names([f"Name{n} Family{n}" for n in range(500)])
    seconds = []
    for _ in range(3):  # the first fills caches; other work may slow any
        before = time.process_time()
        for number in range(200):
            scan(f"{text} {number}", names)
        seconds.append(time.process_time() - before)
    assert 200 / min(seconds) >= 400


def test_help_needs_no_second_and_no_torch():
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()  # the processor's time: other processes may have the cores
    words = ["-X", "importtime", "-m", "compliance.privacy", "scan", "--help"]
    ended = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0 and "--ner_model" in ended.stdout and "--allow" in ended.stdout
    assert spent() - before < 1
    assert "argparse" in ended.stderr and "torch" not in ended.stderr


@pytest.mark.parametrize(
    "text",
    [
        "The return of the Gehijo Equity Token was 5.60%.rokersme a few years.",
        "The Velquor Bond Token: 2.50%x a year",
    ],
)
def test_a_rate_behind_the_word_token_is_no_secret(text):
    assert scan(text) == []
    assert [e.type for e in scan("the token is aB3dE5gH7jK9")] == ["SECRET"]


@pytest.mark.parametrize("stuck", ["1" * 60, "10" * 30, "-" * 40, "A" * 32])
def test_a_model_that_cannot_stop_tells_no_secret(stuck):
    assert scan(f"Exposure to the Quelpdaap Token starts at a minimum of ${stuck}") == []
    assert scan(f"The token is {stuck}") == []


def test_a_table_is_scrubbed_as_a_table_and_read_again(run, tmp_path):
    import pyarrow
    from pyarrow import parquet

    from inhouse.records import Demonstration, read

    mail = "rosa.kline@example.com"
    turns = json.dumps([{"role": "user", "content": f"x\n{mail}"}]).replace('"', '""')
    table = f'prompt,completion,metadata\r\n"Who, me?",{mail},\r\n'
    table += '0049,None,"{""topic"": ""x""}"\r\n'
    (tmp_path / "d.csv").write_bytes(table.encode())
    (tmp_path / "m.csv").write_text(f'messages\n"{turns}"\n')
    rows = pyarrow.Table.from_pylist([{"prompt": "q", "completion": mail, "metadata": {"n": 1}}])
    parquet.write_table(rows, tmp_path / "d.parquet")

    for name in ("d.csv", "d.parquet", "m.csv"):
        _, raised = run("scan", tmp_path / name)
        assert raised.exit_code == 2
        _, raised = run("scrub", tmp_path / name)
        assert raised is None
    clean = (tmp_path / "d.clean.csv").read_bytes().decode()
    assert clean == table.replace(mail, "[EMAIL]")
    held = (tmp_path / "m.clean.csv").read_text()
    assert json.loads(held.splitlines()[1][1:-1].replace('""', '"'))[0]["content"] == "x\n[EMAIL]"
    assert parquet.read_table(tmp_path / "d.clean.parquet").schema == rows.schema
    for name in ("d.csv", "d.parquet"):
        _, raised = run("scrub", tmp_path / name, "--out", tmp_path / "again.jsonl")
        assert raised is None
        records = read(tmp_path / "again.jsonl", Demonstration)
        assert records[0].messages[1].content == "[EMAIL]"
    _, raised = run("scrub", tmp_path / "d.parquet", "--out", tmp_path / "x.csv")
    assert "give an --out that ends in .parquet or .jsonl" in str(raised)
