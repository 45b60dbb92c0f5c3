"""The two ways a command says no without a traceback, and the exit code of each.

An :class:`InputError` is something to mend first: config, data, a missing parent stage. A
:class:`GateError` is a measured no: a reward model too poor, a review that failed. Every message
names the value, what was expected, and the command that mends it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
