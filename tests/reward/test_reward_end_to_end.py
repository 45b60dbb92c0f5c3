"""The reward model from preferences to a scorer: what is written, adapters, resuming, refusals."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean

import pytest
import torch
from safetensors.torch import load_file

from inhouse.errors import InputError
from inhouse.files import sha256
from inhouse.generation.score import Scorer, head_scores
from inhouse.models.load import load_reward_model, new_reward_model
from inhouse.records import Preference
from reward.split import tokenise

ROOT = Path(__file__).parents[2]
FULL = {
    *("chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"),
    *("tokenizer_config.json", "metrics.json", "manifest.json"),
    *("evaluation.json", "evaluation.html"),
}
# config.json stays beside an adapter: how many heads, and what their scores mean.
ADAPTER = (FULL - {"model.safetensors"}) | {
    "adapter_config.json",
    "adapter_model.safetensors",
    "base.json",  # the hash of what it stands on
}
LORA = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "all-linear")
STEPS = (
    *("--max_steps", "4", "--per_device_train_batch_size", "4", "--learning_rate", "1e-2"),
    *("--gradient_accumulation_steps", "1", "--held_out_share", "0.3"),
    *("--shuffled_control", "false"),
)


@pytest.fixture
def words(tiny_model, preferences, write_lines, tmp_path):
    data = write_lines(tmp_path / "prefs.jsonl", preferences)
    return ["--model_name_or_path", str(tiny_model), "--dataset_name", str(data), *STEPS]


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


# --- refused before anything is trained ---------------------------------------------------------


@pytest.mark.parametrize("share", ["0", "1", "-0.1", "nan"])
def test_a_share_that_leaves_a_side_empty_is_refused(refused, words, tmp_path, share):
    says = ["held_out_share"]
    refused("reward.train", *words, "--held_out_share", share, says=says, run_dir=tmp_path / "x")


# --- the head ---------------------------------------------------------------------------------


def test_a_fresh_head_has_the_papers_spread_and_depends_on_the_seed_only(tiny_model):
    heads = [
        new_reward_model(str(tiny_model), dtype="float32", seed=seed).score.weight.detach()
        for seed in (0, 0, 1)
    ]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert heads[0].shape == (1, 32)
    # 1 / sqrt(32 + 1) = 0.174; of 32 draws the spread is known to about an eighth.
    assert heads[0].std().item() == pytest.approx(0.174, rel=0.5)


def test_a_model_without_a_head_is_no_scorer(tiny_model):
    with pytest.raises(InputError, match="no reward model"):
        load_reward_model(str(tiny_model))


# --- end to end -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "expected"), [((), FULL), (LORA, ADAPTER)])
def test_a_run_writes_exactly_these_files_and_measures_held_out_pairs(
    run_stage, words, tmp_path, extra, expected
):
    ended = run_stage("reward.train", *words, *extra, "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    folder = tmp_path / "x" / "reward"
    assert files(folder) == expected
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {entry["path"] for entry in manifest["outputs"]} == expected - {"manifest.json"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == manifest["metrics"]
    held_out = metrics["held_out"]
    assert 0 <= held_out["low"] <= held_out["rate"] <= held_out["high"] <= 1
    assert 0 < held_out["n"] < 16 and metrics["steps"] == 4
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["accuracy"]["held_out_prompts"] == held_out
    assert evaluation["accuracy"]["held_out_raters"] is None, "there are no ratings"
    assert evaluation["agreement_ceiling"] is None and evaluation["shuffled_control"] is None
    assert evaluation["reload_difference"] <= 1e-6
    if extra:
        assert any("score" in name for name in weights(folder)), "the head is lost on reload"
    again = run_stage("reward.train", *words, *extra, "--run_dir", tmp_path / "x")
    assert again.code == 0 and "up to date" in again.out


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), LORA])
def test_what_is_loaded_scores_as_what_was_trained(
    run_stage, words, preferences, tmp_path, monkeypatch, extra
):
    from inhouse.models.load import save_model

    trained = []
    save = save_model
    monkeypatch.setattr(
        "reward.save.save_model",
        lambda model, *rest: (trained.append(model), save(model, *rest)),
    )
    words = [*words, *extra, "--max_steps", "20"]
    assert run_stage("reward.train", *words, "--run_dir", tmp_path / "x").code == 0
    scorer = Scorer(str(tmp_path / "x" / "reward"))
    records = [Preference(**row) for row in preferences]
    rows, _ = tokenise(scorer.tokenizer, records, "p")
    pad = scorer.tokenizer.pad_token_id
    for name in ("chosen", "rejected"):
        raw = head_scores(trained[0], [row[f"{name}_ids"] for row in rows], pad)
        expected = [fmean(scorer.calibration.normalise(row)) for row in raw.tolist()]
        found = scorer.score([(r.prompt, getattr(r, name)[0].content) for r in records])
        assert found == pytest.approx(expected, abs=1e-4)
    # Twenty steps at 1e-2 on a rule as plain as "Thank you" against "Hey" must be learned.
    metrics = json.loads((tmp_path / "x" / "reward" / "metrics.json").read_text())
    assert metrics["held_out"]["rate"] == 1.0


@pytest.mark.slow
def test_an_adapter_of_sft_is_carried_over_with_the_head_beside_it(
    run_stage, tiny_model, demonstrations, preferences, write_lines, tmp_path
):
    demos = write_lines(tmp_path / "demos.jsonl", demonstrations)
    prefs = write_lines(tmp_path / "prefs.jsonl", preferences)
    run_dir = tmp_path / "x"
    sft = ("--model_name_or_path", tiny_model, "--dataset_name", demos, "--run_dir", run_dir)
    flags = STEPS[: STEPS.index("--held_out_share")]
    assert run_stage("sft.train", *sft, *flags, *LORA).code == 0

    # Before training: the same layers under the head as under the language model.
    model = new_reward_model(str(run_dir / "sft"), dtype="float32", seed=0).eval()
    from inhouse.models.load import load_causal_lm

    writer = load_causal_lm(str(run_dir / "sft")).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        said = writer.base_model.model.model(ids).last_hidden_state
        scored = model.base_model.model.model(ids).last_hidden_state
    assert torch.allclose(said, scored, atol=1e-6)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("lora_A" in name for name in trained) and any("score" in name for name in trained)
    assert all("lora_" in name or "score" in name for name in trained)

    ended = run_stage("reward.train", "--dataset_name", prefs, *STEPS, "--run_dir", run_dir)
    assert ended.code == 0, ended.err
    assert files(run_dir / "reward") == ADAPTER
    before, after = weights(run_dir / "sft"), weights(run_dir / "reward")
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) == len(before)


@pytest.mark.slow
def test_a_new_adapter_on_an_adapter_is_refused_before_anything_is_written(
    run_stage, refused, words, tmp_path
):
    assert run_stage("reward.train", *words, *LORA, "--run_dir", tmp_path / "x").code == 0
    model = ("--model_name_or_path", tmp_path / "x" / "reward")
    says = ["is an adapter already"]
    refused("reward.train", *words, *model, *LORA, says=says, run_dir=tmp_path / "y")


@pytest.mark.slow
def test_a_dry_run_writes_nothing(run_stage, words, tmp_path):
    ended = run_stage("reward.train", *words, *LORA, "--dry_run", "--run_dir", tmp_path / "x")
    assert ended.code == 0, ended.err
    assert not (tmp_path / "x").exists()
    line = next(line for line in ended.out.splitlines() if line.startswith("parameters"))
    # LoRA of rank 4 on both layers, as in sft, and 32 weights for each of four heads.
    assert f"({2 * 4 * (64 + 2 * 48 + 64 + 3 * 96) + 4 * 32:,} trained)" in line


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), LORA])
def test_killed_and_started_again_equals_uninterrupted(
    run_command, run_stage, words, tmp_path, extra
):
    words = [*words, *extra, "--save_steps", "1", "--max_steps", "12"]
    straight, folder = tmp_path / "straight", tmp_path / "killed" / "reward"
    assert run_stage("reward.train", *words, "--run_dir", straight).code == 0
    again = [*words, "--run_dir", str(folder.parent)]
    process = subprocess.Popen(
        [sys.executable, "-m", "reward", *again],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    state = folder / "checkpoints" / "checkpoint-3" / "trainer_state.json"
    deadline = time.monotonic() + 300
    while not state.exists():
        assert process.poll() is None, f"ended before the kill:\n{process.stdout.read()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    ended = run_command("reward", *again)
    assert ended.returncode == 0, ended.stderr
    assert "going on from" in ended.stdout
    one, other = weights(straight / "reward"), weights(folder)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


# --- ratings, an ensemble, the control, a judge -------------------------------------------------


def campaign(folder: Path, tiny_model: Path, tokenizer, write_lines, preferences) -> Path:
    """Forty preferences with the ratings they were made from, as the stages before leave them."""
    rows, ratings = [], []
    for number in range(40):
        row = preferences[number % 16]
        prompt = [row["prompt"][0], {"role": "user", "content": f"What is fee number {number}?"}]
        rows.append(
            {**row, "prompt": prompt, "pair_id": f"p{number}", "metadata": {"topic": "fee"}}
        )
        for rater, choice in (("anna", "a"), ("ben", "a"), ("carl", "tie" if number % 4 else "b")):
            side = choice if number % 2 or choice == "tie" else {"a": "b", "b": "a"}[choice]
            ratings.append(
                {
                    **{"pair_id": f"p{number}", "rater": rater, "choice": side},
                    **{"submitted_at": "2026-01-01", "guidelines": "g"},
                }
            )
    snapshot = write_lines(folder / "ratings" / "pull-0001" / "ratings.jsonl", ratings)
    write_lines(folder / "preferences" / "preferences.jsonl", rows)
    entry = {"name": "ratings", "path": str(snapshot), "sha256": sha256(snapshot)}
    manifest = {"stage": "preferences", "settings": {}, "inputs": [entry], "outputs": []}
    (folder / "preferences" / "manifest.json").write_text(json.dumps(manifest))
    return folder


def prefers_thanks(prompt, a: str, b: str) -> float:
    """A judge for the best of n; found by this module's dotted name."""
    return 0.5 + (("Thank" in a) - ("Thank" in b)) / 2


