"""The records that cross stages, as JSON Lines in and out.

One JSON object a line, UTF-8. A reader checks every line before it returns, and its error names
file, line and field of the first fault and how many more lines are broken: nothing is skipped in
silence. TRL's other published shapes (``prompt``/``completion``, a preference with an implicit
prompt, plain strings instead of messages) are read too and become the shapes below; see
https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from inhouse.errors import InputError
from inhouse.files import write_atomically

# TRL's published shapes by the columns that tell them apart, the most telling first: the record
# that each becomes, and what to say to who gave it to something else.
SHAPES = (
    ("Preference", {"chosen", "rejected"}, "a preference, which `python -m rlhf.dpo` reads"),
    ("Verdict", {"prompt", "completion", "label"}, "a verdict, which `python -m rlhf.kto` reads"),
    ("Demonstration", {"messages"}, "a demonstration, which `python -m sft` reads"),
    ("Demonstration", {"prompt", "completion"}, "a demonstration, which `python -m sft` reads"),
    ("", {"prompt", "completions", "labels"}, "stepwise supervision, which no stage reads"),
    ("Prompt", {"prompt"}, "a prompt without an answer: add what is to be learned"),
    (
        "",
        {"text"},
        "plain text, which has no turns: write it as messages, or prompt and completion",
    ),
)
# What TRL's templates would render and inhouse.chat does not.
NOT_RENDERED = ("tools", "images", "image", "chat_template_kwargs")

Role = Literal["system", "user", "assistant"]
Choice = Literal["a", "b", "tie"]


class Record(BaseModel):
    """What all records have in common: strict values; a user's own extra columns are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: str

    @field_validator("content")
    @classmethod
    def _not_blank(cls, content: str) -> str:
        if not content.strip():
            raise ValueError("is empty: every turn needs text")
        return content


def _check_turns(messages: list[Message], last: Role) -> list[Message]:
    """An optional system turn, then user and assistant in turn, ending with ``last``."""
    if not messages:
        raise ValueError("has no messages")
    turns = messages[1:] if messages[0].role == "system" else messages
    for number, message in enumerate(turns):
        expected = "assistant" if number % 2 else "user"
        if message.role != expected:
            raise ValueError(
                f"roles are out of order: expected {expected!r}, found {message.role!r} "
                "(an optional system turn, then user and assistant in turn)"
            )
    if messages[-1].role != last:
        raise ValueError(f"must end with a {last!r} turn, ends with {messages[-1].role!r}")
    return messages


def _as_messages(value: object, role: Role) -> Any:
    return [{"role": role, "content": value}] if isinstance(value, str) else value


class Demonstration(Record):
    """A conversation that shows how the house wants to be heard."""

    messages: list[Message]
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_prompt_completion(cls, data: object) -> Any:
        if isinstance(data, dict) and data.get("label") is False:
            raise ValueError("label is false: an answer that was disliked is no demonstration")
        if (
            isinstance(data, dict)
            and "messages" not in data
            and {"prompt", "completion"} <= set(data)
        ):
            prompt = _as_messages(data["prompt"], "user")
            completion = _as_messages(data["completion"], "assistant")
            if isinstance(prompt, list) and isinstance(completion, list):
                return {**data, "messages": prompt + completion}
        return data

    @field_validator("messages")
    @classmethod
    def _turns(cls, messages: list[Message]) -> list[Message]:
        return _check_turns(messages, last="assistant")


class Prompt(Record):
    """A conversation that waits for an answer."""

    prompt: list[Message]
    metadata: dict[str, Any] = Field(default_factory=dict)

    @field_validator("prompt", mode="before")
    @classmethod
    def _string(cls, value: object) -> Any:
        return _as_messages(value, "user")

    @field_validator("prompt")
    @classmethod
    def _turns(cls, messages: list[Message]) -> list[Message]:
        return _check_turns(messages, last="user")

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
        _check_turns(self.prompt, last="user")
        for name in ("response_a", "response_b"):
            if not getattr(self, name).strip():
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
    """

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    margin: float | None = None
    agreement: float | None = None
    pair_id: str | None = None
    raters: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict)

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
            "prompt": _as_messages(data.get("prompt"), "user"),
            "chosen": _as_messages(chosen, "assistant"),
            "rejected": _as_messages(rejected, "assistant"),
        }

    @model_validator(mode="after")
    def _turns(self) -> Preference:
        _check_turns(self.prompt, last="user")
        for name in ("chosen", "rejected"):
            reply = getattr(self, name)
            if len(reply) != 1 or reply[0].role != "assistant":
                raise ValueError(f"{name} must be one assistant turn that answers the prompt")
        if self.chosen == self.rejected:
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


R = TypeVar("R", bound=Record)


def content_id(*parts: object) -> str:
    """Twelve hex digits that depend on content only, so that a record's name is its hash."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plain(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages as the plain dicts that chat templates and TRL take."""
    return [{"role": message.role, "content": message.content} for message in messages]


