"""`make align`: every stage ends it that fails, and the gate's own no does not."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(
    tmp_path: Path, target: str, module: str = "", code: int = 0
) -> tuple[int, list[str], str]:
    """Make a target with an interpreter that ends that module so.

    Returns:
        The exit code; the commands, without the campaign's folder; what was printed.
    """
    run, python, calls = (tmp_path / name for name in ("run", "python", "calls"))
    python.write_text(
        f'#!/bin/sh\nshift; echo "$@" >> {calls}\n[ "$1" != "{module}" ] || exit {code}\n'
    )
    python.chmod(0o755)
    calls.write_text("")
    words = ["make", "--old-file=setup", f"PY={python}", f"RUN={run}", target]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    made = calls.read_text().replace(f" --run_dir {run}", "").splitlines()
    return ended.returncode, made, ended.stdout


def finished(tmp_path: Path, *stages: str) -> None:
    """Stages that were finished one after another."""
    for number, stage in enumerate(stages):
        path = tmp_path / "run" / stage / "manifest.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (number, number))


def test_what_the_gate_decides_is_shown_and_ends_well(tmp_path):
    code, calls, said = make(tmp_path, "align", "review.gate", 2)
    assert code == 0
    assert calls[calls.index("review") :] == [
        *("review", "review.verdicts push", "examples.asdfg.reviewers", "review.verdicts pull"),
        *("review.memorisation", "review.gate --model dpo"),
    ]
    assert "(exit 2: the gate has decided, and does not pass this model)" in said
    code, _, said = make(tmp_path, "align", "review.gate", 0)
    assert code == 0 and "does not pass" not in said


@pytest.mark.parametrize(
    ("module", "code"), [("review.gate", 3), ("review.gate", 1), ("reward", 2), ("review", 3)]
)
def test_any_other_failure_ends_it_there(tmp_path, module, code):
    ended, calls, said = make(tmp_path, "align", module, code)
    assert ended != 0 and calls[-1].split()[0] == module and "does not pass" not in said


def test_what_is_up_to_date_is_not_made_again(tmp_path):
    finished(tmp_path, "ppo", "review", "verdicts/push")
    code, calls, _ = make(tmp_path, "align-ppo")
    assert code == 0 and not any("--overwrite" in call for call in calls)
    assert calls[-6:] == [
        *("rlhf.ppo", "review", "review.verdicts push", "examples.asdfg.reviewers"),
        *("review.verdicts pull", "review.gate --model ppo"),
    ]


@pytest.mark.parametrize("target", ["align", "align-ppo"])
def test_a_review_that_has_not_seen_ppos_result_is_made_again(tmp_path, target):
    finished(tmp_path, "review", "verdicts/push", "ppo")
    code, calls, _ = make(tmp_path, target)
    assert code == 0 and "review --overwrite" in calls


@pytest.mark.parametrize("target", ["align", "align-ppo"])
def test_verdicts_on_an_earlier_review_are_asked_for_again(tmp_path, target):
    finished(tmp_path, "ppo", "verdicts/push", "review")
    code, calls, _ = make(tmp_path, target)
    assert code == 0 and "review.verdicts push --overwrite" in calls and "review" in calls


def test_a_review_that_was_killed_goes_on_and_is_not_deleted(tmp_path):
    finished(tmp_path, "verdicts/push", "ppo")
    assert "review" in make(tmp_path, "align")[1]
