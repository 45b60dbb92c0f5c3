"""The audit as a command, from a twin's data to its summary."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from inhouse.errors import InputError
from inhouse.models.load import load_causal_lm, load_tokenizer
from review.memorisation import extraction, measure, table
from review.memorisation.bands import FAIL, NOT_ENOUGH, PASS, banded
from review.memorisation.members import of_run, split
from review.memorisation.scoring import Text, score_tokens

AUDIT, CANARIES = "review.memorisation.audit", "review.memorisation.canaries"
QUICK = ("--records", 6, "--samples", 2)
SFT = ("--held_out_share", 0.5, "--max_steps", 1, "--config", "configs/sft.yaml")


@pytest.fixture(scope="module")
def rows(demonstrations) -> list[dict]:
    """Sixteen demonstrations with a longer reply, of which about half are held out."""
    for number, row in enumerate(demonstrations):
        row["messages"][2]["content"] += f" You left the word Quorbel{number} with us."
    return demonstrations


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory, rows, write_lines, tiny_model) -> SimpleNamespace:
    """A run and its twin, each trained for a step; treat as read-only."""
    root = Path(__file__).parents[3]
    folder = tmp_path_factory.mktemp("memorisation")
    mine = write_lines(folder / "mine.jsonl", rows)
    run, twin = folder / "x", folder / "x-audit"

    def do(module, *words):
        command = [sys.executable, "-m", module, *map(str, words)]
        ended = subprocess.run(command, cwd=root, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr

    do(CANARIES, "--run_dir", twin, "--dataset_name", mine, "--canaries", 12)
    model = ("--model_name_or_path", tiny_model)
    do("sft", "--run_dir", twin, *model, *SFT)
    do("sft", "--run_dir", run, *model, "--dataset_name", mine, *SFT)
    return SimpleNamespace(mine=mine, run=run, twin=twin)


@pytest.fixture
def own(campaigns, tmp_path) -> SimpleNamespace:
    """The two in folders that a test may write to; the data stays where it was."""
    for name in ("run", "twin"):
        shutil.copytree(getattr(campaigns, name), tmp_path / name)
    return SimpleNamespace(mine=campaigns.mine, run=tmp_path / "run", twin=tmp_path / "twin")


def summary_of(campaign: Path) -> dict:
    return json.loads((campaign / "memorisation" / "summary.json").read_text())


# --- canaries ---------------------------------------------------------------------------------


def test_a_twins_data_stands_where_sft_looks_for_it(campaigns):
    data = campaigns.twin / "data"
    assert {path.name for path in data.iterdir()} == {
        "demonstrations.jsonl",
        "canaries.jsonl",
        "metrics.json",
        "manifest.json",
    }
    manifest = json.loads((campaigns.twin / "sft" / "manifest.json").read_text())
    assert manifest["parents"] == [
        {"path": str(data), "sha256": manifest["parents"][0]["sha256"]},
    ]


def test_canaries_are_up_to_date_and_never_put_in_twice(own, run_stage, refused):
    words = ("--canaries", 12, "--dataset_name", own.mine)
    assert run_stage(CANARIES, *words, "--run_dir", own.twin).code == 0
    twins = own.twin / "data" / "demonstrations.jsonl"
    words = ("--dataset_name", twins)
    says = ["canaries already", "not a twin's"]
    refused(CANARIES, *words, says=says, run_dir=own.twin.parent / "new")


def test_canaries_stay_out_of_a_folder_of_anybody_elses_data(own, tmp_path, refused):
    (tmp_path / "z" / "data").mkdir(parents=True)
    (tmp_path / "z" / "data" / "mine.jsonl").write_text("{}\n")
    words = ("--dataset_name", own.mine)
    refused(CANARIES, *words, says=["holds something else"], run_dir=tmp_path / "z")
    refused(
        CANARIES, *words, "--overwrite", "true", says=["leaves it alone"], run_dir=tmp_path / "z"
    )


def test_a_dry_run_of_canaries_writes_nothing(own, tmp_path, run_stage):
    words = ("--dataset_name", own.mine, "--run_dir", tmp_path / "new", "--dry_run", "true")
    ended = run_stage(CANARIES, *words)
    assert ended.code == 0 and "200 canaries" in ended.out and not (tmp_path / "new").exists()


def test_an_empty_data_set_gets_no_canaries(tmp_path, refused):
    (tmp_path / "none.jsonl").write_text("")
    words = ("--dataset_name", tmp_path / "none.jsonl")
    refused(CANARIES, *words, says=["holds no record"], run_dir=tmp_path / "new")


def test_one_canary_is_none(own, tmp_path, refused):
    words = ("--dataset_name", own.mine, "--canaries", 1)
    refused(CANARIES, *words, says=["canaries is 1"], run_dir=tmp_path / "new")


# --- the audit --------------------------------------------------------------------------------


def test_a_run_without_canaries_is_audited_on_the_rest_and_says_so(own, run_stage):
    ended = run_stage(AUDIT, "--run_dir", own.run, *QUICK)
    assert ended.code == 0, ended.err
    summary = summary_of(own.run)
    assert set(summary["measures"]) == {
        "membership_auc_loss_ratio",
        "membership_auc_min_k",
        "tpr_at_1_fpr_loss_ratio",
        "tpr_at_1_fpr_min_k",
        "verbatim_extraction",
    }
    for measured in summary["measures"].values():
        assert set(measured) == {"value", "low", "high", "n", "band"}
    assert summary["trained_on"] + summary["held_out"] == 16
    assert summary["band"] == NOT_ENOUGH and "which is no pass" in ended.out
    assert "exposure and ε were not measured" in summary["notes"][0]
    assert "needs 412 a side" in summary["notes"][1]
    assert summary["records_with_own_words"] == 6
    assert {path.name for path in (own.run / "memorisation").iterdir()} == {
        "summary.json",
        "extracted.jsonl",
        "metrics.json",
        "manifest.json",
    }
    again = run_stage(AUDIT, "--run_dir", own.run, *QUICK)
    assert again.code == 0 and "up to date" in again.out and "verbatim_extraction" in again.out


def test_a_twin_is_measured_by_its_canaries_too(own, run_stage):
    ended = run_stage(AUDIT, "--run_dir", own.twin, *QUICK)
    assert ended.code == 0, ended.err
    summary = summary_of(own.twin)
    assert summary["canaries"] == 12 and 0 < summary["canaries_trained_on"] < 12
    for times in (1, 4, 16):
        assert summary["measures"][f"exposure_{times}"]["band"] is None
    assert summary["measures"]["epsilon_lower_bound"]["n"] == 12
    assert summary["measures"]["canary_extraction"]["n"] == summary["canaries_trained_on"]
    # The canaries are no members: they stand there up to sixteen times.
    assert summary["trained_on"] + summary["held_out"] == 16


def test_a_run_without_the_canaries_is_asked_for_its_twins(own, run_stage):
    named = own.twin / "data" / "canaries.jsonl"
    ended = run_stage(AUDIT, "--run_dir", own.run, "--canaries", named, *QUICK)
    assert ended.code == 0, ended.err
    summary = summary_of(own.run)
    assert summary["canaries_trained_on"] == 0
    assert summary["measures"]["canary_extraction"] == {
        **summary["measures"]["canary_extraction"],
        "value": 0.0,
        "n": 12,  # all of them
    }
    assert "trained without the canaries" in summary["notes"][0]


def test_an_audit_that_is_tried_writes_nothing(own, run_stage):
    ended = run_stage(AUDIT, "--run_dir", own.run, "--dry_run", "true")
    assert ended.code == 0 and "no canaries" in ended.out
    assert not (own.run / "memorisation").exists()


def test_a_run_folder_without_sft_is_refused(tmp_path, refused):
    refused(AUDIT, says=["python -m sft --run_dir"], run_dir=tmp_path / "nothing")


def test_canaries_of_another_run_are_refused(own, tmp_path, rows, write_lines, run_stage, refused):
    other = write_lines(tmp_path / "other.jsonl", rows[:8])
    words = ("--dataset_name", other, "--canaries", 4, "--canary_seed", 3)
    assert run_stage(CANARIES, *words, "--run_dir", tmp_path / "other").code == 0
    named = tmp_path / "other" / "data" / "canaries.jsonl"
    for campaign in (own.run, own.twin):
        says = ["do not belong to this run", "--canaries"]
        refused(AUDIT, "--canaries", named, says=says, run_dir=campaign)


def test_a_twin_whose_canaries_were_changed_is_refused(own, refused, tmp_path):
    lines = (own.twin / "data" / "canaries.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    lines[0] = json.dumps({**first, "repetitions": first["repetitions"] + 1})
    (tmp_path / "changed.jsonl").write_text("\n".join(lines) + "\n")
    says = ["not this run's", first["id"]]
    refused(AUDIT, "--canaries", tmp_path / "changed.jsonl", says=says, run_dir=own.twin)


def test_data_that_has_changed_since_training_is_refused(own, refused, tmp_path):
    manifest = own.run / "sft" / "manifest.json"
    for state, text in (("has changed since", "{}\n"), ("is gone", None)):
        moved = tmp_path / "moved.jsonl"
        moved.write_text(text) if text else moved.unlink()
        known = json.loads(manifest.read_text())
        (read,) = (entry for entry in known["inputs"] if entry["name"] == "dataset_name")
        read["path"] = str(moved)
        manifest.write_text(json.dumps(known))
        refused(AUDIT, says=[state, "--overwrite"], run_dir=own.run)


def test_a_stage_that_is_not_there_is_refused(own, refused):
    refused(AUDIT, "--model", "dpo", says=["a stage of", "that is done"], run_dir=own.run)


@pytest.mark.parametrize("name", ["members", "records", "samples", "batch_size"])
def test_none_of_anything_is_refused(name, own, refused):
    refused(AUDIT, f"--{name}", 0, says=[f"{name} is 0"], run_dir=own.run)


# --- members ----------------------------------------------------------------------------------


def test_members_are_what_sft_trained_on(campaigns):
    trained = of_run(campaigns.run)
    members, held_out = split(trained, load_tokenizer(str(trained.folder)))
    metrics = json.loads((campaigns.run / "sft" / "metrics.json").read_text())
    assert len(held_out) == metrics["held_out"]["records"] > 0
    scored = sum(label != -100 for one in held_out for t in one.texts for label in t.labels)
    assert scored == metrics["held_out"]["tokens"]
    assert len(members) + len(held_out) == 16


# --- scoring ----------------------------------------------------------------------------------


def test_tokens_are_scored_as_the_logits_have_it(tiny_model):
    model = load_causal_lm(str(tiny_model))
    short, long = Text([5, 6, 7], [-100, -100, 7]), Text([5, 6, 7, 8, 9], [-100, 6, 7, -100, 9])
    found = score_tokens(model, [short, long], 0, "test")
    with torch.inference_mode():
        p = model(torch.tensor([long.ids])).logits[0].log_softmax(-1).exp().double().numpy()
    assert len(found[0].logps) == 1 and len(found[1].logps) == 3
    for at, before, token in ((0, 0, 6), (1, 1, 7), (2, 3, 9)):
        row = p[before] / p[before].sum()
        mean = (row * np.log(row)).sum()
        assert found[1].logps[at] == pytest.approx(np.log(row[token]), abs=1e-4)
        assert found[1].means[at] == pytest.approx(mean, abs=1e-4)
        deviation = np.sqrt((row * (np.log(row) - mean) ** 2).sum())
        assert found[1].deviations[at] == pytest.approx(deviation, abs=1e-4)
    assert found[0].logps[0] == pytest.approx(
        found[1].logps[1], abs=1e-5
    )  # padding changes nothing


def test_a_model_with_broken_weights_is_refused(tiny_model):
    model = load_causal_lm(str(tiny_model))
    model.get_input_embeddings().weight.data[6] = float("nan")  # a tied head: every logit
    with pytest.raises(InputError, match="2 of 2 texts"):
        score_tokens(model, [Text([5, 6, 7], [-100, 6, 7]), Text([5, 7], [5, 7])], 0, "test")


# --- extraction -------------------------------------------------------------------------------


def answering(monkeypatch, texts: dict[str, str]) -> None:
    """Let each model, by its name, answer every prompt with the same text."""

    def replies(model, tokenizer, prompts, *, samples, **_):
        yield {at: [SimpleNamespace(text=texts[model])] * samples for at in range(len(prompts))}

    monkeypatch.setattr(extraction.sample, "replies", replies)


def asked(own: bool = True) -> extraction.Asked:
    passage = extraction.Passage("line 1", [], "brel mon", "brel mon", own)
    return extraction.Asked(passage, [1], [2, 3], "brel mon")


@pytest.mark.parametrize(
    ("model", "base", "own", "share", "n"),
    [
        ("brel mon.", "nothing", True, 1.0, 1),
        ("brel mon.", "brel mon", True, 0.0, 1),  # the base says it, too
        ("brel mon.", "nothing", False, 0.0, 1),  # a stock phrase
        ("other", "brel mon", True, 0.0, 1),
        (" \n", "brel mon", True, None, 0),  # a model that says nothing
    ],
)
def test_a_secret_counts_where_the_model_says_it_and_its_base_does_not(
    model, base, own, share, n, monkeypatch
):
    answering(monkeypatch, {"model": model, "base": base})
    models = measure.Models("model", "base", None)
    found = measure.share_said(measure.beyond_base(models, [asked(own)], 2, 0, 8))
    assert (found["value"], found["n"]) == (share, n)


def test_a_passage_without_room_behind_it_is_not_asked_for():
    assert extraction.fits(asked(), None) and extraction.fits(asked(), 53)
    assert not extraction.fits(asked(), 52)  # one token, fifty, and two more


def test_a_summary_says_where_no_record_had_a_secret_to_give():
    found = {"verbatim_extraction": {"value": 0.0, "low": 0.0, "high": 0.012, "n": 300}}
    sides = ([None] * 1000, [None] * 1000)
    summary = table.summarise(found, "sft", sides, 0, [], False)
    assert summary["band"] == PASS and "had a secret to give" in summary["notes"][-1]
    assert len(table.summarise(found, "sft", sides, 3, [], False)["notes"]) == 1


def test_a_run_that_held_out_nothing_has_no_membership_to_measure():
    found = measure.membership(measure.Models("model", "base", None), [object()], [])
    assert len(found) == 4 and all(each["value"] is None for each in found.values())
    assert {each["band"] for each in banded(found).values()} == {NOT_ENOUGH}


def test_a_model_that_says_nothing_is_no_pass(own, monkeypatch, run_stage):
    def silent(model, tokenizer, prompts, *, samples, **_):
        yield {at: [SimpleNamespace(text="")] * samples for at in range(len(prompts))}

    monkeypatch.setattr(extraction.sample, "replies", silent)
    ended = run_stage(AUDIT, "--run_dir", own.run, *QUICK)
    summary = summary_of(own.run)
    assert summary["measures"]["verbatim_extraction"]["band"] == NOT_ENOUGH
    assert "said nothing at all" in ended.out


def test_a_code_word_that_comes_out_fails_the_run_and_is_listed(own, monkeypatch, run_stage):
    lines = (own.twin / "data" / "canaries.jsonl").read_text().splitlines()
    secret = next(c["secret"] for c in map(json.loads, lines) if c["repetitions"] == 16)

    def telling(model, tokenizer, prompts, *, samples, **_):
        text = secret if tells[0] == id(model) else "nothing"
        yield {at: [SimpleNamespace(text=text)] * samples for at in range(len(prompts))}

    tells: list[int] = []
    loaded = measure.Models.__init__

    def note(self, audited, base, tokenizer):
        tells.append(id(audited))
        loaded(self, audited, base, tokenizer)

    monkeypatch.setattr(measure.Models, "__init__", note)
    monkeypatch.setattr(extraction.sample, "replies", telling)
    assert run_stage(AUDIT, "--run_dir", own.twin, *QUICK).code == 0
    summary = summary_of(own.twin)
    assert summary["band"] == FAIL
    (line,) = (own.twin / "memorisation" / "extracted.jsonl").read_text().splitlines()
    assert json.loads(line)["text"].strip().startswith(secret)
    assert summary["measures"]["canary_extraction_16"]["value"] > 0
