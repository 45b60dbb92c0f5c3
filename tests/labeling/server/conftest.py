"""One real server for all tests here, started and stopped by its own command."""

import atexit
import functools
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[3]
Command = Callable[..., subprocess.CompletedProcess[str]]


@functools.cache
def guarded_environment() -> Path:
    """The server's environment with the network guard in it; made once, when first needed."""
    module = runpy.run_path(str(Path(__file__).with_name("guarded_environment.py")))
    place = Path(tempfile.mkdtemp(prefix="argilla-environment-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    folder: Path = module["make"](place / "env")
    module["check"](folder)
    return folder


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m labeling.server …` from the repository's root.

    Servers that it starts have the network guard in them, unless the test names an environment.
    """
    if arguments[:1] == ("start",) and "--env_dir" not in arguments:
        arguments = (*arguments, "--env_dir", guarded_environment())
    return subprocess.run(
        [sys.executable, "-m", "labeling.server", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,  # the first start builds an environment
        check=False,
    )


@dataclass
class Server:
    """A running server, and how to reach it."""

    folder: Path

    def start(self, port: int = 0, *more: str | Path) -> subprocess.CompletedProcess[str]:
        answer = run_command("start", "--data_dir", self.folder, "--port", str(port), *more)
        assert answer.returncode == 0, answer.stderr
        return answer

    def stop(self) -> None:
        """Stop by the command; where that fails, by the process id."""
        pid = self.status()["pid"]
        if run_command("stop", "--data_dir", self.folder).returncode != 0 and pid:
            os.kill(pid, signal.SIGKILL)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(
            run_command("status", "--json", "--data_dir", self.folder).stdout
        )
        return answer

    def credentials(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "credentials.json").read_text())
        return content

    @property
    def url(self) -> str:
        return str(self.credentials()["url"])

    def add_user(self, name: str, workspace: str, role: str = "annotator") -> None:
        """Make a user, unless it is there already."""
        if name not in self.credentials()["users"]:
            answer = run_command(
                *("users", "add", name, "--role", role, "--workspace", workspace),
                *("--data_dir", self.folder),
            )
            assert answer.returncode == 0, answer.stderr

    def api(self, user: str = "owner") -> "Api":
        return Api(self.url, self.credentials()["users"][user]["api_key"])


class Api:
    """Requests as one user, with the user's own key."""

    def __init__(self, url: str, api_key: str) -> None:
        import requests

        self.url = f"{url}/api/v1"
        self.session = requests.Session()
        self.session.headers["X-Argilla-Api-Key"] = api_key

    def __call__(self, method: str, path: str, content: Any = None, **options: Any) -> Any:
        answer = self.session.request(
            method, f"{self.url}/{path}", json=content, timeout=60, **options
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def search(
        self, dataset: str, mine: bool = True, page: tuple[int, int] = (0, 100), **query: Any
    ) -> tuple[list[str], int]:
        """The external ids of one page of records, and the number of all that match."""
        answer = self(
            "POST",
            f"{'me/' if mine else ''}datasets/{dataset}/records/search",
            query,
            params={"offset": page[0], "limit": page[1]},
        )
        return [item["record"]["external_id"] for item in answer["items"]], answer["total"]

    def ids(self, dataset: str) -> dict[str, str]:
        """Argilla's ids of a data set's records by ours."""
        items = self("GET", f"datasets/{dataset}/records", params={"limit": 1000})["items"]
        return {item["external_id"]: item["id"] for item in items}

    def answer(self, record: str, status: str = "submitted", **values: Any) -> None:
        """Answer a record as a rater does in the page."""
        content = {"values": {name: {"value": value} for name, value in values.items()}}
        self("POST", f"records/{record}/responses", {**content, "status": status})


@pytest.fixture
def environment_with(tmp_path: Path) -> Callable[[str], Path]:
    """Make an environment in which the server first runs some code that changes its world."""

    def make(code: str) -> Path:
        module = runpy.run_path(str(Path(__file__).with_name("guarded_environment.py")))
        folder: Path = module["make"](tmp_path / "environment")
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "changed_world.py").write_text(code)
        (packages / "changed_world.pth").write_text("import changed_world\n")
        return folder

    return make


@pytest.fixture(scope="session")
def command() -> Command:
    return run_command


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that tests share; none may stop it."""
    running = Server(tmp_path_factory.mktemp("argilla") / "data")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to stop and kill; not started."""
    own = Server(tmp_path / "data")
    yield own
    if own.folder.exists():
        own.stop()


@pytest.fixture(scope="session")
def make_client() -> Callable[[Server], tuple[Any, Any]]:
    """Sign in as the owner through the SDK; with it comes the workspace `house`."""

    def make(server: Server) -> tuple[Any, Any]:
        import argilla as rg

        owner = server.credentials()["users"]["owner"]
        client = rg.Argilla(api_url=server.url, api_key=owner["api_key"])
        return client, client.workspaces("house") or rg.Workspace("house", client=client).create()

    return make


@pytest.fixture(scope="session")
def make_dataset(make_client: Callable[..., Any]) -> Callable[..., Any]:
    """Publish a dataset of conversations with every kind of question, through the SDK."""

    def make(server: Server, records: list[dict[str, Any]], min_submitted: int = 1) -> Any:
        import argilla as rg

        client, workspace = make_client(server)
        dataset = rg.Dataset(
            name=f"pairs-{uuid.uuid4().hex[:8]}",
            workspace=workspace,
            client=client,
            settings=rg.Settings(
                guidelines="Choose the better answer.",
                fields=[rg.ChatField(name="prompt"), rg.TextField(name="answer")],
                questions=[
                    rg.LabelQuestion(name="preferred", labels=["a", "b", "tie"]),
                    rg.MultiLabelQuestion(
                        name="violations", labels=["tone", "promise"], required=False
                    ),
                    rg.RatingQuestion(name="score", values=[1, 2, 3, 4, 5], required=False),
                    rg.TextQuestion(name="comment", required=False),
                ],
                metadata=[
                    rg.TermsMetadataProperty(name="topic"),
                    rg.IntegerMetadataProperty(name="length"),
                    rg.FloatMetadataProperty(name="weight"),
                ],
                vectors=[rg.VectorField(name="embedding", dimensions=2)],
                distribution=rg.TaskDistribution(min_submitted=min_submitted),
            ),
        ).create()
        dataset.records.log([rg.Record(**record) for record in records])
        return dataset

    return make


@pytest.fixture(scope="session")
def chromium_hosts() -> Callable[[Path], set[str]]:
    """The hosts that pages in a Chromium asked for anything, from its network log.

    The browser's own requests (for updates, say) have no page as their initiator.
    """

    def read(log: Path) -> set[str]:
        content = json.loads(log.read_text())
        start = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
        asked = set()
        for event in content["events"]:
            parameters = event.get("params", {})
            if event["type"] == start and "://" in parameters.get("initiator", ""):
                asked.add(urlsplit(parameters["url"]).hostname or parameters["url"])
        return asked

    return read


_SCREENSHOTS: list[Path] = []


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures of the page go; pytest keeps the folders of the last three runs."""
    folder = tmp_path_factory.mktemp("screenshots")
    _SCREENSHOTS.append(folder)
    return folder


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for folder in _SCREENSHOTS:
        terminalreporter.write_line(f"screenshots of the labelling page: {folder}")
