"""The kinds of record that cross stages, and what each of them must hold.

TRL's other published shapes (``prompt``/``completion``, a preference with an implicit prompt, plain
strings instead of messages) become the shapes below; see
https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from inhouse.records.turns import Message, Record, as_messages, check_reply, check_turns, is_blank

Choice = Literal["a", "b", "tie"]


class Demonstration(Record):
    """A conversation that shows how the house wants to be heard."""

    messages: list[Message]
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_prompt_completion(cls, data: object) -> Any:
        if isinstance(data, dict) and data.get("label") in (False, "False", "false", "FALSE"):
            raise ValueError("label is false: an answer that was disliked is no demonstration")
        if (
            isinstance(data, dict)
            and "messages" not in data
            and {"prompt", "completion"} <= set(data)
        ):
            prompt = as_messages(data["prompt"], "user")
            completion = as_messages(data["completion"], "assistant")
            if isinstance(prompt, list) and isinstance(completion, list):
                return {**data, "messages": prompt + completion}
        return data

    @field_validator("messages")
    @classmethod
    def _turns(cls, messages: list[Message]) -> list[Message]:
        check_turns(messages, last="assistant")
        if not any(turn.train for turn in messages if turn.role == "assistant"):
            raise ValueError("has no turn to learn: every assistant turn has weight 0")
        return messages


class Prompt(Record):
    """A conversation that waits for an answer."""

    prompt: list[Message]
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("prompt", mode="before")
    @classmethod
    def _string(cls, value: object) -> Any:
        return as_messages(value, "user")

    @field_validator("prompt")
    @classmethod
    def _turns(cls, messages: list[Message]) -> list[Message]:
        return check_turns(messages, last="user")

    @field_validator("metadata")
    @classmethod
    def _facts_are_texts(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        facts = metadata.get("facts") or []
        if not isinstance(facts, list) or not all(
            isinstance(fact, str | int | float) and str(fact).strip() for fact in facts
        ):
            raise ValueError(f"facts must be a list of texts or numbers, found {facts!r}")
        return metadata

    @property
    def facts(self) -> list[str]:
        """What a right answer states, word for word: a product's name, a figure."""
        return [str(fact) for fact in self.metadata.get("facts") or []]


class Finding(Record):
    """A house rule broken by a response. ``start`` and ``end`` are character offsets in it."""

    rule: str
    severity: str
    start: int
    end: int
    text: str


class CandidatePair(Record):
    """Two answers to one prompt, in the order in which raters see them."""

    id: str
    prompt: list[Message]
    response_a: str
    response_b: str
    source_a: dict[str, Any]
    source_b: dict[str, Any]
    findings_a: list[Finding]
    findings_b: list[Finding]
    repeat_of: str | None = None
    gold: Choice | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _two_answers(self) -> CandidatePair:
        check_turns(self.prompt, last="user")
        for name in ("response_a", "response_b"):
            if is_blank(getattr(self, name)):
                raise ValueError(f"{name} is empty")
        if self.response_a == self.response_b:
            raise ValueError("response_a and response_b are the same answer")
        return self


class Rating(Record):
    """One rater's answer to one pair. Its key is pair, rater and time."""

    pair_id: str
    rater: str
    choice: Choice
    score_a: int | None = Field(default=None, ge=1, le=5)
    score_b: int | None = Field(default=None, ge=1, le=5)
    violations_a: list[str] = Field(default_factory=list)
    violations_b: list[str] = Field(default_factory=list)
    spans: list[dict[str, Any]] = Field(default_factory=list)
    comment: str | None = None
    shown_order: list[str] = Field(default_factory=list)
    submitted_at: str
    guidelines: str


class Preference(Record):
    """TRL's preference with an explicit prompt, and how sure the raters were of it.

    ``margin`` is the log-odds that ``chosen`` wins, ``agreement`` the share of raters who chose it.
    ``source`` is "rewrite" where a reviewer wrote ``chosen``; a user's own column of that name is
    ignored.
    """

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    margin: float | None = None
    agreement: float | None = None
    pair_id: str | None = None
    raters: list[str] = Field(default_factory=list)
    source: Literal["rewrite"] | None = Field(default=None, exclude_if=lambda source: not source)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("source", mode="before")
    @classmethod
    def _ours_alone(cls, source: object) -> Any:
        return source if source == "rewrite" else None

    @model_validator(mode="before")
    @classmethod
    def _from_other_shapes(cls, data: object) -> Any:
        if not isinstance(data, dict) or not {"chosen", "rejected"} <= set(data):
            return data
        chosen, rejected = data["chosen"], data["rejected"]
        if "prompt" not in data and isinstance(chosen, str):
            raise ValueError(
                "there is no prompt, and in plain text nobody can tell it from the answer: add "
                "prompt, or write chosen and rejected as messages, whose shared beginning it is"
            )
        if "prompt" not in data and isinstance(chosen, list) and isinstance(rejected, list):
            shared = 0
            for left, right in zip(chosen, rejected, strict=False):
                if left != right:
                    break
                shared += 1
            prompt = chosen[:shared]
            return {
                **data,
                "prompt": prompt,
                "chosen": chosen[shared:],
                "rejected": rejected[shared:],
            }
        return {
            **data,
            "prompt": as_messages(data.get("prompt"), "user"),
            "chosen": as_messages(chosen, "assistant"),
            "rejected": as_messages(rejected, "assistant"),
        }

    @model_validator(mode="after")
    def _turns(self) -> Preference:
        check_turns(self.prompt, last="user")
        for name in ("chosen", "rejected"):
            check_reply(name, getattr(self, name))
        one, other = (
            unicodedata.normalize("NFC", t[0].content) for t in (self.chosen, self.rejected)
        )
        if one == other:
            raise ValueError("chosen and rejected are the same answer")
        return self


class Output(Record):
    """What one model said to one held-out prompt with one seed."""

    id: str
    prompt: list[Message]
    model: dict[str, str]
    seed: int
    response: str
    tokens: int
    end_token: bool
    findings: list[Finding]
    reward: dict[str, float]
    facts_ok: bool
    kl_to_sft: float | None = None
    split: str = "held_out"
    metadata: dict[str, Any] = Field(default_factory=dict)


class MarkedSpan(Record):
    """Where a person says that a response breaks a rule: character offsets in it."""

    rule: str
    start: int
    end: int


class Verdict(Record):
    """What one compliance reviewer says of one output; ``rules`` are those that it breaks."""

    output_id: str
    reviewer: str
    verdict: Literal["pass", "fail", "escalate"]
    rules: list[str] = Field(default_factory=list)
    spans: list[MarkedSpan] = Field(default_factory=list)
    rewrite: str | None = None
    comment: str | None = None
    submitted_at: str
