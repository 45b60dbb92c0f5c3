"""re2, as the suite uses it: linear in the text whatever a pattern's author writes.

Python's ``re`` takes seconds for ``(a+)+$``. Patterns are case-insensitive. They are put together
from words and from lists of words, and none is taken apart again.

    words = Lists({"sure": ["certain", "bound"], "gain": ["<sure> to rise"]})
    words.compile(r"\\b<gain>\\b")              # \\b(?:(?:certain|bound) to rise)\\b
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import re2

ALWAYS = r"\A"  # matches every text
_NAME = re.compile(r"(?<!P)<([a-z_]+)>")


class Match(Protocol):
    """Where a pattern matched: ``re``'s or re2's."""

    def span(self, group: int = 0, /) -> tuple[int, int]: ...
    def start(self, group: int = 0, /) -> int: ...
    def end(self, group: int = 0, /) -> int: ...
    def group(self, group: int = 0, /) -> str: ...


class Pattern(Protocol):
    """What can be searched for: ``re``'s or re2's."""

    @property
    def pattern(self) -> str: ...
    @property
    def groups(self) -> int: ...
    @property
    def groupindex(self) -> Mapping[str, int]: ...
    def search(self, text: str, /) -> Match | None: ...
    def match(self, text: str, /) -> Match | None: ...
    def finditer(self, text: str, /) -> Iterator[Match]: ...


def compile_pattern(pattern: str) -> Pattern:
    """A case-insensitive re2 pattern.

    Raises:
        re2.error: the pattern is not one that re2 takes.
    """
    made: Pattern = re2.compile(pattern, _options())
    return made


def reads(pattern: str) -> bool:
    """Whether re2 can read a pattern, which it need not compile for that."""
    try:
        _new_set().Add(pattern)
    except re2.error:
        return False
    return True


def explained(error: re2.error) -> str:
    """Why re2 does not take a pattern, and what to use instead."""
    said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
    if "perl operator" in said or "escape sequence" in said:
        said += " (look-around and back-references are not taken: use unless:)"
    return said


def any_of(words: Iterable[str]) -> str:
    """A pattern that matches where one of several does; the first that does is taken."""
    return f"(?:{'|'.join(words)})"


def either(patterns: Iterable[str]) -> Pattern:
    """One pattern that matches where any of several does, to be asked for once."""
    options = _options()
    options.never_capture = True
    made: Pattern = re2.compile("|".join(f"(?:{pattern})" for pattern in patterns), options)
    return made


def _new_set() -> Any:
    """A set of re2 patterns that are searched for together, as empty; ``Add`` checks each."""
    options = _options()
    options.max_mem = 1 << 28
    return re2.Set.SearchSet(options)


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    # With re2's 8 MB the longest patterns have no room for an automaton: ten times slower.
    options.max_mem = 1 << 26
    return options


def alternatives(text: str) -> list[str]:
    """What a text lists: one a line, or several with " | " between them."""
    return [words for line in text.split("\n") if line for words in line.split(" | ")]


class Lists:
    """Lists of words by name. In a pattern, or in another list, ``<name>`` is any of its words."""

    def __init__(self, words: Mapping[str, Sequence[str]]) -> None:
        self.words = words
        self._filled: dict[str, str] = {}

    @classmethod
    def beside(cls, module: str) -> Lists:
        """Those of the data file beside a module: of ``clauses.toml``, for the path of its code.

        Each is a text of alternatives, one a line, or several with " | " between them.
        """
        texts = tomllib.loads(Path(module).with_suffix(".toml").read_text(encoding="utf-8"))
        return cls({name: alternatives(text) for name, text in texts.items()})

    def set_of(self, name: str) -> frozenset[str]:
        """The words of a list in which blanks part them."""
        return frozenset(word for line in self.words[name] for word in line.split())

    def fill(self, pattern: str) -> str:
        """A pattern with the lists that it names.

        Raises:
            UnknownList: there is none of that name.
            CircularList: one names itself, perhaps through others.
        """
        return _NAME.sub(lambda found: self._any_of(found[1]), pattern)

    def compile(self, pattern: str) -> Pattern:
        """The same, compiled, for code whose lists are right."""
        return compile_pattern(self.fill(pattern))

    def compile_each(self, name: str) -> list[Pattern]:
        """The words of a list, each as a pattern of its own."""
        return [self.compile(word) for word in self.words[name]]

    def _any_of(self, name: str) -> str:
        if name not in self.words:
            raise UnknownList(name)
        if name not in self._filled:
            self._filled[name] = ""  # until it is known: a circle comes back to it
            self._filled[name] = any_of(map(self.fill, self.words[name]))
        if not self._filled[name]:
            raise CircularList(name)
        return self._filled[name]


class UnknownList(LookupError):
    """A pattern names a list that is not there: its only argument."""


class CircularList(ValueError):
    """A list names itself: its only argument."""


class Several:
    """Patterns that are searched for together: one search tells which of them match."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._together = _new_set()
        # One that matches every text: it tells that the search came to its end.
        self.places = {ALWAYS: self._together.Add(ALWAYS)}
        for pattern in patterns:
            self.add(pattern)

    def add(self, pattern: str) -> int:
        """Where the pattern stands among them."""
        if pattern not in self.places:
            self.places[pattern] = self._together.Add(pattern)
        return self.places[pattern]

    def compile(self) -> Several:
        """Itself, ready for the search; none is added after it."""
        self._together.Compile()
        return self

    def found(self, text: str) -> frozenset[int] | None:
        """Where those stand that match; None where the automaton outgrew its memory."""
        hits = frozenset(self._together.Match(text) or ())
        return hits if self.places[ALWAYS] in hits else None
