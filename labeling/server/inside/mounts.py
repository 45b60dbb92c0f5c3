"""Whether a folder lies on a network file system. Standard library only.

SQLite's write-ahead log needs memory that all processes share through a file, which network file
systems do not give: there the database uses a rollback journal, which is slower.
"""

import os
import re
import subprocess
from pathlib import Path

NETWORK = re.compile(
    r"nfs\d*|cifs|smb\d*|smbfs|afpfs|webdav|9p|afs|ceph|lustre|gpfs|beegfs|gfs2?|ocfs2|pvfs2"
    r"|fuse\.(sshfs|glusterfs|ceph.*|s3fs|rclone|gcsfuse|davfs|juicefs|mfs)|davfs2?|virtiofs|vboxsf"
)


def is_network(folder: Path) -> bool:
    """True when the folder's files live on another machine, or look as if they did."""
    place = os.path.realpath(folder)
    mounts = [each for each in _mounts() if _is_below(place, each[0])]
    if not mounts:
        return False
    _, kind = max(mounts, key=lambda each: len(each[0]))  # the innermost; the later of two equals
    return NETWORK.fullmatch(kind) is not None


def read_mountinfo(text: str) -> list[tuple[str, str]]:
    """Mount points and kinds from Linux's /proc/self/mountinfo, the latest mount first."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
        found.append((point, after.split()[0]))
    return found[::-1]


def read_mount(text: str) -> list[tuple[str, str]]:
    """The same from what `mount` prints on macOS: `device on /point (kind, options)`."""
    return re.findall(r"^.* on (/.*?) \((\w+)", text, re.MULTILINE)


def _mounts() -> list[tuple[str, str]]:
    try:
        return read_mountinfo(Path("/proc/self/mountinfo").read_text(errors="replace"))
    except OSError:
        pass
    try:
        printed = subprocess.run(["mount"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return read_mount(printed.stdout)


def _is_below(place: str, point: str) -> bool:
    return place == point or place.startswith(point.rstrip("/") + "/")
