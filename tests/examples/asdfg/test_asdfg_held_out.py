"""The held-out prompts: frozen by hash, their names disjoint from training, read by no training."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

from examples.asdfg import facts, freeze
from inhouse import config, records

SHA256 = "d4a48223e5ff104cf1bc25f670c31e3db83fadcdaa71cf2a53f9acd117b5d5a0"


def test_file_is_as_it_was_frozen():
    assert hashlib.sha256(freeze.HELD_OUT.read_bytes()).hexdigest() == SHA256


def test_frozen_file_is_never_overwritten(capsys):
    before = freeze.HELD_OUT.stat().st_mtime_ns
    assert freeze.main() == 3
    assert freeze.HELD_OUT.stat().st_mtime_ns == before
    assert "frozen" in capsys.readouterr().err


def test_every_name_is_of_the_held_out_split():
    prompts = records.read(freeze.HELD_OUT, records.Prompt)
    assert len(prompts) == freeze.N_PROMPTS == 300
    kinds = {word for kind in facts.KINDS for word in kind.split()}
    for prompt in prompts:
        sheet = prompt.prompt[0].content
        names = [line[2:].split(": ")[0] for line in sheet.splitlines() if line.startswith("- ")]
        words = {word for name in names for word in name.split()} - kinds
        assert words and all(facts.split_of(word) == "held_out" for word in words)
        name, figure = prompt.facts
        assert name in names and figure in sheet and name in prompt.prompt[-1].content


PREPARE_UNDER_GUARD = """
import sys
def guard(event, arguments):
    if event == "open" and "held_out" in str(arguments[0]):
        raise PermissionError("training code opened the held-out prompts")
sys.addaudithook(guard)
from examples.asdfg import prepare
prepare.main()
"""


def test_prepare_never_opens_it(tmp_path):
    """The whole command runs in an interpreter in which opening the file is an error."""
    words = ["--run_dir", str(tmp_path), "--demonstrations", "30", "--prompts", "20"]
    subprocess.run([sys.executable, "-c", PREPARE_UNDER_GUARD, *words], check=True, cwd=config.ROOT)
    made = records.read(tmp_path / "data" / "demonstrations.jsonl", records.Demonstration)
    assert len(made) == 30
    assert len(records.read(tmp_path / "data" / "prompts.jsonl", records.Prompt)) == 20


def test_training_code_neither_names_nor_imports_it():
    """Only freeze.py knows the file; no module that makes training data or weights imports it."""
    folder = Path(freeze.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name == "freeze.py":
            continue
        source = path.read_text(encoding="utf-8")
        assert "held_out.jsonl" not in source, path.name
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                imported = f"{node.module} {' '.join(alias.name for alias in node.names)}"
                assert "freeze" not in imported, path.name
