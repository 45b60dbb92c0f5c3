"""Slows down whoever guesses passwords.

After a few failed sign-ins under one name, or from one address, every further failure doubles the
time until the next try is let through, up to a minute. A wait rather than a lock: nobody can shut a
rater out for good by typing wrong passwords under their name. Kept in memory: a restart forgets it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from labeling.server.inside.traffic import json_answer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/api/v1/token"
FREE_BY_NAME, FREE_BY_ADDRESS = 5, 20  # failures without a wait; raters may share an address
LONGEST_WAIT = 60.0
FORGET_AFTER = 900.0  # seconds without a failure
MOST_KEPT = 10_000
LARGEST_FORM = 10_000  # bytes


class Throttle:
    """Counts failures by key, and says how long a key has to wait."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float]] = {}  # how many, and when the last one was

    def wait(self, key: str, free: int, now: float) -> float:
        """Seconds until the next try is let through."""
        count, last = self._failures.get(key, (0, now))
        if count < free or now - last > FORGET_AFTER:
            return 0.0
        return max(0.0, last + min(2.0 ** (count - free), LONGEST_WAIT) - now)

    def failed(self, keys: Iterable[str], now: float) -> None:
        """Note a failure."""
        for key in keys:
            count, last = self._failures.pop(key, (0, now))
            self._failures[key] = (1 if now - last > FORGET_AFTER else count + 1, now)
        while len(self._failures) > MOST_KEPT:
            self._failures.pop(next(iter(self._failures)))  # the one longest without a failure

    def succeeded(self, key: str) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)


def throttled(application: ASGIApp) -> ASGIApp:
    """Wrap an ASGI application so that guessing passwords takes long."""
    throttle = Throttle()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            return await application(scope, receive, send)
        messages, body = [], b""
        while len(body) <= LARGEST_FORM:
            messages.append(await receive())
            body += messages[-1].get("body", b"")
            if not messages[-1].get("more_body"):
                break
        else:
            return await _send_all(send, json_answer(413, "this is no sign-in form"))
        name = f"name {user_name(body)}"
        address = f"address {scope['client'][0] if scope.get('client') else ''}"
        now = time.monotonic()
        seconds = max(
            throttle.wait(name, FREE_BY_NAME, now), throttle.wait(address, FREE_BY_ADDRESS, now)
        )
        if seconds:
            return await _send_all(send, _too_many(seconds))

        async def receive_again() -> Message:
            return messages.pop(0) if messages else await receive()

        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 401:
                    throttle.failed((name, address), time.monotonic())
                elif message["status"] < 300:
                    throttle.succeeded(name)
            await send(message)

        return await application(scope, receive_again, count)

    return guarded


def user_name(form: bytes) -> str:
    """The name in a sign-in form, in either of the two encodings that a browser sends."""
    text = form.decode(errors="replace")
    part = re.search(r'name="username"\r\n\r\n(.*?)\r\n', text)
    return part[1] if part else parse_qs(text).get("username", [""])[0]


def _too_many(seconds: float) -> list[Message]:
    wait = str(int(seconds) + 1)
    detail = f"too many failed sign-ins: try again in {wait} s"
    return json_answer(429, detail, ((b"retry-after", wait.encode()),))


async def _send_all(send: Send, messages: Iterable[Message]) -> None:
    for message in messages:
        await send(message)
