"""YAML and flags become dataclasses, and nothing is guessed on the way.

    python -m sft --config configs/sft.yaml --learning_rate 1e-4

Keys are TRL's own, flat, in YAML and as flags. A YAML file is turned into flags that stand before
the user's, and one parse of TRL's parser checks both, so that a value has the same type and the
same error wherever it stands. On top of ``TrlParser``: no abbreviations, ``--config=x`` works,
types are checked in YAML too, duplicate keys and ``env:`` are refused, an unknown key names its
nearest known one.

Without ``--config`` the file ``configs/<campaign>/<stage>.yaml`` is read, where the campaign is
the last part of ``--run_dir``, and ``configs/<stage>.yaml`` if there is none.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from inhouse.errors import InputError, nearest
from inhouse.strict_yaml import line_of, load_yaml

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def setting(default: T, about: str) -> T:
    """A key of a stage: what it is when unset, and its line in ``--help``."""
    return field(default=default, metadata={"help": about})


@dataclass(frozen=True)
class Stage:
    """A command of the suite: its folder and config name, how it is called, what it is for.

    ``reads`` is what it reads without ``--dataset_name``, below the run's folder, and ``mend`` how
    to get that. ``held_out`` is True for what may read held-out data; every other is refused it.
    """

    name: str
    command: str
    about: str
    reads: str = ""
    mend: str = ""
    held_out: bool = False


@dataclass
class RunOptions:
    """Where a stage writes, and what it may do there. Every stage has these."""

    run_dir: str = setting(
        "runs/asdfg", "The campaign's folder: inputs are found in it, results go to it."
    )
    overwrite: bool = setting(False, "Delete this stage's earlier results and run it again.")
    dry_run: bool = setting(False, "Check everything, print the plan, write nothing.")
    allow_network: bool = setting(False, "Let models and data be fetched from the hub.")


@dataclass
class DataOptions:
    """What a stage reads."""

    dataset_name: str | None = setting(None, "The records to read; else RUN_DIR/{reads}.")


@dataclass
class HoldOutOptions:
    """Which records are kept out of training."""

    held_out_share: float = setting(0.05, "Share of prompts kept out of training, to measure on.")
    leave_out_long: bool = setting(
        False, "Leave out records over max_length, counted, instead of stopping."
    )

    def __post_init__(self) -> None:
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share is {self.held_out_share}: give 0 or more, below 1")


@dataclass
class PrivacyOptions:
    """What the scan for personal data goes by, and whether its findings stop a training."""

    allow_unscrubbed: bool = setting(
        False, "Train on personal data that the scan finds; the manifest says so."
    )
    personal_data_allow: str | None = setting(
        None, "The firm's own public contacts, one a line: nobody's personal data."
    )
    personal_data_ner: str | None = setting(
        None, "A folder with a model that labels names, for the scan of the data."
    )


@dataclass
class RetainOptions:
    """General conversations in which the model is held to what it said before training."""

    retain_dataset: str | None = setting(
        None,
        "General conversations, as demonstrations are: training holds the model to what it "
        "predicted there before, so that it forgets less.",
    )
    retain_weight: float = setting(
        1.0, "What a nat a token of drift there counts for, beside the loss."
    )
    retain_batch_size: int = setting(
        1, "Conversations of it that an update reads, in each process."
    )

    def __post_init__(self) -> None:
        if self.retain_weight <= 0:
            raise ValueError(
                f"retain_weight is {self.retain_weight}: give more than 0, or no retain_dataset"
            )
        if self.retain_dataset is None and (self.retain_weight, self.retain_batch_size) != (1.0, 1):
            raise ValueError("retain_weight and retain_batch_size need a retain_dataset")
        if self.retain_batch_size < 1:
            raise ValueError(f"retain_batch_size is {self.retain_batch_size}: give 1 or more")


# What only decides how a command runs, not what it makes: left out when two runs are compared.
NOT_IDENTITY = {"overwrite", "dry_run", "allow_network", "resume_from_checkpoint"}


@dataclass(frozen=True)
class Parsed:
    """A command line that held: the dataclasses asked for, and what was set to get them."""

    values: tuple[Any, ...]
    settings: dict[str, Any]
    config_file: Path | None

    def __iter__(self):
        return iter(self.values)


def parse(
    stage: Stage,
    *own: type,
    trl: Sequence[str] = (),
    argv: Sequence[str] | None = None,
) -> Parsed:
    """Parse ``argv`` into ``RunOptions``, the stage's ``own`` dataclasses, and TRL's.

    Args:
        stage: whose command line this is.
        own: the stage's dataclasses.
        trl: TRL's dataclasses by name (``"SFTConfig"``), imported only when needed, because
            that takes seconds and ``--help`` must not.
        argv: the words after the command; the process's own when not given.

    Raises:
        InputError: anything in the command line or the YAML file that is not exactly right.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "-h" in words or "--help" in words:
        _print_help(stage, (RunOptions, *own), trl, everything=False)
    if "--help_all" in words:
        _print_help(stage, (RunOptions, *own, *_import(trl)), (), everything=True)
    config_file, words = _take_config(stage, words)
    lines: dict[str, int] = {}
    from_yaml = _load_flat_yaml(config_file, lines) if config_file else {}
    # Before TRL is imported: the hub's library reads its environment once, then.
    if not _allows_network(from_yaml, words):
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

    kinds = (RunOptions, *own, *_import(trl))
    parser = _parser(stage, kinds)
    known = {action.dest for action in parser._actions}
    parser.origin = (config_file, lines)
    _check_yaml(parser, from_yaml, _may_be_unset(kinds))
    settings = _parse_strictly(parser, _flags(from_yaml), known)
    settings |= {key: None for key, value in from_yaml.items() if value is None}
    parser.origin = (None, {})
    settings |= _parse_strictly(parser, words, known)

    filled = _machine_defaults(settings) if trl else {}
    filled = {key: value for key, value in filled.items() if key not in settings}
    if filled:
        _say("for this machine, as unset: " + ", ".join(f"{k}={v}" for k, v in filled.items()))
    identity = {k: v for k, v in settings.items() if k not in NOT_IDENTITY}
    return Parsed(_build(stage, kinds, filled | settings), identity, config_file)


