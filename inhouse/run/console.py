"""Consoles and pipes that are not UTF-8: what they cannot show is shown in plain, or by its code.

Without this a command that has worked for hours ends in UnicodeEncodeError at its first "…", under
``LC_ALL=C``, ``PYTHONIOENCODING=ascii``, or on a console of code page 1252.
"""

from __future__ import annotations

import codecs
import io
import sys

# What our own lines hold beside ASCII, in ASCII.
PLAIN = {"…": "...", "–": "-", "—": "-", "’": "'", "·": "-", "•": "*", "×": "x", "→": "->"}
PLAIN |= {"⟦": "[[", "⟧": "]]", "█": "#", "✓": "ok", "±": "+-", "Δ": "delta ", "σ": "sigma"}


def fit_console() -> None:
    """Let no character end this command, neither one that is printed nor one that is piped in."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_in_plain.__name__)
    # What is piped in comes from a file, and files are UTF-8 here whatever the console speaks.
    asked = sys.stdin
    if isinstance(asked, io.TextIOWrapper) and (not asked.isatty() or _is_ascii(asked.encoding)):
        asked.reconfigure(encoding="utf-8", errors="strict")


def _is_ascii(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "ascii"


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    """A substitute for one character that an encoding lacks, and where the text goes on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    code = character.encode("ascii", "backslashreplace").decode("ascii")
    return PLAIN.get(character, code), error.start + 1


codecs.register_error(_in_plain.__name__, _in_plain)