@pytest.mark.slow
def test_an_ensemble_is_measured_on_prompts_raters_and_a_control(
    run_stage, tiny_model, tokenizer, write_lines, preferences, tmp_path, monkeypatch
):
    run_dir = campaign(tmp_path / "x", tiny_model, tokenizer, write_lines, preferences)
    monkeypatch.setitem(sys.modules, "judging", sys.modules[__name__])
    ended = run_stage(
        "reward.train",
        *("--config", ROOT / "configs" / "reward.yaml", "--model_name_or_path", tiny_model),
        *("--max_steps", "30", "--learning_rate", "1e-2", "--gradient_accumulation_steps", "1"),
        *("--ensemble", "3", "--best_of", "2", "--max_new_tokens", "6"),
        *("--judge", "judging:prefers_thanks", "--house_rules", ROOT / "configs/house/asdfg.yaml"),
        *("--held_out_rater", "ben", "--held_out_share", "0.4", "--run_dir", run_dir),
    )
    assert ended.code == 0, ended.err
    found = json.loads((run_dir / "reward" / "evaluation.json").read_text())
    # "Thank you" against "Hey" is learned at once.
    assert found["accuracy"]["held_out_prompts"]["rate"] > 0.8
    assert found["accuracy"]["held_out_raters"]["rate"] == 1.0
    # ben took a side on every pair.
    assert found["accuracy"]["other_raters_there"] == found["accuracy"]["held_out_prompts"]
    # anna and ben always agree; where carl (ten pairs) takes a side, he agrees with neither.
    assert found["agreement_ceiling"]["rate"] == pytest.approx(40 / 60)
    control = found["shuffled_control"]
    assert control["n"] == found["split"]["train"] and control["low"] <= 0.5 <= control["high"]
    assert found["fit_for_ppo"] is True and found["reason"] == ""
    assert found["split"]["held_out_rater"] == "ben"
    # Without ben, anna and carl cancel where carl took the other side.
    assert found["split"]["left_out_for_that_rater"] > 0
    assert [row["n"] for row in found["best_of_n"]] == [1, 2]
    assert found["best_of_n"][0]["judge"] == pytest.approx(0.5)
    assert (
        set(found["accuracy"]["by_topic"]) == {"fee"} and "PRES-01" in found["accuracy"]["by_rule"]
    )
    assert found["leak_check"]["prompts_on_both_sides"] == 0
    assert found["ece"]["claim"].startswith("none")

    scorer = Scorer(str(run_dir / "reward"))
    assert len(scorer.calibration.mean) == 3 and scorer.calibration.fit_for_ppo
    page = (run_dir / "reward" / "evaluation.html").read_text()
    assert "fit for PPO" in page and page.count("<svg") >= 4
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page), "it fetches something"
    manifest = json.loads((run_dir / "reward" / "manifest.json").read_text())
    assert {"ratings", "dataset_name"} <= {entry["name"] for entry in manifest["inputs"]}
    assert manifest["metrics"]["fit_for_ppo"] is True