def read(path: str | Path, kind: type[R], *, limit_errors: int = 3) -> list[R]:
    """Every record of a JSON Lines file, or of any source that ``datasets`` loads.

    Raises:
        InputError: a missing file, wrong encoding, broken JSON, a missing or wrong field, a
            duplicate ``id``, or no record at all.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".json"):
        rows: Iterator[tuple[int, Any]] = enumerate(_rows_of_dataset(path), start=1)
    else:
        rows = _rows_of_jsonl(path)
    return _validate(rows, kind, str(path), limit_errors)


def _rows_of_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    if not path.is_file():
        raise InputError(f"no file {path}: expected JSON Lines, one record a line")
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _rows_of_dataset(path: Path) -> Iterable[Any]:
    """Rows of a folder saved by ``datasets``, a CSV or Parquet file, or a data set's name."""
    import datasets

    try:
        if (path / "state.json").is_file():
            return datasets.load_from_disk(str(path))
        builders = {".parquet": "parquet", ".csv": "csv"}
        if path.suffix in builders:
            return datasets.load_dataset(builders[path.suffix], data_files=str(path), split="train")
        return datasets.load_dataset(str(path), split="train")  # a folder of data files
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise InputError(
            f"cannot read {path} as a data set: {error}\n"
            "expected a .jsonl, .parquet or .csv file, or a folder written by "
            "datasets.save_to_disk; fetch a data set of the hub first and save it so"
        ) from None


def _validate(
    rows: Iterator[tuple[int, Any]], kind: type[R], source: str, limit_errors: int
) -> list[R]:
    records: list[R] = []
    faults: list[str] = []
    broken = 0
    seen: dict[str | int, int] = {}
    for line, row in rows:
        try:
            value = json.loads(row.decode("utf-8")) if isinstance(row, bytes) else row
            if not isinstance(value, dict):
                raise TypeError(f"expected a JSON object, found {type(value).__name__}")
            ignored = next((key for key in NOT_RENDERED if value.get(key)), None)
            if ignored:
                raise TypeError(
                    f"holds {ignored!r}, which is not rendered, so that a model would learn "
                    "without it: take the column out, or write it into the turns"
                )
            record = kind.model_validate(value)
            name = value.get("id")
            if isinstance(name, str | int) and name in seen:
                raise TypeError(f"id {name!r} stands already in line {seen[name]}")
        except UnicodeDecodeError as error:
            fault = f"not UTF-8 at byte {error.start}: save the file as UTF-8"
        except json.JSONDecodeError as error:
            fault = f"not JSON: {error.msg} at column {error.colno}"
        except ValidationError as error:
            fault = _first_fault(error) + _other_shape(value, kind)
        except TypeError as error:
            fault = str(error)
        else:
            records.append(record)
            if isinstance(name, str | int):
                seen[name] = line
            continue
        broken += 1
        if len(faults) < limit_errors:
            faults.append(f"{source}, line {line}: {fault}")
    if broken:
        more = f"\n… and {broken - len(faults)} more broken lines" if broken > len(faults) else ""
        shape = ", ".join(name for name, field in kind.model_fields.items() if field.is_required())
        raise InputError(
            "\n".join(faults) + more + f"\na {kind.__name__.lower()} needs: {shape}. Mend the "
            "lines named above; nothing was written."
        )
    if not records:
        raise InputError(f"{source} holds no record: expected at least one {kind.__name__.lower()}")
    return records


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    field = ".".join(str(part) for part in fault["loc"]) or "record"
    found = f", found {fault['input']!r}" if fault["type"] == "literal_error" else ""
    return f"field {field!r}: {fault['msg'].removeprefix('Value error, ')}{found}"


def _other_shape(row: dict[str, Any], kind: type[Record]) -> str:
    """In words what a row is, if a user's file was given to a command that reads another shape."""
    if kind.__name__ not in {name for name, _, _ in SHAPES}:
        return ""
    for name, columns, words in SHAPES:
        if columns <= row.keys():
            return "" if name == kind.__name__ else f" (this is {words})"
    return ""


def positions(source: str | Path, count: int) -> list[str]:
    """Where each of ``count`` records stands: its line in a JSON Lines file, else its number."""
    path = Path(source)
    if path.suffix not in (".jsonl", ".json"):
        return [f"record {number}" for number in range(1, count + 1)]
    lines = enumerate(path.read_bytes().split(b"\n"), start=1)
    return [f"line {number}" for number, line in lines if line.strip()]


def to_line(record: Record) -> str:
    """A record as one line of JSON, newline included."""
    return json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n"


def write(path: str | Path, records: Iterable[Record]) -> None:
    """Write a whole file or none of it: temporary file, fsync, rename."""
    write_atomically(Path(path), "".join(to_line(record) for record in records))


class Journal(Generic[R]):
    """A JSON Lines file that grows batch by batch and survives a kill.

    Records go to ``<name>.part``, each batch synced to disk; :meth:`finish` renames it. Opened
    again, it drops a torn last line, reads the whole ones back, and goes on behind them. A file
    that was finished before its stage was is taken up again, too.
    """

    def __init__(self, path: Path, kind: type[R]):
        self.path, self._part = path, path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not self._part.exists():
            path.replace(self._part)
        kept = self._part.read_bytes() if self._part.exists() else b""
        kept = kept[: kept.rfind(b"\n") + 1]
        self.records = [kind.model_validate_json(line) for line in kept.splitlines()]
        self._file = self._part.open("r+b" if self._part.exists() else "w+b")
        self._file.truncate(len(kept))
        self._file.seek(len(kept))

    def append(self, records: Iterable[R]) -> None:
        """Add a batch; it is on disk when this returns."""
        for record in records:
            self._file.write(to_line(record).encode())
            self.records.append(record)
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> list[R]:
        """Give the file its final name and return all its records."""
        self._file.close()
        self._part.replace(self.path)
        return self.records
