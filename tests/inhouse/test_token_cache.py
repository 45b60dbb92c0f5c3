"""Token ids on disk: found again for the same content, and for nothing else."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest

from inhouse.chat import render
from inhouse.records import Demonstration, Message
from inhouse.token_cache import TokenCache, key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def conversations(demonstrations):
    return [Demonstration(**row).messages for row in demonstrations[:4]]


@pytest.fixture
def cache(tokenizer, conversations, tmp_path):
    kept = TokenCache(tmp_path / "tokens")
    kept.remember(tokenizer, conversations, [render(tokenizer, turns) for turns in conversations])
    kept.write()
    return kept


def test_what_was_kept_comes_back_as_it_was(cache, tokenizer, conversations):
    found = cache.load(tokenizer, conversations)
    assert found == [render(tokenizer, turns) for turns in conversations]


def test_another_template_misses(cache, tokenizer, conversations):
    other = copy.deepcopy(tokenizer)
    other.chat_template += "\n"
    assert cache.load(other, conversations) is None


def test_another_tokenizer_misses(cache, tokenizer, conversations):
    # The same tokens and template: one merge rule fewer is another tokenizer all the same.
    from tokenizers.normalizers import Lowercase

    other = copy.deepcopy(tokenizer)
    other._tokenizer.normalizer = Lowercase()
    assert cache.load(other, conversations) is None
    named = copy.deepcopy(tokenizer)
    named.eos_token = "<|endoftext|>"
    assert cache.load(named, conversations) is None


def test_other_data_misses(cache, tokenizer, conversations):
    assert cache.load(tokenizer, conversations[:3]) is None
    assert cache.load(tokenizer, conversations[::-1]) is None
    said = conversations[0][2].model_copy(update={"content": "Otherwise."})
    assert cache.load(tokenizer, [[*conversations[0][:2], said], *conversations[1:]]) is None


def test_without_a_folder_nothing_is_kept(tokenizer, conversations, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    none = TokenCache(None)
    none.remember(tokenizer, conversations, [])
    none.write()
    assert none.load(tokenizer, conversations) is None and not any(tmp_path.iterdir())


def test_the_key_is_the_same_in_another_process(tokenizer):
    # A hash that depended on Python's own would never be found again.
    code = (
        "from transformers import AutoTokenizer; from inhouse import token_cache;"
        "from inhouse.records import Message;"
        "turns = [[Message(role='user', content='x')]];"
        "print(token_cache.key(AutoTokenizer.from_pretrained('examples/asdfg/model'), turns))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert said.stdout.strip() == key(tokenizer, [[Message(role="user", content="x")]])
