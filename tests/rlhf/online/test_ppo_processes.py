"""Two processes on a CPU, under DDP and FSDP2, have one process's gradients for both roles."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("gradients.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on a CPU; a GPU would be taken"),
]


def gradients(kind: str, mode: str, model: Path, out: Path) -> dict[str, torch.Tensor]:
    """What the script wrote, run on one process or on two that meet at a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    meeting |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    places = [{}] if kind == "one" else [meeting | {"RANK": r, "LOCAL_RANK": r} for r in "01"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    both = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), kind, mode, str(model), str(out)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **place},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for place in places
    ]
    try:
        said = [process.communicate(timeout=500)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert all(process.returncode == 0 for process in both), "\n".join(said)
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_two_processes_have_the_gradients_of_one(writer, tmp_path, mode):
    one = gradients("one", mode, writer, tmp_path / "one.pt")
    assert any("critic" in name for name in one) and any("critic" not in name for name in one)
    for kind in ("ddp", "fsdp2"):
        two = gradients(kind, mode, writer, tmp_path / f"{kind}.pt")
        assert two.keys() == one.keys()
        for name in one:
            off = (two[name] - one[name]).norm() / one[name].norm().clamp(min=1e-6)
            assert off < 1e-5, f"{kind} {name}: {off:.2e}"
