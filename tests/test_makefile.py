"""`make align`: every stage ends it that fails, and the gate's own no does not."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def align(tmp_path: Path, module: str, code: int) -> tuple[int, list[str], str]:
    """Run `make align` with an interpreter that ends that module so; its code, calls, and words."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$2" >> {tmp_path}/calls\n[ "$2" != {module} ] || exit {code}\n'
    )
    python.chmod(0o755)
    words = ["make", "--old-file=setup", f"PY={python}", "align"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    return ended.returncode, (tmp_path / "calls").read_text().split(), ended.stdout


def test_what_the_gate_decides_is_shown_and_ends_well(tmp_path):
    code, calls, said = align(tmp_path, "review.gate", 2)
    assert code == 0
    after_review = calls[calls.index("review") :]
    assert after_review == [
        *("review", "review.verdicts", "examples.asdfg.reviewers", "review.verdicts"),
        *("review.memorisation", "review.gate"),
    ]
    assert "(exit 2: the gate has decided, and does not pass this model)" in said
    code, _, said = align(tmp_path, "review.gate", 0)
    assert code == 0 and "does not pass" not in said


@pytest.mark.parametrize(
    ("module", "code"), [("review.gate", 3), ("review.gate", 1), ("reward", 2), ("review", 3)]
)
def test_any_other_failure_ends_it_there(tmp_path, module, code):
    ended, calls, said = align(tmp_path, module, code)
    assert ended != 0 and calls[-1] == module and "does not pass" not in said
