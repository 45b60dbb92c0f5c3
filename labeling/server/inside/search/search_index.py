"""The full-text index (SQLite's FTS5), kept in step with the records by triggers.

    search_documents   one row for each searchable column of a record: a text field, or the contents
                       or the roles of a chat; `words` are the text's words, with spaces between
    search_index       the FTS5 index on `words`
    search_vocabulary  every word of the index, for fuzzy terms
    search_records     an index on records with all that a queue needs, in the order of pushing

The triggers run in the transaction that writes the record, so that the index can neither lag behind
nor be lost without it. A record's documents are found by its id, and have ids of their own:
records' row ids change with VACUUM. Splitting into words is ours (`text_query.words`); FTS5 splits
at the spaces between them and does nothing else.
"""

import sqlite3
from contextlib import closing
from typing import Any

from labeling.server.inside.search.sql_functions import record_number

VERSION = 2  # of the statements below; kept as SQLite's `user_version`, which Argilla leaves alone

_TABLES = """
CREATE TABLE search_documents (
    id INTEGER PRIMARY KEY,
    record_id TEXT NOT NULL,
    dataset_id TEXT NOT NULL,
    field TEXT NOT NULL,
    words TEXT NOT NULL
);
CREATE INDEX search_documents_by_record ON search_documents (record_id);
CREATE VIRTUAL TABLE search_index USING fts5 (
    words, content = 'search_documents', content_rowid = 'id',
    tokenize = "ascii tokenchars '_.:'''"
);
CREATE VIRTUAL TABLE search_vocabulary USING fts5vocab ('search_index', 'row');
CREATE INDEX search_records ON records (dataset_id, inserted_at, id, status, {number});
"""
_TRIGGERS = """
CREATE TRIGGER search_document_added AFTER INSERT ON search_documents BEGIN
    INSERT INTO search_index (rowid, words) VALUES (new.id, new.words);
END;
CREATE TRIGGER search_document_removed AFTER DELETE ON search_documents BEGIN
    INSERT INTO search_index (search_index, rowid, words) VALUES ('delete', old.id, old.words);
END;
CREATE TRIGGER search_record_added AFTER INSERT ON records BEGIN
    {add};
END;
CREATE TRIGGER search_record_changed AFTER UPDATE OF fields ON records
WHEN old.fields IS NOT new.fields BEGIN
    DELETE FROM search_documents WHERE record_id = new.id;
    {add};
END;
CREATE TRIGGER search_record_removed AFTER DELETE ON records BEGIN
    DELETE FROM search_documents WHERE record_id = old.id;
END;
"""
_ADD = """
INSERT INTO search_documents (record_id, dataset_id, field, words)
SELECT {record}.id, {record}.dataset_id,
    json_extract(item.value, '$[0]'), json_extract(item.value, '$[1]')
FROM {source} json_each(search_columns({record}.fields)) AS item
"""


def is_possible() -> bool:
    """True when this Python's SQLite has what the index and the searches need."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5 (words)")
        except sqlite3.OperationalError:
            return False
    return sqlite3.sqlite_version_info >= (3, 35)  # AS MATERIALIZED


def prepare(connection: sqlite3.Connection) -> bool:
    """Make the index, unless it is there in today's form; return True when it was made.

    The connection must know the functions of `sql_functions`. One transaction: all or nothing.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return False
    tables = _TABLES.format(number=record_number("id"))
    triggers = _TRIGGERS.format(add=_ADD.format(record="new", source="").strip())
    fill = _ADD.format(record="records", source="records,")
    connection.executescript(
        f"BEGIN IMMEDIATE; {_drop(connection)} {tables} {triggers} {fill}; "
        f"PRAGMA user_version = {VERSION}; COMMIT;"
    )
    return True


def is_whole(connection: sqlite3.Connection) -> bool:
    """True when the index agrees with the documents, and these with the records."""
    try:
        connection.execute("INSERT INTO search_index (search_index) VALUES ('integrity-check')")
    except sqlite3.DatabaseError:
        return False
    right = (
        "SELECT records.id, json_extract(item.value, '$[0]'), json_extract(item.value, '$[1]') "
        "FROM records, json_each(search_columns(records.fields)) AS item"
    )
    there = "SELECT record_id, field, words FROM search_documents"
    return not any(
        connection.execute(f"SELECT 1 FROM ({one} EXCEPT {other}) LIMIT 1").fetchone()
        for one, other in ((right, there), (there, right))
    )


def _drop(connection: sqlite3.Connection) -> str:
    """Statements that remove an index of another form; the tables last, as triggers need them."""
    rows: list[tuple[Any, Any]] = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE name IN ('search_documents', 'search_index', "
        "'search_vocabulary', 'search_records') OR (type = 'trigger' AND name LIKE 'search_%')"
    ).fetchall()
    rows.sort(key=lambda row: ("trigger", "index", "table").index(row[0]))
    return " ".join(f"DROP {kind} {name};" for kind, name in rows)
