"""What protects raters' answers and passwords."""

import json
import socket
import sqlite3
import stat
import tarfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from labeling.server.inside.sign_in import FREE_BY_NAME, MOST_KEPT, Throttle, user_name

slow = pytest.mark.slow
RECORDS = [
    {
        "id": f"r{number}",
        "fields": {"prompt": [{"role": "user", "content": "Hello"}], "answer": f"Number {number}"},
    }
    for number in range(200)
]


@slow
def test_backup_under_writes_and_restore(own_server, make_dataset, command, tmp_path) -> None:
    server = own_server
    server.start()
    server.add_user("ann", "house")
    where = str(make_dataset(server, RECORDS).id)
    ids = server.api().ids(where)
    acknowledged: list[str] = []
    stop = threading.Event()

    def answer_all() -> None:
        api = server.api("ann")
        for name, record in ids.items():
            if stop.is_set():
                return
            api.answer(record, preferred="a")
            acknowledged.append(name)

    rater = threading.Thread(target=answer_all)
    rater.start()
    while len(acknowledged) < 5:
        time.sleep(0.01)
    before = set(acknowledged)
    backup = tmp_path / "monday.tar"
    made = command("backup", backup, "--data_dir", server.folder)
    after = len(acknowledged)
    stop.set()
    rater.join()
    assert made.returncode == 0, made.stderr
    assert after > len(before), "no answer was written meanwhile"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert command("backup", backup, "--data_dir", server.folder).returncode == 3  # exists already
    assert command("restore", backup, "--data_dir", server.folder).returncode == 3  # in use
    known = server.credentials()["users"]
    server.stop()
    assert command("restore", backup, "--data_dir", server.folder).returncode == 3  # still there

    restored = type(server)(tmp_path / "restored")
    answer = command("restore", backup, "--data_dir", restored.folder)
    assert answer.returncode == 0, answer.stderr
    assert f"start --data_dir {restored.folder}" in answer.stdout
    for path in (restored.folder, *restored.folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    restored.start()
    try:
        assert restored.credentials()["users"] == known
        found = restored.api()("GET", f"datasets/{where}/records", params={"limit": 1000})["items"]
        completed = {each["external_id"] for each in found if each["status"] == "completed"}
        assert before <= completed <= set(acknowledged)
        assert restored.api("ann").search(where, query={"text": {"q": "number 7"}})[0] == ["r7"]
    finally:
        restored.stop()


@slow
def test_a_damaged_backup_is_refused(command, tmp_path: Path) -> None:
    not_tar = tmp_path / "backup.tar"
    not_tar.write_text("hello")
    strange = tmp_path / "strange.tar"
    with tarfile.open(strange, "w") as tar:
        tar.add(not_tar, "../../outside")
    for source in (not_tar, strange, tmp_path / "missing.tar"):
        answer = command("restore", source, "--data_dir", tmp_path / "data")
        assert answer.returncode == 3
        assert str(source) in answer.stderr
        assert "Traceback" not in answer.stderr
        assert not (tmp_path / "data" / "argilla.db").exists()
    files = {"argilla.db": "x", "credentials.json": "{}", "auth_secret": "y"}
    contents = {"made_at": "today", "sha256": dict.fromkeys(files, "0" * 64)}
    with tarfile.open(strange, "w") as tar:
        for name, content in {**files, "contents.json": json.dumps(contents)}.items():
            (tmp_path / name).write_text(content)
            tar.add(tmp_path / name, name)
    answer = command("restore", strange, "--data_dir", tmp_path / "data")
    assert answer.returncode == 3
    assert "is damaged: argilla.db" in answer.stderr
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"lock"}


@slow
def test_allow_remote(own_server, command) -> None:
    said = own_server.start(0, "--allow_remote").stdout
    assert "reverse proxy with TLS" in said
    assert socket.gethostname() in said
    port = int(own_server.url.rpartition(":")[2])
    socket.create_connection(("127.0.0.2", port), timeout=5).close()
    assert own_server.url == f"http://127.0.0.1:{port}"


@slow
def test_failed_sign_ins_are_throttled(server) -> None:
    import requests

    server.add_user("guessed", "house")
    right = server.credentials()["users"]["guessed"]["password"]

    def sign_in(password: str) -> requests.Response:
        form = {"username": "guessed", "password": password}
        return requests.post(f"{server.url}/api/v1/token", data=form, timeout=30)

    assert [sign_in("wrong").status_code for _ in range(FREE_BY_NAME)] == [401] * FREE_BY_NAME
    refused = sign_in(right)  # even the right one has to wait
    assert refused.status_code == 429
    assert refused.json()["detail"].startswith("too many failed sign-ins")
    time.sleep(int(refused.headers["retry-after"]))
    assert sign_in(right).status_code == 201
    assert sign_in("wrong").status_code == 401  # a success forgets the failures


def test_the_wait_doubles_and_has_an_end() -> None:
    throttle = Throttle()
    assert throttle.wait("a", 2, 0.0) == 0.0
    waits = []
    for _ in range(10):
        throttle.failed(["a"], 0.0)
        waits.append(throttle.wait("a", 2, 0.0))
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert throttle.wait("a", 2, 59.0) == 1.0
    assert throttle.wait("b", 2, 0.0) == 0.0
    assert throttle.wait("a", 2, 901.0) == 0.0
    for number in range(MOST_KEPT + 1):
        throttle.failed([str(number)], 1000.0)
    assert len(throttle._failures) == MOST_KEPT


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (b"username=ann&password=x", "ann"),
        (b"password=x&username=a%40b", "a@b"),
        (b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nann\r\n--x--', "ann"),
        (b"", ""),
        (b"\xff\x00", ""),
    ],
)
def test_the_name_in_a_sign_in_form(form: bytes, name: str) -> None:
    assert user_name(form) == name


@slow
def test_reset_gives_a_new_password(server, command) -> None:
    import requests

    server.add_user("forgetful", "house")
    old = server.credentials()["users"]["forgetful"]
    answer = command("users", "reset", "forgetful", "--data_dir", server.folder)
    assert answer.returncode == 0, answer.stderr
    new = server.credentials()["users"]["forgetful"]
    assert new["password"] in answer.stdout
    assert (new["role"], new["api_key"]) == (old["role"], old["api_key"])
    for password, status in [(new["password"], 201), (old["password"], 401)]:
        form = {"username": "forgetful", "password": password}
        answer = requests.post(f"{server.url}/api/v1/token", data=form, timeout=30)
        assert answer.status_code == status
    assert command("users", "reset", "nobody", "--data_dir", server.folder).returncode == 3


@slow
def test_the_database_is_checked_and_indexed(server, make_dataset) -> None:
    make_dataset(server, RECORDS[:3])
    with closing(sqlite3.connect(server.folder / "argilla.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        records, documents = (
            database.execute(f"SELECT COUNT(DISTINCT {column}) FROM {table}").fetchone()[0]
            for column, table in (("id", "records"), ("record_id", "search_documents"))
        )
        assert records == documents
    assert any((server.folder / "tmp").iterdir())  # the pages, which a stop removes