def _say(text: str) -> None:
    """Print once, whatever the number of processes."""
    if os.environ.get("RANK", "0") == "0":
        print(text)


def _machine_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """What TRL's own defaults get wrong on some machine: they raise without a GPU."""
    import torch

    gpu = torch.cuda.is_available()
    filled = {"bf16": gpu and torch.cuda.is_bf16_supported()}
    if not gpu:
        filled["use_cpu"] = True
    if "gradient_checkpointing" not in settings:  # the old name of the next key
        filled["activation_checkpointing"] = gpu  # costs time, saves memory a CPU has
    return filled


def _allows_network(from_yaml: dict[str, Any], words: list[str]) -> bool:
    """Whether ``allow_network`` is on, as the parse that follows will read it."""
    asked = from_yaml.get("allow_network", False)
    for word, following in itertools.pairwise([*words, "--"]):
        if word == "--allow_network":
            asked = True if following.startswith("--") else following
        elif word.startswith("--allow_network="):
            asked = word.partition("=")[2]
    return str(asked).lower() in ("yes", "true", "t", "y", "1")


def _may_be_unset(kinds: Sequence[type]) -> set[str]:
    """Keys for which null is a value."""
    hints = {name: hint for kind in kinds for name, hint in get_type_hints(kind).items()}
    unset = {f.name for kind in kinds for f in fields(kind) if f.default is None}
    return unset | {name for name, hint in hints.items() if type(None) in get_args(hint)}


def _import(names: Sequence[str]) -> tuple[type, ...]:
    trl = importlib.import_module("trl") if names else None
    return tuple(getattr(trl, name) for name in names)


def _parser(stage: Stage, kinds: tuple[Any, ...]) -> Any:
    from trl import TrlParser

    class StrictParser(TrlParser):
        """Raises instead of printing usage, and says where a bad value stands."""

        origin: tuple[Path | None, dict[str, int]] = (None, {})

        def error(self, message: str) -> NoReturn:
            file, lines = self.origin
            message = re.sub(r"^argument (--\w+)(/--[\w-]+)*", r"\1", message)
            named = re.search(r"--(\w+)", message)
            where = f"{file}, line {lines[named[1]]}: " if named and named[1] in lines else ""
            raise InputError(where + message)

    parser = StrictParser(kinds, prog=stage.command, allow_abbrev=False, add_help=False)
    for action in parser._actions:  # only what was set comes back; defaults stay the dataclass's
        action.default, action.required = argparse.SUPPRESS, False
    return parser


def _check_yaml(parser: Any, from_yaml: dict[str, Any], optional: set[str]) -> None:
    """What the flags that a YAML file is turned into would not show."""
    file, lines = parser.origin
    actions = {action.dest: action for action in parser._actions}
    for key, value in from_yaml.items():
        where = f"{file}, line {lines[key]}: "
        if key not in actions:
            raise InputError(where + _unknown(key, set(actions)))
        if value is None and key not in optional:
            raise InputError(f"{where}{key} has no value: give one, or leave the line out")
        if isinstance(value, list) and actions[key].nargs not in ("+", "*"):
            raise InputError(f"{where}{key} takes one value, found a list: {list(value)}")


