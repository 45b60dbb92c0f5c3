"""A rule set as it stands on disk: in one file, or in a folder where its wordings are apart.

    finance/rules.yaml              house: and rules:, which an officer reads and signs
    finance/wordings/PROM.yaml      wordings: of some rules by their ids, and lists: of words
    tone.yaml                       or all four keys in one file

Either is read as one document, and every fault is told with the file and line that it stands on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compliance.rules.schema import FILE_KEYS, WORDINGS, RuleFile, in_words, near
from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.strict_yaml import line_of, load_yaml

Loc = tuple[str | int, ...]  # keys and numbers that lead to a part of a document
APART = ("wordings", "lists")  # the keys of a file in wordings/


def rules_hash(path: Path) -> str:
    """The SHA-256 of a rule file; of a folder that of its files' names and hashes, in order."""
    files = _files_of(path)
    if files == [path]:
        return sha256(path)
    listed = sorted((file.relative_to(path).as_posix(), sha256(file)) for file in files)
    return hashlib.sha256("".join(f"{h}  {name}\n" for name, h in listed).encode()).hexdigest()


def _files_of(path: Path) -> list[Path]:
    """The files of a rule set, the one with the rules first.

    Raises:
        InputError: a folder without rules, without wordings, or with a file that is neither.
    """
    if not path.is_dir():
        return [path]
    rules, folder = path / "rules.yaml", path / "wordings"
    if not rules.is_file():
        raise InputError(
            f"{path} is a folder without rules.yaml: expected the rules there, and wordings/*.yaml"
        )
    seen = sorted(file for file in path.rglob("*.y*ml") if not file.name.startswith("."))
    wordings = [file for file in seen if file.parent == folder and file.suffix == ".yaml"]
    if not wordings:
        raise InputError(
            f"{folder} holds no *.yaml: expected the rules' patterns there; if they stand in "
            f"{rules}, name that file"
        )
    others = [file for file in seen if file not in (rules, *wordings)]
    if others:
        raise InputError(
            f"{others[0]} would not be read: expected {rules}, and *.yaml in {folder}; move or "
            "rename it"
        )
    return [rules, *wordings]


