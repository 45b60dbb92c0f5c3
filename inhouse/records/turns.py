"""The turns of a conversation, and what makes them one that can be learned from."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# Letters that show nothing and that Unicode does not class as such: fillers, an empty pattern.
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")

Role = Literal["system", "user", "assistant"]


class Record(BaseModel):
    """What all records have in common: strict values; a user's own extra columns are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: blanks, and characters that no screen shows."""
    return not any(map(_is_seen, text))


def _is_seen(character: str) -> bool:
    if character.isalnum() and character.isascii():
        return True
    if character in INVISIBLE or "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0000":
        return character >= "\U000f0000"  # variation selectors and tags; beyond is private use
    return unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp")


class Message(Record):
    """One turn of a conversation. ``train`` False: it is read as context and not learned."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    content: str
    train: bool = Field(default=True, exclude_if=lambda train: train)

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_heeded(cls, data: Any) -> Any:
        if not isinstance(data, dict) or (len(data) == 2 and {"role", "content"} <= data.keys()):
            return data
        turn = {key: data[key] for key in ("role", "content") if key in data}
        for key, value in data.items():
            if key not in ("role", "content", "weight", "train") and value not in (
                None,
                "",
                [],
                {},
            ):
                raise ValueError(
                    f"holds {key!r}, which is not rendered, so that a model would learn without "
                    f"it: {_WAYS_OUT.get(key, 'take it out of the turn')}"
                )
        said = _is_trained(data)
        if said and turn.get("role") != "assistant":
            raise ValueError("asks for a turn to be learned that is not the assistant's: none is")
        return turn if said is None else {**turn, "train": said or turn.get("role") != "assistant"}

    @field_validator("content")
    @classmethod
    def _not_blank(cls, content: str) -> str:
        if is_blank(content):
            raise ValueError("is empty: every turn needs text")
        return content


_IN_CONTENT = "write it into content as the model's template does, or take it out"
_WAYS_OUT = {
    "reasoning_content": _IN_CONTENT,
    "reasoning": _IN_CONTENT,
    "thinking": _IN_CONTENT,
    "tool_calls": "take the record out, or write the call into content",
    "function_call": "take the record out, or write the call into content",
}


def _is_trained(turn: dict[str, Any]) -> bool | None:
    """What a turn's ``weight`` (0 or 1) and ``train`` say of it; None if they say nothing."""
    weight, train = turn.get("weight"), turn.get("train")
    if weight is not None and (not isinstance(weight, int | float) or weight not in (0, 1)):
        raise ValueError(f"weight is {weight!r}: expected 0, a turn that is not learned, or 1")
    if train is not None and not isinstance(train, bool):
        raise ValueError(f"train is {train!r}: expected false, a turn that is not learned, or true")
    if weight is not None and train is not None and bool(weight) != train:
        raise ValueError(f"weight is {weight!r} and train is {str(train).lower()}: keep one")
    return train if weight is None else bool(weight)


def check_reply(name: str, reply: list[Message]) -> None:
    """An answer that is preferred or judged is one assistant turn, and learned from."""
    if len(reply) != 1 or reply[0].role != "assistant":
        found = ", ".join(turn.role for turn in reply) or "no turn"
        raise ValueError(
            f"{name} must be one assistant turn that answers the prompt, found {found}"
        )
    if not reply[0].train:
        raise ValueError(f"{name} is marked as not to be learned: take the record out")


def check_turns(messages: list[Message], last: Role) -> list[Message]:
    """An optional system turn, then user and assistant in turn, ending with ``last``."""
    if not messages:
        raise ValueError("has no messages")
    turns = messages[1:] if messages[0].role == "system" else messages
    for number, message in enumerate(turns):
        expected = "assistant" if number % 2 else "user"
        if message.role != expected:
            raise ValueError(
                f"roles are out of order: expected {expected!r}, found {message.role!r} "
                "(an optional system turn, then user and assistant in turn)"
            )
    if messages[-1].role != last:
        raise ValueError(f"must end with a {last!r} turn, ends with {messages[-1].role!r}")
    return messages


def as_messages(value: Any, role: Role) -> Any:
    return [{"role": role, "content": value}] if isinstance(value, str) else value


def plain(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages as the plain dicts that chat templates and TRL take."""
    return [{"role": message.role, "content": message.content} for message in messages]
