"""Records: what is read, what is refused and in which words, and what survives a kill."""

import json
from pathlib import Path

import pytest

from inhouse.errors import InputError
from inhouse.records import (
    CandidatePair,
    Demonstration,
    Journal,
    Message,
    Preference,
    Prompt,
    Verdict,
    content_id,
    read,
    to_line,
    write,
)

GOOD = {
    "messages": [
        {"role": "user", "content": "What is the fee?"},
        {"role": "assistant", "content": "It is 1.20%."},
    ]
}


def lines(path: Path, *rows: object, ending: str = "\n") -> Path:
    texts = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_bytes("".join(text + ending for text in texts).encode())
    return path


def conversation(*roles: str, content: str = "x") -> dict:
    return {"messages": [{"role": role, "content": content} for role in roles]}


def fault(path: Path, kind: type = Demonstration) -> str:
    with pytest.raises(InputError) as refusal:
        read(path, kind)
    return str(refusal.value)


# --- what is read -----------------------------------------------------------------------------


def test_records_keep_text_as_it_stands(tmp_path):
    text = "  Ünïcode 😀, a line\nbreak, \u2028 and trailing space "
    row = {"messages": [GOOD["messages"][0], {"role": "assistant", "content": text}]}
    assert read(lines(tmp_path / "d.jsonl", row), Demonstration)[0].messages[1].content == text


def test_what_is_written_is_read_back_equal(tmp_path):
    text = '\u2028 \u0085 😀 \\ " \r\n \x0b'
    record = Demonstration(
        messages=[Message(role="user", content=text), Message(role="assistant", content=text)],
        metadata={"topic": text, "n": 1.5, "list": [None, True]},
    )
    write(tmp_path / "d.jsonl", [record, record])
    assert read(tmp_path / "d.jsonl", Demonstration) == [record, record]


def test_crlf_and_blank_lines_and_a_missing_last_newline_are_fine(tmp_path):
    path = lines(tmp_path / "d.jsonl", GOOD, "", GOOD, ending="\r\n")
    assert len(read(path, Demonstration)) == 2
    path.write_bytes(path.read_bytes().rstrip())
    assert len(read(path, Demonstration)) == 2


def test_a_byte_order_mark_is_not_part_of_the_first_record(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\n")
    assert len(read(path, Demonstration)) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "completion": "a"},
        {
            "prompt": [{"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": "a"}],
        },
    ],
)
def test_prompt_and_completion_become_messages(tmp_path, row):
    messages = read(lines(tmp_path / "d.jsonl", row), Demonstration)[0].messages
    assert [(m.role, m.content) for m in messages] == [("user", "q"), ("assistant", "a")]


def test_an_unpaired_answer_that_was_disliked_is_no_demonstration(tmp_path):
    # TRL's unpaired shape is prompt, completion and label: false is an example of what not to say.
    row = {"prompt": "q", "completion": "a", "label": False}
    assert "label" in fault(lines(tmp_path / "d.jsonl", {**row, "label": True}, row))


def test_the_shared_beginning_of_two_conversations_is_the_prompt(tmp_path):
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    row = {
        "chosen": [*asked, {"role": "assistant", "content": "good"}],
        "rejected": [*asked, {"role": "assistant", "content": "bad"}],
    }
    record = read(lines(tmp_path / "p.jsonl", row), Preference)[0]
    assert [m.content for m in record.prompt] == ["s", "q"]
    assert (record.chosen[0].content, record.rejected[0].content) == ("good", "bad")


def test_a_preference_of_plain_strings_becomes_messages(tmp_path):
    row = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    record = read(lines(tmp_path / "p.jsonl", row), Preference)[0]
    assert [m.role for m in (*record.prompt, *record.chosen)] == ["user", "assistant"]


def test_facts_are_a_list_of_texts_and_numbers_become_texts(tmp_path):
    row = {"prompt": "q", "metadata": {"facts": ["Velquor Note", 5.25]}}
    assert read(lines(tmp_path / "p.jsonl", row), Prompt)[0].facts == ["Velquor Note", "5.25"]
    assert read(lines(tmp_path / "p.jsonl", {"prompt": "q"}), Prompt)[0].facts == []


@pytest.mark.parametrize("facts", ["5.25%", 5, {"fee": "5.25%"}, [""], [["5.25%"]]])
def test_facts_that_are_no_list_of_texts_are_refused(tmp_path, facts):
    # A plain string would be taken letter by letter: any answer with a 5, a dot and a 2 states it.
    row = {"prompt": "q", "metadata": {"facts": facts}}
    message = fault(lines(tmp_path / "p.jsonl", row), Prompt)
    assert "line 1" in message and "facts" in message


def test_facts_of_null_are_none_as_a_parquet_file_has_them(tmp_path):
    row = {"prompt": "q", "metadata": {"facts": None, "topic": "fee"}}
    assert read(lines(tmp_path / "p.jsonl", row), Prompt)[0].facts == []


