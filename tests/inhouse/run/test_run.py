"""A stage's folder: its four states, what a manifest says, and what is never deleted."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from inhouse import run as runs
from inhouse.config import ROOT, RunOptions, Stage
from inhouse.errors import GateError, InputError
from inhouse.run import BEGUN, MANIFEST, UpToDate, command, open_run, require

STAGE = Stage("example", "python -m example", "an example")
OTHER = Stage("other", "python -m other", "another")


@pytest.fixture
def campaign(tmp_path):
    """A campaign's folder with one raw file."""
    (tmp_path / "raw.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    return tmp_path / "runs" / "x"


def opened(campaign: Path, settings: dict | None = None, stage: Stage = STAGE, **options):
    raw = campaign.parents[1] / "raw.jsonl"
    return open_run(
        stage,
        RunOptions(run_dir=str(campaign), **options),
        settings or {"rate": 1},
        {"dataset_name": raw},
    )


def finished(campaign: Path, settings: dict | None = None, stage: Stage = STAGE, **options):
    run = opened(campaign, settings, stage, **options)
    run.start()
    run.path("model.txt").write_text("weights")
    run.finish(seed=3, metrics={"loss": 0.5}, next_command="python -m next")
    return run


def begun(campaign: Path, settings: dict | None = None, stage: Stage = STAGE):
    """A run that was killed: its process, and with it its lock, is gone."""
    run = opened(campaign, settings, stage)
    run.start()
    os.close(run.lock)
    return run


# --- what is written --------------------------------------------------------------------------


def test_looking_at_a_folder_writes_nothing(campaign):
    opened(campaign)
    opened(campaign, overwrite=True)
    assert not campaign.exists()


def test_a_finished_folder_holds_results_metrics_and_the_manifest_only(campaign, capsys):
    run = opened(campaign)
    run.start()
    assert {p.name for p in run.folder.iterdir()} == {BEGUN}
    (run.path(runs.CHECKPOINTS) / "checkpoint-1").mkdir(parents=True)
    run.path("half.jsonl.part").write_text("x")
    run.path("model.txt").write_text("weights")
    run.finish(metrics={"loss": 0.5}, next_command="python -m next")
    names = {p.name for p in run.folder.iterdir()}
    assert names - {"half.jsonl.part"} == {MANIFEST, "metrics.json", "model.txt"}
    last = capsys.readouterr().out.splitlines()[-1]
    assert str(run.folder) in last and "python -m next" in last


def test_the_manifest_has_every_key_and_hash(campaign):
    run = finished(campaign)
    manifest = json.loads((run.folder / MANIFEST).read_text())
    # The keys that the design page names, and the settings that two runs are compared by.
    assert set(manifest) == {
        *("schema", "stage", "created_at", "operator", "seconds", "peak_rss_mb", "command"),
        *("config", "seed", "versions", "code", "parents", "inputs", "outputs", "metrics"),
        "settings",
    }
    assert (manifest["stage"], manifest["seed"], manifest["metrics"]) == (
        "example",
        3,
        {"loss": 0.5},
    )
    raw = campaign.parents[1] / "raw.jsonl"
    assert manifest["inputs"] == [
        {
            "name": "dataset_name",
            "path": str(raw),
            "sha256": hashlib.sha256(raw.read_bytes()).hexdigest(),
            "bytes": raw.stat().st_size,
            "records": 2,  # the blank line is none
        }
    ]
    outputs = {entry["path"]: entry for entry in manifest["outputs"]}
    assert set(outputs) == {"model.txt", "metrics.json"}
    assert outputs["model.txt"]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert outputs["model.txt"]["bytes"] == 7
    assert re.fullmatch(r"[0-9a-f]{40}", manifest["code"]["commit"] or "0" * 40)


def test_an_input_that_a_stage_made_makes_it_a_parent(campaign):
    parent = finished(campaign)
    child = open_run(
        OTHER, RunOptions(run_dir=str(campaign)), {}, {"model_name_or_path": parent.folder}
    )
    child.start()
    child.finish()
    manifest = json.loads((child.folder / MANIFEST).read_text())
    digest = hashlib.sha256((parent.folder / MANIFEST).read_bytes()).hexdigest()
    assert manifest["parents"] == [{"path": str(parent.folder), "sha256": digest}]


# --- done, begun, empty, something else -------------------------------------------------------


def test_the_same_settings_and_inputs_again_are_up_to_date(campaign):
    finished(campaign)
    with pytest.raises(UpToDate):
        opened(campaign)


@pytest.mark.parametrize("spelling", ["{}/", "{}/../x", "./{}"])
def test_another_spelling_of_the_same_run_dir_is_up_to_date(
    campaign, run_stage, monkeypatch, spelling
):
    # A shell's completion adds the slash; the run is the same run.
    monkeypatch.chdir(campaign.parents[1])
    short = os.path.relpath(campaign)
    raw = campaign.parents[1] / "raw.jsonl"

    def look(run_dir: str):
        options = RunOptions(run_dir=run_dir)
        return open_run(STAGE, options, {"run_dir": run_dir}, {"dataset_name": raw})

    run = look(short)
    run.start()
    run.finish()
    with pytest.raises(UpToDate):
        look(spelling.format(short))


def test_a_changed_setting_names_key_and_both_values_and_the_way_out(campaign):
    finished(campaign, {"rate": 1, "gone": True})
    with pytest.raises(InputError) as refusal:
        opened(campaign, {"rate": 2, "added": "x"})
    message = str(refusal.value)
    assert "rate: 1 then, 2 now" in message
    assert "gone: True then, unset now" in message and "added: unset then, x now" in message
    assert "--overwrite" in message and "--run_dir" in message


def test_a_changed_setting_refuses_a_begun_folder_too(campaign):
    begun(campaign)
    with pytest.raises(InputError, match=r"was begun otherwise[\s\S]*rate: 1 then, 2 now"):
        opened(campaign, {"rate": 2})


def test_a_changed_input_is_named(campaign):
    finished(campaign)
    (campaign.parents[1] / "raw.jsonl").write_text('{"a": 3}\n')
    with pytest.raises(InputError, match=r"dataset_name: .*raw\.jsonl has other content now"):
        opened(campaign)


def test_an_input_that_is_no_longer_read_is_a_change(campaign):
    # A review that had a reward model is not the review without one.
    raw = campaign.parents[1] / "raw.jsonl"
    options = RunOptions(run_dir=str(campaign))
    run = open_run(STAGE, options, {}, {"dataset_name": raw, "reward": raw})
    run.start()
    run.finish()
    with pytest.raises(InputError, match="reward"):
        open_run(STAGE, options, {}, {"dataset_name": raw})


def test_a_begun_folder_is_gone_on_in(campaign, capsys):
    run = begun(campaign)
    run.path("model.txt.part").write_text("half")
    again = opened(campaign)
    assert again.resumed
    again.start()
    assert again.path("model.txt.part").read_text() == "half"
    assert "going on in" in capsys.readouterr().out


def test_a_name_that_was_read_as_bytes_is_written_and_known_again(campaign):
    # As Python hands over a path under LC_ALL=C without UTF-8 mode.
    begun(campaign, {"judge": "m\udcc3\udcbcller"})
    assert json.loads((campaign / "example" / BEGUN).read_text("utf-8"))["settings"] == {
        "judge": "müller"
    }
    assert opened(campaign, {"judge": "müller"}).resumed


def test_somebody_elses_files_are_refused_and_left(campaign):
    folder = campaign / "example"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"thesis\.txt|was not written by example"):
            opened(campaign, overwrite=overwrite)
    assert (folder / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "content",
    [
        '{"name": "My app", "icons": [], "start_url": "/"}',  # a web page's manifest.json
        "[]",
        '"text"',
        '{"schema": 1}',
    ],
)
def test_a_manifest_of_something_else_is_refused_and_overwrite_leaves_it(campaign, content):
    folder = campaign / "example"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(content)
    (folder / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=re.escape(str(folder))):
            opened(campaign, overwrite=overwrite).start()
    assert (folder / "thesis.txt").read_text() == "mine"


