"""Demonstrations become rows of token ids, and some of them are held out.

Records in: demonstration. Rows out: ``input_ids`` and ``labels``, each of Shape: (tokens,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.gate import check_training_data
from compliance.privacy.scrub import Search
from inhouse import records
from inhouse.chat import Rendered, render
from inhouse.errors import InputError
from inhouse.records import Demonstration, content_id, plain, positions
from inhouse.run import is_main_process
from inhouse.token_cache import TokenCache

NO_TOPIC = "(none)"


@dataclass(frozen=True)
class Placed:
    """A demonstration and where it stands in the user's file."""

    place: str
    record: Demonstration

    @property
    def topic(self) -> str:
        """``metadata.topic``, by which the held-out loss is told apart."""
        return str(self.record.metadata.get("topic") or NO_TOPIC)


@dataclass(frozen=True)
class Row:
    """A demonstration with its tokens."""

    placed: Placed
    rendered: Rendered

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return len(self.rendered.ids)


@dataclass(frozen=True)
class Data:
    """What a run trains on and what it holds out, with the counts that its metrics tell."""

    source: str
    train: list[Row]
    held_out: list[Row]
    counts: dict[str, Any]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row to train on."""
        return [row.length for row in self.train]

    @property
    def ids(self) -> list[list[int]]:
        """Each row to train on as token ids."""
        return [row.rendered.ids for row in self.train]


def prepare(
    tokenizer: Any,
    source: str,
    cache: TokenCache,
    *,
    house_rules: str | None,
    allow_unscrubbed: bool,
    max_length: int | None,
    leave_out_long: bool,
    held_out_share: float,
    search: Search,
) -> Data:
    """Read, check, render and split demonstrations.

    Args:
        search: what finds personal data in them.

    Raises:
        InputError: with the file and the place in it.
    """
    every = read(source)
    wanted = without_findings(every, house_rules, source) if house_rules else every
    trained_on = [placed.record for placed in wanted]
    scan = check_training_data(trained_on, source, allow_unscrubbed, search)
    rows = render_all(tokenizer, wanted, source, cache)
    short = within_length(rows, max_length, source, leave_out_long)
    train, held_out = split(short, held_out_share)
    counts = {
        "personal_data": scan,
        "dropped_by_house_rules": len(every) - len(wanted),
        "left_out_long": len(rows) - len(short),
    }
    return Data(source, train, held_out, counts)


def read(source: str | Path) -> list[Placed]:
    """Every demonstration with its place.

    Raises:
        InputError: a record that is not right, see :func:`inhouse.records.read`.
    """
    found = records.read(source, Demonstration)
    places = positions(source, len(found))
    return [Placed(place, record) for place, record in zip(places, found, strict=True)]


def without_findings(
    demonstrations: Sequence[Placed], house_rules: str, source: str
) -> list[Placed]:
    """The demonstrations in which no assistant turn breaks a blocker rule.

    Raises:
        InputError: none is left.
    """
    from compliance.rules import house_rules as rules_of

    rules = rules_of.load(house_rules)

    def keeps(record: Demonstration) -> bool:
        return not any(
            finding.severity == "blocker"
            for at, turn in enumerate(record.messages)
            if turn.role == "assistant"
            for finding in rules.check(record.messages[:at], turn.content)
        )

    kept = [placed for placed in demonstrations if keeps(placed.record)]
    if not kept:
        raise InputError(f"every demonstration of {source} breaks a blocker rule of {house_rules}")
    if is_main_process():
        dropped = len(demonstrations) - len(kept)
        print(f"{dropped} demonstrations break a blocker rule and are left out")
    return kept


def render_all(
    tokenizer: Any, demonstrations: Sequence[Placed], source: str, cache: TokenCache
) -> list[Row]:
    """Every demonstration as token ids with its supervised mask, from the cache where it has them.

    Raises:
        InputError: a conversation that cannot be rendered, or nothing in it is supervised.
    """
    conversations = [placed.record.messages for placed in demonstrations]
    known = cache.load(tokenizer, conversations)
    rows = []
    for number, placed in enumerate(demonstrations):
        try:
            row = known[number] if known else render(tokenizer, placed.record.messages)
        except InputError as error:
            raise InputError(f"{source}, {placed.place}: {error}") from None
        if not any(row.supervised):
            raise InputError(
                f"{source}, {placed.place}: the chat template leaves no assistant token to "
                "learn from (zero supervised tokens): check its assistant branch"
            )
        rows.append(Row(placed, row))
    cache.remember(tokenizer, conversations, [row.rendered for row in rows])
    return rows


def within_length(
    rows: Sequence[Row], max_length: int | None, source: str, leave_out: bool
) -> list[Row]:
    """The rows of at most ``max_length`` tokens. None is ever cut: its end token would go first.

    Raises:
        InputError: some are longer and may not be left out, or none is left.
    """
    if max_length is None:
        return list(rows)
    kept = [row for row in rows if row.length <= max_length]
    long = [row for row in rows if row.length > max_length]
    if not long:
        return kept
    longest = max(row.length for row in long)
    named = ", ".join(row.placed.place for row in long[:5]) + (" …" if len(long) > 5 else "")
    found = (
        f"{len(long)} of {len(rows)} demonstrations of {source} are longer than max_length "
        f"{max_length} ({named}; the longest has {longest} tokens)"
    )
    if not leave_out:
        raise InputError(
            f"{found}: set --max_length {longest}, take them out, or run with --leave_out_long"
        )
    if not kept:
        raise InputError(f"{found}, and nothing is left: set --max_length {longest}")
    if is_main_process():
        print(f"{found} and are left out")
    return kept


def split(rows: Sequence[Row], held_out_share: float) -> tuple[list[Row], list[Row]]:
    """What to train on and what to hold out, by a hash of each demonstration's content.

    The same conversation falls on the same side whatever stands beside it.

    Raises:
        InputError: nothing is left to train on.
    """
    kept: list[Row] = []
    held_out: list[Row] = []
    for row in rows:
        place = int(content_id(plain(row.placed.record.messages)), 16) / 16**12
        (held_out if place < held_out_share else kept).append(row)
    if not kept:
        raise InputError(
            f"held_out_share {held_out_share} holds out all of {len(held_out)} demonstrations: "
            "lower it, or add demonstrations"
        )
    return kept, held_out


def columns(rows: Sequence[Row]) -> list[dict[str, list[int]]]:
    """What TRL's SFTTrainer takes as already tokenised."""
    return [{"input_ids": row.rendered.ids, "labels": row.rendered.labels} for row in rows]
