"""Shapes that others publish, turned into ours where nothing can be misread.

ShareGPT (``conversations`` of ``from`` and ``value``), Alpaca (``instruction``, ``input``,
``output``), contents in parts (``[{"type": "text", …}]``), a preference whose ``chosen`` and
``rejected`` are whole conversations beside their prompt, and JSON that a table holds as text. What
was recognised is told by name, so that whoever brings a file sees how it was read.
"""

from __future__ import annotations

from typing import Any

from inhouse.reading.rows import Row
from inhouse.reading.strict_json import Fault, parse

SHAREGPT = "ShareGPT (conversations of from and value)"
CONVERSATIONS = "conversations of role and content"
ALPACA = "Alpaca (instruction, input, output)"
PARTS = "contents in parts, whose texts are joined"
WHOLE = "whole conversations beside their prompt"
IN_TEXT = "JSON inside a text column"

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
ROLES |= {"chatgpt": "assistant", "system": "system"}
TURNS = ("messages", "prompt", "completion", "chosen", "rejected")  # fields that may hold turns
MUST_BE_JSON = ("messages", "conversations", "conversation", "metadata")
JSON_FIELDS: tuple[str, ...] = (*MUST_BE_JSON, "history", "raters")
JSON_FIELDS += ("findings", "findings_a", "findings_b", "source_a", "source_b", "model", "reward")
JSON_FIELDS += ("violations_a", "violations_b", "spans", "shown_order")
NUMBERS = ("margin", "agreement", "weight", "score_a", "score_b", "seed", "tokens", "kl_to_sft")
TRUTHS = ("label", "train", "facts_ok", "end_token")
SAID: tuple[str, ...] = (
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "instruction",
    "output",
    "text",
)
SAID += ("response", "response_a", "response_b")  # an empty cell here is an empty text


def ours(row: Row) -> tuple[dict[str, Any], list[str]]:
    """A row in our shape as far as it is one that is known, and the names of what was recognised.

    Raises:
        Fault: it is known and cannot be read as ours.
    """
    if isinstance(row.value, Fault):
        raise row.value
    value, packed = unpacked(row)
    told = [IN_TEXT] if packed else []
    for change in (_conversations, _alpaca):
        value, shape = change(value)
        told += [shape] if shape else []
    value, in_parts = _joined(value)
    told += [PARTS] if in_parts else []
    value, whole = _without_prompt(value)
    return value, told + ([WHOLE] if whole else [])


def unpacked(row: Row) -> tuple[dict[str, Any], list[str]]:
    """A row without what is missing, its JSON texts as values; and which fields held such texts.

    Raises:
        Fault: a field whose text should be JSON and is none.
    """
    assert not isinstance(row.value, Fault)
    value = {key: part for key, part in row.value.items() if part is not None}
    if row.is_text:
        value = {key: _cell(key, part) for key, part in value.items() if part or key in SAID}
    table = row.is_text or row.unit == "record"
    fields = (*JSON_FIELDS, *TURNS) if table else MUST_BE_JSON
    packed = []
    for name, part in value.items():
        if isinstance(part, str) and name in fields:
            held = _held(name, part)
            if held is not None:
                value[name] = held
                packed.append(name)
    return value, packed


def _cell(name: str, text: str) -> Any:
    """A table's cell: a text, but for the few columns that are numbers or true and false."""
    if name in TRUTHS and text.strip().lower() in ("true", "false", "1", "0"):
        return text.strip().lower() in ("true", "1")
    if name in NUMBERS:
        try:
            number = parse(text.strip())
        except Fault:
            return text
        return number if isinstance(number, int | float) else text
    return text


def _held(name: str, text: str) -> Any:
    """The list or object that a text holds as JSON, or None if it is a plain text.

    Raises:
        Fault: it should be JSON, or looks like turns, and cannot be read.
    """
    bare = text.strip()
    of_turns = bare.startswith("[") and bare[1:].lstrip().startswith("{") and bare.endswith("]")
    if not (bare.startswith(("[", "{")) if name in JSON_FIELDS else of_turns):
        return None  # the record's own check says what it expected
    try:
        value = parse(text)
    except Fault as fault:
        words = ("'role'", "'from'", '"role"', '"from"')
        if name not in MUST_BE_JSON and not any(word in text for word in words):
            return None
        single = " (it looks as Python prints it: write it with json.dumps)" if "'" in text else ""
        raise Fault(
            f"field {name!r}: a text, expected the JSON of a list or an object: {fault}{single}"
        ) from None
    if name in JSON_FIELDS:
        return value
    keys = [set(turn) for turn in value if isinstance(turn, dict)]
    turns = all({"role", "content"} <= k or {"from", "value"} <= k for k in keys)
    return value if keys and turns and len(keys) == len(value) else None


# --- whole rows -----------------------------------------------------------------------------------


