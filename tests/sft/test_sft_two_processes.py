"""Two processes: the same training as on one, told once.

The processes are started with the environment that ``accelerate launch`` gives to its workers, and
not by it: its agent looks up this machine's own name, which the network guard rightly stops.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def two_processes(*words: str) -> list[subprocess.CompletedProcess]:
    """Run a stage as rank 0 and rank 1, which meet at a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    meeting |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env={**os.environ, **meeting, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said = [process.communicate(timeout=500) for process in both]
    finally:
        for process in both:
            process.kill()
    return [
        subprocess.CompletedProcess(words, process.returncode, out, err)
        for process, (out, err) in zip(both, said, strict=True)
    ]


@pytest.mark.skipif(
    torch.cuda.device_count() == 1, reason="two processes need two GPUs, or a machine without one"
)
def test_two_processes_reach_the_weights_and_the_loss_of_one(
    run_stage, words, demonstrations, write_lines, tmp_path
):
    # Every step sees all sixteen rows, so that the order does not matter: 16, or twice 8. Replies
    # of uneven length: a mean of the two processes' means would be another loss.
    for number, row in enumerate(demonstrations):
        row["messages"][2]["content"] = "Fees. " * (1 + number * number // 8)
    data = write_lines(tmp_path / "uneven.jsonl", demonstrations)
    extra = [
        *("--dataset_name", str(data), "--held_out_share", "0", "--logging_steps", "1"),
        *("--optim", "sgd", "--learning_rate", "0.1", "--max_steps", "3"),
    ]
    size = "--per_device_train_batch_size"
    one = run_stage("sft.train", *words, *extra, size, "16", "--run_dir", tmp_path / "one")
    assert one.code == 0, one.err
    ranks = two_processes("sft", *words, *extra, size, "8", "--run_dir", str(tmp_path / "two"))
    assert [rank.returncode for rank in ranks] == [0, 0], [rank.stderr for rank in ranks]
    first, second = (rank.stdout for rank in ranks)
    for said in ("settings from", "for this machine", "trains ", "records  ", "sft: wrote"):
        assert first.count(said) == 1 and said not in second, f"{said!r} in\n{first}\n{second}"
    assert "steps        3 of 16 records" in first

    folders = [tmp_path / name / "sft" for name in ("one", "two")]
    losses = [json.loads((folder / "metrics.json").read_text())["loss"] for folder in folders]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    before, after = (load_file(folder / "model.safetensors") for folder in folders)
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], atol=1e-5), name