def test_overwrite_leaves_another_stages_results(campaign):
    run = finished(campaign)
    with pytest.raises(InputError, match=r"not written by other"):
        open_run(
            OTHER,
            RunOptions(run_dir=str(campaign), overwrite=True),
            {},
            {"dataset_name": campaign.parents[1] / "raw.jsonl"},
            folder=run.folder,
        ).start()
    assert (run.folder / "model.txt").exists()


def test_another_stages_folder_is_refused_by_name(campaign):
    run = finished(campaign)
    with pytest.raises(InputError, match="example"):
        open_run(
            OTHER,
            RunOptions(run_dir=str(campaign)),
            {"rate": 1},
            {"dataset_name": campaign.parents[1] / "raw.jsonl"},
            folder=run.folder,
        )


def test_overwrite_deletes_a_stages_own_results_and_only_on_start(campaign):
    run = finished(campaign)
    again = opened(campaign, {"rate": 2}, overwrite=True)
    assert (run.folder / "model.txt").exists()
    again.start()
    assert {p.name for p in run.folder.iterdir()} == {BEGUN}


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\xff"])
def test_a_damaged_manifest_is_named_with_the_way_out(campaign, damage):
    path = finished(campaign).folder / MANIFEST
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"{re.escape(str(path))} is damaged"):
        opened(campaign)


