"""Files as users bring them: other shapes, tables, keys that mean something, and broken bytes."""

import gzip
import json
import re

import pytest

from inhouse.errors import InputError
from inhouse.records import Demonstration, Message, Preference, positions, read, to_line

ASKED = {"role": "user", "content": "q"}
SAID = {"role": "assistant", "content": "a"}


def write(path, content):
    if isinstance(content, dict | list):
        rows = content if isinstance(content, list) else [content]
        content = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path, kind=Demonstration):
    with pytest.raises(InputError) as refusal:
        read(path, kind)
    return str(refusal.value)


def turns(path):
    return [(m.role, m.content) for m in read(path, Demonstration)[0].messages]


# --- keys of a turn -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {"tool_calls": [{"function": {"name": "track"}}]},
        {"reasoning_content": "Three times twelve."},
        {"thinking": "hm"},
        {"name": "anna"},
        {"anything": 0},
        {"weight": 0.5},
        {"train": "no"},
        {"weight": 0, "train": True},
    ],
)
def test_a_key_of_a_turn_that_is_not_heeded_is_refused_by_line(tmp_path, keys):
    rows = [{"messages": [ASKED, SAID]}, {"messages": [ASKED, {**SAID, **keys}]}]
    message = refused(write(tmp_path / "d.jsonl", rows))
    assert "line 2: field 'messages.1'" in message and next(iter(keys)) in message


def test_a_key_that_is_null_or_empty_says_nothing(tmp_path):
    turn = {**SAID, "tool_calls": [], "reasoning_content": None, "weight": None}
    record = read(write(tmp_path / "d.jsonl", {"messages": [ASKED, turn]}), Demonstration)[0]
    assert record.messages[1] == Message(role="assistant", content="a")


@pytest.mark.parametrize("mark", [{"weight": 0}, {"weight": 0.0}, {"train": False}])
def test_a_turn_of_no_weight_is_context_and_stays_so_when_written(tmp_path, mark):
    row = {"messages": [ASKED, {**SAID, **mark}, ASKED, {**SAID, "content": "b", "weight": 1}]}
    record = read(write(tmp_path / "d.jsonl", row), Demonstration)[0]
    assert [turn.train for turn in record.messages] == [True, False, True, True]
    written = json.loads(to_line(record))["messages"]
    assert [turn.get("train") for turn in written] == [None, False, None, None]
    assert read(write(tmp_path / "e.jsonl", to_line(record)), Demonstration) == [record]


def test_a_conversation_without_a_turn_to_learn_is_refused(tmp_path):
    row = {"messages": [ASKED, {**SAID, "weight": 0}]}
    assert "no turn to learn" in refused(write(tmp_path / "d.jsonl", row))
    pair = {"prompt": "q", "chosen": [{**SAID, "weight": 0}], "rejected": "b"}
    message = refused(write(tmp_path / "p.jsonl", pair), Preference)
    assert "chosen is marked as not to be learned" in message
    row = {"messages": [{**ASKED, "weight": 1}, SAID]}
    assert "not the assistant's" in refused(write(tmp_path / "d.jsonl", row))


@pytest.mark.parametrize("mark", [{"weight": 0}, {"train": False}, {"system": "Be brief."}])
def test_a_mark_on_a_whole_record_is_not_ignored(tmp_path, mark):
    row = {"messages": [ASKED, SAID], **mark}
    assert f"line 1: holds '{next(iter(mark))}'" in refused(write(tmp_path / "d.jsonl", row))


# --- JSON that cannot be trusted ------------------------------------------------------------------

TURN = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "%s"}]}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"messages": 1, "messages": 2}', "the key 'messages' stands there twice"),
        ('{"messages": [{"role": "user", "content": "x", "content": "y"}]}', "'content' stands"),
        ('{"score": NaN}', "'score' is nan"),
        ('{"metadata": {"a": [-Infinity]}}', "'metadata.a.0' is -inf"),
        ('{"score": 1e999}', "'score' is inf"),
        (TURN % ("Hi \\ud83d", "a"), "half a character"),
        ('{"\\udc00": 1}', "half a character"),
        (TURN % ("Hi\\u0000", "a"), "a NUL character"),
        (TURN % ("q", "\\u200b\\u2060"), "'messages.1.content': is empty"),
        (TURN % ("q", "\\ufeff\\u3164\\ufe0f"), "'messages.1.content': is empty"),
        ('{"x": ' + "[" * 10_000 + "]" * 10_000 + "}", "nested too deep"),
        ('{"x": ' + "[" * 150 + "]" * 150 + "}", "nested too deep"),
        ('{"x": ' + "9" * 5000 + "}", "a number of 5,000 digits"),
        ('{"messages": [{"role": "user", "content": 42}]}', "valid string, found 42"),
        ('{"messages": [{"role": "user", "content": null}]}', "valid string, found null"),
    ],
)
def test_what_would_be_lost_or_fail_further_on_is_refused_by_line(tmp_path, line, said):
    message = refused(write(tmp_path / "d.jsonl", TURN % ("q", "a") + "\n" + line + "\n"))
    assert "line 2: " in message and said in message


