"""Hand-over: the card's own commands load what a stage saved, and it says the same."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from huggingface_hub import metadata_load
from transformers import AutoConfig, GenerationConfig

from inhouse import chat
from inhouse.files import describe_input
from inhouse.models import card
from inhouse.models.adapters import is_adapter
from inhouse.models.load import load_causal_lm, save_model
from inhouse.records import Message

LORA = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear")
ASKED = [Message(role="user", content="What does it cost?")]


@pytest.fixture
def stage(run_stage, tiny_model, demonstrations, write_lines, tmp_path):
    """A finished sft of four steps, full or LoRA, with its card."""

    def make(*extra: str) -> Path:
        data = write_lines(tmp_path / "mine.jsonl", demonstrations)
        ended = run_stage(
            *("sft.train", "--model_name_or_path", tiny_model, "--dataset_name", data),
            *("--max_steps", "4", "--per_device_train_batch_size", "4"),
            *("--learning_rate", "1e-2", "--held_out_share", "0.2", *extra),
            *("--run_dir", tmp_path / "mine"),
        )
        assert ended.code == 0, ended.err
        folder = tmp_path / "mine" / "sft"
        inputs = json.loads((folder / "manifest.json").read_text())["inputs"]
        card.write(folder, "sft", inputs)
        return folder

    return make


def block(folder: Path, language: str) -> str:
    """The card's one block of code in a language."""
    parts = (folder / "README.md").read_text().split(f"```{language}\n")
    assert len(parts) == 2
    return parts[1].split("\n```")[0]


def ours(folder: Path, tokenizer) -> list[int]:
    """Prompt and greedy reply as the suite renders, loads and generates. Shape: (tokens,)."""
    model = load_causal_lm(str(folder)).eval()
    ids = torch.tensor([chat.prompt_ids(tokenizer, ASKED)])
    written = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False
    )
    return written[0].tolist()


# --- what it says (fast) ------------------------------------------------------------------------


