"""The real open model through every stage, a few steps each: ``make align-open``, cut short.

Raters are left out: Argilla sees texts, whoever wrote them, and has tests of its own.
"""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from inhouse.records import Demonstration, read

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
LONGEST = 40  # tokens an answer may have here


@pytest.fixture(scope="module")
def campaign(open_model, tmp_path_factory) -> Path:
    """A run folder beside which the open model lies as ``fetch`` leaves it."""
    folder = tmp_path_factory.mktemp("campaign") / "open"
    folder.mkdir()
    (folder / "model").symlink_to(open_model)
    return folder


@pytest.fixture
def stage(run_command, campaign):
    """Run a stage of the campaign; its metrics."""

    def run(module: str, *words: object, name: str) -> dict:
        ended = run_command(module, "--run_dir", str(campaign), *map(str, words))
        assert ended.returncode == 0, f"{module}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        return json.loads((campaign / name / "metrics.json").read_text())

    return run


def test_the_real_model_goes_through_every_stage(
    stage, campaign, open_model, write_lines, tmp_path
):
    few = ("--demonstrations", 12, "--prompts", 6, "--development", 1)
    stage("examples.asdfg.prepare", *few, name="data")

    few = ("--max_new_tokens", 16, "--conversations", 4)
    assert stage("examples.open_model.general", *few, name="general")["texts"] > 20
    texts, talk = (campaign / "general" / f"{name}.jsonl" for name in ("texts", "conversations"))
    given = ("--model_name_or_path", open_model, "--probe_dataset", texts, "--max_steps", 2)
    given += ("--retain_dataset", talk)
    learned = stage("sft", *given, name="sft")
    assert learned["steps"] == 2 and 1 < learned["general_perplexity"]["after"] < 1e3

    drawn = ("--samples_per_prompt", 2, "--max_new_tokens", LONGEST)
    assert stage("labeling.candidates", *drawn, name="candidates")["prompts"] == 6

    told = read(campaign / "data" / "demonstrations.jsonl", Demonstration)
    pairs = [
        {
            "prompt": [turn.model_dump(include={"role", "content"}) for turn in each.messages[:2]],
            "chosen": [{"role": "assistant", "content": each.messages[2].content}],
            "rejected": [{"role": "assistant", "content": f"lol no, {number}"}],
        }
        for number, each in enumerate(told)
    ]
    prefs = write_lines(tmp_path / "prefs.jsonl", pairs)
    given = ("--dataset_name", prefs, "--max_steps", 2)
    kept = ("--retain_dataset", talk)
    judged = ("--best_of", 0, "--floor", 0, "--shuffled_control", "false")
    assert 0 <= stage("reward", *given, *judged, name="reward")["accuracy"] <= 1
    aligned = stage("rlhf.dpo", *given, *kept, "--held_out_share", 0, name="dpo")
    assert aligned["reference/start_gap"] < 1e-3

    held_out = ROOT / "examples" / "asdfg" / "held_out" / "unseen_names.jsonl"
    few = texts.read_text().splitlines(keepends=True)[:4]  # what is read is read four times over
    (tmp_path / "general.jsonl").write_text("".join(few))
    settings = YAML(typ="safe").load(ROOT / "configs" / "open" / "review.yaml")
    settings |= {"general_text": str(tmp_path / "general.jsonl"), "dataset_name": [str(held_out)]}
    del settings["story_prompts"], settings["instructions"]  # a hundred answers of each model
    YAML().dump(settings, tmp_path / "review.yaml")
    asked = ("--config", tmp_path / "review.yaml", "--limit", 2, "--max_new_tokens", LONGEST)
    found = stage("review", *asked, "--models", "base", "sft", "dpo", name="review")
    assert found.keys() == {"base", "sft", "dpo"}
    summary = json.loads((campaign / "review" / "summary.json").read_text())
    assert summary["general_perplexity"].keys() == found.keys()


def test_it_is_merged_into_what_plain_transformers_loads(run_command, campaign, tmp_path):
    assert (campaign / "dpo" / "manifest.json").is_file(), "the test before has made it"
    out = tmp_path / "merged"
    words = ("merge", str(campaign / "dpo"), "--output_dir", str(out))
    ended = run_command("inhouse.models", *words)
    assert ended.returncode == 0, ended.stderr
    page = (out / "README.md").read_text()
    assert 'license: "apache-2.0"' in page
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == 2
