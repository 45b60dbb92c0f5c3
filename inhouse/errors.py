"""The two ways a command says no without a traceback, and the exit code of each.

An :class:`InputError` is something to mend first: config, data, a missing parent stage. A
:class:`GateError` is a measured no: a reward model too poor, a review that failed. Every message
names the value, what was expected, and the command that mends it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something the user can mend before running again."""

    exit_code = 3


class GateError(ValueError):
    """A gate that looked at a measured value and said no."""

    exit_code = 2


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word that begins with this one, or else is most like it; empty if none is."""
    names = {name.lower(): name for name in sorted(known, reverse=True)}
    begun = [name for name in sorted(names) if word and name.startswith(word.lower())]
    like = begun or difflib.get_close_matches(word.lower(), sorted(names), n=1, cutoff=cutoff)
    return names[like[0]] if like else ""


def words_of(error: BaseException, most: int = 1000) -> str:
    """A library's own words to stand inside a sentence of ours: one line, without its full stop.

    Args:
        most: characters; what is longer is cut, and ends in "…".
    """
    said = " ".join(str(error).split())
    said = said if len(said) <= most else said[: most - 1].rstrip() + "…"
    return said.rstrip(".:; ") or type(error).__name__


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """What a library says no to while it builds something, in one line instead of a traceback.

    A package that is not there, a value it does not take, parts that do not fit. Only around what
    is built from a user's settings: inside training, the same errors are faults of ours.

    Raises:
        InputError: with the library's own words, which name the package or the value.
    """
    try:
        yield
    except (InputError, GateError):
        raise
    except (ImportError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what} cannot be built with these settings: {words_of(error)}"
        ) from error