def test_a_parquet_file_and_a_saved_folder_are_read_like_jsonl(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import datasets

    rows = [GOOD, {"messages": [{"role": "system", "content": "s"}, *GOOD["messages"]]}]
    table = datasets.Dataset.from_list(rows)
    table.to_parquet(str(tmp_path / "d.parquet"))
    table.save_to_disk(str(tmp_path / "saved"))
    expected = read(lines(tmp_path / "d.jsonl", *rows), Demonstration)
    assert read(tmp_path / "d.parquet", Demonstration) == expected
    assert read(tmp_path / "saved", Demonstration) == expected


# --- what is refused --------------------------------------------------------------------------


def test_broken_json_names_file_and_line_and_column(tmp_path):
    message = fault(lines(tmp_path / "d.jsonl", GOOD, "", '{"messages": [}', GOOD))
    assert f"{tmp_path / 'd.jsonl'}, line 3: not JSON" in message
    assert "column 15" in message


def test_a_wrong_encoding_names_the_line_and_the_way_out(tmp_path):
    path = lines(tmp_path / "d.jsonl", GOOD)
    path.write_bytes(path.read_bytes() + '{"messages": "Gebühr"}\n'.encode("latin-1"))
    message = fault(path)
    assert "line 2: not UTF-8 at byte 17" in message and "save the file as UTF-8" in message


def test_utf_16_is_refused_as_an_encoding(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(json.dumps(GOOD).encode("utf-16"))
    assert "line 1: not UTF-8" in fault(path)


@pytest.mark.parametrize("row", [[], "text", 5, None, [GOOD]])
def test_a_line_that_is_no_object_is_refused(tmp_path, row):
    message = fault(lines(tmp_path / "d.jsonl", GOOD, json.dumps(row)))
    assert "line 2: expected a JSON object" in message


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "human", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({**GOOD, "metadata": "x"}, "metadata"),
    ],
)
def test_a_missing_or_wrong_field_is_named(tmp_path, row, field):
    assert f"line 1: field '{field}'" in fault(lines(tmp_path / "d.jsonl", row))


def test_a_word_that_is_none_of_those_expected_is_shown(tmp_path):
    row = {"messages": [{"role": "asistant", "content": "x"}]}
    assert "or 'assistant', found 'asistant'" in fault(lines(tmp_path / "d.jsonl", row))


@pytest.mark.parametrize(
    "roles",
    [
        ("assistant",),
        ("assistant", "user", "assistant"),
        ("user", "user", "assistant"),
        ("user", "assistant", "assistant"),
        ("user", "system", "assistant"),
        ("system", "system", "user", "assistant"),
        ("system", "assistant"),
        ("user",),
        ("system",),
        ("user", "assistant", "user"),
    ],
)
def test_roles_out_of_order_are_refused(tmp_path, roles):
    message = fault(lines(tmp_path / "d.jsonl", conversation(*roles)))
    assert "line 1: field 'messages'" in message
    assert "out of order" in message or "must end with a 'assistant' turn" in message


@pytest.mark.parametrize(
    "roles", [("user", "assistant"), ("system", "user", "assistant", "user", "assistant")]
)
def test_roles_in_order_are_read(tmp_path, roles):
    assert read(lines(tmp_path / "d.jsonl", conversation(*roles)), Demonstration)


@pytest.mark.parametrize("reply", ["", " ", "\n\t", "\u00a0\u2003"])
def test_an_empty_reply_is_refused(tmp_path, reply):
    row = {"messages": [GOOD["messages"][0], {"role": "assistant", "content": reply}]}
    assert "field 'messages.1.content': is empty" in fault(lines(tmp_path / "d.jsonl", row))


