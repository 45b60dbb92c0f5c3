"""A wrong key, at a real server: the suite's commands say so and write nothing."""

import pytest

from inhouse import argilla
from inhouse.errors import InputError

pytestmark = pytest.mark.slow


def test_a_wrong_key_is_refused_with_the_variable_to_check(server):
    with pytest.raises(InputError, match="refuses the key: check ARGILLA_API_KEY"):
        argilla.connect(argilla.Access(server.url, "not-the-key"))


def test_push_with_a_wrong_key_exits_with_3_and_writes_nothing(server, run_command, tmp_path):
    pair = (
        '{"id": "p1", "prompt": [{"role": "user", "content": "Hello?"}], "response_a": "Yes.", '
        '"response_b": "No.", "source_a": {}, "source_b": {}, "findings_a": [], "findings_b": []}\n'
    )
    (tmp_path / "pairs.jsonl").write_text(pair)
    ended = run_command(
        *("labeling.push", "--run_dir", str(tmp_path / "runs" / "x")),
        *("--dataset_name", str(tmp_path / "pairs.jsonl")),
        *("--house_rules", "configs/house/asdfg.yaml"),
        ARGILLA_API_URL=server.url,
        ARGILLA_API_KEY="not-the-key",
    )
    assert ended.returncode == 3, ended.stderr
    assert "refuses the key: check ARGILLA_API_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "runs").exists()