@pytest.mark.slow
def test_a_scorer_below_the_floor_is_saved_and_says_so(
    run_stage, words, preferences, write_lines, tmp_path
):
    # Every second one the other way round: nothing that is learned holds for all the others.
    turned = [
        {**row, "chosen": row["rejected"], "rejected": row["chosen"]} if n % 2 else row
        for n, row in enumerate(preferences)
    ]
    data = ("--dataset_name", write_lines(tmp_path / "turned.jsonl", turned))
    share = ("--held_out_share", "0.6", "--floor", "1", "--run_dir", tmp_path / "x")
    ended = run_stage("reward.train", *words, *data, *share)
    assert ended.code == 0 and "fit for PPO: no, accuracy on held-out prompts is" in ended.out
    scorer = Scorer(str(tmp_path / "x" / "reward"))
    assert not scorer.calibration.fit_for_ppo
    assert "below the floor of 1.0" in scorer.calibration.reason


# --- more that is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--ensemble", "0"], "ensemble is 0"),
        (["--floor", "1.5"], "floor is 1.5"),
        (["--min_confidence", "0.4"], "min_confidence is 0.4"),
        (["--best_of", "1"], "best_of is 1"),
        (["--judge", "math:hypot"], "judge is set and best_of is not"),
        (["--judge", "math:nothing", "--best_of", "2"], "judge is 'math:nothing'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(refused, words, tmp_path, flags, says):
    refused("reward.train", *words, *flags, says=[says], run_dir=tmp_path / "x")


def test_records_over_max_length_are_listed_and_refused(refused, words, tmp_path):
    says = [
        "16 preferences of",
        "longer than max_length 20",
        "(line 1, line 2, line 3, line 4, line 5 …",
        "--truncate",
    ]
    refused("reward.train", *words, "--max_length", "20", says=says, run_dir=tmp_path / "x")


@pytest.mark.slow
def test_records_over_max_length_are_cut_where_that_is_asked_for(run_stage, words, tmp_path):
    flags = ("--max_length", "45", "--truncate", "--run_dir", tmp_path / "x")
    assert run_stage("reward.train", *words, *flags).code == 0
    found = json.loads((tmp_path / "x" / "reward" / "evaluation.json").read_text())
    assert found["truncated"] > 0
    assert found["split"]["train"] + found["split"]["held_out"] == 16, "TRL dropped some"


def test_the_same_answer_twice_is_refused(refused, words, preferences, write_lines, tmp_path):
    rows = [*preferences[:3], {**preferences[3], "rejected": preferences[3]["chosen"]}]
    data = write_lines(tmp_path / "same.jsonl", rows)
    says = ["line 4", "chosen and rejected are the same answer"]
    flags = ("--dataset_name", data)
    refused("reward.train", *words, *flags, says=says, run_dir=tmp_path / "x")


def test_personal_data_is_refused_in_the_words_of_the_other_stages(
    refused, words, preferences, write_lines, tmp_path
):
    card = [{"role": "user", "content": "My card is 4111 1111 1111 1111."}]
    rows = [*preferences[:3], {**preferences[3], "prompt": card}]
    flags = ("--dataset_name", write_lines(tmp_path / "card.jsonl", rows))
    says = ["neither scrubbed nor cleared: 1 CARD (record 4: CARD", "--allow_unscrubbed true"]
    refused("reward.train", *words, *flags, says=says, run_dir=tmp_path / "x")


def test_ratings_without_a_choice_are_refused(refused, words, write_lines, tmp_path):
    ties = [
        {"pair_id": f"p{n}", "rater": "r", "choice": "tie", "submitted_at": "t", "guidelines": "g"}
        for n in range(3)
    ]
    flags = ("--ratings", write_lines(tmp_path / "ties.jsonl", ties))
    refused("reward.train", *words, *flags, says=["are ties"], run_dir=tmp_path / "x")


def test_another_template_than_the_sft_models_is_refused(refused, words, copy_of_tiny, tmp_path):
    sft = tmp_path / "x" / "sft"
    sft.parent.mkdir()
    copy_of_tiny.rename(sft)
    (sft / "manifest.json").write_text("{}")
    template = sft / "chat_template.jinja"
    template.write_text(template.read_text() + "{# another #}")
    says = ["the chat template in", f"is not that in {sft}"]
    refused("reward.train", *words, says=says, run_dir=tmp_path / "x")


@pytest.mark.slow
def test_a_training_that_diverges_is_refused(run_stage, words, tmp_path):
    flags = ("--learning_rate", "1e30", "--max_grad_norm", "0", "--run_dir", tmp_path / "x")
    ended = run_stage("reward.train", *words, *flags)
    assert ended.code == 3 and ("not numbers" in ended.err or "alike" in ended.err), ended.err
    assert not (tmp_path / "x" / "reward" / "manifest.json").exists()
