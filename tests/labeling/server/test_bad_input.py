"""Whatever goes wrong around the server: a clear message, and nothing lost."""

import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from labeling.server.folder import DataFolder, ToMend, hold_environment
from labeling.server.host import environment
from labeling.server.inside import mounts

slow = pytest.mark.slow


def record(number: int, text: str = "text") -> dict[str, object]:
    prompt = [{"role": "user", "content": "Hello"}]
    return {"id": f"r{number}", "fields": {"prompt": prompt, "answer": text}}


@slow
def test_bad_databases_are_named_and_left_alone(own_server, make_dataset, command) -> None:
    server = own_server
    server.start()
    where = str(make_dataset(server, [record(1)]).id)
    server.stop()
    path = server.folder / "argilla.db"
    good = path.read_bytes()

    def alter(*statements: str) -> bytes:
        with closing(sqlite3.connect(path)) as database, database:
            for statement in statements:
                database.execute(statement)
        return path.read_bytes()

    page = 4096
    bad = [
        ("damaged", b"this is no database" * 1000),
        ("damaged", good[: page * 5] + b"\xff" * page * 20 + good[page * 25 :]),
        ("damaged", good[: len(good) // 2]),
        ("newer version", alter("UPDATE alembic_version SET version_num = 'f00d'")),
    ]
    path.write_bytes(good)
    bad.append(("newer version", alter("PRAGMA user_version = 99")))
    for says, content in bad:
        path.write_bytes(content)
        for name in ("argilla.db-wal", "argilla.db-shm"):
            (server.folder / name).unlink(missing_ok=True)
        answer = command("start", "--data_dir", server.folder, "--port", "0")
        assert answer.returncode == 3, answer.stderr
        assert says in answer.stderr
        assert str(path) in answer.stderr
        assert "left as it is" in answer.stderr
        assert "Traceback" not in answer.stderr
        assert path.read_bytes() == content
        assert not (server.folder / "server.json").exists()
        assert not (server.folder / "tmp").exists()
    path.write_bytes(good)
    server.start()
    assert list(server.api().ids(where)) == ["r1"]


@slow
def test_a_full_disk(own_server, make_dataset, environment_with) -> None:
    """SQLite told that there is no room beyond so many pages says the same as on a full disk."""
    import requests

    server = own_server
    server.start()
    server.add_user("ann", "house")
    where = str(make_dataset(server, [record(number) for number in range(20)]).id)
    api = server.api("ann")
    ids = server.api().ids(where)
    api.answer(ids["r0"], preferred="a")
    server.stop()
    pages = (server.folder / "argilla.db").stat().st_size // 4096 + 4
    full = environment_with(
        "import sqlite3\n"
        "connect = sqlite3.connect\n"
        "def limited(*arguments, **options):\n"
        "    connection = connect(*arguments, **options)\n"
        f"    connection.execute('PRAGMA max_page_count = {pages}')\n"
        "    return connection\n"
        "sqlite3.connect = sqlite3.dbapi2.connect = limited\n"
    )
    server.start(0, "--env_dir", full)
    kept = []
    for name, place in list(ids.items())[1:]:
        answer = server.api("ann").session.post(
            f"{server.url}/api/v1/records/{place}/responses",
            json={
                "values": {"preferred": {"value": "a"}, "comment": {"value": "long " * 2000}},
                "status": "submitted",
            },
            timeout=60,
        )
        if answer.status_code == 507:
            break
        assert answer.status_code == 201, answer.text
        kept.append(name)
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["detail"]
    assert server.api("ann").search(where)[1] == 20  # reading goes on
    version = requests.get(f"{server.url}/api/v1/version", timeout=30)
    assert version.status_code == 200
    server.stop()
    server.start()  # room was made
    server.api("ann").answer(ids[name], preferred="b")
    answers = server.api()("GET", f"datasets/{where}/progress")
    assert answers["completed"] == 1 + len(kept) + 1


def test_too_little_room_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=2**40, used=2**40, free=5 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ToMend, match=r"only 5 MB are free .* room for 100 MB"):
        DataFolder(tmp_path / "data").create()


@slow
def test_a_folder_that_cannot_be_written(command, tmp_path: Path) -> None:
    places = [tmp_path / "file" / "below"]
    (tmp_path / "file").touch()
    if sys.platform == "linux":
        places.append(Path("/proc/argilla"))  # not even by root
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        places.append(tmp_path / "closed" / "data")
    for place in places:
        answer = command("start", "--data_dir", place)
        assert answer.returncode == 3
        assert f"cannot write to the data folder {place}" in answer.stderr
        assert "Traceback" not in answer.stderr


@slow
def test_what_a_dead_server_left_is_no_obstacle(own_server, command) -> None:
    server = own_server
    server.start()
    server.stop()
    dead = {"pid": 1, "url": "http://127.0.0.1:1", "python": "gone"}
    (server.folder / "server.json").write_text(json.dumps(dead))
    (server.folder / "tmp").mkdir()
    (server.folder / "tmp" / "left").touch()
    assert server.status()["pid"] is None
    server.start()
    assert server.status()["pid"] not in (None, 1)
    assert not (server.folder / "tmp" / "left").exists()


@slow
def test_on_a_network_file_system(own_server, make_dataset, environment_with) -> None:
    """No write-ahead log there; everything else as usual."""
    server = own_server
    network = environment_with(
        "import labeling.server.inside.mounts as mounts\nmounts.is_network = lambda folder: True\n"
    )
    server.start(0, "--env_dir", network)
    server.add_user("ann", "house")
    where = str(make_dataset(server, [record(number) for number in range(20)]).id)
    for place in server.api().ids(where).values():
        server.api("ann").answer(place, preferred="a")
        assert server.api("ann").search(where, query={"text": {"q": "text"}})[1] == 20
    assert server.api()("GET", f"datasets/{where}/progress")["completed"] == 20
    with closing(sqlite3.connect(server.folder / "argilla.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    assert not (server.folder / "argilla.db-wal").exists()


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 21 0:35 / /home rw shared:2 - nfs4 server:/home rw
41 40 8:2 / /home/local\\040disk rw - xfs /dev/sdb1 rw
42 21 0:40 / /mnt/team rw - fuse.sshfs ann@server:/team rw
43 21 0:41 / /host rw - 9p host rw
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/data", False),
        ("/home/ann/.argilla", True),
        ("/home/local disk/x", False),
        ("/homely", False),
        ("/mnt/team", True),
        ("/host/x", True),
    ],
)
def test_network_file_systems_are_recognised(
    folder: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_mounts", lambda: mounts.read_mountinfo(MOUNTS))
    monkeypatch.setattr(os.path, "realpath", str)
    assert mounts.is_network(Path(folder)) is expected


def test_network_file_systems_as_macos_prints_them() -> None:
    printed = "/dev/disk3s1 on / (apfs, local)\nann@server:/x on /Volumes/my x (smbfs, nodev)\n"
    assert mounts.read_mount(printed) == [("/", "apfs"), ("/Volumes/my x", "smbfs")]


@slow
def test_a_record_of_a_megabyte(server, make_dataset) -> None:
    text = "beginning " + "word " * 200_000 + "needle"
    dataset = make_dataset(server, [record(1, text), record(2)])
    api = server.api()
    assert api.search(str(dataset.id), mine=False, query={"text": {"q": "needle"}}) == (["r1"], 1)
    assert {each.id: each.fields["answer"] for each in dataset.records()}["r1"] == text


def test_an_environment_in_use_is_not_rebuilt(tmp_path: Path) -> None:
    """A new lock file must not pull the packages from under a running server."""
    folder = tmp_path / "env"
    folder.mkdir()
    (folder / environment.STAMP).write_text("an older lock file")
    (folder / "packages").touch()
    held = hold_environment(folder)
    with pytest.raises(ToMend, match=r"a server still runs in it: stop that one .*--env_dir"):
        environment.ensure(folder)
    os.close(held)
    assert (folder / "packages").exists()
