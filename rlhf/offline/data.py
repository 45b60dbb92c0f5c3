"""Preferences and single verdicts become rows; what may not be learned is left out and counted.

Records in: preference (DPO, KTO), or TRL's unpaired preference (KTO). Rows out: see
rlhf/offline/rows.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from compliance.gate import check_training_data
from compliance.privacy.scrub import Search
from inhouse import run as runs
from inhouse.errors import InputError
from inhouse.models.folder import check_arguments
from inhouse.records import Message, Preference, Prompt, Record, content_id, plain, positions, read
from rlhf.offline.rows import Row, Verdict, longest

T = TypeVar("T", Preference, Verdict)


class _AnyRow(Record):
    """A row of any shape, to see which one it has."""

    chosen: Any = None


def find_inputs(campaign: Path, model_args: Any, training: Any, own: Any) -> dict[str, str | Path]:
    """What a stage reads: named, or else found in the campaign. Fills in the model's place.

    Raises:
        InputError: a parent stage is missing, or the model is none.
    """
    if model_args.model_name_or_path is None:
        model_args.model_name_or_path = str(
            runs.require(campaign / "sft", f"run `python -m sft --run_dir {campaign}` first")
        )
    check_arguments(model_args, training)
    source = own.dataset_name or runs.require(
        campaign / "preferences" / "preferences.jsonl",
        "run `python -m labeling.preferences` first, or give your own with --dataset_name",
    )
    found = {"model_name_or_path": model_args.model_name_or_path, "dataset_name": source}
    more = ("house_rules", "personal_data_allow", "personal_data_ner")
    return found | {name: getattr(own, name) for name in more if getattr(own, name)}


def read_pairs(source: str) -> tuple[list[Preference], list[str]]:
    """Preferences, and where each stands in its file."""
    pairs = read(source, Preference)
    return pairs, positions(source, len(pairs))


def read_verdicts(source: str) -> tuple[list[Verdict], list[str]]:
    """Single verdicts, and where each stands; a pair is read as two, its chosen answer liked."""
    first = read(source, _AnyRow)[0]
    if first.chosen is None:
        verdicts = read(source, Verdict)
        return verdicts, positions(source, len(verdicts))
    pairs, places = read_pairs(source)
    made = [
        (Verdict(prompt=pair.prompt, completion=reply, label=liked, metadata=pair.metadata), place)
        for pair, place in zip(pairs, places, strict=True)
        for reply, liked, place in (
            (pair.chosen, True, f"{place} (chosen)"),
            (pair.rejected, False, f"{place} (rejected)"),
        )
    ]
    return [verdict for verdict, _ in made], [place for _, place in made]


@dataclass(frozen=True)
class Data:
    """What is trained on, what is held out, the prompts of that, and what was left out and why."""

    source: str
    rows: list[Row]
    held_out: list[Row]
    prompts: list[Prompt]
    told: dict[str, Any]

    @property
    def tokens(self) -> int:
        """Tokens of all rows to train on, each answer counted once and its prompt once."""
        return sum(
            len(ids) for row in self.rows for name, ids in row.items() if name.endswith("_ids")
        )

    @property
    def answer_tokens(self) -> int:
        """Tokens that count in the loss."""
        return self.tokens - sum(len(row["prompt_ids"]) for row in self.rows)

    @property
    def longest_answer(self) -> int:
        """Tokens of the longest answer to train on."""
        return max(longest(row) - len(row["prompt_ids"]) for row in self.rows)


def make_data(
    tokenizer: Any,
    records: Sequence[T],
    places: Sequence[str],
    source: str,
    make_row: Callable[[Any, T], Row],
    wanted: Callable[[T], str | None],
    *,
    house_rules: str | None,
    max_length: int | None,
    leave_out_long: bool,
    held_out_share: float,
    allow_unscrubbed: bool,
    search: Search,
) -> Data:
    """Check every record, leave out what may not be learned, make rows, hold some prompts out.

    Args:
        places: where each record stands, for messages.
        make_row: :func:`rlhf.offline.rows.pair_row` or :func:`rlhf.offline.rows.verdict_row`.
        wanted: the answer of a record that training makes likelier, or None: what house rules see.
        search: what finds personal data in the records.

    Raises:
        InputError: a record that cannot be trained on, or nothing is left to train on.
    """
    scan = check_training_data(records, source, allow_unscrubbed, search)
    broken = vetoed(records, wanted, places, house_rules, source) if house_rules else []
    gone = {entry["place"] for entry in broken}
    kept = [(p, r) for p, r in zip(places, records, strict=True) if p not in gone]
    rows = tokenise(make_row, tokenizer, kept, source)
    long = too_long(rows, [place for place, _ in kept], max_length, source, leave_out_long)
    gone = {entry["place"] for entry in long}
    data = Data(source, [], [], [], {"personal_data": scan, "vetoed": broken, "too_long": long})
    asked = set()
    for (place, record), row in zip(kept, rows, strict=True):
        if place in gone:
            continue
        held_out = is_held_out(record.prompt, held_out_share)
        (data.held_out if held_out else data.rows).append(row)
        name = content_id(plain(record.prompt))
        if held_out and name not in asked:
            asked.add(name)
            data.prompts.append(as_prompt(record, f"{source}, {place}"))
    if not data.rows:
        raise InputError(
            f"held_out_share {held_out_share} holds out all of {len(rows)} records of {source}: "
            "lower it, or add records with other prompts"
        )
    return data


def as_prompt(record: Preference | Verdict, where: str) -> Prompt:
    """A record's prompt, with what a right answer to it states.

    Raises:
        InputError: ``metadata.facts`` is no list of texts or numbers.
    """
    try:
        return Prompt(prompt=record.prompt, metadata=record.metadata)
    except ValidationError as error:
        raise InputError(f"{where}: {error.errors()[0]['msg']}") from None


# --- what is left out -------------------------------------------------------------------------


def vetoed(
    records: Sequence[T],
    wanted: Callable[[T], str | None],
    places: Sequence[str],
    house_rules: str,
    source: str,
) -> list[dict[str, Any]]:
    """The records whose wanted answer breaks a blocker rule: place and rules.

    Raises:
        InputError: every record is vetoed.
    """
    from compliance.rules import house_rules as rules_of

    rules = rules_of.load(house_rules)
    found = []
    for place, record in zip(places, records, strict=True):
        answer = wanted(record)
        findings = rules.check(record.prompt, answer) if answer is not None else []
        broken = sorted({one.rule for one in findings if one.severity == "blocker"})
        if broken:
            found.append({"place": place, "rules": broken})
    if len(found) == len(records):
        raise InputError(f"every wanted answer of {source} breaks a blocker rule of {house_rules}")
    say(f"{len(found)} of {len(records)} wanted answers break a blocker rule and are left out")
    _list([f"{entry['place']}: {', '.join(entry['rules'])}" for entry in found])
    return found


def too_long(
    rows: Sequence[Row],
    places: Sequence[str],
    max_length: int | None,
    source: str,
    leave_out: bool,
) -> list[dict[str, Any]]:
    """The rows over ``max_length``, listed. None is ever cut: its end token would go first.

    Raises:
        InputError: there are some and they may not be left out, or nothing would be left.
    """
    over = {
        place: longest(row)
        for place, row in zip(places, rows, strict=True)
        if max_length and longest(row) > max_length
    }
    if not over:
        return []
    most = max(over.values())
    named = ", ".join([*over][:5]) + (" …" if len(over) > 5 else "")
    told = (
        f"{len(over)} of {len(rows)} records of {source} are longer than max_length {max_length} "
        f"({named}; the longest has {most} tokens)"
    )
    if not leave_out:
        raise InputError(
            f"{told}: set --max_length {most}, take them out, or run with --leave_out_long"
        )
    if len(over) == len(rows):
        raise InputError(f"{told}, and nothing is left: set --max_length {most}")
    say(f"{told} and are left out")
    return [{"place": place, "tokens": tokens} for place, tokens in over.items()]


def _list(lines: Sequence[str], at_most: int = 5) -> None:
    for line in lines[:at_most]:
        say(f"  {line}")
    if len(lines) > at_most:
        say(f"  … and {len(lines) - at_most} more, all in metrics.json")


def tokenise(
    make_row: Callable[[Any, T], Row],
    tokenizer: Any,
    placed: Sequence[tuple[str, T]],
    source: str,
) -> list[Row]:
    """Every record's row.

    Raises:
        InputError: a record that cannot be rendered, with where it stands.
    """
    rows = []
    for place, record in placed:
        try:
            rows.append(make_row(tokenizer, record))
        except InputError as error:
            raise InputError(f"{source}, {place}: {error}") from None
    return rows


def is_held_out(prompt: Sequence[Message], share: float) -> bool:
    """Whether a prompt is kept out of training, by a hash of its content.

    All records of one prompt stand on the same side, whatever stands beside them.
    """
    return int(content_id(plain(prompt)), 16) / 16**12 < share


def say(words: str) -> None:
    """Print, from one process only."""
    if runs.is_main_process():
        print(words, flush=True)
