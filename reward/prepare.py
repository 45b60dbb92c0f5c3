"""What a reward model is trained and measured on: found, read, checked, made into token rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.gate import check_training_data
from compliance.privacy.scrub import Search
from inhouse import records
from inhouse import run as runs
from inhouse.errors import InputError
from inhouse.generation import score as scoring
from inhouse.models.load import load_tokenizer
from inhouse.training.data import check_lengths
from reward import split, votes


@dataclass(frozen=True)
class Data:
    """Pairs that may be learned from, and what the results tell about them."""

    pairs: list[split.Pair]
    told: dict[str, Any]


def find_inputs(campaign: Path, own: Any, model_args: Any) -> dict[str, str | Path]:
    """What is read, by the setting that names it; settings left open are filled from the campaign.

    Raises:
        InputError: a stage before this one has not run.
    """
    if model_args.model_name_or_path is None:
        model_args.model_name_or_path = str(
            runs.require(campaign / "sft", f"run `python -m sft --run_dir {campaign}` first")
        )
    source = own.dataset_name or runs.require(
        campaign / "preferences" / "preferences.jsonl",
        "run `python -m labeling.preferences` first, or give your own with --dataset_name",
    )
    own.dataset_name = str(source)
    own.ratings = own.ratings or votes.snapshot_of(Path(source))
    named = ("dataset_name", "ratings", "house_rules", "personal_data_allow")
    read = {name: getattr(own, name) for name in named}
    given: dict[str, str | Path] = {name: path for name, path in read.items() if path}
    return {"model_name_or_path": model_args.model_name_or_path, **given}


def check_template(tokenizer: Any, source: str, sft: Path) -> None:
    """Refuse a model whose chat template is not that of the campaign's SFT model.

    Raises:
        InputError: names both folders.
    """
    if (sft / runs.MANIFEST).is_file() and sft.resolve() != Path(source).resolve():
        scoring.check_same_template(tokenizer, source, load_tokenizer(str(sft)), str(sft))


def load(
    tokenizer: Any,
    source: str,
    ratings: str | None,
    *,
    max_length: int | None,
    truncate: bool,
    allow_unscrubbed: bool,
    search: Search,
) -> Data:
    """Preferences with their token rows and who voted how on them.

    Args:
        ratings: those that the preferences were made from; None where nobody's vote is known.
        truncate: cut the oldest tokens of prompts until a row fits ``max_length``.
        search: what finds personal data in them.

    Raises:
        InputError: a record, a rating or a length that cannot be learned from, or personal data
            that nobody has cleared.
    """
    preferences = records.read(source, records.Preference)
    scan = check_training_data(preferences, source, allow_unscrubbed, search)
    rows, cut = split.tokenise(tokenizer, preferences, source, max_length if truncate else None)
    try:
        longest = [max(len(ids) for ids in row.values()) for row in rows]
        check_lengths(longest, max_length, source, "preferences")
    except InputError as error:
        raise InputError(f"{error}, or cut the oldest of their prompts with --truncate") from None
    cast: list[dict[str, int]] = [{} for _ in preferences]
    if ratings:
        read = records.read(ratings, records.Rating)
        votes.check_ratings(read, ratings)
        cast = votes.votes_on(preferences, read, ratings)
    made = zip(preferences, rows, cast, strict=True)
    return Data(
        [split.Pair(*parts) for parts in made],
        {
            "personal_data": scan,
            "truncated": cut,
            "raters_with_one_rating": votes.few_votes(cast),
        },
    )
