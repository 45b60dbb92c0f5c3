"""Which requests run at the same time: one that writes, and a few that read.

SQLite has one writer. Left to itself, every request that wants to write polls for the lock while
the one that holds it shares the interpreter with all the others, so each takes as long as all
together. In a queue each is served in turn, at full speed. A request's body is read before it
queues and its answer is sent after, so that a slow line holds up nobody else. Pushing records
leaves raters most of the time, while there are any.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

READERS = 4  # more only wait for each other: there is one interpreter
RATING_SECONDS = 2.0  # this long after an answer, raters are at work
REST = 6.0  # then a push waits this many times as long as the last one took …
LONGEST_REST = 2.0  # … but no more than this many seconds
DISK_FULL = (
    "the labelling server's disk is full, so this was not saved; what was saved before is safe. "
    "Whoever runs the server: make room, nothing needs to be restarted"
)


class Turns:
    """An ASGI application whose API requests take turns."""

    def __init__(self, application: ASGIApp) -> None:
        self.application = application
        self.writer = asyncio.Semaphore(1)
        self.readers = asyncio.Semaphore(READERS)
        self.pusher = asyncio.Semaphore(1)
        self.push_seconds = 0.0
        self.last_answer = -RATING_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            return await self.application(scope, receive, send)
        body = await _whole_body(receive)
        if not _writes(scope):
            async with self.readers:
                answer = await self._run(scope, body, receive)
        elif scope["path"].endswith("/records/bulk"):
            async with self.pusher:
                if time.monotonic() - self.last_answer < RATING_SECONDS:
                    await asyncio.sleep(min(self.push_seconds * REST, LONGEST_REST))
                async with self.writer:
                    before = time.monotonic()
                    answer = await self._run(scope, body, receive)
                    self.push_seconds = time.monotonic() - before
        else:
            async with self.writer:
                self.last_answer = time.monotonic()
                answer = await self._run(scope, body, receive)
        for message in answer:
            await send(message)
        return None

    async def _run(self, scope: Scope, body: bytes, receive: Receive) -> list[Message]:
        """Run one request; return the messages of its answer."""
        answer: list[Message] = []
        given = False

        async def receive_again() -> Message:
            nonlocal given
            if given:
                return await receive()  # says when the client has gone
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            answer.append(message)

        try:
            await self.application(scope, receive_again, keep)
        except Exception as error:
            if not _is_disk_full(error):
                raise
            return json_answer(507, DISK_FULL)
        return answer


def json_answer(
    status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> list[Message]:
    """The messages of an answer in the form of Argilla's own errors."""
    return [
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"application/json"), *headers],
        },
        {"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()},
    ]


def _is_disk_full(error: BaseException) -> bool:
    """True when SQLite found no room; SQLAlchemy wraps its errors."""
    cause = getattr(error, "orig", error)
    return (
        isinstance(cause, sqlite3.Error)
        and getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    )


def _writes(scope: Scope) -> bool:
    """False for what only reads; signing in reads a user."""
    return scope["method"] not in ("GET", "HEAD", "OPTIONS") and not scope["path"].endswith(
        ("/records/search", "/token")
    )


async def _whole_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""  # nobody is there to answer; Argilla finds an empty body
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
