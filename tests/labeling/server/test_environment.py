"""The server's own environment: recognised, refused, never confused with somebody's folder."""

import sys
from pathlib import Path

import pytest

from labeling.server.folder import ToMend
from labeling.server.host import environment


def pretend_built(folder: Path) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    (folder / environment.STAMP).write_text(environment._lock_hash())


def test_a_complete_environment_is_used_as_it_is(tmp_path: Path) -> None:
    pretend_built(tmp_path / "env")
    assert environment.ensure(tmp_path / "env") == tmp_path / "env" / "bin" / "python"


@pytest.mark.parametrize("missing", [environment.STAMP, "bin/python"])
def test_a_half_built_environment_is_not_complete(tmp_path: Path, missing: str) -> None:
    pretend_built(tmp_path)
    assert environment.is_complete(tmp_path)
    (tmp_path / missing).unlink()
    assert not environment.is_complete(tmp_path)


def test_an_environment_of_an_older_lock_file_is_not_complete(tmp_path: Path) -> None:
    pretend_built(tmp_path)
    (tmp_path / environment.STAMP).write_text("another")
    assert not environment.is_complete(tmp_path)


@pytest.mark.slow
def test_a_half_built_environment_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / environment.BUILDING).touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "half").touch()
    monkeypatch.setattr(environment, "_install", lambda python: None)
    environment.ensure(tmp_path)
    assert environment.is_complete(tmp_path)
    assert not (tmp_path / "lib" / "half").exists()


@pytest.mark.slow
def test_a_failed_installation_leaves_no_complete_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("no-such-package-in-any-index==0.0.0\n")
    monkeypatch.setattr(environment, "LOCK_FILE", lock)
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # ask nobody
    with pytest.raises(ToMend, match=r"(?s)no-such-package.*pip reaches its package index"):
        environment.ensure(tmp_path / "env")
    assert not environment.is_complete(tmp_path / "env")


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()  # somebody's own environment
    with pytest.raises(ToMend, match="--env_dir"):
        environment.ensure(tmp_path)
    assert (tmp_path / "pyvenv.cfg").exists()


def test_too_new_a_python_looks_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToMend, match=r"this is Python 3\.14.*3\.11 to 3\.13"):
        environment.ensure(tmp_path / "env")
    stub = tmp_path / "python3.13"
    stub.write_text("#!/bin/sh\nexit 127\n")  # a version manager's stub that leads nowhere
    stub.chmod(0o755)
    real = tmp_path / "python3.12"
    real.write_text("#!/bin/sh\nexit 0\n")
    real.chmod(0o755)
    assert environment._find_python() == str(real)


def test_every_package_is_pinned() -> None:
    lines = environment.LOCK_FILE.read_text().splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert len(packages) == 95
    assert all(line.count("==") == 1 for line in packages)
    assert "argilla-server==2.8.0" in packages