def _conversations(row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """ShareGPT's turns as messages, in whatever field they stand."""
    name = next((key for key in ("conversations", "conversation") if key in row), None)
    shape = ""
    if name and "messages" in row:
        raise Fault(f"holds {name!r} and 'messages': keep the one that is to be learned")
    if name:
        row, shape = {k: v for k, v in row.items() if k != name} | {"messages": row[name]}, name
    turns = row.get("messages")
    renamed = dict(row)
    for field in TURNS:
        part = row.get(field)
        if isinstance(part, dict) and {"from", "value"} <= part.keys():
            part = [part]  # LLaMA-Factory's preferences: one turn without a list
        if isinstance(part, list) and any(isinstance(t, dict) and "from" in t for t in part):
            renamed[field] = [_turn(turn, field, number) for number, turn in enumerate(part)]
            shape = SHAREGPT
    if not shape:
        return row, ""
    if name and isinstance(turns, list) and row.get("system"):
        renamed["messages"] = _with_system(renamed.pop("system"), renamed["messages"])
    if name and "chosen" in row and "rejected" in row and "prompt" not in row:
        renamed["prompt"] = renamed.pop("messages")
    return renamed, SHAREGPT if shape == SHAREGPT else CONVERSATIONS


def _turn(turn: Any, field: str, number: int) -> Any:
    if not isinstance(turn, dict) or not {"from", "value"} <= turn.keys():
        return turn
    if turn["from"] not in ROLES if isinstance(turn["from"], str) else True:
        raise Fault(
            f"field '{field}.{number}.from': found {turn['from']!r}, expected one of "
            f"{', '.join(ROLES)} (calls of tools are not trained: take the record out)"
        )
    others = {key: part for key, part in turn.items() if key not in ("from", "value")}
    return {"role": ROLES[turn["from"]], "content": turn["value"], **others}


def _with_system(system: Any, turns: list[Any]) -> list[Any]:
    if turns and isinstance(turns[0], dict) and turns[0].get("role") == "system":
        raise Fault("holds 'system' beside a conversation that begins with a system turn: keep one")
    return [{"role": "system", "content": system}, *turns]


def _alpaca(row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """``instruction`` with ``input`` and ``output``, or with ``chosen`` and ``rejected``."""
    if "instruction" not in row or not {"messages", "prompt"}.isdisjoint(row):
        return row, ""
    if "output" not in row and not {"chosen", "rejected"} <= row.keys():
        return row, ""
    asked, more = row["instruction"], row.get("input")
    if not isinstance(asked, str) or not isinstance(more, str | None):
        raise Fault("field 'instruction' or 'input': expected a text in each")
    asked = "\n\n".join(part for part in (asked, more) if part and part.strip())
    turns: list[Any] = []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise Fault(f"field 'history': found {_kind(history)}, expected pairs of texts in a list")
    for pair in history:
        if not (isinstance(pair, list) and len(pair) == 2):
            raise Fault("field 'history': expected pairs of a question and its answer")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    turns.append({"role": "user", "content": asked})
    if row.get("system"):
        turns = _with_system(row["system"], turns)
    own = ("instruction", "input", "output", "history", "system")
    others = {key: part for key, part in row.items() if key not in own}
    if "output" not in row:
        return {**others, "prompt": turns}, ALPACA
    return {**others, "messages": [*turns, {"role": "assistant", "content": row["output"]}]}, ALPACA


# --- turns ----------------------------------------------------------------------------------------


def _joined(row: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Contents that are lists of text parts as one text each."""
    made, any_parts = dict(row), False
    for field in TURNS:
        turns = row.get(field)
        if not isinstance(turns, list):
            continue
        for number, turn in enumerate(turns):
            if isinstance(turn, dict) and isinstance(turn.get("content"), list):
                text = _text_of(turn["content"], f"{field}.{number}.content")
                made[field] = [*made[field][:number], {**turn, "content": text}]
                made[field] += turns[number + 1 :]
                any_parts = True
    return made, any_parts


def _text_of(parts: list[Any], where: str) -> str:
    texts = []
    for number, part in enumerate(parts):
        at = f"field '{where}.{number}'"
        if not isinstance(part, dict):
            raise Fault(f'{at}: found {_kind(part)}, expected {{"type": "text", "text": "…"}}')
        held = {key: value for key, value in part.items() if value is not None}
        if held.get("type") != "text" or not isinstance(held.get("text"), str):
            raise Fault(
                f"{at}: found a part of type {held.get('type')!r}, expected 'text' with a text: "
                "other parts are not trained"
            )
        other = next((key for key in held if key not in ("type", "text")), None)
        if other is not None:
            raise Fault(f"{at}: holds {other!r}, which is not rendered: take it out")
        texts.append(held["text"])
    return "".join(texts)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), f"{type(value).__name__} {str(value)[:20]}")


def _without_prompt(row: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A prompt that is also the beginning of what answers it is taken once.

    Ultrafeedback's binarised pairs have it so: ``prompt`` a text, ``chosen`` and ``rejected``
    conversations that begin with it.
    """
    answers: list[Any] = [row.get(name) for name in ("chosen", "rejected") if name in row]
    answers = answers if len(answers) == 2 else [row.get("completion")]
    if "prompt" not in row or not all(_is_conversation(turns) for turns in answers):
        return row, False
    for turns in answers:
        if not _begins_with(turns, row["prompt"]):
            raise Fault(
                "field 'prompt': stands beside whole conversations that do not begin with it: take "
                "it out, or keep one assistant turn in each answer"
            )
    if len(answers) == 1:
        return {**row, "prompt": answers[0][:-1], "completion": answers[0][-1:]}, True
    return {key: part for key, part in row.items() if key != "prompt"}, True


def _is_conversation(turns: Any) -> bool:
    return (
        isinstance(turns, list)
        and len(turns) > 1
        and any(isinstance(turn, dict) and turn.get("role") in ("user", "system") for turn in turns)
    )


def _begins_with(turns: list[Any], asked: Any) -> bool:
    told = [
        (turn.get("role"), turn.get("content")) for turn in turns[:-1] if isinstance(turn, dict)
    ]
    if isinstance(asked, str):
        said = [content for role, content in told if role == "user"]
        return asked.strip() in [c.strip() for c in (*said[:1], *said[-1:]) if isinstance(c, str)]
    if not isinstance(asked, list):
        return False
    wanted = [(t.get("role"), t.get("content")) for t in asked if isinstance(t, dict)]
    return len(wanted) == len(asked) and told[: len(wanted)] == wanted
