"""One real server for all tests here, started and stopped by its own command."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
Command = Callable[..., subprocess.CompletedProcess[str]]


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m labeling.server …` from the repository's root."""
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

    def start(self, port: int = 0) -> subprocess.CompletedProcess[str]:
        answer = run_command("start", "--data_dir", self.folder, "--port", str(port))
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

    def answer(self, record: str, status: str = "submitted", **values: Any) -> None:
        """Answer a record as a rater does in the page."""
        content = {"values": {name: {"value": value} for name, value in values.items()}}
        self("POST", f"records/{record}/responses", {**content, "status": status})


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
def make_dataset() -> Callable[..., Any]:
    """Publish a dataset of conversations with every kind of question, through the SDK."""

    def make(server: Server, records: list[dict[str, Any]], min_submitted: int = 1) -> Any:
        import argilla as rg

        owner = server.credentials()["users"]["owner"]
        client = rg.Argilla(api_url=server.url, api_key=owner["api_key"])
        workspace = client.workspaces("house") or rg.Workspace("house", client=client).create()
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