def test_a_half_manifest_of_ours_can_be_overwritten(campaign):
    path = finished(campaign).folder / MANIFEST
    path.write_bytes(path.read_bytes()[:200])
    again = opened(campaign, overwrite=True)
    again.start()
    assert not path.exists()


@pytest.mark.parametrize("file", ["runs", "runs/x", "runs/x/example"])
def test_a_file_where_the_folder_should_be_is_refused(campaign, file):
    path = campaign.parents[1] / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        opened(campaign).start()
    assert path.read_text() == "mine"


def test_a_missing_input_is_named(campaign):
    with pytest.raises(InputError, match=r"dataset_name names .*none\.jsonl, which does not exist"):
        open_run(STAGE, RunOptions(run_dir=str(campaign)), {}, {"dataset_name": "none.jsonl"})


# --- two processes ----------------------------------------------------------------------------


def test_two_processes_that_both_saw_an_empty_folder_do_not_both_write(campaign):
    # Between looking and starting lie the seconds in which a model is loaded.
    first, second = opened(campaign), opened(campaign)
    first.start()
    with pytest.raises(InputError, match="another process"):
        second.start()


def test_overwrite_does_not_delete_under_a_running_process(campaign):
    first = opened(campaign)
    first.start()
    first.path("model.txt").write_text("weights")
    second = opened(campaign, overwrite=True)
    with pytest.raises(InputError, match="another process"):
        second.start()
    assert first.path("model.txt").exists() and first.path(BEGUN).exists()


def test_a_process_that_comes_late_does_not_begin_anew_what_was_finished_meanwhile(campaign):
    late = opened(campaign)
    finished(campaign)
    with pytest.raises((UpToDate, InputError)):
        late.start()
    assert (late.folder / MANIFEST).exists() and not (late.folder / BEGUN).exists()


def test_a_lock_dies_with_its_process(campaign, tmp_path):
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from inhouse.run import open_run; from inhouse.config import RunOptions, Stage\n"
        "s = Stage('example', 'python -m example', 'x')\n"
        "o = RunOptions(run_dir=sys.argv[2])\n"
        "open_run(s, o, {'rate': 1}, {'dataset_name': sys.argv[3]}).start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    raw = campaign.parents[1] / "raw.jsonl"
    words = [sys.executable, "-c", code, str(ROOT), str(campaign), str(raw)]
    assert subprocess.run(words, capture_output=True).returncode == -9
    again = opened(campaign)
    assert again.resumed
    again.start()


def test_killed_while_it_claimed_the_folder_it_begins_anew(campaign):
    half = campaign / "example" / "begun.json.part"
    half.parent.mkdir(parents=True)
    half.write_text('{"stage": "exam')
    run = opened(campaign)
    assert not run.resumed
    run.start()
    assert {path.name for path in run.folder.iterdir()} == {BEGUN}


# --- killed while finishing -------------------------------------------------------------------


