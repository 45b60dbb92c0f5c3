"""A run of four steps on two layers."""

import pytest


@pytest.fixture
def words(tiny_model, demonstrations, write_lines, tmp_path):
    """The flags of a run of four steps."""
    data = write_lines(tmp_path / "mine.jsonl", demonstrations)
    return [
        *("--model_name_or_path", str(tiny_model), "--dataset_name", str(data)),
        *("--max_steps", "4", "--per_device_train_batch_size", "4", "--learning_rate", "1e-2"),
        *("--gradient_accumulation_steps", "1", "--held_out_share", "0.2"),
    ]
