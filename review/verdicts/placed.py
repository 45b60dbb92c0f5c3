"""Which answer went where: the one file that maps what reviewers see back to the models."""

from __future__ import annotations

from pydantic import Field

from inhouse.records import Message, Output, Record, content_id, plain


class Placed(Record):
    """A record in Argilla, and whose answer it is. Nothing of this is shown to a reviewer.

    ``hash`` is the answer's, by which a later change of it is seen. ``flagged`` says why it is
    read in any case, ``sample`` whether it is one of those drawn at random; both may hold. A
    planted reply has no model: it is kept here, with the rule that it breaks.
    """

    record: str
    dataset: str
    output_id: str
    hash: str
    model: str = ""
    flagged: list[str] = Field(default_factory=list)
    sample: bool = False
    planted: str | None = None
    prompt: list[Message] = Field(default_factory=list)
    response: str = ""


def hash_of(output: Output) -> str:
    """What a verdict is about: this answer of this model to this prompt."""
    return content_id(plain(output.prompt), output.response, output.model)