@pytest.fixture
def saved(copy_of_tiny, tokenizer, tmp_path) -> Path:
    """A whole model saved by a stage that read a base with a licence, and one file of data."""
    (copy_of_tiny / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    folder = tmp_path / "mine" / "sft"
    save_model(load_causal_lm(str(copy_of_tiny)), tokenizer, folder)
    data = tmp_path / "d.jsonl"
    data.write_text("{}\n")
    inputs = {"model_name_or_path": copy_of_tiny, "dataset_name": data}
    card.write(folder, "sft", [describe_input(name, path) for name, path in inputs.items()])
    return folder


def test_a_card_names_base_licence_and_data_by_hash(saved, copy_of_tiny, tmp_path):
    text = (saved / "README.md").read_text()
    assert metadata_load(saved / "README.md") == {
        "base_model": str(copy_of_tiny),
        "license": "apache-2.0",
        "library_name": "transformers",
    }
    digest = describe_input("dataset_name", tmp_path / "d.jsonl")["sha256"]
    assert "| Licence of the base | apache-2.0; none on use; keep the notices |" in text
    assert f"| Read as `dataset_name` | d.jsonl, sha256 `{digest}` |" in text
    assert text.startswith("---\n") and "# mine, sft" in text
    assert block(saved, "sh") == "vllm serve . --served-model-name sft"


def test_only_the_first_process_writes_the_card(saved, monkeypatch):
    (saved / "README.md").unlink()
    monkeypatch.setenv("RANK", "1")
    card.write(saved, "sft", [])
    assert not (saved / "README.md").exists()


@pytest.mark.parametrize(("rank", "served"), [(1, 1), (4, 8), (16, 16), (17, 32), (200, 256)])
def test_vllm_is_given_a_rank_that_it_takes(tmp_path, rank, served):
    config = {"r": 1, "rank_pattern": {"q_proj": rank}, "use_dora": False}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    line = card.vllm(tmp_path, "some/base")
    assert f"--max-lora-rank {served} " in line and line.startswith('vllm serve "some/base" ')
    assert f"--lora-modules {tmp_path.name}=." in line and "--tokenizer ." in line


def test_what_vllm_has_not_is_merged_first(tmp_path):
    config = {"r": 1, "rank_pattern": {}, "use_dora": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert "inhouse.models merge" in card.vllm(tmp_path, "some/base")


def test_a_model_from_the_hub_is_known_by_its_name():
    cached = "/home/x/hub/models--some--model-1B/snapshots/0123abc"
    assert card.hub_name(cached) == "some/model-1B"
    assert card.hub_name("/home/x/models/mine") == "/home/x/models/mine"


# --- where a reply ends -------------------------------------------------------------------------


@pytest.fixture
def stops_elsewhere(copy_of_tiny) -> Path:
    """A base that ends a text with one token, where its template ends a reply with another."""
    for name in ("config.json", "generation_config.json"):
        stored = json.loads((copy_of_tiny / name).read_text())
        (copy_of_tiny / name).write_text(json.dumps(stored | {"eos_token_id": 0}))
    return copy_of_tiny


def test_what_is_saved_and_merged_stops_where_replies_end(stops_elsewhere, tokenizer, tmp_path):
    from peft import LoraConfig, get_peft_model

    from inhouse.models.merge import merge

    ends = [tokenizer.convert_tokens_to_ids("<|im_end|>"), 0]
    whole, adapter = tmp_path / "whole", tmp_path / "adapter"
    save_model(load_causal_lm(str(stops_elsewhere)), tokenizer, whole)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    save_model(get_peft_model(load_causal_lm(str(stops_elsewhere)), lora), tokenizer, adapter)
    merge(str(adapter), tmp_path / "merged")
    for folder in (whole, adapter, tmp_path / "merged"):
        assert GenerationConfig.from_pretrained(folder).eos_token_id == ends
    for folder in (whole, tmp_path / "merged"):
        assert AutoConfig.from_pretrained(folder).eos_token_id == ends
    # peft's model generates as its base does: the adapter's program says where to stop.
    assert f"eos_token_id={ends})" in card.python(adapter, str(stops_elsewhere))
    assert "--generation-config ." in card.vllm(adapter, str(stops_elsewhere))
    assert "eos_token_id" not in card.python(whole, str(stops_elsewhere))


def test_a_generation_config_that_transformers_would_not_write_is_saved(copy_of_tiny, tokenizer):
    path = copy_of_tiny / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": 0.6, "top_p": 0.9}))
    save_model(load_causal_lm(str(copy_of_tiny)), tokenizer, copy_of_tiny / "again")
    saved = GenerationConfig.from_pretrained(copy_of_tiny / "again")
    assert (saved.temperature, saved.top_p, saved.do_sample) == (0.6, 0.9, True)


# --- what its commands do -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), LORA], ids=["full", "LoRA"])
def test_plain_transformers_and_peft_give_the_same_tokens(stage, tokenizer, tmp_path, extra):
    folder = stage(*extra)
    assert is_adapter(folder) == bool(extra)
    moved = Path(shutil.move(folder, tmp_path / "handed over"))
    program = block(moved, "python")
    assert "inhouse" not in program.replace(str(tmp_path), "")
    ended = subprocess.run(
        [sys.executable, "-c", f"{program}\nprint(ids[0].tolist())"],
        cwd=moved,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    said, _, ids = ended.stdout.rstrip("\n").rpartition("\n")
    expected = ours(moved, tokenizer)
    assert json.loads(ids) == expected
    reply = expected[len(chat.prompt_ids(tokenizer, ASKED)) :]
    assert said == tokenizer.decode(reply, skip_special_tokens=True)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None,
    reason="vLLM is not installed: the card's vLLM line was not run here",
)
@pytest.mark.parametrize("extra", [(), LORA], ids=["full", "LoRA"])
def test_vllm_serves_the_same_tokens(stage, tokenizer, extra):
    folder = stage(*extra)
    command = [*shlex.split(block(folder, "sh")), "--port", "8911", "--dtype", "float32"]
    server = subprocess.Popen(command, cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        expected = ours(folder, tokenizer)[len(chat.prompt_ids(tokenizer, ASKED)) :]
        request = urllib.request.Request(
            "http://127.0.0.1:8911/v1/chat/completions",
            json.dumps(
                {
                    "model": "sft",
                    "messages": [{"role": "user", "content": ASKED[0].content}],
                    "temperature": 0,
                    "max_tokens": 64,
                }
            ).encode(),
            {"Content-Type": "application/json"},
        )
        wait_for("http://127.0.0.1:8911/health", server)
        with urllib.request.urlopen(request) as answer:
            said = json.load(answer)["choices"][0]["message"]["content"]
        assert said == tokenizer.decode(expected, skip_special_tokens=True)
    finally:
        server.terminate()
        server.wait(60)


def wait_for(url: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + 600
    while True:
        assert server.poll() is None and time.monotonic() < deadline, "vLLM did not come up"
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(1)