def test_killed_just_before_the_manifest_it_goes_on(campaign, monkeypatch):
    run = begun(campaign)
    checkpoint = run.path(runs.CHECKPOINTS) / "checkpoint-9"
    checkpoint.mkdir(parents=True)
    run.path("model.txt").write_text("weights")

    def killed(path: Path, value: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("inhouse.run.folder.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    monkeypatch.undo()
    assert opened(campaign).resumed
    # Without its checkpoints the stage would begin its days of training anew.
    assert checkpoint.exists()


def test_killed_just_after_the_manifest_it_is_up_to_date_and_a_parent(campaign):
    run = finished(campaign)
    (run.folder / BEGUN).write_text("{}")
    with pytest.raises(UpToDate):
        opened(campaign)
    assert require(run.folder, "run it") == run.folder


# --- parents ----------------------------------------------------------------------------------


def test_a_missing_parent_names_the_command_that_makes_it(campaign):
    with pytest.raises(InputError, match="run `python -m sft` first"):
        require(campaign / "sft", "run `python -m sft` first")


def test_an_unfinished_parent_is_refused(campaign):
    run = begun(campaign)
    run.path("candidates.jsonl").write_text("{}\n")
    for path in (run.folder, run.path("candidates.jsonl")):
        with pytest.raises(InputError, match="is not finished"):
            require(path, "run it")


def test_an_unfinished_stage_named_explicitly_is_refused_as_well(campaign):
    run = begun(campaign)
    run.path("p.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="is not finished"):
        open_run(
            OTHER, RunOptions(run_dir=str(campaign)), {}, {"dataset_name": run.path("p.jsonl")}
        )


def test_a_journal_without_a_record_is_nothing(tmp_path):
    run = claimed(tmp_path)
    run.path("candidates.jsonl.part").touch()
    run.withdraw()
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("fault", [InputError("no"), GateError("no"), RuntimeError("a bug")])
@pytest.mark.parametrize("made", [None, "checkpoints/checkpoint-1/trainer_state.json"])
def test_a_stage_that_fails_gives_up_its_claim_unless_it_has_made_something(
    tmp_path, capsys, fault, made
):
    def main() -> None:
        run = claimed(tmp_path)
        if made:
            run.path(made).parent.mkdir(parents=True)
            run.path(made).write_text("{}")
        raise fault

    with pytest.raises(SystemExit):
        command(main)
    begun_file = tmp_path / "a" / "b" / STAGE.name / BEGUN
    assert begun_file.exists() == bool(made)
    assert (tmp_path / "a").exists() == bool(made)


def test_a_stage_that_was_begun_earlier_is_not_given_up_by_a_failure(campaign, capsys):
    begun(campaign)

    def main() -> None:
        opened(campaign).start()
        raise RuntimeError("a bug")

    with pytest.raises(SystemExit):
        command(main)
    assert opened(campaign).resumed


# --- exit codes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (None, 0, ""),
        (UpToDate("runs/x"), 0, "up to date: runs/x"),
        (GateError("too poor"), 2, "error: too poor"),
        (InputError("mend this"), 3, "error: mend this"),
        (KeyboardInterrupt(), 130, "goes on from here"),
        (RuntimeError("a bug"), 1, "Traceback"),
        (ValueError("a bug"), 1, "Traceback"),
    ],
)
def test_how_a_stage_ends_is_its_exit_code(capsys, raised, code, said):
    def main() -> None:
        if raised:
            raise raised

    with pytest.raises(SystemExit) as ended:
        command(main)
    assert ended.value.code == code
    printed = "".join(capsys.readouterr())
    assert said in printed
    assert ("Traceback" in printed) == (code == 1)


# --- show and verify --------------------------------------------------------------------------


def verified(campaign: Path) -> None:
    runs.verify(campaign)


def chain(campaign: Path):
    parent = finished(campaign)
    inputs = {"model_name_or_path": parent.folder}
    child = open_run(OTHER, RunOptions(run_dir=str(campaign)), {}, inputs)
    child.start()
    child.path("answer.txt").write_text("answer")
    child.finish()
    return parent.folder, child.folder


def test_show_prints_the_chain_back_to_the_raw_file(campaign, capsys):
    chain(campaign)
    runs.show(campaign)
    printed = capsys.readouterr().out
    assert "raw.jsonl" in printed
    assert printed.index("python -m example") < printed.index("python -m other")


def test_verify_passes_what_nobody_touched(campaign, capsys):
    chain(campaign)
    runs.verify(campaign)
    assert "files are what the manifests say" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["example/model.txt", "example/metrics.json", "other/answer.txt"])
