"""The search box's language: Elasticsearch's `simple_query_string` with AND as the default.

    refund invoice       both words, each in any field
    refund | invoice     either; there is no precedence: a | b c is (a | b) c
    refund -invoice      the first and not the second
    "late payment"       the phrase; "late payment"~2 allows two places of distance
    pay*  pament~1       words that begin so; words at an edit distance of 1 (at most 2)
    (a | b) c            grouping; \\ takes the meaning from the next character; * alone matches all

It never fails: what makes no sense as an operator is skipped. A query that holds no word matches
nothing. Deviations: no limit on the words that a fuzzy or prefix term expands to. Standard library
only. Reference: https://www.elastic.co/guide/en/elasticsearch/reference/8.7/query-dsl-simple-query-string-query.html
"""

import json
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

# One letter of a script without spaces, or a word; an apostrophe, dot or colon inside joins it.
_LETTER = r"[^\W\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff]"
_WORD = re.compile(
    rf"[\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff]|{_LETTER}+(?:['’.:](?=\w){_LETTER}+)*"
)
LONGEST_WORD = 255  # as in Elasticsearch; pictures written into text would fill the index
DEEPEST = 20  # parentheses within parentheses
_ENDS_TERM = set(' \t\r\n\f\v"()|+')


@dataclass(frozen=True)
class Words:
    """All of these words in one field (one word in most cases)."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Prefix:
    """A word that begins so."""

    start: str


@dataclass(frozen=True)
class Fuzzy:
    """A word within this edit distance."""

    word: str
    distance: int


@dataclass(frozen=True)
class Phrase:
    """These words in a row, give or take `slop` places."""

    words: tuple[str, ...]
    slop: int


@dataclass(frozen=True)
class Not:
    """Whatever does not match."""

    query: "Query"


@dataclass(frozen=True)
class Both:
    """Both sides match."""

    left: "Query"
    right: "Query"


@dataclass(frozen=True)
class Either:
    """One side matches, or both."""

    left: "Query"
    right: "Query"


@dataclass(frozen=True)
class All:
    """Everything matches."""


Query = Words | Prefix | Fuzzy | Phrase | Not | Both | Either | All


def words(text: str) -> list[str]:
    """Split a text into lower-case words, much as Elasticsearch's standard analyser does."""
    return _WORD.findall(text.lower())


def columns(fields_json: str | None) -> str:
    """A record's searchable columns as JSON: [[field, words], …].

    A chat gives two, its contents and its roles, as two columns in Elasticsearch.
    """
    found: list[tuple[str, str]] = []
    for name, value in (json.loads(fields_json) if fields_json else {}).items():
        if isinstance(value, list):
            turns = [turn for turn in value if isinstance(turn, dict)]
            found.append((name, _indexed(" ".join(str(turn.get("content")) for turn in turns))))
            found.append((name, _indexed(" ".join(str(turn.get("role")) for turn in turns))))
        elif isinstance(value, dict):  # a custom field
            found.append((name, _indexed(json.dumps(value, ensure_ascii=False))))
        elif value is not None:
            found.append((name, _indexed(str(value))))
    return json.dumps(found)


def _indexed(text: str) -> str:
    return " ".join(word for word in words(text) if len(word) <= LONGEST_WORD)


def parse(text: str, depth: int = 0) -> Query | None:
    """Read a query; None when it holds no word, which matches nothing.

    What stands in more than `DEEPEST` parentheses is skipped.
    """
    query: Query | None = None
    operator: str | None = None  # the first + or | since the last clause; + when there is none
    negated = False
    at = 0
    while at < len(text):
        character = text[at]
        clause: Query | None
        if character.isspace() or character == ")":
            negated, at = False, at + 1
            continue
        if character == "-":
            negated, at = not negated, at + 1
            continue
        if character in "+|":
            if query is not None and operator is None:
                operator = character
            negated, at = False, at + 1
            continue
        if character == "(":
            inner, at = _until(text, at + 1, ")")
            clause = parse(inner, depth + 1) if inner is not None and depth < DEEPEST else None
        elif character == '"':
            inner, at = _until(text, at + 1, '"')
            clause = None
            if inner is not None:
                slop, at = _tilde(text, at)
                found = tuple(words(_unescape(inner)))
                clause = Phrase(found, slop or 0) if found else None
        else:
            clause, at = _term(text, at)
        if clause is not None:
            clause = Not(clause) if negated else clause
            if query is None:
                query = clause
            else:
                query = Either(query, clause) if operator == "|" else Both(query, clause)
            operator = None
        negated = False
    return query


def _until(text: str, at: int, closing: str) -> tuple[str | None, int]:
    """The text up to the closing character and the place behind it; None where it never closes."""
    start, depth = at, 1
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == closing:
            depth -= 1
            if depth == 0:
                return text[start:at], at + 1
        elif text[at] == "(" and closing == ")":
            depth += 1
        at += 1
    return None, start


def _term(text: str, at: int) -> tuple[Query | None, int]:
    """One word with its `*` or `~N`, and the place behind it."""
    start = at
    while at < len(text) and text[at] not in _ENDS_TERM:
        at += 2 if text[at] == "\\" else 1
    at = min(at, len(text))
    term = text[start:at]
    if term == "*":
        return All(), at
    if term.endswith("*") and not term.endswith("\\*"):
        return Prefix(_unescape(term[:-1]).lower()), at
    fuzzy = re.fullmatch(r"(.+?)(?<!\\)~(\d*)", term)
    found = tuple(words(_unescape(fuzzy[1] if fuzzy else term)))
    if not found:
        return None, at
    if fuzzy and len(found) == 1:
        return Fuzzy(found[0], min(int(fuzzy[2] or 2), 2)), at
    return Words(found), at


def _tilde(text: str, at: int) -> tuple[int | None, int]:
    """The number of a `~N` that stands here, and the place behind it."""
    match = re.compile(r"~(\d*)").match(text, at)
    return (int(match[1] or 2), match.end()) if match else (None, at)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def has_phrase(wanted: Sequence[str], field: Sequence[str], slop: int) -> bool:
    """True when the words stand in a row, after moving them by `slop` places in all.

    Shift every word back by its place in the phrase: in an exact match all meet at one position,
    and the spread of the positions is what the phrase is off.
    """
    if not set(wanted) <= set(field):
        return False
    shifted = [
        [position - place for position, word in enumerate(field) if word == each]
        for place, each in enumerate(wanted)
    ]
    for first in sorted({position for positions in shifted for position in positions}):
        # the tightest group whose smallest position is `first`
        places = [bisect_left(positions, first) for positions in shifted]
        if any(at == len(ps) for at, ps in zip(places, shifted, strict=True)):
            return False
        if max(ps[at] for at, ps in zip(places, shifted, strict=True)) - first <= slop:
            return True
    return False


def within(a: str, b: str, limit: int) -> bool:
    """True when the edit distance (Levenshtein's) of two words is at most `limit`."""
    if abs(len(a) - len(b)) > limit:
        return False
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
        if min(row) > limit:  # it never shrinks again
            return False
        previous = row
    return previous[-1] <= limit
