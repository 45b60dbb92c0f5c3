"""What a reward model is trained and measured on: found, read, checked, made into token rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compliance import gate
from inhouse import records
from inhouse import run as runs
from inhouse.config import PrivacyOptions
from inhouse.errors import InputError
from inhouse.generation import score as scoring
from inhouse.models.load import load_tokenizer
from inhouse.records import Preference
from inhouse.special_tokens import stop_ids
from inhouse.training import data
from reward import split, votes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class RatedPairs:
    """Pairs that may be learned from, and what the results tell about them."""

    pairs: list[split.Pair]
    told: dict[str, Any]


def check_template(tokenizer: PreTrainedTokenizerBase, source: str, sft: Path) -> None:
    """Refuse a model whose chat template is not that of the campaign's SFT model.

    Raises:
        InputError: names both folders.
    """
    if (sft / runs.MANIFEST).is_file() and sft.resolve() != Path(source).resolve():
        scoring.check_same_template(tokenizer, source, load_tokenizer(str(sft)), str(sft))


def check_padding(tokenizer: PreTrainedTokenizerBase, source: str) -> None:
    """Refuse padding that looks like a reply's end: plain transformers reads a score before it.

    Raises:
        InputError: says how to give the tokenizer a padding of its own.
    """
    if tokenizer.pad_token_id in stop_ids(tokenizer):
        raise InputError(
            f"the tokenizer in {source} has no token to pad with but {tokenizer.pad_token}, which "
            "ends replies: a reward model's score is read at a row's last token that is not "
            'padding. Give it one with `tokenizer.add_special_tokens({"pad_token": "<|pad|>"})` '
            "and `model.resize_token_embeddings(len(tokenizer))`, and save both again"
        )


def load(
    tokenizer: PreTrainedTokenizerBase,
    source: str,
    ratings: str | Path | None,
    max_length: int | None,
    truncate: bool,
    privacy: PrivacyOptions,
    context: int | None = None,
) -> RatedPairs:
    """Preferences with their token rows and who voted how on them.

    Args:
        ratings: those that the preferences were made from; None where nobody's vote is known.
        truncate: cut the oldest tokens of prompts until a row fits ``max_length``.
        context: how many tokens the model takes, None for any number.

    Raises:
        InputError: a record, a rating or a length that cannot be learned from, or personal data
            that nobody has cleared.
    """
    placed = data.read(source, Preference)
    preferences = [each.record for each in placed]
    told = gate.check_privacy(preferences, source, privacy)
    columns, cut = split.tokenise(tokenizer, preferences, source, max_length if truncate else None)
    rows = [
        data.Row(each.place, each.record, row) for each, row in zip(placed, columns, strict=True)
    ]
    way_out = "cut the oldest of their prompts with --truncate"
    what = "preferences"
    data.within_length(
        rows, max_length, source, leave_out=False, context=context, what=what, way_out=way_out
    )
    cast: list[dict[str, int]] = [{} for _ in preferences]
    if ratings:
        read = records.read(ratings, records.Rating)
        votes.check_ratings(read, str(ratings))
        cast = votes.votes_on(preferences, read, str(ratings))
    made = zip(preferences, columns, cast, strict=True)
    return RatedPairs(
        [split.Pair(*parts) for parts in made],
        {
            "personal_data": told,
            "truncated": cut,
            "raters_with_one_rating": votes.few_votes(cast),
        },
    )