class Document:
    """What the files of a rule set say, as one YAML document that knows where each part stands."""

    def __init__(self, path: Path) -> None:
        self.file, *others = _files_of(path)
        self.tree = load_yaml(self.file)
        self._files: dict[Loc, Path] = {}  # of what another file gave
        if isinstance(self.tree, dict):
            self._give_wordings(self.file, self.tree)
            for file in others:
                self._add(file)

    def validated(self) -> RuleFile:
        """It in the schema.

        Raises:
            InputError: with line and column of the first fault, a misspelt key first of all.
        """
        try:
            return RuleFile.model_validate(_plain(self.tree))
        except ValidationError as error:
            faults = error.errors()
        fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
        file, line, column = self._at(fault["loc"])
        field = ".".join(str(part) for part in fault["loc"] if part not in ("str", "Example"))
        named = f", {field}{self._id_in(fault['loc'])}" if field else ""
        raise InputError(
            f"{file}, line {line}, column {column}{named}: {in_words(fault, field)}"
        ) from None

    def place(self, *loc: str | int) -> str:
        """The file and line of a part of it."""
        file, line, _ = self._at(loc)
        return f"{file}, line {line}"

    def is_apart(self, *loc: str | int) -> bool:
        """Whether a part of it was given to where it is read from ``wordings:`` or another file."""
        return loc in self._files

    def _at(self, loc: Loc) -> tuple[Path, int, int]:
        """File, line and column, as near as the document tells."""
        file, node, at = self.file, self.tree, (0, 0)
        for depth, part in enumerate(loc, start=1):
            try:
                at = node.lc.key(part) if hasattr(node, "keys") else node.lc.item(part)
                node = node[part]
            except (KeyError, IndexError, TypeError, AttributeError):
                break
            file = self._files.get(loc[:depth], file)
        return file, at[0] + 1, at[1] + 1

    def _id_in(self, loc: Loc) -> str:
        try:
            return f" ({self.tree['rules'][loc[1]]['id']})" if loc[:1] == ("rules",) else ""
        except (KeyError, IndexError, TypeError):
            return ""

    # --- several files as one ---------------------------------------------------------------

    def _add(self, file: Path) -> None:
        """Take over what a file of ``wordings/`` says.

        Raises:
            InputError: a key is none of its own, or what it says was said before.
        """
        given = load_yaml(file)
        if not isinstance(given, dict):
            raise InputError(f"{file}, line 1: expected the keys wordings: and lists:")
        for key in given:
            if key not in APART:
                belongs = f"; it belongs into {self.file}"
                hint = belongs if key in FILE_KEYS else near(str(key), APART)
                raise InputError(
                    f"{file}, line {line_of(given, key)}, {key}: there is no such key{hint}"
                )
        self._give_wordings(file, given)
        if "lists" in given:
            self._give_lists(file, given)

    def _give_lists(self, file: Path, given: Any) -> None:
        """Put a file's lists beside those that there are.

        Raises:
            InputError: they are none, or one of that name is there.
        """
        if not isinstance(given["lists"], dict):
            raise InputError(
                f"{file}, line {line_of(given, 'lists')}, lists: expected names, each with words"
            )
        if "lists" not in self.tree:
            self._move(given, self.tree, "lists", ("lists",), file)
            return
        mine = self.tree["lists"]
        for name in given["lists"] if isinstance(mine, dict) else ():  # else the schema complains
            if name in mine:
                raise InputError(
                    f"{file}, line {line_of(given['lists'], name)}: the list {name} stands in "
                    f"{self.place('lists', name)}, too: keep it in one place"
                )
            self._move(given["lists"], mine, name, ("lists", name), file)

    def _give_wordings(self, file: Path, given: Any) -> None:
        """Give each rule its patterns from a file's ``wordings:``.

        Raises:
            InputError: of a rule that is not there, of a key that is no pattern, or said twice.
        """
        if "wordings" not in given:
            return
        line = line_of(given, "wordings")
        wordings = given.pop("wordings")
        if not isinstance(wordings, dict):
            raise InputError(
                f"{file}, line {line}, wordings: expected rule ids, each with patterns"
            )
        numbers = dict(self._numbers())
        for name, patterns in wordings.items():
            where = f"{file}, line {line_of(wordings, name)}: wordings of {name}"
            if name not in numbers:
                hint = near(str(name), numbers)
                raise InputError(f"{where}, which is no rule of {self.file}{hint}")
            if not hasattr(patterns, "keys"):
                raise InputError(f"{where}: expected keys like match: with patterns")
            for key in patterns:
                self._give_key(file, patterns, key, numbers[name])

    def _give_key(self, file: Path, patterns: Any, key: str, number: int) -> None:
        rule, loc = self.tree["rules"][number], ("rules", number, key)
        where = f"{file}, line {line_of(patterns, key)}: {key} in the wordings of {rule['id']}"
        if key not in WORDINGS:
            raise InputError(f"{where} is none of {', '.join(WORDINGS)}{near(str(key), WORDINGS)}")
        if key in rule:
            other = self.place(*loc) if self.is_apart(*loc) else "the rule"
            raise InputError(f"{where} stands in {other}, too: keep it in one place")
        self._move(patterns, rule, key, loc, file)

    def _numbers(self) -> Iterator[tuple[str, int]]:
        """The id and number of every rule that has one."""
        rules = self.tree.get("rules")
        for number, rule in enumerate(rules if isinstance(rules, list) else []):
            if isinstance(rule, dict) and isinstance(rule.get("id"), str):
                yield rule["id"], number

    def _move(self, source: Any, target: Any, key: str, loc: Loc, file: Path) -> None:
        """Give the target what the source has, with the line and column that it stands on."""
        target[key] = source[key]
        target.lc.add_kv_line_col(key, source.lc.data[key])
        self._files[loc] = file


def _plain(value: object) -> Any:
    """ruamel's containers and strings as plain ones, which strict pydantic asks for."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
