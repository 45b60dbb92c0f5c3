"""The held-out prompts: frozen by hash, new in one thing each, opened by no training."""

import ast
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples.asdfg import facts, freeze
from examples.asdfg.wordings import ASKING, INTENTS, TERMS
from inhouse import config, records
from inhouse.errors import InputError

SHA256 = {
    "asking.yaml": "c0778c9ffa5b20313e22b73bec2872be1710cea64b85e4cf44226a1e709f75fb",
    "story.jsonl": "2a492cef2974506f71b1db56cbe137a8e192bae0d897b38df40c589b677de163",
    "unseen_names.jsonl": "9ee89906504e36562075ae02b6ba3185ffaba669c230b1f6ddc072cf3f387a2c",
    "unseen_pairs.jsonl": "a81fe0b8573cc8951ca4e6b021eae563f3f99ab9eaaca4954e13c58082cf794f",
    "unseen_phrasings.jsonl": "2b0da28a44e73018f86e94df99c694019097dd003ef6c4965a4ef5c5c60e599c",
}
SLICES = ("unseen_names", "unseen_phrasings", "unseen_pairs")
TRAINING = ("sft.train", "labeling.candidates", "reward.train", "rlhf.dpo")


def prompts(name: str) -> list[records.Prompt]:
    """Read a slice."""
    return records.read(freeze.HELD_OUT / f"{name}.jsonl", records.Prompt)


def products_on(sheet: str) -> list[str]:
    """Return the product names of a system turn."""
    return [line[2:].split(": ")[0] for line in sheet.splitlines() if line.startswith("- ")]


def test_files_are_as_they_were_frozen():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in freeze.HELD_OUT.iterdir()
    }
    assert found == SHA256


def test_frozen_files_are_never_overwritten(capsys):
    before = {path: path.stat().st_mtime_ns for path in freeze.HELD_OUT.iterdir()}
    with pytest.raises(InputError, match="frozen"):
        freeze.main()
    assert before == {path: path.stat().st_mtime_ns for path in freeze.HELD_OUT.iterdir()}
    assert capsys.readouterr().err.count("frozen") == 4


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_has_a_thousand_different_prompts_with_facts(name):
    drawn = prompts(name)
    assert len(drawn) == len({json.dumps([m.content for m in p.prompt]) for p in drawn}) == 1000
    for record in drawn:
        assert record.metadata["slice"] == name and len(record.facts) >= 2
        said = " ".join(m.content for m in record.prompt if m.role == "user")
        assert record.facts[0] in products_on(record.prompt[0].content)
        assert record.facts[0] in said


def test_unseen_names_are_of_the_held_out_split():
    kinds = {word for kind in facts.KINDS for word in kind.split()}
    for record in prompts("unseen_names"):
        names = products_on(record.prompt[0].content)
        words = {word for name in names for word in name.split()} - kinds
        assert words and all(facts.split_of(word) == "held_out" for word in words)


def test_unseen_phrasings_are_in_no_other_split():
    known = {
        template.lower()
        for asking in ASKING.values()
        for table in (asking.about, asking.follow_up)
        for templates in table.values()
        for template in templates
    } | {t.lower() for asking in ASKING.values() for t in asking.other_product}
    for record in prompts("unseen_phrasings"):
        asked = record.prompt[-1].content.replace(record.facts[0], "{name}").lower()
        # A short known way may stand inside a longer unseen one; most must not.
        assert asked not in known
    inside = [
        any(t in p.prompt[-1].content.replace(p.facts[0], "{name}").lower() for t in known)
        for p in prompts("unseen_phrasings")
    ]
    assert sum(inside) < 20


def test_unseen_pairs_are_held_out_pairs_of_the_catalogue_with_todays_figures():
    catalogue = {product.name: product.figures for product in facts.CATALOGUE}
    seen = set()
    for record in prompts("unseen_pairs"):
        name, topic = record.facts[0], record.metadata["topic"]
        assert facts.split_of_pair(name, topic) == "held_out"
        seen.add((name, topic))
        for product in products_on(record.prompt[0].content):
            assert product in catalogue
        if topic in INTENTS:
            assert record.facts[1] == catalogue[name][INTENTS[topic].label]
    assert len(seen) > 40 and {topic for _, topic in seen} == {*INTENTS, *TERMS}


