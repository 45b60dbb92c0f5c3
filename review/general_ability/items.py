"""The questions about general ability, and how they are read: a strict file of JSON Lines.

    {"id": "arithmetic-01", "kind": "arithmetic", "prompt": [{"role": "user", "content": "…"}],
     "accept": [{"check": "number", "value": 12}], "right": "12", "wrong": "11"}
    {"id": "sense-01", "kind": "sense", "prompt": […], "choices": ["…", "…"], "answer": 1}

An item has either ``choices``, of which the model must find the right one the likeliest reply, or
``accept``, checks that its own reply must pass. ``right`` and ``wrong`` are example replies: an
item whose checks refuse the one or pass the other cannot be loaded.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator

from inhouse.errors import nearest
from inhouse.records import Message, Record, is_blank, read
from review.general_ability.scorers import CHECKS, passes

Kind = Literal["arithmetic", "reading", "format", "sense"]
KINDS: tuple[str, ...] = get_args(Kind)
ITEMS = Path(__file__).with_name("items.jsonl")


class Item(Record):
    """One question, with what makes a reply to it right."""

    model_config = ConfigDict(extra="forbid")

    id: str
    kind: Kind
    prompt: list[Message]
    choices: list[str] = Field(default_factory=list)
    answer: int | None = None
    accept: list[dict[str, Any]] = Field(default_factory=list)
    right: str | None = None
    wrong: str | None = None

    @field_validator("id")
    @classmethod
    def _named(cls, name: str) -> str:
        if is_blank(name):
            raise ValueError("is empty: expected a name that no other item has")
        return name

    @field_validator("prompt")
    @classmethod
    def _asks(cls, prompt: list[Message]) -> list[Message]:
        if not prompt or prompt[-1].role != "user":
            raise ValueError("must end with a user turn, which the model answers")
        return prompt

    @field_validator("choices")
    @classmethod
    def _differ(cls, choices: list[str]) -> list[str]:
        if choices and (len(set(choices)) < 2 or len(set(choices)) < len(choices)):
            raise ValueError("expected two texts or more, no two of them alike")
        if any(is_blank(choice) for choice in choices):
            raise ValueError("one of them is empty: a reply needs text")
        return choices

    @field_validator("accept")
    @classmethod
    def _known(cls, accept: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for one in accept:
            name = one.get("check")
            if not isinstance(name, str) or name not in CHECKS:
                meant = nearest(str(name), CHECKS)
                hint = f": did you mean {meant!r}?" if meant else f": one of {', '.join(CHECKS)}"
                raise ValueError(f"has no check {name!r}{hint}")
            parameters = {key: value for key, value in one.items() if key != "check"}
            try:
                inspect.signature(CHECKS[name]).bind("", **parameters)
            except TypeError as error:
                raise ValueError(f"check {name!r}: {error}") from None
        return accept

    @model_validator(mode="after")
    def _scored_one_way(self) -> Item:
        if bool(self.choices) == bool(self.accept):
            raise ValueError(f"{self.id} needs either choices or accept, and not both")
        if self.choices:
            if self.answer is None or not 0 <= self.answer < len(self.choices):
                raise ValueError(
                    f"answer is {self.answer}: expected the place of the right one among its "
                    f"{len(self.choices)} choices, from 0"
                )
            if self.right is not None or self.wrong is not None:
                raise ValueError("right and wrong belong to accept: take them out")
            return self
        if self.answer is not None:
            raise ValueError("answer belongs to choices: take it out")
        self._check_examples()
        return self

    def _check_examples(self) -> None:
        """Let the item's own examples say whether its checks do what they are meant to.

        Raises:
            ValueError: an example is missing, or is not told from the other; or a check cannot take
                its parameters.
        """
        if self.right is None or self.wrong is None:
            raise ValueError(
                "accept needs a reply that is right and one that is wrong, as examples"
            )
        try:
            right, wrong = passes(self.right, self.accept), passes(self.wrong, self.accept)
        except Exception as error:  # a check runs on whatever the file gives it
            raise ValueError(f"accept cannot be checked: {type(error).__name__}: {error}") from None
        if not right:
            raise ValueError(f"right ({self.right!r}) does not pass its own checks: mend one")
        if wrong:
            raise ValueError(f"wrong ({self.wrong!r}) passes the checks: mend one")


def read_items(path: str | Path = ITEMS) -> list[Item]:
    """Every item of a file, the suite's own unless another is named.

    Raises:
        InputError: a line that is no item, an ``id`` that stands twice, or no item at all.
    """
    return read(path, Item)
