"""The words of a command that is no stage, such as ``python -m compliance.privacy scan FILE``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from inhouse.errors import InputError, nearest


def parse_words(
    parser: argparse.ArgumentParser, words: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse a command's words, by default this process's; one that is wrong ends it with 3.

    Raises:
        InputError: there is no such option; names the one it is most like.
    """
    try:
        parsed, unknown = parser.parse_known_args(words)
    except SystemExit as ended:  # argparse exits with 2, which is a gate's code here
        sys.exit(3 if ended.code else 0)
    if unknown:
        options = sorted(set(_options(parser, parsed)))
        word = unknown[0].split("=")[0]
        like = nearest(word, options)
        hint = f"did you mean {like}?" if like else f"there are {', '.join(options)}"
        raise InputError(f"unrecognized {unknown[0]!r}: {hint}")
    return parsed


def _options(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> Iterator[str]:
    """The options of a parser and of the verb that was given."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            verb = action.choices.get(getattr(parsed, action.dest, ""))
            yield from _options(verb, parsed) if verb else ()
        yield from (option for option in action.option_strings if option.startswith("--"))