def test_emoji_and_other_scripts_are_seen(tmp_path):
    for text in ("👩‍👩‍👧", "متى", "❤️", "…", "日本"):
        assert turns(write(tmp_path / "d.jsonl", TURN % ("q", text)))[1] == ("assistant", text)


# --- tables ---------------------------------------------------------------------------------------


def test_a_cell_is_a_text_and_a_record_has_the_line_it_begins_in(tmp_path):
    table = '\ufeffprompt,completion\r\n0049,None\r\n"a, ""b""\r\nc",True\r\n\r\nq,1e5\r\n'
    path = write(tmp_path / "d.CSV", table)
    said = [[m.content for m in r.messages] for r in read(path, Demonstration)]
    assert said == [["0049", "None"], ['a, "b"\r\nc', "True"], ["q", "1e5"]]
    assert positions(path, 3) == ["line 2", "line 3", "line 6"]
    tabs = write(tmp_path / "d.tsv", "prompt\tcompletion\nq, r\ta\n")
    assert turns(tabs)[0] == ("user", "q, r")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.csv", "prompt,completion\nq,a\nq,a, b\n", "line 3: 3 cells, the head has 2"),
        ("d.csv", "prompt,completion\nq\n", "line 2: 1 cells, the head has 2"),
        ("d.csv", "prompt;completion\nq;a\n", "parted by semicolons, expected commas"),
        ("d.csv", "prompt\tcompletion\nq\ta\n", "parted by tabs"),
        ("d.csv", "", "is empty"),
        ("d.csv", "prompt,completion\n", "holds no record"),
        ("d.csv", "prompt,prompt\nq,a\n", "two columns are called 'prompt'"),
        ("d.csv", 'prompt,completion\nq,a\nq,"a\n', "line 3: a quote opens here"),
        ("d.csv", 'prompt,completion\nq, "a"\n', "a blank before a quote"),
        ("d.csv", "prompt,completion\nq,\n", "is empty: every turn needs text"),
        ("d.csv", "prompt,completion\nq,fünf\n".encode("cp1252"), "line 2: not UTF-8"),
        ("d.csv", "prompt,completion\nq,a\n".encode("utf-16"), "it begins as UTF-16"),
        ("d.csv", "question,answer\nq,a\n", "call them prompt and completion"),
        ("d.csv", "prompt,completion,label\nq,a,False\n", "label is false"),
        ("d.parquet", "PAR1 this is no table", "cannot read"),
        ("d.arrow", "no table", "cannot read"),
        ("d.xlsx", "x", "save the sheet as CSV UTF-8"),
        ("d.zst", "x", "unpack it"),
        ("d.doc", "x", "which is not read"),
        ("d.jsonl.gz", "x", "cannot unpack"),
    ],
)
def test_a_file_that_could_be_misread_is_refused_by_name(tmp_path, name, content, said):
    message = refused(write(tmp_path / name, content))
    assert str(tmp_path / name) in message and said in message
    assert not re.search(r"[.:;,][.:;,]", message), "a library's full stop inside our sentence"


def test_json_in_a_column_is_read_or_named(tmp_path, capsys):
    held = json.dumps([ASKED, SAID]).replace('"', '""')
    path = write(tmp_path / "d.csv", f'messages,metadata\n"{held}","{{""topic"": ""fees""}}"\n')
    record = read(path, Demonstration)[0]
    assert record.messages[1].content == "a" and record.metadata == {"topic": "fees"}
    assert "1 of 1 records read as JSON inside a text column" in capsys.readouterr().err
    message = refused(write(tmp_path / "e.csv", f'messages\n"{[ASKED, SAID]}"\n'))
    assert "line 2: field 'messages'" in message and "json.dumps" in message