def test_verify_names_a_changed_file(campaign, file):
    chain(campaign)
    (campaign / file).write_text("forged")
    with pytest.raises(GateError, match=re.escape(file)):
        runs.verify(campaign)


def test_verify_names_a_deleted_file_and_a_changed_raw_file(campaign):
    parent, _ = chain(campaign)
    (campaign.parents[1] / "raw.jsonl").write_text("forged\n")
    with pytest.raises(GateError, match=r"raw\.jsonl"):
        runs.verify(campaign)
    (parent / "model.txt").unlink()
    with pytest.raises(GateError, match=r"model\.txt is gone"):
        runs.verify(campaign)


def test_verify_names_a_forged_manifest_of_a_parent(campaign):
    parent, _ = chain(campaign)
    manifest = json.loads((parent / MANIFEST).read_text())
    manifest["operator"] = "nobody"
    (parent / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(GateError, match=r"example/manifest\.json|example"):
        runs.verify(campaign)


def pulled(campaign: Path, number: int, answers: Path) -> Path:
    """A snapshot of what was answered about the example's result."""
    folder = campaign / "ratings" / f"pull-{number:04d}"
    options = RunOptions(run_dir=str(campaign))
    run = open_run(OTHER, options, {}, {"answers": answers}, folder=folder)
    run.start()
    run.path("ratings.jsonl").write_text(str(number))
    run.finish()
    return folder


def test_an_older_snapshot_is_of_earlier_files_and_is_held_to_its_own(campaign, capsys):
    answers = finished(campaign).folder / "model.txt"
    first = pulled(campaign, 1, answers)
    again = opened(campaign, overwrite=True)
    again.start()
    answers.write_text("other weights")
    again.finish()
    with pytest.raises(GateError, match="pull-0001"):  # nothing was pulled of these yet
        runs.verify(campaign)
    pulled(campaign, 2, answers)
    capsys.readouterr()
    runs.verify(campaign)
    said = capsys.readouterr().out
    assert f"{first} is of earlier files" in said and "pull-0002 is of" not in said
    (first / "ratings.jsonl").write_text("forged")
    with pytest.raises(GateError, match=r"pull-0001/ratings\.jsonl differs"):
        runs.verify(campaign)


def test_verify_and_show_say_no_as_commands(run_command, tmp_path):
    empty = run_command("inhouse.run", "verify", str(tmp_path))
    assert empty.returncode == 3 and "no finished stage" in empty.stderr
    usage = run_command("inhouse.run", "look", str(tmp_path))
    assert usage.returncode == 3 and "usage:" in usage.stderr


# --- a claim that is given up -------------------------------------------------------------------


def claimed(tmp_path) -> runs.Run:
    raw = tmp_path / "raw.jsonl"
    raw.write_text("{}\n")
    run = open_run(STAGE, RunOptions(run_dir=str(tmp_path / "a" / "b")), {}, {"dataset_name": raw})
    run.start()
    return run


def test_a_claim_that_is_given_up_leaves_no_folder(tmp_path):
    run = claimed(tmp_path)
    run.path("checkpoints").mkdir()
    run.withdraw()
    assert not (tmp_path / "a").exists()


def test_giving_up_a_claim_touches_nothing_of_the_other_stages(tmp_path):
    run = claimed(tmp_path)
    other = tmp_path / "a" / "b" / "cache" / "reference.json"
    other.parent.mkdir()
    other.write_text("mine")
    run.withdraw()
    assert other.read_text() == "mine" and not run.folder.exists()


def test_a_folder_with_results_in_it_is_not_given_up(tmp_path):
    run = claimed(tmp_path)
    run.path("model.safetensors").write_text("weights")
    run.withdraw()
    assert run.path("model.safetensors").exists() and run.path(BEGUN).exists()
