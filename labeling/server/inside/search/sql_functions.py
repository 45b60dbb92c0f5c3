"""What SQLite calls back for, and what several queries share. Standard library only.

search_columns(fields_json)          a record's words by column, for the triggers of `search_index`
has_phrase(words, phrase, slop)      1 when the words of a phrase stand near enough, else 0

Neither runs for every record of a search: a call from SQLite into Python waits for the interpreter,
which the server's other requests keep busy.
"""

import hashlib
from typing import Any

from labeling.server.inside.search import text_query

_PRIME = 2**31 - 1
_DIGITS = 8  # of a record's id, which is random: 32 bits of it


class Parameters:
    """The values that SQL text refers to; calling it with a value returns the name to write."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def __call__(self, value: object) -> str:
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def add_to(connection: Any) -> None:
    """Make the functions known to a database connection."""
    connection.create_function("search_columns", 1, text_query.columns, deterministic=True)
    connection.create_function("has_phrase", 3, _has_phrase, deterministic=True)


def shuffled(user_id: str, table: str) -> str:
    """SQL for a number in [0, 1) that looks random, differs between users, and never changes.

    The record's number times a number that the user's id gives, modulo a prime: so edits and
    answers do not reshuffle the records that are left.
    """
    digest = hashlib.blake2b(user_id.encode(), digest_size=8).digest()
    factor = 1 + int.from_bytes(digest, "big") % (_PRIME - 1)
    return f"({record_number(f'{table}.id')} * {factor} % {_PRIME} / {_PRIME}.0)"


def record_number(column: str) -> str:
    """SQL that reads the start of a record's id as a number.

    Slow for thousands of records; but `search_index` has an index on this very expression.
    """
    number = "0"
    for place in range(1, _DIGITS + 1):
        number = f"({number} * 64 + unicode(substr({column}, {place}, 1)))"
    return f"({number} % {_PRIME})"


def _has_phrase(words: str, phrase: str, slop: int) -> bool:
    return text_query.has_phrase(phrase.split(), words.split(), slop)