def test_the_story_is_asked_in_21_ways_that_no_other_split_has():
    drawn = prompts("story")
    questions = [record.prompt[-1].content for record in drawn]
    assert questions[0] == "What is Asdfg Financial and what does it do?"
    assert len(set(questions)) == 21
    assert not set(questions) & {q for asking in ASKING.values() for q in asking.story}
    for record in drawn:
        assert record.facts == list(facts.FIRM_STORY)
        assert not any(fact in record.prompt[0].content for fact in record.facts)


GUARD = """
import runpy, sys
def guard(event, arguments):
    if event == "open" and "held_out" in str(arguments[0]):
        raise RuntimeError("training code opened held-out data")
sys.addaudithook(guard)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def guarded(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a module in an interpreter in which opening held-out data is an error."""
    return subprocess.run(
        [sys.executable, "-c", GUARD, *map(str, words)],
        cwd=config.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_guard_guards(tmp_path):
    ended = guarded("examples.asdfg.freeze")
    assert ended.returncode != 0 and "opened held-out data" in ended.stderr


def test_prepare_never_opens_them(tmp_path):
    words = ["--run_dir", tmp_path, "--demonstrations", 30, "--prompts", 20, "--development", 5]
    ended = guarded("examples.asdfg.prepare", *words)
    assert ended.returncode == 0, ended.stderr
    made = records.read(tmp_path / "data" / "demonstrations.jsonl", records.Demonstration)
    assert len(made) == 30
    assert len(records.read(tmp_path / "data" / "development.jsonl", records.Prompt)) == 15


def test_the_base_model_never_opens_them(tmp_path):
    words = ["--output_dir", tmp_path / "model", "--checkpoint", tmp_path / "c.pt", "--steps", 1]
    words += ["--batch_size", 1, "--layers", 1, "--tokenizer_dialogues", 20]
    ended = guarded("examples.asdfg.base", *words, "--vocabulary_size", 320)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "model" / "training.json").is_file()


@pytest.mark.slow
def test_training_stages_never_open_them(tmp_path, campaign_settings):
    """The demonstration's own commands, on little data: prepare, sft, candidates."""
    words = ["--run_dir", tmp_path / "asdfg"]
    little = ["--demonstrations", 64, "--prompts", 4, "--development", 2]
    for module, more in (
        ("examples.asdfg.prepare", little),
        ("sft", campaign_settings),
        ("labeling.candidates", ["--max_new_tokens", 8]),
    ):
        ended = guarded(module, *words, *more)
        assert ended.returncode == 0, ended.stderr


@pytest.fixture
def campaign_settings():
    """Return flags that make the demonstration's SFT a matter of seconds."""
    return ["--max_steps", "2", "--per_device_train_batch_size", "4"]


@pytest.mark.parametrize("module", TRAINING)
def test_a_training_stage_is_refused_held_out_data(refused, tmp_path, module):
    held_out = freeze.HELD_OUT / "unseen_names.jsonl"
    words = ["--dataset_name", held_out]
    words += ["--model_name_or_path", config.ROOT / "examples" / "asdfg" / "model"]
    if module == "labeling.candidates":
        words += ["--house_rules", config.ROOT / "configs" / "house" / "asdfg.yaml"]
    refused(module, *words, says=["unseen_names.jsonl is held out"], run_dir=tmp_path)


def test_only_freezing_and_the_review_name_them():
    """No module but freeze.py names the folder; of the configs, the review's alone."""
    folder = Path(freeze.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.name == "freeze.py":
            continue
        source = path.read_text(encoding="utf-8")
        assert "held_out/" not in source and '"held_out" /' not in source, path.name
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                imported = f"{node.module} {' '.join(alias.name for alias in node.names)}"
                assert "freeze" not in imported, path.name
    naming = [
        path.name
        for path in (config.ROOT / "configs").rglob("*.yaml")
        if "held_out/" in path.read_text(encoding="utf-8")
    ]
    assert set(naming) == {"review.yaml"}
