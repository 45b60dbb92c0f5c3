"""The server's own virtual environment, built from requirements.lock on first use.

Argilla pins old libraries (pydantic 2.9, httpx 0.27), so it never shares an environment with the
suite. Standard library only: this runs before anything is installed.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labeling.server.folder import IN_USE, ToMend

ROOT = Path(__file__).resolve().parents[3]  # the folder that holds the `labeling` package
LOCK_FILE = Path(__file__).with_name("requirements.lock")
DEFAULT_FOLDER = ROOT / ".venv-argilla"
OLDEST, NEWEST = (3, 11), (3, 13)  # the versions that the pinned wheels exist for

STAMP = "lock.sha256"  # written last: an environment without it is half-built
BUILDING = "being-built"  # written first: tells a half-built environment from somebody's folder


def interpreter(folder: Path) -> Path:
    """The Python that runs the server."""
    return folder / "bin" / "python"


def is_complete(folder: Path) -> bool:
    """True when the environment was built to the end from today's lock file and still runs."""
    stamp = folder / STAMP
    if not interpreter(folder).exists():  # nor does a dangling link, after its Python was removed
        return False
    return stamp.exists() and stamp.read_text() == _lock_hash()


def ensure(folder: Path) -> Path:
    """Build the environment unless it is there already; return its interpreter."""
    if is_complete(folder):
        return interpreter(folder)
    python = _find_python()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_builder(folder):
            if not is_complete(folder):  # else another process built it while we waited
                _build(folder, python)
    except OSError as error:
        raise ToMend(
            f"cannot build the server's environment in {folder} ({error.strerror}): "
            "make room there, or name another folder with --env_dir"
        ) from error
    return interpreter(folder)


def _refuse_if_in_use(folder: Path) -> None:
    """Raise while a server runs in the environment: it still loads files from there."""
    if not (folder / IN_USE).exists():
        return
    descriptor = os.open(folder / IN_USE, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ToMend(
            f"the server's environment in {folder} has to be renewed, and a server still runs in "
            "it: stop that one with `python -m labeling.server stop --data_dir …`, "
            "or name another folder with --env_dir"
        ) from error
    finally:
        os.close(descriptor)


def _build(folder: Path, python: str) -> None:
    """Make the environment from nothing."""
    _refuse_if_in_use(folder)
    _clear(folder)
    (folder / BUILDING).touch()
    print(f"Building the server's environment in {folder} (once, about a minute)", flush=True)
    created = subprocess.run(
        [python, "-m", "venv", str(folder)], capture_output=True, text=True, check=False
    )
    if created.returncode != 0:
        raise ToMend(
            f"`{python} -m venv` failed: {(created.stdout + created.stderr).strip()}\n"
            "On Debian and Ubuntu `apt install python3-venv` brings what is missing; "
            "then run `python -m labeling.server start` again."
        )
    _install(interpreter(folder))
    (folder / STAMP).write_text(_lock_hash())
    (folder / BUILDING).unlink()


def _install(python: Path) -> None:
    """Install the locked packages, saying how far it is."""
    lines = LOCK_FILE.read_text().splitlines()
    wanted = sum(1 for line in lines if not line.startswith("#"))
    command = [str(python), "-m", "pip", "install", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "-r", str(LOCK_FILE)]
    pip = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    assert pip.stdout is not None
    said, seen = [], 0
    for line in pip.stdout:
        said.append(line)
        if line.startswith("Collecting "):
            seen += 1
            _progress(f"  {seen}/{wanted} {line.split()[1]}", last=False)
        elif line.startswith("Installing "):
            _progress(f"  installing {wanted} packages", last=True)
    if pip.wait() != 0:
        raise ToMend(
            f"pip could not install the server's packages:\n{''.join(said[-5:]).strip()}\n"
            "Check that pip reaches its package index (`pip download argilla-server==2.8.0 "
            "--no-deps`), then run `python -m labeling.server start` again."
        )


def _progress(text: str, last: bool) -> None:
    """Redraw one line on a terminal; in a log file print the last one only."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text[:78]}", end="\n" if last else "", flush=True)
    elif last:
        print(text, flush=True)


def _clear(folder: Path) -> None:
    """Empty a half-built or outdated environment; refuse to touch anything else."""
    ours = (folder / STAMP).exists() or (folder / BUILDING).exists()
    if any(folder.iterdir()) and not ours:
        raise ToMend(
            f"{folder} holds something other than the server's environment: "
            "name a new or empty folder with --env_dir"
        )
    for entry in folder.iterdir():
        if entry.name == BUILDING:
            continue  # goes last, so that a clearing that is cut short can be taken up again
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _find_python() -> str:
    """A Python that the pinned wheels exist for: this one if it will do, else one on PATH."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and _answers(found):
            return found
    raise ToMend(
        f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, and Argilla's pinned "
        "libraries exist for Python 3.11 to 3.13: install one of these (for example `apt install "
        "python3.13 python3.13-venv`) so that it is on PATH, then run "
        "`python -m labeling.server start` again"
    )


def _answers(python: str) -> bool:
    """True when the program really is a Python (a version manager's stub may lead nowhere)."""
    answer = subprocess.run([python, "-c", "import venv"], capture_output=True, check=False)
    return answer.returncode == 0


def _lock_hash() -> str:
    return hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()


@contextmanager
def _one_builder(folder: Path) -> Iterator[None]:
    """Let one process at a time build in the folder; the lock ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
