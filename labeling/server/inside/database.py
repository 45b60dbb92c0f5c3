"""The SQLite database: its connections, migrations, and what must be true at start and stop.

Three pools, so that none can starve another:
- requests: Argilla's handlers hold one connection and may want a second; a small pool dead-locks;
- worker: the job thread has an event loop of its own, so its connections are never shared;
- searches: read-only; a handler keeps its own connection while it waits for a search.
"""

import asyncio
import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from argilla_server import database as argilla
from argilla_server.settings import settings
from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import NullPool

from labeling.server.folder import ToMend
from labeling.server.inside import mounts
from labeling.server.inside.connection import connect
from labeling.server.inside.jobs import WORKER
from labeling.server.inside.search import search_index, sql_functions

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

BUSY_SECONDS = 30
_path = Path(str(make_url(settings.database_url).database))
_on_network = mounts.is_network(_path.parent)


def _to_json(value: object) -> str:
    """As SQLAlchemy does it, and pydantic's models too: Argilla 2.8 failed to change a chat."""
    return json.dumps(value, default=lambda model: model.model_dump())


def _engine(read_only: bool = False, **pool: object) -> AsyncEngine:
    """An engine on the server's database, with our settings on every connection."""
    if "async_creator" not in pool:
        pool["connect_args"] = {"timeout": BUSY_SECONDS}
    engine = create_async_engine(settings.database_url, json_serializer=_to_json, **pool)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: "DBAPIConnection", _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        if not _on_network:  # SQLite's default otherwise: FULL
            cursor.execute("PRAGMA synchronous = NORMAL")  # safe with WAL when a process dies
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
            cursor.execute("PRAGMA cache_size = -16000")  # KiB, of each connection
        cursor.close()
        sql_functions.add_to(connection)

    return engine


_requests = _engine(
    pool_size=10, max_overflow=50, pool_timeout=60, async_creator=lambda: connect(_path)
)
_worker = _engine(poolclass=NullPool)
_searches = _engine(read_only=True, pool_size=4, max_overflow=0, pool_timeout=60)

search_session = async_sessionmaker(bind=_searches, expire_on_commit=False)


class _Session(AsyncSession):
    """Argilla's session, on the connections that belong to the calling thread."""

    def __init__(self, bind: AsyncEngine, **options: object) -> None:
        if threading.current_thread().name == WORKER:
            bind = _worker
        super().__init__(bind=bind, **options)


# Argilla's modules hold this factory by name, so it is changed in place.
argilla.AsyncSessionLocal.configure(bind=_requests)
argilla.AsyncSessionLocal.class_ = _Session


async def close() -> None:
    """Close every connection; their threads would keep the process alive."""
    await asyncio.gather(_requests.dispose(), _searches.dispose(), argilla.async_engine.dispose())


def migrate(path: Path) -> None:
    """Create the database or bring it up to date; it is checked first, and left alone if bad."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(argilla.ALEMBIC_CONFIG_FILE)
    with _connect(path) as connection:
        _check(
            connection,
            path,
            {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()},
        )
        journal = "DELETE" if _on_network else "WAL"
        connection.execute(f"PRAGMA journal_mode = {journal}")  # kept in the file from now on
    command.upgrade(config, "head")
    argilla.sync_engine.dispose()
    # Alembic's logging set-up switches off every logger that existed before it.
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False
    with _connect(path) as connection:
        sql_functions.add_to(connection)
        search_index.prepare(connection)


def _check(connection: sqlite3.Connection, path: Path, known: set[str]) -> None:
    """Raise unless this SQLite will do, and the database is whole and of a form that we know."""
    if not search_index.is_possible():
        raise ToMend(
            f"this Python's SQLite {sqlite3.sqlite_version} is older than 3.35 or lacks FTS5: "
            "name a folder for another environment with --env_dir, and start with another Python"
        )
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        tables = "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
        revisions = "SELECT version_num FROM alembic_version"
        newer = (
            connection.execute(tables).fetchone() is not None
            and not {row[0] for row in connection.execute(revisions)} <= known
        ) or connection.execute("PRAGMA user_version").fetchone()[0] > search_index.VERSION
    except sqlite3.DatabaseError as error:
        found, newer = str(error), False
    if found != "ok":
        reason = " ".join(str(found).split())  # on one line, which is what `start` shows
        raise ToMend(
            f"{path} is damaged ({reason}) and was left as it is: restore a backup into a new "
            "folder with `python -m labeling.server restore FILE --data_dir NEW`"
        )
    if newer:
        raise ToMend(
            f"{path} was written by a newer version of this server and was left as it is: "
            "start it with that version"
        )


def reconcile_statuses(path: Path) -> int:
    """Make each record's status agree with its submitted answers; return how many were wrong.

    The job that does this after a change of `min_submitted` is lost when the process is killed, and
    so is the last step of a submission.
    """
    with _connect(path) as connection:
        connection.execute(
            """
            WITH right_status AS (
                SELECT records.id,
                    CASE WHEN (SELECT COUNT(*) FROM responses
                               WHERE record_id = records.id AND responses.status = 'submitted')
                              >= json_extract(datasets.distribution, '$.min_submitted')
                         THEN 'completed' ELSE 'pending' END AS status
                FROM records JOIN datasets ON datasets.id = records.dataset_id
            )
            UPDATE records SET status = right_status.status FROM right_status
            WHERE records.id = right_status.id AND records.status <> right_status.status
            """
        )
        changed = int(connection.execute("SELECT changes()").fetchone()[0])
    if changed:
        logging.getLogger(__name__).warning("put %d record statuses right", changed)
    return changed


def checkpoint(path: Path) -> None:
    """Move everything from the write-ahead log into the database file."""
    with _connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextlib.contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    """A plain connection that commits and closes."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        with connection:
            yield connection
    finally:
        connection.close()
