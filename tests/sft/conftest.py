"""A run of four steps on two layers, and one that is killed on the way."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def words(tiny_model, demonstrations, write_lines, tmp_path):
    """The flags of a run of four steps."""
    data = write_lines(tmp_path / "mine.jsonl", demonstrations)
    return [
        *("--model_name_or_path", str(tiny_model), "--dataset_name", str(data)),
        *("--max_steps", "4", "--per_device_train_batch_size", "4", "--learning_rate", "1e-2"),
        *("--gradient_accumulation_steps", "1", "--held_out_share", "0.2"),
    ]


@pytest.fixture
def killed_at_checkpoint():
    """Start a command and kill it when its checkpoint of that step is whole, or a little later.

    ``later`` is a share of 50 ms, in which a checkpoint is half written, or half a step done.
    """

    def kill(command: list[str], folder: Path, step: int, later: float = 0.0) -> None:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        state = folder / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json"
        deadline = time.monotonic() + 300
        while not state.exists():
            assert process.poll() is None, f"ended before the kill:\n{process.stdout.read()}"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.05 * later)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    return kill
