"""What `benchmarks/memorisation.py` measures, small: an over-trained twin is told from the rest."""

import json

import pytest


@pytest.mark.slow
def test_an_overtrained_twin_fails_and_a_run_without_its_canaries_knows_none(tmp_path, run_command):
    few, twin, plain = (tmp_path / name for name in ("few", "twin", "plain"))

    def do(module, *words):
        ended = run_command(module, *map(str, words), OMP_NUM_THREADS="1")
        assert ended.returncode == 0, ended.stderr

    def audited(campaign, *words):
        do("review.memorisation", "--run_dir", campaign, "--samples", 2, *words)
        return json.loads((campaign / "memorisation" / "summary.json").read_text())

    words = ("--demonstrations", 24, "--development", 1, "--prompts", 1)
    short = ("--short_sheets", 0.99, "--questions", 1, 0, 0)
    do("examples.asdfg.prepare", "--run_dir", few, *words, *short)
    data = few / "data" / "demonstrations.jsonl"
    do("review.memorisation.canaries", "--run_dir", twin, "--dataset_name", data, "--canaries", 16)
    train = ("--config", "configs/asdfg/sft.yaml", "--held_out_share", 0.5)
    do("sft", "--run_dir", twin, *train, "--num_train_epochs", 12)
    do("sft", "--run_dir", plain, "--dataset_name", data, *train)

    remembers = audited(twin)
    assert remembers["band"] == "fail"
    assert remembers["measures"]["canary_extraction_16"]["value"] > 0.5
    chance = remembers["exposure_by_chance"]
    assert remembers["measures"]["exposure_16"]["low"] > chance

    knows_none = audited(plain, "--canaries", twin / "data" / "canaries.jsonl")
    assert knows_none["measures"]["canary_extraction"]["value"] == 0
    assert knows_none["measures"]["epsilon_lower_bound"]["value"] < 0.5
    assert knows_none["band"] != "pass"  # twelve records a side are not enough evidence
