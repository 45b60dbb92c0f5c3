"""The server process: puts Argilla together and serves it until told to stop.

Started by `python -m labeling.server start`, with the server's own interpreter. The order matters:
importing `argilla_server` reads the environment, connects to redis and copies the web pages, so the
environment and the stand-in for redis come first, and everything else after.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from labeling.server.folder import (
    EXIT_MEND,
    DataFolder,
    ToMend,
    hold_environment,
    write_private,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def main() -> None:
    """Serve until SIGTERM, then leave the folder tidy."""
    parser = argparse.ArgumentParser(description="Started by `python -m labeling.server start`.")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--lock_fd", type=int, required=True, help="the data folder's lock, held")
    parser.add_argument("--socket_fd", type=int, required=True, help="the port, bound")
    options = parser.parse_args()
    try:
        _serve(options)
    except ToMend as error:  # `start` shows the log's last line to the user
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(EXIT_MEND)  # at once: threads of half-made connections would keep it alive


def _serve(options: argparse.Namespace) -> None:
    """Put the server together, run it, tidy up after it."""
    os.umask(0o077)
    os.set_inheritable(options.lock_fd, False)  # a child must not keep the folder locked
    os.set_inheritable(options.socket_fd, False)
    listener = socket.socket(fileno=options.socket_fd)
    folder = DataFolder(options.data_dir)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"  # also where it listens on every address
    write_private(
        folder.running, json.dumps({"pid": os.getpid(), "url": url, "python": sys.executable})
    )
    environment_lock = hold_environment(Path(sys.prefix))  # until this process ends
    set_environment(folder, url)

    from labeling.server.inside import jobs

    jobs.replace_redis()  # before argilla_server is imported anywhere
    from labeling.server.inside import database, patches, sign_in, traffic, web
    from labeling.server.inside.search import engine

    engine.register()
    patches.install()
    try:
        database.migrate(folder.database)
        database.reconcile_statuses(folder.database)
    except BaseException:
        folder.running.unlink(missing_ok=True)
        folder.empty_temporary()
        raise
    application = web.secure(sign_in.throttled(traffic.Turns(web.argilla_app())))
    try:
        asyncio.run(_run(folder, url, listener, application))
    finally:
        database.checkpoint(folder.database)
        folder.empty_temporary()
        folder.running.unlink(missing_ok=True)
        os.close(environment_lock)


async def _run(
    folder: DataFolder, url: str, listener: socket.socket, application: "ASGIApp"
) -> None:
    """Everything that needs the event loop, from the owner's account to the last request."""
    import uvicorn

    from labeling.server.inside import database, jobs, owner

    server = uvicorn.Server(
        uvicorn.Config(
            application,
            workers=1,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,  # longer than clients keep theirs, or they meet a closed door
            timeout_graceful_shutdown=10,
        )
    )
    try:
        await owner.ensure(folder, url)
        jobs.start_threads()
        # uvicorn raises the signal again once it has stopped: it must not end the tidying below.
        signal.signal(signal.SIGTERM, lambda *_: None)
        await server.serve(sockets=[listener])
    finally:
        await database.close()


def set_environment(folder: DataFolder, url: str) -> None:
    """Configure Argilla and what it imports; nothing may leave this machine."""
    folder.empty_temporary()
    folder.temporary.mkdir(mode=0o700)
    tempfile.tempdir = None  # else Python remembers the one it found before
    os.environ.update(
        {
            "TMPDIR": str(folder.temporary),
            "ARGILLA_HOME_PATH": str(folder.path),
            "ARGILLA_SEARCH_ENGINE": "sql",
            "ARGILLA_DATABASE_SQLITE_TIMEOUT": "30",
            "ARGILLA_AUTH_SECRET_KEY": folder.auth_secret(),
            # the default would be read from whatever folder the server was started in
            "ARGILLA_AUTH_OAUTH_CFG": str(folder.path / "oauth.yaml"),
            "ARGILLA_CORS_ORIGINS": json.dumps([url]),
            "ARGILLA_ENABLE_TELEMETRY": "false",
            "ARGILLA_SHOW_HUGGINGFACE_SPACE_PERSISTENT_STORAGE_WARNING": "false",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(folder.temporary / "huggingface"),
            "DO_NOT_TRACK": "1",
        }
    )


if __name__ == "__main__":
    main()
