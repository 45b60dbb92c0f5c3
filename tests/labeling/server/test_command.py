"""`python -m labeling.server`: exit codes, messages, what lies on disk."""

import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from labeling.server.folder import ToMend
from labeling.server.host import users

Command = Callable[..., subprocess.CompletedProcess[str]]
slow = pytest.mark.slow


def test_help_is_quick(command: Command) -> None:
    before = time.monotonic()
    answer = command("--help")
    assert answer.returncode == 0
    assert "start" in answer.stdout
    assert time.monotonic() - before < 1


def test_the_command_needs_no_package() -> None:
    """It starts on a bare Python, and knows nothing of the rest of the suite."""
    code = (
        "import sys; import labeling.server.__main__, labeling.server.inside.search.text_query; "
        "known = set(sys.stdlib_module_names) | {'labeling', '__main__'}; "
        "print(sorted({name.split('.')[0] for name in sys.modules} - known))"
    )
    root = Path(__file__).resolve().parents[3]
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(root)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "[]"
    assert (root / "labeling" / "__init__.py").read_text() == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["begin"],
        ["start", "--prot", "1"],
        ["start", "--dat", "x"],  # no abbreviations
        ["start", "--port", "many"],
        ["users", "add", "ann"],
        ["users", "add", "ann", "--workspace", "w", "--role", "king"],
    ],
)
def test_wrong_options(command: Command, arguments: list[str]) -> None:
    answer = command(*arguments)
    assert answer.returncode == 3
    assert "error: " in answer.stderr


def test_nothing_runs(command: Command, tmp_path: Path) -> None:
    assert command("status", "--data_dir", tmp_path).returncode == 0
    assert "start it with" in command("status", "--data_dir", tmp_path).stdout
    assert command("stop", "--data_dir", tmp_path).returncode == 0
    answer = command("users", "list", "--data_dir", tmp_path)
    assert answer.returncode == 3
    assert f"python -m labeling.server start --data_dir {tmp_path}" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


@slow
def test_somebodys_folder_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    tmp_path.chmod(0o755)
    answer = command("start", "--data_dir", tmp_path)
    assert answer.returncode == 3
    assert "--data_dir" in answer.stderr
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    answer = command("start", "--data_dir", tmp_path / "thesis.txt" / "below")
    assert answer.returncode == 3


@slow
def test_port_taken(command: Command, server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = command("start", "--data_dir", tmp_path / "data", "--port", str(port))
    assert answer.returncode == 3
    assert f"port {port} is taken" in answer.stderr
    assert "--port" in answer.stderr
    assert "Traceback" not in answer.stderr


@slow
def test_second_start_says_that_it_runs(command: Command, server) -> None:
    pid = server.status()["pid"]
    answer = command("start", "--data_dir", server.folder, "--port", "0")
    assert answer.returncode == 0
    assert f"running already: {server.url}" in answer.stdout
    assert server.status()["pid"] == pid


@slow
def test_status(server) -> None:
    status = server.status()
    assert status["ready"] is True
    assert status["url"] == server.url
    assert Path(status["python"]).exists()
    os.kill(status["pid"], 0)


@slow
def test_only_this_user_and_this_machine_can_reach_it(server) -> None:
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    for path in server.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for name in ("credentials.json", "auth_secret", "server.log", "argilla.db", "server.json"):
        assert stat.S_IMODE((server.folder / name).stat().st_mode) == 0o600, name
    assert server.url.startswith("http://127.0.0.1:")
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=5):
        pass  # Linux answers on all of 127.0.0.0/8 when a program listens on every address


@slow
def test_no_stock_credentials(server) -> None:
    import requests

    for key in ("argilla.apikey", "owner.apikey"):
        answer = requests.get(
            f"{server.url}/api/v1/me", headers={"X-Argilla-Api-Key": key}, timeout=30
        )
        assert answer.status_code == 401
    login = {"username": "argilla", "password": "12345678"}
    assert requests.post(f"{server.url}/api/v1/token", data=login, timeout=30).status_code == 401


@pytest.mark.parametrize("name", ["My Campaign", "müller", "a.b", "", "a\n"])
def test_a_workspace_that_the_sdk_could_not_read_is_not_made(name: str) -> None:
    api = MagicMock()
    with pytest.raises(ToMend, match=r"labeling\.push` says"):
        users.add(api, MagicMock(), "anna", "annotator", name)
    assert api.mock_calls == []


@slow
def test_users(command: Command, server) -> None:
    where = ("--data_dir", server.folder)
    added = command("users", "add", "ann", "--workspace", "house", *where)
    assert added.returncode == 0
    known = server.credentials()["users"]["ann"]
    assert known["role"] == "annotator"
    assert known["password"] in added.stdout
    assert server.api("ann")("GET", "me")["username"] == "ann"
    workspaces = server.api("ann")("GET", "me/workspaces")["items"]
    assert [each["name"] for each in workspaces] == ["house"]

    again = command("users", "add", "ann", "--workspace", "house", *where)
    assert again.returncode == 3
    assert "'ann' exists already" in again.stderr
    assert command("users", "add", "../x", "--workspace", "house", *where).returncode == 3

    listed = command("users", "list", *where).stdout
    assert re.search(r"^ann +annotator +house$", listed, re.MULTILINE)
    assert re.search(r"^owner +owner", listed, re.MULTILINE)

    assert command("users", "remove", "ann", *where).returncode == 0
    assert "ann" not in command("users", "list", *where).stdout
    assert "ann" not in server.credentials()["users"]
    assert command("users", "remove", "ann", *where).returncode == 3
    assert command("users", "remove", "owner", *where).returncode == 3


@slow
def test_the_pages_may_ask_no_other_host(server) -> None:
    import requests

    for path in ("/", "/sign-in", "/api/v1/version"):
        answer = requests.get(server.url + path, timeout=30)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert not re.search(r"https?:|\*", policy)
        [scripts] = re.findall(r"script-src ([^;]*)", policy)
        assert "unsafe" not in scripts  # a script in a record does not run


@slow
def test_the_pages_own_scripts_are_allowed(server) -> None:
    """The frame for text that looks like HTML has one script, which lies in the page's own code."""
    import base64
    import hashlib

    import requests

    policy = requests.get(server.url, timeout=30).headers["content-security-policy"]
    environment = Path(server.status()["python"]).parents[1]
    [pages] = environment.glob("lib/python*/site-packages/argilla_server/static")
    frames = {
        script.replace(r"\n", "\n").replace(r"\'", "'")
        for code in (pages / "_nuxt").glob("*.js")
        for script in re.findall(r"concat\('\\n<script>(.*?)<\\/script>", code.read_text("utf-8"))
    }
    assert len(frames) == 1
    digest = hashlib.sha256(frames.pop().encode()).digest()
    assert f"'sha256-{base64.b64encode(digest).decode()}'" in policy
