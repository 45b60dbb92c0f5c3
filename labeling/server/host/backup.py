"""Back up a data folder into one file, and restore it. Standard library only.

    python -m labeling.server backup FILE      while the server runs and raters answer, or stopped
    python -m labeling.server restore FILE     into a new folder, which `start` then serves

The file is a tar archive (0600: it holds the passwords and every answer):

    argilla.db         the database at one moment, checked
    credentials.json, auth_secret
    contents.json      {"made_at", "sha256": {NAME: …}}
"""

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from labeling.server.folder import DataFolder, ToMend

CONTENTS = "contents.json"
BUSY_SECONDS = 30


def back_up(folder: DataFolder, target: Path) -> int:
    """Write everything that the folder holds to a new file; return its size in bytes."""
    if not folder.database.exists():
        raise ToMend(f"{folder.path} holds no database: name a server's folder with --data_dir")
    if target.exists():
        raise ToMend(f"{target} exists already: name a new file")
    try:
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise ToMend(f"cannot write to {target.parent} ({error.strerror})") from error
    try:
        _copy_database(folder.database, work / folder.database.name)
        for path in (folder.credentials, folder.auth_secret_file):
            shutil.copy(path, work / path.name)
        digests = {path.name: _sha256(path) for path in sorted(work.iterdir())}
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        contents = json.dumps({"made_at": made_at, "sha256": digests}, indent=2)
        (work / CONTENTS).write_text(contents)
        archive = work / "archive"
        with archive.open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for name in (CONTENTS, *digests):
                tar.add(work / name, name)
            tar.close()
            file.flush()
            os.fsync(file.fileno())
        archive.chmod(0o600)
        archive.replace(target)
    except OSError as error:
        raise ToMend(f"cannot write {target} ({error.strerror}): make room there") from error
    finally:
        shutil.rmtree(work)
    return target.stat().st_size


def restore(source: Path, folder: DataFolder) -> str:
    """Fill a new data folder from a backup, after checking it; return when the backup was made."""
    if not source.is_file():
        raise ToMend(f"there is no file {source}: name one that `backup` wrote")
    folder.create()
    lock = folder.lock()
    if lock is None or folder.database.exists():
        raise ToMend(
            f"{folder.path} holds a server's data, which a backup must not replace: "
            "name a new folder with --data_dir"
        )
    work = Path(tempfile.mkdtemp(dir=folder.path, prefix=".restore."))
    try:
        made_at = _unpack(source, work, folder)
        for path in (folder.credentials, folder.auth_secret_file, folder.database):
            (work / path.name).replace(path)  # the database last: without it nothing is restored
    finally:
        shutil.rmtree(work)
        os.close(lock)
    return made_at


def _unpack(source: Path, work: Path, folder: DataFolder) -> str:
    """Take a backup's files out of it and check them; return when it was made."""
    wanted = {
        CONTENTS,
        *(path.name for path in (folder.database, folder.credentials, folder.auth_secret_file)),
    }
    try:
        with tarfile.open(source, "r:") as tar:
            members = tar.getmembers()
            if {each.name for each in members} != wanted or not all(m.isreg() for m in members):
                raise ToMend(f"{source} is not a backup of an embedded Argilla")
            for member in members:
                content = tar.extractfile(member)
                assert content is not None
                with content, (work / member.name).open("wb") as file:
                    shutil.copyfileobj(content, file)
        contents = json.loads((work / CONTENTS).read_text())
        for name, digest in contents["sha256"].items():
            if _sha256(work / name) != digest:
                raise ToMend(f"{source} is damaged: {name} is not as it was written")
    except (tarfile.TarError, ValueError, KeyError, EOFError) as error:
        if isinstance(error, ToMend):
            raise
        raise ToMend(f"{source} is not a backup of an embedded Argilla ({error})") from error
    except OSError as error:
        raise ToMend(f"cannot restore to {folder.path} ({error.strerror})") from error
    _check(work / folder.database.name, source)
    return str(contents["made_at"])


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as it stands at one moment, while others write to it."""
    try:
        with (
            closing(sqlite3.connect(source, timeout=BUSY_SECONDS)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)  # all pages in one step: writers need not wait in write-ahead mode
            copy.execute("PRAGMA journal_mode = DELETE")  # one file; the next start sets it again
    except sqlite3.DatabaseError as error:
        raise ToMend(f"cannot back up {source}: {error}") from error
    _check(target, source)


def _check(database: Path, named: Path) -> None:
    """Raise unless SQLite finds the database whole."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise ToMend(f"the database in {named} is damaged: {found}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
