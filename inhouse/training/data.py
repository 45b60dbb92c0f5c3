"""Records become rows of token ids, and some of their prompts are held out.

    placed = read("demonstrations.jsonl", Demonstration)
    rows = render(tokenizer, placed, make_columns, "demonstrations.jsonl")
    kept, long = within_length(rows, 1024, "demonstrations.jsonl", leave_out=False)
    train, held_out = split(kept, 0.05, "demonstrations.jsonl")

SFT, the reward model, DPO and KTO come here, so that a prompt which one of them holds out is held
out by all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from inhouse import records
from inhouse.errors import InputError
from inhouse.records import Demonstration, Message, Record, content_id
from inhouse.run import is_main_process

R = TypeVar("R", bound=Record)
Columns = dict[str, Any]  # what a trainer's collator reads: token ids end in "_ids"


@dataclass(frozen=True)
class Placed(Generic[R]):
    """A record and where it stands in the user's file."""

    place: str
    record: R


@dataclass(frozen=True)
class Row(Generic[R]):
    """A record, where it stands, and its columns of token ids, Shape: (tokens,) each."""

    place: str
    record: R
    columns: Columns

    @property
    def length(self) -> int:
        """Tokens of the prompt with the longest of its answers."""
        return longest(self.columns)


@dataclass(frozen=True)
class TrainingData(Generic[R]):
    """What is trained on, what is held out, and what the metrics tell of what was left out."""

    source: str
    train: list[Row[R]]
    held_out: list[Row[R]]
    told: dict[str, Any]

    @property
    def columns(self) -> list[Columns]:
        """The columns of each row to train on."""
        return [row.columns for row in self.train]

    @property
    def held_out_columns(self) -> list[Columns]:
        """The columns of each row that is held out."""
        return [row.columns for row in self.held_out]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row to train on."""
        return [row.length for row in self.train]


def longest(columns: Columns) -> int:
    """Tokens of a row's longest conversation: its prompt with the longest of its answers."""
    parts = {name: len(ids) for name, ids in columns.items() if name.endswith("_ids")}
    return parts.pop("prompt_ids", 0) + max(parts.values())


def read(source: str | Path, kind: type[R]) -> list[Placed[R]]:
    """Every record with its place.

    Raises:
        InputError: a record that is not right, see :func:`inhouse.records.read`.
    """
    return [Placed(place, record) for place, record in records.read_placed(source, kind)]


def render(
    tokenizer: Any,
    placed: Sequence[Placed[R]],
    make_columns: Callable[[Any, R], Sequence[Columns]],
    source: str,
) -> list[Row[R]]:
    """Every record's rows.

    Raises:
        InputError: a record that cannot be rendered, with where it stands.
    """
    rows = []
    for each in placed:
        try:
            made = make_columns(tokenizer, each.record)
        except InputError as error:
            raise InputError(f"{source}, {each.place}: {error}") from None
        rows += [Row(each.place, each.record, columns) for columns in made]
    return rows


def within_length(
    rows: Sequence[Row[R]],
    max_length: int | None,
    source: str,
    *,
    leave_out: bool,
    context: int | None = None,
    what: str = "records",
    way_out: str = "run with --leave_out_long",
) -> tuple[list[Row[R]], list[Row[R]]]:
    """The rows of at most ``max_length`` tokens, and those that are left out.

    None is ever cut: its end token would go first.

    Args:
        context: how many tokens the model takes: what a user may not raise ``max_length`` above.
        way_out: what else a user may do about them.

    Raises:
        InputError: some are longer and may not be left out, or none is left.
    """
    long = [row for row in rows if row.length > (max_length or row.length)]
    if not long:
        return list(rows), []
    most = max(row.length for row in long)
    named = ", ".join(row.place for row in long[:5]) + (" …" if len(long) > 5 else "")
    what = "demonstrations" if isinstance(rows[0].record, Demonstration) else what
    allowed = f"the {context} tokens that the model takes"
    allowed = allowed if max_length == context else f"max_length {max_length}"
    found = (
        f"{len(long)} of {len(rows)} {what} of {source} are longer than {allowed} "
        f"({named}; the longest has {most} tokens)"
    )
    higher = f"set --max_length {min(most, context or most)}, "
    higher = "" if max_length == context else higher
    if not leave_out:
        raise InputError(f"{found}: {higher}take them out, or {way_out}")
    if len(long) == len(rows):
        raise InputError(f"{found}, and nothing is left: {higher}or give shorter ones")
    say(f"{found} and are left out")
    return [row for row in rows if row.length <= (max_length or row.length)], long


# --- what is held out ---------------------------------------------------------------------------


def prompt_key(prompt: Sequence[Message]) -> str:
    """A prompt's identity: case, white space and Unicode's other forms make it no other."""
    turns = [(turn.role, unicodedata.normalize("NFKC", turn.content)) for turn in prompt]
    return content_id([(role, " ".join(said.casefold().split())) for role, said in turns])


def is_held_out(conversation: Sequence[Message], share: float) -> bool:
    """Whether a conversation is kept out of training, by a hash of how it opens.

    What counts is everything before the assistant's first turn. A demonstration of three questions
    and a preference about the first of them stand on one side, whatever their answers.
    """
    answers = [at for at, turn in enumerate(conversation) if turn.role == "assistant"]
    opening = conversation[: answers[0]] if answers else conversation
    return int(prompt_key(opening), 16) / 16**12 < share


def split(
    rows: Sequence[Row[R]], held_out_share: float, source: str
) -> tuple[list[Row[R]], list[Row[R]]]:
    """What to train on and what to hold out, whatever else stands in the file.

    Raises:
        InputError: nothing is left to train on.
    """
    sides: tuple[list[Row[R]], list[Row[R]]] = ([], [])
    for row in rows:
        sides[is_held_out(conversation_of(row.record), held_out_share)].append(row)
    if not sides[0]:
        raise InputError(
            f"held_out_share {held_out_share} holds out all of {len(rows)} records of {source}: "
            "lower it, or add records with other prompts"
        )
    return sides


def check_evaluation(training: Any, data: TrainingData[Any]) -> None:
    """Refuse to measure on what nobody held out.

    Raises:
        InputError: ``eval_strategy`` is set, and the split has nothing on its other side.
    """
    strategy = str(getattr(training.eval_strategy, "value", training.eval_strategy))
    if strategy != "no" and not data.held_out:
        raise InputError(
            f"eval_strategy {strategy} measures on held-out records, and none of the "
            f"{len(data.train)} of {data.source} is held out: raise --held_out_share, or leave "
            "eval_strategy out"
        )


def conversation_of(record: Any) -> list[Message]:
    """The turns of a demonstration, or the prompt of any other record."""
    return record.messages if isinstance(record, Demonstration) else record.prompt


def say(words: str) -> None:
    """Print, from one process only."""
    if is_main_process():
        print(words, flush=True)
