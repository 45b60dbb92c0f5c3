"""From a parsed text query to SQL on the full-text index.

Every term of the query (a word, phrase, prefix, fuzzy word) is looked up in the index once, and
becomes one bit of a record. The query's operators are then arithmetic on these bits. Standard
library only.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from labeling.server.inside.search.sql_functions import Parameters
from labeling.server.inside.search.text_query import (
    All,
    Both,
    Either,
    Fuzzy,
    Not,
    Phrase,
    Prefix,
    Query,
    Words,
    within,
)

Term = Words | Prefix | Fuzzy | Phrase
Vocabulary = Callable[[int, int], Awaitable[Sequence[str]]]  # words of these lengths
MOST_TERMS = 400  # SQLite joins at most 500 SELECTs
DEEPEST = 30  # SQLite's parser ends at about three times as many parentheses
_BITS = 60  # in one of SQLite's integers


class TooLongError(ValueError):
    """The query is more than SQLite can answer in one statement."""


@dataclass(frozen=True)
class TextSearch:
    """The parts of a query on `records AS r`: what goes before SELECT, after FROM and in WHERE."""

    before: str
    source: str
    condition: str
    score: str


NO_TEXT = TextSearch("", "records AS r", "TRUE", "1.0")


async def search_for(
    query: Query | None,
    dataset_id: str,
    fields: Sequence[str],
    vocabulary: Vocabulary,
    bind: Parameters,
) -> TextSearch:
    """The SQL that finds and scores a data set's records by the text in some of their fields."""
    if query is None or not fields:
        return TextSearch("", "records AS r", "FALSE", "1.0")
    terms = list(dict.fromkeys(_terms(query)))
    if len(terms) > MOST_TERMS:
        raise TooLongError(
            f"this search has {len(terms)} different words, {MOST_TERMS} are possible: shorten it"
        )
    if _depth(query) > DEEPEST:
        raise TooLongError("this search mixes too many operators: use fewer of ( ) and |")
    if not terms:
        return TextSearch("", "records AS r", _condition(query, terms), "1.0")
    among = f"({', '.join(bind(name) for name in fields)})"
    where = f"document.dataset_id = {bind(dataset_id)} AND document.field IN {among}"
    hits = [
        f"SELECT {place} AS term, document.record_id, -bm25(search_index) AS score "
        "FROM search_index CROSS JOIN search_documents AS document "
        "ON document.id = search_index.rowid WHERE search_index MATCH "
        f"{bind(await _expression(term, vocabulary))} AND {where}{_extra(term, bind)}"
        for place, term in enumerate(terms)
    ]
    masks = ", ".join(
        f"SUM(CASE WHEN term / {_BITS} = {part} THEN 1 << term % {_BITS} ELSE 0 END) AS mask{part}"
        for part in range((len(terms) - 1) // _BITS + 1)
    )
    before = (
        f"WITH hits AS MATERIALIZED ({' UNION ALL '.join(hits)}), "
        # a term counts in the field where it matches best
        "best AS (SELECT term, record_id, MAX(score) AS score FROM hits GROUP BY term, record_id), "
        f"matched AS MATERIALIZED (SELECT record_id, SUM(score) AS score, {masks} FROM best "
        "GROUP BY record_id) "
    )
    if _matches_without_terms(query):  # for example `-refund`: every record is a candidate
        source = "records AS r LEFT JOIN matched ON matched.record_id = r.id"
    else:
        source = "matched CROSS JOIN records AS r ON r.id = matched.record_id"
    return TextSearch(before, source, _condition(query, terms), "COALESCE(matched.score, 1.0)")


def _terms(query: Query) -> list[Term]:
    match query:
        case All():
            return []
        case Not(inner):
            return _terms(inner)
        case Both(left, right) | Either(left, right):
            return _terms(left) + _terms(right)
        case _:
            return [query]


def _condition(query: Query, terms: Sequence[Term]) -> str:
    match query:
        case All():
            return "TRUE"
        case Not(inner):
            return f"NOT {_condition(inner, terms)}"
        case Both() | Either():
            word = " AND " if isinstance(query, Both) else " OR "
            return f"({word.join(_condition(each, terms) for each in _operands(query))})"
        case _:
            part, bit = divmod(terms.index(query), _BITS)
            return f"(COALESCE(matched.mask{part}, 0) >> {bit} & 1)"


def _operands(query: Both | Either) -> list[Query]:
    """What a chain of the same operator joins: `a b c` is read as (a b) c."""
    operands: list[Query] = [query.right]
    left = query.left
    while type(left) is type(query):
        assert isinstance(left, Both | Either)
        operands.append(left.right)
        left = left.left
    return [*operands, left][::-1]


def _depth(query: Query) -> int:
    """How deep the parentheses of the query's condition are nested."""
    match query:
        case Not(inner):
            return _depth(inner) + 1
        case Both() | Either():
            return 1 + max(map(_depth, _operands(query)))
        case _:
            return 1


def _matches_without_terms(query: Query) -> bool:
    """True when a record in which no term occurs matches."""
    match query:
        case All():
            return True
        case Not(inner):
            return not _matches_without_terms(inner)
        case Both(left, right):
            return _matches_without_terms(left) and _matches_without_terms(right)
        case Either(left, right):
            return _matches_without_terms(left) or _matches_without_terms(right)
        case _:
            return False


async def _expression(term: Term, vocabulary: Vocabulary) -> str:
    """The term in FTS5's query language; `""` matches nothing."""
    match term:
        case Words(words):
            return " AND ".join(map(_quoted, words))
        case Prefix(start):
            return f"{_quoted(start)} *" if _may_begin_a_word(start) else '""'
        case Fuzzy(word, distance):
            known = await vocabulary(len(word) - distance, len(word) + distance)
            close = [_quoted(each) for each in known if within(word, each, distance)]
            return " OR ".join(close) or '""'
        case Phrase(words, slop):
            if not slop:
                return _quoted(" ".join(words))
            near = " ".join(map(_quoted, words))  # no farther apart, in whatever order
            return f"NEAR({near}, {slop + len(words)})"


def _extra(term: Term, bind: Parameters) -> str:
    """What FTS5 cannot say: how far the words of a loose phrase may stand apart."""
    if isinstance(term, Phrase) and term.slop:
        phrase = bind(" ".join(term.words))
        return f" AND has_phrase(document.words, {phrase}, {bind(term.slop)})"
    return ""


def _may_begin_a_word(start: str) -> bool:
    """False for a prefix that FTS5 would split, and that therefore no word begins with."""
    return bool(start) and all(
        letter.isalnum() or letter in "_.:'" or not letter.isascii() for letter in start
    )


def _quoted(words: str) -> str:
    return '"' + words.replace('"', '""') + '"'
