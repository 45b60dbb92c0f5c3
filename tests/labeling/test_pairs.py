"""The pairs' way to Argilla, without a server: what stages say then, and what raters are shown."""

import socket
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from labeling import pairs as in_pairs
from labeling.pairs import pairs_dataset_name, pairs_settings

ROOT = Path(__file__).parents[2]
RULES = ROOT / "configs" / "house" / "asdfg.yaml"


@pytest.fixture(autouse=True)
def no_argilla(monkeypatch, tmp_path):
    """No server is known here, whatever runs on this machine."""
    monkeypatch.delenv("ARGILLA_API_URL", raising=False)
    monkeypatch.delenv("ARGILLA_API_KEY", raising=False)


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


# --- as the stages say it ---------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path, write_lines):
    row = {
        "id": "1",
        "prompt": [{"role": "user", "content": "q"}],
        **{"response_a": "a", "response_b": "b", "source_a": {}, "source_b": {}},
        **{"findings_a": [], "findings_b": []},
    }
    return write_lines(tmp_path / "pairs.jsonl", [row])


@pytest.mark.parametrize("stage", ["labeling.push", "labeling.pull"])
def test_a_stage_without_credentials_writes_nothing(refused, pairs, tmp_path, stage):
    words = ("--house_rules", RULES, "--dataset_name", pairs, "--credentials", tmp_path / "none")
    says = ["python -m labeling.server start"]
    refused(stage, *words, says=says, run_dir=tmp_path / "runs" / "x")


def test_pull_whose_argilla_does_not_run_writes_nothing(
    refused, pairs, tmp_path, closed_port, monkeypatch
):
    monkeypatch.setenv("ARGILLA_API_URL", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("ARGILLA_API_KEY", "key")
    words = ("--house_rules", RULES, "--dataset_name", pairs)
    says = [f"127.0.0.1:{closed_port}", "python -m labeling.server start"]
    refused("labeling.pull", *words, says=says, run_dir=tmp_path / "runs" / "x")


def test_push_as_a_user_runs_it_without_a_server(run_command, pairs, tmp_path, closed_port):
    ended = run_command(
        "labeling.push",
        *("--house_rules", str(RULES), "--dataset_name", str(pairs)),
        *("--run_dir", str(tmp_path / "runs" / "x")),
        ARGILLA_API_URL=f"http://127.0.0.1:{closed_port}",
        ARGILLA_API_KEY="key",
    )
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr and "error: no Argilla answers" in ended.stderr
    assert not (tmp_path / "runs").exists()


# --- what raters are shown --------------------------------------------------------------------


def test_only_the_choice_is_required(monkeypatch):
    monkeypatch.setattr(in_pairs.rg.Argilla, "_get_default", lambda *_: MagicMock())
    settings = pairs_settings("guidelines", ["R-1", "R-2"], 3)
    required = {question.name for question in settings.questions if question.required}
    assert required == {"preferred"}
    assert [f.name for f in settings.fields] == ["prompt", "response_a", "response_b"]
    assert settings.distribution.min_submitted == 3


def test_a_data_set_is_named_after_the_rules():
    assert pairs_dataset_name("0123456789abcdef" * 4) == "pairs-0123456789ab"
