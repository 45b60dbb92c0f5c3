"""Argilla's web application with the headers that keep its pages on this machine.

The page asks for fonts from an outside host, and a record may hold a picture or a script from
anywhere: the content security policy lets a browser load nothing but what this server ships.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A text field that looks like HTML is shown in a frame, which Argilla does not fence off: without a
# policy a script in a record runs with the rater's rights. This is the frame's own script, which
# copies the page's styles into it.
FRAME_SCRIPT = "'sha256-dQykTUQnbGMEe0y8kGawFbJg4x8lUAWjeJlTrGEJ6qU='"
BASE_URL = "@@baseUrl@@"  # Argilla replaces it in its pages, by nothing when it is served at /


def argilla_app() -> ASGIApp:
    """Argilla's own application, as it ships but for a header with timings.

    What adds that header starts a task group for every request: a twentieth of an answer's time.
    """
    from argilla_server._app import app
    from starlette.middleware.base import BaseHTTPMiddleware

    app.user_middleware = [
        each for each in app.user_middleware if each.cls is not BaseHTTPMiddleware
    ]
    return app


def secure(application: ASGIApp) -> ASGIApp:
    """Wrap an ASGI application so that every answer carries the headers."""
    import argilla_server

    pages = Path(argilla_server.__file__).parent / "static"
    headers = [
        (b"content-security-policy", content_security_policy(pages).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]

    async def secured(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        await application(scope, receive, send_with_headers if scope["type"] == "http" else send)

    return secured


def content_security_policy(pages: Path) -> str:
    """A policy that allows our own files, and of inline scripts those in the pages that we ship."""
    allowed = sorted({digest for page in pages.rglob("*.html") for digest in _script_hashes(page)})
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {' '.join(allowed)} {FRAME_SCRIPT}",
            "style-src 'self' 'unsafe-inline'",  # Vue and the markdown editor set styles inline
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "worker-src 'self' blob:",
            "frame-src 'self' blob: data:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        )
    )


def _script_hashes(page: Path) -> list[str]:
    """The hashes, as a policy names them, of a page's inline scripts."""
    content = page.read_text(encoding="utf-8").replace(BASE_URL, "")
    scripts = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
