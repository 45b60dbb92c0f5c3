"""Preferences and single verdicts become rows; what may not be learned is left out and counted.

Records in: preference (DPO, KTO), or TRL's unpaired preference (KTO). Rows out: see
rlhf/offline/rows.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from compliance import gate
from inhouse.config import HoldOutOptions, PrivacyOptions
from inhouse.errors import InputError
from inhouse.records import Message, Preference, Prompt, Record
from inhouse.training import data
from inhouse.training.data import Columns, Placed, Row, TrainingData, prompt_key
from rlhf.offline.rows import Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T", Preference, Verdict)


class _AnyRow(Record):
    """A row of any shape, to see which one it has."""

    chosen: Any = None


def read_pairs(source: str) -> list[Placed[Preference]]:
    """Preferences, and where each stands in its file."""
    return data.read(source, Preference)


def read_verdicts(source: str) -> list[Placed[Verdict]]:
    """Single verdicts, and where each stands; a pair is read as two, its chosen answer liked."""
    if data.read(source, _AnyRow)[0].record.chosen is None:
        return data.read(source, Verdict)
    return [
        Placed(
            f"{each.place} ({side})",
            Verdict(
                prompt=each.record.prompt,
                completion=getattr(each.record, side),
                label=side == "chosen",
                metadata=each.record.metadata,
            ),
        )
        for each in read_pairs(source)
        for side in ("chosen", "rejected")
    ]


def prepare(
    tokenizer: PreTrainedTokenizerBase,
    placed: Sequence[Placed[T]],
    source: str,
    make_columns: Callable[[Any, T], Columns],
    wanted: Callable[[T], str | None],
    hold_out: HoldOutOptions,
    privacy: PrivacyOptions,
    house_rules: str | None,
    max_length: int | None,
    context: int | None = None,
) -> TrainingData[T]:
    """Check every record, leave out what may not be learned, make rows, hold some prompts out.

    Args:
        make_columns: :func:`rlhf.offline.rows.pair_row` or :func:`rlhf.offline.rows.verdict_row`.
        context: how many tokens the model takes, None for any number.
        wanted: the answer of a record that training makes likelier, or None: what house rules see.

    Raises:
        InputError: a record that cannot be trained on, or nothing is left to train on.
    """

    def answers(record: T) -> list[tuple[Sequence[Message], str]]:
        answer = wanted(record)
        return [] if answer is None else [(record.prompt, answer)]

    kept, told = gate.admit(
        *(placed, source, answers), what="wanted answer", house_rules=house_rules, privacy=privacy
    )

    def one_row(tokenizer: Any, record: T) -> list[Columns]:
        return [make_columns(tokenizer, record)]

    rows = data.render(tokenizer, kept, one_row, source)
    rows, long = data.within_length(
        rows, max_length, source, leave_out=hold_out.leave_out_long, context=context
    )
    told["too_long"] = [{"place": row.place, "tokens": row.length} for row in long]
    train, held_out = data.split(rows, hold_out.held_out_share, source)
    return TrainingData(source, train, held_out, told)


def prompts_of(rows: Sequence[Row[T]], source: str) -> list[Prompt]:
    """The different prompts of rows, with what a right answer to each states.

    Raises:
        InputError: ``metadata.facts`` is no list of texts or numbers.
    """
    found: dict[str, Prompt] = {}
    for row in rows:
        try:
            prompt = Prompt(prompt=row.record.prompt, metadata=row.record.metadata)
        except ValidationError as error:
            where = f"{source}, {row.place}"
            raise InputError(f"{where}: {error.errors()[0]['msg']}") from None
        found.setdefault(prompt_key(prompt.prompt), prompt)
    return list(found.values())
