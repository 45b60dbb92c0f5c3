"""Start, watch and stop the server as a background process. Standard library only.

The command binds the port and takes the data folder's lock, and hands both to the server it starts:
so a taken port or folder is known at once, and nobody can slip in between.
"""

import errno
import json
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from labeling.server.folder import EXIT_MEND, DataFolder, ToMend
from labeling.server.host import environment

HOST, EVERY_ADDRESS = "127.0.0.1", "0.0.0.0"
# A firm's proxy must not be asked for this machine's own address.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

START_SECONDS = 180  # a first start on a slow, busy disk; usually under 20
STOP_SECONDS = 30


def start(
    folder: DataFolder, port: int, env_dir: Path, allow_remote: bool = False
) -> tuple[dict[str, Any], bool]:
    """Start the server and wait until it answers; other machines reach it with `allow_remote`.

    Returns what the server says of itself, and True when it was running already.
    """
    folder.create()
    if folder.is_locked() and (server := _wait_for_other(folder)):
        return server, True  # before touching the environment that it runs in
    folder.read_credentials()  # where the user has to mend them, say so now
    python = environment.ensure(env_dir)
    while (lock := folder.lock()) is None:
        if server := _wait_for_other(folder):
            return server, True
    folder.running.unlink(missing_ok=True)  # left by a server that was killed
    listener = _bind(EVERY_ADDRESS if allow_remote else HOST, port)
    with folder.log.open("a") as log:
        process = subprocess.Popen(
            [
                *(str(python), "-P", "-m", "labeling.server.inside.launch", str(folder.path)),
                *("--lock_fd", str(lock), "--socket_fd", str(listener.fileno())),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder.path,
            env=clean_environment(),
            pass_fds=(lock, listener.fileno()),
            start_new_session=True,  # it outlives this command and its terminal
        )
    os.close(lock)
    listener.close()
    try:
        return _wait_for_child(folder, process), False
    except BaseException:
        process.terminate()
        raise


def stop(folder: DataFolder) -> bool:
    """Stop the server and wait until its folder is free; False when none was running."""
    server = folder.running_server()
    if server is None:
        if folder.is_locked():
            raise ToMend(f"a server is just starting in {folder.path}: try again in some seconds")
        if folder.running.exists():
            folder.running.unlink()  # left by a server that was killed
        return False
    os.kill(server["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while folder.is_locked():
        if time.monotonic() > deadline:
            raise ToMend(
                f"the server (process {server['pid']}) did not stop within {STOP_SECONDS} s: "
                f"`kill -9 {server['pid']}` is safe, the next start puts everything in order"
            )
        time.sleep(0.05)
    return True


def is_ready(url: str) -> bool:
    """True when an Argilla answers at the URL."""
    try:
        with direct.open(f"{url}/api/v1/version", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def clean_environment() -> dict[str, str]:
    """The environment for the server: this one without what would change Argilla's behaviour."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        # the three whole names would make a user; the PYTHON ones are the suite's
        if not name.startswith(("ARGILLA_", "PYTHON"))
        and name not in ("USERNAME", "PASSWORD", "API_KEY")
    }
    return {**inherited, "PYTHONPATH": str(environment.ROOT)}


def _bind(host: str, port: int) -> socket.socket:
    """Reserve the port; listening on it is the server's part."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # restart without a pause
    try:
        listener.bind((host, port))
    except OverflowError as error:
        raise ToMend(f"--port {port}: expected 0 to 65535") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ToMend(
                f"port {port} is taken by another program: name another one with --port, "
                "or --port 0 to have a free one picked"
            ) from error
        if error.errno == errno.EACCES:
            raise ToMend(
                f"port {port} needs administrator's rights: name one above 1023 with --port"
            ) from error
        raise
    return listener


def _wait_for_child(folder: DataFolder, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait until the server that we started answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = folder.log.read_text(errors="replace").splitlines()[-1:]
            if process.returncode == EXIT_MEND:
                raise ToMend(last[0].removeprefix("error: "))
            raise RuntimeError(f"the server ended while starting; {folder.log} ends with: {last}")
        if folder.running.exists():
            server: dict[str, Any] = json.loads(folder.running.read_text())
            if is_ready(server["url"]):
                return server
        time.sleep(0.1)
    raise RuntimeError(f"the server did not answer within {START_SECONDS} s; see {folder.log}")


def _wait_for_other(folder: DataFolder) -> dict[str, Any] | None:
    """Wait until the server that somebody else started answers; None when it ends instead."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        server = folder.running_server()
        if server is not None and is_ready(server["url"]):
            return server
        if not folder.is_locked():
            return None
        time.sleep(0.2)
    raise ToMend(
        f"{folder.path} is locked by a server that does not answer; see {folder.log}, "
        f"then `{command_to('stop', folder)}`"
    )


def command_to(action: str, folder: DataFolder) -> str:
    """The command line that does something to this folder, for messages."""
    try:
        path = folder.path.relative_to(Path.cwd())
    except ValueError:
        path = folder.path
    return f"python -m labeling.server {action} --data_dir {shlex.quote(str(path))}"
