"""The client without a server: every way in which it cannot be reached is something to mend."""

import http.server
import json
import threading
from pathlib import Path

import httpx
import pytest
from argilla._models import WorkspaceModel

from inhouse import argilla
from inhouse.argilla import Access, connect, find_access
from inhouse.errors import InputError


@pytest.fixture(autouse=True)
def no_argilla(monkeypatch, tmp_path):
    """No server is known here, whatever runs on this machine."""
    monkeypatch.delenv("ARGILLA_API_URL", raising=False)
    monkeypatch.delenv("ARGILLA_API_KEY", raising=False)


# --- where it is ------------------------------------------------------------------------------


def test_the_environment_wins_over_the_credentials_file(monkeypatch, tmp_path):
    (tmp_path / "c.json").write_text("{}")
    monkeypatch.setenv("ARGILLA_API_URL", "http://other:1")
    monkeypatch.setenv("ARGILLA_API_KEY", "key")
    assert find_access(tmp_path / "c.json") == Access("http://other:1", "key")


@pytest.mark.parametrize(
    ("given", "missing"),
    [("ARGILLA_API_URL", "ARGILLA_API_KEY"), ("ARGILLA_API_KEY", "ARGILLA_API_URL")],
)
def test_one_variable_without_the_other_is_refused(monkeypatch, tmp_path, given, missing):
    # Falling back to the embedded server would send the answers of one firm to another's.
    monkeypatch.setenv(given, "http://127.0.0.1:1")
    with pytest.raises(InputError, match=f"{missing} is not set"):
        find_access(tmp_path / "c.json")


def test_without_credentials_the_command_that_makes_them_is_named(tmp_path):
    with pytest.raises(InputError, match=r"python -m labeling\.server start"):
        find_access(tmp_path / "none.json")


def test_the_credentials_file_gives_the_owners_key(tmp_path):
    users = {
        "ann": {"role": "annotator", "password": "p", "api_key": "hers"},
        "boss": {"role": "owner", "password": "p", "api_key": "theirs"},
    }
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"url": "http://127.0.0.1:6900", "users": users}))
    assert find_access(path) == Access("http://127.0.0.1:6900", "theirs")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"\xff", b'{"url": "x", "users": {}}', b'{"url": "x", "users": []}'],
)
def test_a_damaged_credentials_file_is_named(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"c\.json is not a credentials file"):
        find_access(path)


# --- whether it answers -----------------------------------------------------------------------


@pytest.mark.parametrize("url", ["127.0.0.1:6900", "localhost", "", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InputError, match="Argilla"):
        connect(Access(url, "key"))


class Another(http.server.BaseHTTPRequestHandler):
    """Some other web server on the port that ARGILLA_API_URL names."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>It works!</html>")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("status", [200, 404, 401, 403, 500])
def test_another_web_server_at_the_address_is_refused(status):
    handler = type("Handler", (Another,), {"status": status})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with pytest.raises(InputError, match=url):
                connect(Access(url, "key"))
        finally:
            server.shutdown()


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["asdfg", "My_Campaign-2", "-x", "run-20261130", "x" * 255])
def test_a_campaign_that_argilla_can_name_is_called_as_its_folder(name, capsys):
    assert argilla.workspace_of(Path("runs") / name) == name
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My Campaign", "My-Campaign"),
        ("a.b", "a-b"),
        ("müller", "muller"),
        ("żółw 2", "zow-2"),
        ("🎉", "campaign"),
        ("a b\n", "a-b"),
        ("ü" * 127, "u" * 60),
        ("a--0123abcd", "a-0123abcd"),  # as one that was made
        ("a-verdicts", "a-verdicts"),  # as that of the reviewers of a
        ("a b-verdicts", "a-b-verdicts"),
    ],
)
def test_another_campaign_has_a_name_made_of_its_folders_and_is_told_it(name, words, capsys):
    made = argilla.workspace_of(Path("runs") / name)
    assert made.startswith(f"{words}--") and len(made) == len(words) + 10
    assert WorkspaceModel(name=made).name == made  # the SDK takes it
    assert f"is called {made} in Argilla" in capsys.readouterr().out
    assert argilla.workspace_of(Path("elsewhere") / name) == made


def test_folders_that_differ_have_workspaces_that_differ():
    names = ["a-b-verdicts", "a b", "a.b", "a  b", "a-b", "a_b", "ä b", " a b", "a b ", "A b"]
    made = {argilla.workspace_of(Path("runs") / name) for name in names}
    made |= {argilla.workspace_of(Path("runs") / name) for name in made}  # and the folder so called
    assert len(made) == 2 * len(names) - 2
    reviewers = {name + argilla.VERDICTS for name in made}
    made |= {argilla.workspace_of(Path("runs") / name) for name in reviewers}
    assert made.isdisjoint(reviewers)


def test_a_key_that_may_not_is_told_whose_may():
    request = httpx.Request("GET", "http://there:6900/api/v1/users")
    forbidden = httpx.HTTPStatusError("", request=request, response=httpx.Response(403))
    with (
        pytest.raises(InputError, match=r"there:6900 forbids GET /api/v1/users .* owner's key"),
        argilla.explained(Access("http://there:6900", "an admin's")),
    ):
        raise forbidden


def test_a_folder_is_named_from_within_and_in_any_locale_alike(tmp_path, monkeypatch):
    (tmp_path / "mine" / "sft").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine" / "sft")
    assert argilla.workspace_of(Path("..")) == "mine"
    read_as_bytes = Path("runs") / "m\udcc3\udcbcller"  # under LC_ALL=C without UTF-8 mode
    assert argilla.workspace_of(read_as_bytes) == argilla.workspace_of(Path("runs/müller"))
