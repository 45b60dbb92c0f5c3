"""The server's environment with the tests' network guard in it, made beside the real one.

The server drops every PYTHON variable, so the guard cannot come by PYTHONPATH; and production code
shall have no switch for it. So the tests (and `benchmarks/argilla.py`) name an environment of their
own by `--env_dir`: the real packages, linked, and a `.pth` file that loads the guard at start.
"""

import subprocess
from pathlib import Path

from labeling.server.host import environment

GUARD = environment.ROOT / "tests" / "guard" / "sitecustomize.py"


def make(folder: Path) -> Path:
    """Make the environment in a new folder and return it; the first call builds the real one."""
    real = environment.ensure(environment.DEFAULT_FOLDER).parents[1]
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to((real / "bin" / "python").resolve())
    for name in ("pyvenv.cfg", environment.STAMP):
        (folder / name).write_bytes((real / name).read_bytes())
    [packages] = real.glob("lib/python*/site-packages")
    linked = folder / packages.relative_to(real)
    linked.mkdir(parents=True)
    for entry in packages.iterdir():
        (linked / entry.name).symlink_to(entry)
    (linked / "network_guard.py").symlink_to(GUARD)
    (linked / "network_guard.pth").write_text("import network_guard\n")
    return folder


def check(folder: Path) -> None:
    """Fail unless a process of this environment is stopped from leaving the machine."""
    code = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"
    answer = subprocess.run(
        [folder / "bin" / "python", "-c", code], capture_output=True, text=True, check=False, env={}
    )
    assert "network guard" in answer.stderr, answer.stderr
