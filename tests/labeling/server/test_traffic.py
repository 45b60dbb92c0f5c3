"""Requests take turns: one that writes, a few that read, pushes with a rest."""

import asyncio
import sqlite3
from typing import Any

import pytest

from labeling.server.inside import traffic


class Application:
    """Counts how many of its requests run at once; answers with their bodies."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.most: dict[str, int] = {}
        self.order: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["method"]
        self.running.append(kind)
        self.most[kind] = max(self.most.get(kind, 0), self.running.count(kind))
        message = await receive()
        await asyncio.sleep(0.01)
        self.running.remove(kind)
        self.order.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})


async def request(application: Any, method: str, path: str, body: bytes = b"", slow: float = 0):
    """Send one request in two parts; return the status and body of its answer."""
    parts = [body[:1], body[1:]]
    sent: list[Any] = []

    async def receive() -> Any:
        if not parts:
            return {"type": "http.disconnect"}
        await asyncio.sleep(slow)
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    await application({"type": "http", "method": method, "path": path}, receive, send)
    return sent[0]["status"], sent[1]["body"]


def test_one_writes_and_a_few_read() -> None:
    async def run() -> Application:
        application = Application()
        turns = traffic.Turns(application)
        calls = [request(turns, "POST", "/api/v1/records/1/responses", b"abc") for _ in range(10)]
        calls += [request(turns, "GET", "/api/v1/me") for _ in range(20)]
        answers = await asyncio.gather(*calls)
        assert answers[:10] == [(200, b"abc")] * 10
        return application

    assert asyncio.run(run()).most == {"POST": 1, "GET": traffic.READERS}


def test_a_slow_line_holds_up_nobody() -> None:
    async def run() -> list[str]:
        application = Application()
        turns = traffic.Turns(application)
        slow = asyncio.create_task(request(turns, "POST", "/api/slow", b"xy", slow=0.1))
        await asyncio.sleep(0.02)
        await request(turns, "POST", "/api/quick", b"xy")
        await slow
        return application.order

    assert asyncio.run(run()) == ["/api/quick", "/api/slow"]


def test_a_push_rests_only_while_raters_answer() -> None:
    async def run(answers: bool) -> float:
        turns = traffic.Turns(Application())
        turns.push_seconds = 0.1
        if answers:
            await request(turns, "POST", "/api/v1/records/1/responses")
        before = asyncio.get_running_loop().time()
        await request(turns, "PUT", "/api/v1/datasets/1/records/bulk")
        return asyncio.get_running_loop().time() - before

    assert asyncio.run(run(answers=False)) < 0.1
    assert asyncio.run(run(answers=True)) >= 0.1 * traffic.REST


def test_a_full_disk_is_said_and_other_errors_are_raised() -> None:
    class Failing:
        def __init__(self, code: int) -> None:
            self.error = sqlite3.OperationalError("database or disk is full")
            self.error.sqlite_errorcode = code

        async def __call__(self, *_: Any) -> None:
            raise self.error

    status, body = asyncio.run(
        request(traffic.Turns(Failing(sqlite3.SQLITE_FULL)), "POST", "/api/v1/x")
    )
    assert status == 507
    assert b"disk is full" in body
    with pytest.raises(sqlite3.OperationalError):
        asyncio.run(request(traffic.Turns(Failing(sqlite3.SQLITE_CORRUPT)), "POST", "/api/v1/x"))
