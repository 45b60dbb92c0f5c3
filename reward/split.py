"""Which pairs a reward model learns from and which only measure it.

Two things are held out: prompts, with all their pairs, and one rater, with all their votes. Whose
vote is whose comes from the ratings snapshot that the preferences were made from; without one only
prompts are held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inhouse.chat import reply_ids
from inhouse.errors import InputError
from inhouse.records import Preference
from inhouse.training.data import is_held_out, prompt_key
from reward.votes import find_rater

Row = dict[str, list[int]]


@dataclass(frozen=True)
class Pair:
    """A preference, its token rows, and who voted how: 1 for ``chosen``, -1 against, 0 a tie."""

    record: Preference
    row: Row
    votes: dict[str, int]


@dataclass(frozen=True)
class Split:
    """Pairs to train on, pairs of other prompts to measure on, and the rater who is held out."""

    train: list[Pair]
    held_out: list[Pair]
    rater: str | None
    left_out: list[Pair]  # of the training side: without that rater nobody decided them

    def describe(self) -> dict[str, Any]:
        """How many pairs and votes stand where."""
        return {
            "train": len(self.train),
            "held_out": len(self.held_out),
            "held_out_rater": self.rater,
            "left_out_for_that_rater": len(self.left_out),
        }


def tokenise(
    tokenizer: Any, preferences: Sequence[Preference], source: str, cut_to: int | None = None
) -> tuple[list[Row], int]:
    """``chosen_ids`` and ``rejected_ids``: prompt and answer as one row. Shape: (tokens,).

    Args:
        cut_to: the oldest tokens of a prompt are cut off until prompt and answer have at most so
            many; None leaves all rows whole.

    Returns:
        The rows, and how many were cut.

    Raises:
        InputError: a conversation that cannot be rendered, two answers that are the same tokens,
            or an answer that fills ``cut_to`` alone.
    """
    rows, cut = [], 0
    for number, record in enumerate(preferences, start=1):
        where = f"{source}, record {number}"
        row = {}
        for side, answer in (("chosen", record.chosen[0]), ("rejected", record.rejected[0])):
            try:
                before, after = reply_ids(tokenizer, record.prompt, answer)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            if cut_to is not None and len(after) >= cut_to:
                raise InputError(
                    f"{where}: the {side} answer alone has {len(after)} tokens, and max_length is "
                    f"{cut_to}: set --max_length above that, or take the record out"
                )
            ids = before + after
            row[f"{side}_ids"] = ids if cut_to is None else ids[-cut_to:]
            cut += len(ids) > len(row[f"{side}_ids"])
        if row["chosen_ids"] == row["rejected_ids"]:
            raise InputError(
                f"{where}: chosen and rejected are the same tokens once the chat template has "
                "rendered them: take the record out"
            )
        rows.append(row)
    return rows, cut


def split(pairs: Sequence[Pair], held_out_share: float, held_out_rater: str | None = None) -> Split:
    """Pairs apart by a hash of their prompt, and the held-out rater's votes out of training.

    A training pair stays if the other raters' votes still decide it the same way.

    Raises:
        InputError: one side would be empty.
    """
    rater = find_rater([pair.votes for pair in pairs], held_out_rater)
    train: list[Pair] = []
    held_out: list[Pair] = []
    for pair in pairs:
        apart = is_held_out(pair.record.prompt, held_out_share)
        (held_out if apart else train).append(pair)
    kept: list[Pair] = []
    left_out: list[Pair] = []
    for pair in train:
        stays = rater is None or _decided_without(pair.votes, rater)
        (kept if stays else left_out).append(pair)
    if not kept or not held_out:
        raise InputError(
            f"{len(pairs)} preferences split into {len(kept)} to train on and "
            f"{len(held_out)} held out: both are needed; add preferences or change "
            "--held_out_share"
        )
    if not any(votes_of_others(pair, rater) for pair in held_out):
        raise InputError(
            f"nobody but the held-out rater {rater} has voted on the held-out pairs: name another "
            "with --held_out_rater, or change --held_out_share"
        )
    return Split(kept, held_out, rater, left_out)


def votes_of_others(pair: Pair, rater: str | None) -> list[int]:
    """The votes, ties left out, of everybody but a rater; one for ``chosen`` if none are known."""
    if not pair.votes:
        return [1]
    return [vote for name, vote in pair.votes.items() if vote and name != rater]


def votes_beside(pair: Pair, rater: str) -> list[int]:
    """The votes of everybody else, ties left out, on a pair that a rater took a side on."""
    return votes_of_others(pair, rater) if pair.votes.get(rater) else []


def _decided_without(votes: dict[str, int], rater: str) -> bool:
    if rater not in votes:
        return True
    return sum(vote for name, vote in votes.items() if name != rater) > 0


def leaks(split: Split) -> dict[str, int]:
    """What stands on both sides, counted: prompts and whole pairs must be 0.

    An answer may be short and common, so that it stands on both sides by chance: it is counted.

    Raises:
        InputError: a prompt or a pair is on both sides, so that accuracy would be memory.
    """
    sides = [split.train, split.held_out]
    prompts = [{prompt_key(pair.record.prompt) for pair in side} for side in sides]
    rows = [{tuple(ids) for pair in side for ids in pair.row.values()} for side in sides]
    answers = [
        {m.content for pair in side for m in (*pair.record.chosen, *pair.record.rejected)}
        for side in sides
    ]
    found = {
        "prompts_on_both_sides": len(prompts[0] & prompts[1]),
        "conversations_on_both_sides": len(rows[0] & rows[1]),
        "answers_on_both_sides": len(answers[0] & answers[1]),
    }
    if found["prompts_on_both_sides"] or found["conversations_on_both_sides"]:
        raise InputError(
            f"{found['prompts_on_both_sides']} prompts and {found['conversations_on_both_sides']} "
            "conversations stand both in training and among the held-out pairs: nothing that is "
            "measured on them would hold"
        )
    return found


def shuffled(pairs: Sequence[Pair], seed: int) -> list[Row]:
    """Rows whose winner is drawn by chance, for the control run.

    The draw depends on the two answers only: a pair that stands in training and among the held-out
    ones gets the same winner in both, so that a leak shows as an accuracy above one half.
    """
    rows = []
    for pair in pairs:
        first, second = sorted(pair.row.values())
        coin = hashlib.sha256(f"{seed} {first} {second}".encode()).digest()[0] % 2
        winner, loser = (first, second) if coin else (second, first)
        rows.append({"chosen_ids": winner, "rejected_ids": loser})
    return rows