def _parse_strictly(parser: Any, words: list[str], known: set[str]) -> dict[str, Any]:
    namespace, unknown = parser.parse_known_args(words)
    for word in unknown:
        if not word.startswith("--"):
            raise InputError(f"unexpected word {word!r}: settings are given as --key value")
        raise InputError(_unknown(word[2:].split("=")[0], known, dashes="--"))
    return vars(namespace)


def _unknown(key: str, known: set[str], dashes: str = "") -> str:
    near = nearest(key, known, cutoff=0.5)
    hint = f"; did you mean {dashes}{near}?" if near else ""
    return f"unknown key {dashes}{key}{hint} (--help_all lists all keys)"


def _build(stage: Stage, kinds: Sequence[type], values: dict[str, Any]) -> tuple[Any, ...]:
    built = []
    for kind in kinds:
        mine = {f.name: values[f.name] for f in fields(kind) if f.init and f.name in values}
        try:
            built.append(kind(**mine))
        except TypeError as error:
            missing = re.findall(r"'(\w+)'", str(error)) if "missing" in str(error) else []
            if not missing:
                raise
            raise InputError(f"{stage.command} needs --{missing[0]}") from None
        except (ValueError, ImportError) as error:  # TRL and transformers check when built
            raise InputError(f"these settings do not go together: {error}") from None
    return tuple(built)


def _take_config(stage: Stage, words: list[str]) -> tuple[Path | None, list[str]]:
    """Take ``--config X`` or ``--config=X`` out of the words; else find the stage's own file."""
    named, rest = _take(words, "config")
    if len(named) > 1:
        raise InputError(f"--config was given {len(named)} times: name one file")
    if named:
        path = Path(named[0])
        if not path.is_file():
            raise InputError(f"no config file {path}")
        return path, rest
    run_dirs, _ = _take(words, "run_dir")
    campaign = Path(run_dirs[-1] if run_dirs else RunOptions.run_dir).name
    for path in (ROOT / "configs" / campaign, ROOT / "configs"):
        path = path / f"{stage.name}.yaml"
        if path.is_file():
            short = os.path.relpath(path)
            _say(f"settings from {short if not short.startswith('..') else path}")
            return path, rest
    return None, rest


def _take(words: list[str], key: str) -> tuple[list[str], list[str]]:
    taken, rest, index = [], [], 0
    while index < len(words):
        if words[index] == f"--{key}":
            if index + 1 == len(words):
                raise InputError(f"--{key} needs a value")
            taken.append(words[index + 1])
            index += 1
        elif words[index].startswith(f"--{key}="):
            taken.append(words[index].partition("=")[2])
        else:
            rest.append(words[index])
        index += 1
    return taken, rest


def _load_flat_yaml(path: Path, lines: dict[str, int]) -> dict[str, Any]:
    document = load_yaml(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected `key: value` lines, found {type(document).__name__}")
    for key in document:
        lines[str(key)] = line_of(document, key)
    if "env" in document:
        raise InputError(
            f"{path}, line {lines['env']}: env: is not allowed here; set environment variables "
            "in the shell, where everyone can see them"
        )
    return {str(key): value for key, value in document.items()}


def _flags(settings: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for key, value in settings.items():
        if value is None:
            continue
        if isinstance(value, list):
            words += [f"--{key}", *(_word(item) for item in value)]
        else:
            words.append(f"--{key}={_word(value)}")
    return words


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _print_help(
    stage: Stage, kinds: Sequence[type], trl: Sequence[str], everything: bool
) -> NoReturn:
    print(
        f"{stage.command}: {stage.about}\n\n  --config FILE\n      YAML with the keys below; "
        f"without it configs/<campaign>/{stage.name}.yaml,\n      then configs/{stage.name}.yaml"
    )
    for kind in kinds:
        if everything:
            print(f"\n{kind.__name__}")
        for entry in fields(kind):
            if not entry.init:
                continue
            needed = entry.default is MISSING and entry.default_factory is MISSING
            default = " (needed)" if needed else f" (default: {entry.default})"
            shown = "" if entry.default is MISSING and not needed else default
            about = entry.metadata.get("help", "").replace("{reads}", stage.reads)
            print(f"  --{entry.name}{shown}\n      {about}")
    if trl:
        print(f"\nand every key of TRL's {', '.join(trl)}: {stage.command} --help_all")
    raise SystemExit(0)