def test_columns_of_parquet_are_read_as_they_are_and_null_is_absent(tmp_path, monkeypatch):
    import pyarrow
    from pyarrow import ipc, parquet

    rows = [{"prompt": "0049", "completion": "None", "metadata": None}]
    rows += [{"prompt": "q", "completion": "True", "metadata": {"topic": "x"}}]
    table = pyarrow.Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "d.parquet")
    with ipc.new_file(str(tmp_path / "d.arrow"), table.schema) as file:
        file.write_table(table)
    for name in ("d.parquet", "d.arrow"):
        found = read(tmp_path / name, Demonstration)
        assert [r.messages[1].content for r in found] == ["None", "True"]
        assert [r.metadata for r in found] == [{}, {"topic": "x"}]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.arrow", "d.parquet"]


# --- endings and shapes ---------------------------------------------------------------------------


def test_json_lines_by_other_names_and_arrays_are_read_with_their_lines(tmp_path):
    line = json.dumps({"messages": [ASKED, SAID]}).encode()
    packed = {"d.JSONL": line, "d.ndjson": line, "d.json": line, "d.jsonl.gz": gzip.compress(line)}
    packed["e.json"] = b'{\n "messages": ' + json.dumps([ASKED, SAID]).encode() + b"\n}\n"
    for name, content in packed.items():
        assert turns(write(tmp_path / name, content)) == [("user", "q"), ("assistant", "a")]
    array = write(tmp_path / "a.json", b"[\n" + line + b",\n\n" + line + b"\n]\n")
    assert len(read(array, Demonstration)) == 2 and positions(array, 2) == ["line 2", "line 4"]
    message = refused(write(tmp_path / "b.json", b"[\n" + line + b",\n{]\n"))
    assert "line 3: not JSON" in message
    assert "named .json" in refused(write(tmp_path / "a.jsonl", b"[\n" + line + b"\n]\n"))


WHOLE = [ASKED, SAID]
HUMAN = {"from": "human", "value": "q"}
SHAPES = [
    ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "Share"),
    ({"instruction": "q", "input": "", "output": "a"}, "Alpaca"),
    ({"messages": [{**ASKED, "content": [{"type": "text", "text": "q"}]}, SAID]}, "parts"),
    ({"conversation": [ASKED, SAID]}, "role and content"),
    ({"prompt": "q", "completion": [ASKED, SAID]}, "whole conversations"),
]


@pytest.mark.parametrize(("row", "said"), SHAPES)
def test_a_shape_from_elsewhere_is_read_and_told(tmp_path, capsys, row, said):
    assert turns(write(tmp_path / "d.jsonl", row)) == [("user", "q"), ("assistant", "a")]
    told = capsys.readouterr().err
    assert "1 of 1 records read as" in told and said in told


def test_a_prompt_beside_whole_conversations_is_taken_once(tmp_path):
    row = {"prompt": "q", "chosen": WHOLE, "rejected": [ASKED, {**SAID, "content": "b"}]}
    record = read(write(tmp_path / "p.jsonl", row), Preference)[0]
    assert [m.content for m in (*record.prompt, *record.chosen, *record.rejected)] == list("qab")
    message = refused(write(tmp_path / "p.jsonl", {**row, "prompt": "other"}), Preference)
    assert "do not begin with it" in message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"conversations": [{"from": "tool", "value": "q"}]}, "found 'tool'"),
        ({"messages": [{**ASKED, "content": [{"type": "image"}]}, SAID]}, "part of type 'image'"),
        ({"messages": [{**ASKED, "content": ["q"]}, SAID]}, "found a text"),
        ({"conversations": WHOLE, "messages": WHOLE}, "keep the one"),
        ({"conversations": WHOLE, "tools": "[{}]"}, "holds 'tools'"),
        ({"instruction": "q", "output": "a", "history": 5}, "field 'history': found int 5"),
        (
            {"conversations": [HUMAN, {"from": "gpt", "value": "a", "weight": 0}]},
            "no turn to learn",
        ),
    ],
)
def test_a_shape_that_cannot_be_ours_is_refused_by_line(tmp_path, row, said):
    message = refused(write(tmp_path / "d.jsonl", row))
    assert "line 1: " in message and said in message
