"""The data folder: where everything of one server lives, and who may open it.

    DATA_DIR/argilla.db        the database (with -wal and -shm beside it while the server runs)
    DATA_DIR/credentials.json  {"url", "users": {NAME: {"role", "password", "api_key"}}}
    DATA_DIR/auth_secret       signs the sessions, so that they survive a restart
    DATA_DIR/server.json       {"pid", "url", "python"} of the running server
    DATA_DIR/server.log        what the server says
    DATA_DIR/lock              held by the running server, released by the kernel when it dies
    DATA_DIR/tmp/              temporary files, emptied at every start and stop

The folder is 0700 and its files 0600. Here is what both halves of the package know, the lock on the
server's environment too: standard library only.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OWNER = "owner"  # the first user, made at the first start
IN_USE = "in-use"  # in an environment: locked, shared, by every server that runs in it
EXIT_MEND = 3  # the exit code for what the user has to mend first
LEAST_FREE = 100 * 2**20  # bytes, without which no server is started


class ToMend(ValueError):
    """Something the user has to mend first; its message says what, and the way out."""


class DataFolder:
    """One server's data folder, and the paths in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "argilla.db"
        self.credentials = path / "credentials.json"
        self.running = path / "server.json"
        self.log = path / "server.log"
        self.temporary = path / "tmp"
        self.auth_secret_file = path / "auth_secret"
        self._lock = path / "lock"

    def create(self) -> None:
        """Make the folder, or make sure that it is ours; readable by nobody else."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()) and not self._lock.exists():
                # It becomes private and a server's files are mixed in: never do that to a folder
                # that somebody uses for something else.
                raise ToMend(
                    f"{self.path} holds something other than a server's data: "
                    "name a new or empty folder with --data_dir"
                )
            self.path.chmod(0o700)
            self._lock.touch(mode=0o600)
            free = shutil.disk_usage(self.path).free
            if free < LEAST_FREE:
                raise ToMend(
                    f"only {free / 2**20:.0f} MB are free where {self.path} lies: make room for "
                    f"{LEAST_FREE / 2**20:.0f} MB, or name another folder with --data_dir"
                )
        except OSError as error:
            raise ToMend(
                f"cannot write to the data folder {self.path} ({error.strerror}): "
                "name another one with --data_dir"
            ) from error

    def lock(self) -> int | None:
        """Take the server's lock and return its file descriptor, or None when somebody holds it.

        The lock belongs to the open file, so it passes to a child that inherits the descriptor and
        ends with the last process that has it: a dead server leaves no stale lock.
        """
        if not self._lock.exists():
            return None
        descriptor = os.open(self._lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def is_locked(self) -> bool:
        """True while a server, or a start in progress, holds the folder."""
        if not self._lock.exists():
            return False
        descriptor = self.lock()
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def running_server(self) -> dict[str, Any] | None:
        """What the running server wrote about itself; None when there is none."""
        if not self.is_locked() or not self.running.exists():
            return None
        server: dict[str, Any] = json.loads(self.running.read_text())
        return server

    def auth_secret(self) -> str:
        """The key that signs the sessions, made on first use."""
        if not self.auth_secret_file.exists():
            write_private(self.auth_secret_file, secrets.token_hex(32))
        return self.auth_secret_file.read_text()

    def empty_temporary(self) -> None:
        """Delete what a server left behind (Argilla copies 14 MB of pages at every boot)."""
        shutil.rmtree(self.temporary, ignore_errors=True)

    def read_credentials(self) -> dict[str, Any]:
        """The users and their secrets, as written in credentials.json."""
        if not self.credentials.exists():
            return {"url": None, "users": {}}
        try:
            content: dict[str, Any] = json.loads(self.credentials.read_text())
        except json.JSONDecodeError as error:
            raise ToMend(
                f"{self.credentials} is not valid JSON ({error}): mend it, or delete it and run "
                "`python -m labeling.server start`, which gives the owner new credentials"
            ) from error
        return content

    @contextlib.contextmanager
    def edit_credentials(self) -> Iterator[dict[str, Any]]:
        """Read credentials.json, let the caller change it, write it back; one editor at a time."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            content = self.read_credentials()
            yield content
            write_private(self.credentials, json.dumps(content, indent=2) + "\n")
        finally:
            os.close(folder)


def hold_environment(folder: Path) -> int:
    """Keep an environment from being rebuilt while a server runs in it.

    Returns the descriptor of the lock; the kernel releases it with the process.
    """
    descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def new_password() -> str:
    """A random password, short enough to type."""
    return secrets.token_urlsafe(12)


def new_api_key() -> str:
    """A random API key."""
    return secrets.token_urlsafe(48)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # is 0600
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
