"""A database connection that runs statements at once instead of in a thread of its own.

aiosqlite hands every step of a statement (open, run, fetch, close) to a thread and waits for the
event loop to be told: a hundred such hops for one answer took longer than SQLite itself, and on a
busy machine each waits for the scheduler. A statement of Argilla's handlers takes well under a
millisecond, so here the event loop runs it. Only where SQLite would have to wait, for another
connection's lock, does the statement go to the thread, and the loop goes on.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import aiosqlite

T = TypeVar("T")
ROWS_AT_ONCE = 64  # that aiosqlite fetches when it iterates; its own default


class DirectConnection(aiosqlite.Connection):
    """Runs in the event loop's thread what SQLite can do without waiting."""

    busy_seconds = 30.0

    async def _execute(
        self, function: Callable[..., T], *arguments: object, **options: object
    ) -> T:
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        try:
            return function(*arguments, **options)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            # SQLite has done nothing yet, so the same statement can be tried again.
            waited: T = await super()._execute(self._wait_for, function, arguments, options)
            return waited

    def _wait_for(
        self, function: Callable[..., T], arguments: Sequence[object], options: dict[str, object]
    ) -> T:
        """Run a statement with SQLite's own waiting switched on."""
        self._conn.execute(f"PRAGMA busy_timeout = {int(self.busy_seconds * 1000)}")
        try:
            return function(*arguments, **options)
        finally:
            self._conn.execute("PRAGMA busy_timeout = 0")


async def connect(path: Path) -> DirectConnection:
    """Open the database; used from one event loop, so the two threads never meet in it."""
    made = DirectConnection(
        lambda: sqlite3.connect(path, timeout=0, check_same_thread=False), ROWS_AT_ONCE
    )
    made.daemon = True
    await made
    return made
