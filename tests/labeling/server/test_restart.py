"""What survives a stop, and what survives a `kill -9`."""

import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

pytestmark = pytest.mark.slow

RECORDS = [
    {
        "id": f"r{number}",
        "fields": {"prompt": [{"role": "user", "content": "Hello"}], "answer": f"Number {number}"},
    }
    for number in range(4)
]


def test_stop_kill_restart(own_server, make_dataset, command) -> None:
    import requests

    server = own_server
    server.start()
    server.add_user("ann", "house")
    dataset = make_dataset(server, RECORDS)
    where = str(dataset.id)
    ids = {
        item["external_id"]: item["id"]
        for item in server.api()("GET", f"datasets/{where}/records")["items"]
    }
    server.api("ann").answer(ids["r0"], preferred="a")
    known = server.credentials()["users"]
    login = {"username": "ann", "password": known["ann"]["password"]}
    token = requests.post(f"{server.url}/api/v1/token", data=login, timeout=30).json()
    session = {"Authorization": f"Bearer {token['access_token']}"}

    # A stop leaves a whole database and nothing else to tidy up.
    port = int(server.url.rpartition(":")[2])
    assert command("stop", "--data_dir", server.folder).returncode == 0
    left = {path.name for path in server.folder.iterdir()}
    assert "argilla.db" in left
    assert not left & {"argilla.db-wal", "argilla.db-shm", "tmp", "server.json"}
    stopped = server.status()
    assert (stopped["url"], stopped["pid"], stopped["ready"]) == (None, None, False)

    # The same port again, at once; users, keys, sessions and answers are there.
    server.start(port)
    assert server.credentials()["users"] == known
    answer = requests.get(f"{server.url}/api/v1/me", headers=session, timeout=30)
    assert answer.json()["username"] == "ann"
    server.api("ann").answer(ids["r1"], preferred="b")

    # Killed: the acknowledged answer is there. A status that the kill left behind is put right.
    os.kill(server.status()["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while server.status()["pid"] is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (server.folder / "server.json").exists()
    assert command("stop", "--data_dir", server.folder).returncode == 0
    with closing(sqlite3.connect(server.folder / "argilla.db")) as database, database:
        for name, status in [("r0", "pending"), ("r2", "completed")]:
            changed = "UPDATE records SET status = ? WHERE external_id = ?"
            database.execute(changed, (status, name))

    # Credentials that cannot be read are for the user to mend; lost ones are made anew.
    (server.folder / "credentials.json").write_text("{")
    refused = command("start", "--data_dir", server.folder, "--port", "0")
    assert refused.returncode == 3
    assert "credentials.json is not valid JSON" in refused.stderr
    assert "Traceback" not in refused.stderr
    (server.folder / "credentials.json").unlink()
    server.start()
    items = server.api()("GET", f"datasets/{where}/records", params={"include": "responses"})
    assert {each["external_id"]: each["status"] for each in items["items"]} == {
        "r0": "completed",
        "r1": "completed",
        "r2": "pending",
        "r3": "pending",
    }
    assert sum(len(each["responses"]) for each in items["items"]) == 2
    assert server.credentials()["users"]["owner"]["api_key"] != known["owner"]["api_key"]


def test_two_starts_at_once_make_one_server(own_server, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what the environment says to another Argilla does not concern this one."""
    monkeypatch.setenv("ARGILLA_DATABASE_URL", "sqlite:///elsewhere.db")
    monkeypatch.setenv("ARGILLA_BASE_URL", "/elsewhere")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody there
    for name in ("USERNAME", "PASSWORD", "API_KEY"):
        monkeypatch.setenv(name, "argilla.apikey")

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: own_server.start(), range(2)))
    running = [answer.stdout.splitlines()[0] for answer in answers]
    assert sorted("already" in line for line in running) == [False, True]
    assert len({line.rpartition(" ")[2] for line in running}) == 1

    monkeypatch.delenv("HTTP_PROXY")
    assert [user["username"] for user in own_server.api()("GET", "users")["items"]] == ["owner"]
    assert (own_server.folder / "argilla.db").exists()