@pytest.mark.parametrize("name", ["x", 7])
def test_a_second_record_with_the_same_id_is_refused(tmp_path, name):
    message = fault(lines(tmp_path / "d.jsonl", {**GOOD, "id": name}, GOOD, {**GOOD, "id": name}))
    assert f"line 3: id {name!r} stands already in line 1" in message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \r\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "d.jsonl"
    path.write_bytes(content)
    assert f"{path} holds no record" in fault(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    assert f"no file {tmp_path / 'd.jsonl'}" in fault(tmp_path / "d.jsonl")


def test_all_broken_lines_are_counted_and_the_first_ones_named(tmp_path):
    message = fault(lines(tmp_path / "d.jsonl", *["{", GOOD] * 5))
    assert [f"line {n}:" in message for n in (1, 3, 5, 7, 9)] == [True, True, True, False, False]
    assert "2 more broken lines" in message
    assert "a demonstration needs: messages" in message


@pytest.mark.parametrize(
    ("given", "kept"),
    [("rewrite", "rewrite"), ("ultrafeedback", None), (7, None), (["a"], None), (None, None)],
)
def test_where_a_preference_is_from_is_kept_if_a_reviewer_rewrote_it(
    write_lines, tmp_path, given, kept
):
    row = {"prompt": "Q?", "chosen": "Yes.", "rejected": "No.", "source": given}
    (record,) = read(write_lines(tmp_path / "p.jsonl", [row]), Preference)
    write(tmp_path / "again.jsonl", [record])
    assert read(tmp_path / "again.jsonl", Preference)[0].source == record.source == kept
    assert ('"source"' in (tmp_path / "again.jsonl").read_text()) == bool(kept)


def test_the_same_answer_twice_is_no_preference(tmp_path):
    for chosen, rejected in (("same", "same"), ("f\u00fcnf", "fu\u0308nf")):
        row = {"prompt": "q", "chosen": chosen, "rejected": rejected}
        assert "same answer" in fault(lines(tmp_path / "p.jsonl", row), Preference)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "q", "chosen": "a"}, "rejected"),
        ({"chosen": "a", "rejected": "b"}, "prompt"),
        ({"prompt": "q", "chosen": "", "rejected": "b"}, "chosen"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "margin": "high"}, "margin"),
        ({"prompt": "q", "chosen": [], "rejected": "b"}, "chosen"),
        (
            {"prompt": "q", "chosen": [{"role": "user", "content": "a"}], "rejected": "b"},
            "chosen must be one assistant turn",
        ),
    ],
)
def test_a_broken_preference_names_what_is_wrong(tmp_path, row, said):
    message = fault(lines(tmp_path / "p.jsonl", row), Preference)
    assert "line 1" in message and said in message


def test_a_margin_that_is_no_number_is_refused(tmp_path):
    # Python's json reads NaN and Infinity, which are not JSON; one of them spoils every mean.
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "q", "chosen": "a", "rejected": "b", "margin": NaN}\n')
    assert "margin" in fault(path, Preference)


PAIR = {
    "id": "1",
    "prompt": [{"role": "user", "content": "q"}],
    "response_a": "a",
    "response_b": "b",
    "source_a": {},
    "source_b": {},
    "findings_a": [],
    "findings_b": [],
}


@pytest.mark.parametrize(
    "change", [{"response_a": " "}, {"response_a": "b"}, {"prompt": []}, {"gold": "c"}]
)
def test_a_pair_that_cannot_be_compared_is_refused(tmp_path, change):
    assert read(lines(tmp_path / "c.jsonl", PAIR), CandidatePair)
    assert "line 1" in fault(lines(tmp_path / "c.jsonl", {**PAIR, **change}), CandidatePair)


# --- names and files --------------------------------------------------------------------------


def test_a_content_id_depends_on_content_only():
    assert content_id({"a": 1, "b": 2}) == content_id({"b": 2, "a": 1})
    assert content_id("ab", "c") != content_id("a", "bc")
    assert len(content_id("x")) == 12 and int(content_id("x"), 16) >= 0


def record(text: str) -> Demonstration:
    return Demonstration(
        messages=[Message(role="user", content="q"), Message(role="assistant", content=text)]
    )


def test_a_journal_goes_on_behind_the_last_whole_line(tmp_path):
    first = Journal(tmp_path / "o.jsonl", Demonstration)
    first.append([record("one"), record("two \u2028 😀")])
    part = tmp_path / "o.jsonl.part"
    part.write_bytes(part.read_bytes() + to_line(record("three")).encode()[:-5])  # a torn line

    again = Journal(tmp_path / "o.jsonl", Demonstration)
    assert again.records == [record("one"), record("two \u2028 😀")]
    again.append([record("four")])
    assert not (tmp_path / "o.jsonl").exists(), "a half file has the final name"
    kept = again.finish()
    assert kept == read(tmp_path / "o.jsonl", Demonstration)
    assert [r.messages[1].content for r in kept] == ["one", "two \u2028 😀", "four"]
    assert not part.exists()


def test_a_journal_that_was_finished_before_the_kill_is_not_lost(tmp_path):
    # Between the rename and the manifest a stage still counts and draws its report.
    journal = Journal(tmp_path / "o.jsonl", Demonstration)
    journal.append([record("one")])
    journal.finish()
    again = Journal(tmp_path / "o.jsonl", Demonstration)
    assert again.records == [record("one")]
    assert again.finish() == [record("one")]
    assert read(tmp_path / "o.jsonl", Demonstration) == [record("one")]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "d.jsonl"
    write(path, [record("old")])

    def broken():
        yield record("new")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write(path, broken())
    assert read(path, Demonstration) == [record("old")]


# --- verdicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"verdict": "maybe"}, "verdict"), ({"spans": [{"rule": "R", "start": 1}]}, "spans.0.end")],
)
def test_a_verdict_that_is_none_is_refused(write_lines, tmp_path, changes, field):
    row = {"output_id": "o", "reviewer": "ann", "verdict": "fail", "submitted_at": "2026-12-01"}
    assert read(write_lines(tmp_path / "good.jsonl", [row]), Verdict)[0].rules == []
    with pytest.raises(InputError, match=f"line 1: field '{field}'"):
        read(write_lines(tmp_path / "bad.jsonl", [row | changes]), Verdict)
