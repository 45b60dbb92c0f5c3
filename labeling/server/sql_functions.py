"""The two functions that SQLite calls back for: does a record's text match, and in which order.

text_score(fields_json, query, names_json)   0.0 when the text does not match, else its score
shuffle(user_id, record_id)                  a number in [0, 1) that looks random and never changes
"""

import functools
import hashlib
import json
from typing import Any

from labeling.server import text_query


def add_to(connection: Any) -> None:
    """Make the functions known to a database connection."""
    connection.create_function("text_score", 3, text_score, deterministic=True)
    connection.create_function("shuffle", 2, shuffle, deterministic=True)


def text_score(fields_json: str | None, query: str, names_json: str) -> float:
    """How well the named fields of a record match the query; 0.0 when they do not."""
    parsed = _parse(query)
    if parsed is None or fields_json is None:
        return 0.0
    fields = json.loads(fields_json)
    columns: list[list[str]] = []
    for name in _names(names_json):
        columns += _columns(fields.get(name))
    return text_query.score(parsed, columns)


def shuffle(user_id: str, record_id: str) -> float:
    """A stable pseudo-random number, so that each rater meets the records in an order of their own.

    A hash of the two ids rather than a position: edits and answers do not reshuffle the rest.
    """
    digest = hashlib.blake2b(f"{user_id}{record_id}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _columns(value: Any) -> list[list[str]]:
    """The searchable words of one field: chat gives two columns (contents, roles), text one."""
    if value is None:
        return []
    if isinstance(value, list):
        contents = [word for turn in value for word in text_query.words(str(turn.get("content")))]
        return [contents, [str(turn.get("role")) for turn in value]]
    if isinstance(value, dict):  # a custom field
        return [text_query.words(json.dumps(value, ensure_ascii=False))]
    return [text_query.words(str(value))]


@functools.lru_cache(maxsize=256)
def _parse(query: str) -> text_query.Query | None:
    return text_query.parse(query)


@functools.lru_cache(maxsize=256)
def _names(names_json: str) -> list[str]:
    return json.loads(names_json)
