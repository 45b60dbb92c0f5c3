"""YAML 1.2 with line numbers, without duplicate keys, aliases, or anything that can blow up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inhouse.errors import InputError
from inhouse.files import read_utf8

MAX_YAML, MAX_DEPTH = 2_000_000, 20  # a settings or rule file is far below both


def load_yaml(path: Path) -> Any:
    """A YAML 1.2 document with its line numbers (``.lc``); duplicate keys and aliases refused.

    Raises:
        InputError: with file, line and column.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import Composer
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import AliasEvent, CollectionStartEvent

    if not path.exists():
        raise InputError(f"no file {path}")
    text = read_utf8(path)
    if len(text) > MAX_YAML:
        raise InputError(f"{path} has {len(text):,} characters: at most {MAX_YAML:,} are read")

    class Bounded(Composer):
        """Refuses what can blow up while it is read, before it does."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.parser.peek_event()
            where = (
                f"{path}, line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"
            )
            if isinstance(event, AliasEvent):
                raise InputError(f"{where}: aliases (*name) are not allowed")
            if isinstance(event, CollectionStartEvent) and self.depth >= MAX_DEPTH:
                raise InputError(f"{where}: nested deeper than {MAX_DEPTH} levels")
            return super().compose_node(parent, index)

    yaml = YAML()
    yaml.Composer = Bounded
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or "not YAML").strip().splitlines()[0]
        hint = next((f" ({hint})" for said, hint in _HINTS.items() if said in problem), "")
        raise InputError(
            f"{path}, line {mark.line + 1}, column {mark.column + 1}: {problem}{hint}"
        ) from None
    except YAMLError as error:  # a character that YAML does not allow
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None


# What the reader's words for the commonest slips mean.
_HINTS = {
    "cannot start any token": "indent with blanks, not tabs; a text that begins with this sign "
    "needs quotes",
    "mapping values are not allowed": "a text that holds ': ' needs quotes",
}


def line_of(document: Any, key: Any) -> int:
    """The line, from 1, on which a key or list item of a loaded YAML document stands."""
    position = document.lc  # ruamel.yaml keeps where each key and item stands
    at = position.key(key) if hasattr(document, "keys") else position.item(key)
    return int(at[0]) + 1
