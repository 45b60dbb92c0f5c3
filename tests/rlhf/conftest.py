"""What the tests of DPO and KTO share: preferences in a file, a start, and what a run left."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

STEPS = (
    *("--max_steps", "4", "--per_device_train_batch_size", "4", "--learning_rate", "1e-2"),
    *("--gradient_accumulation_steps", "1"),
)


@pytest.fixture
def prefs(preferences, write_lines, tmp_path):
    """Sixteen preferences in a file."""
    return write_lines(tmp_path / "prefs.jsonl", preferences)


@pytest.fixture
def tuned(run_stage, tiny_model, demonstrations, write_lines, tmp_path):
    """A campaign in which sft has run, full or LoRA."""

    def make(*extra: str) -> Path:
        data = write_lines(tmp_path / "demos.jsonl", demonstrations)
        run_dir = tmp_path / "x"
        words = ("--model_name_or_path", tiny_model, "--dataset_name", data, *STEPS)
        ended = run_stage("sft.train", *words, *extra, "--run_dir", run_dir)
        assert ended.code == 0, ended.err
        return run_dir

    return make


@pytest.fixture
def aligned(run_stage, tiny_model, prefs, tmp_path):
    """Run a stage from the tiny model for four steps; its figures stand in ``metrics``."""

    def run(
        stage: str, *words: str, data: Path = prefs, run_dir: Path | None = None
    ) -> SimpleNamespace:
        run_dir = run_dir or tmp_path / "aligned"
        given = ("--model_name_or_path", tiny_model, "--dataset_name", data, *STEPS)
        given = (*given, "--logging_steps", "1", "--answer_prompts", "0", *words)
        ended = run_stage(f"rlhf.{stage}", *given, "--run_dir", run_dir)
        assert ended.code == 0, f"exit {ended.code}\n{ended.out}\n{ended.err}"
        ended.folder = run_dir / stage
        ended.metrics = json.loads((ended.folder / "metrics.json").read_text())
        return ended

    return run
