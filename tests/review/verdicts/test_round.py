"""Answers go to a real server, reviewers give verdicts through its API, and they come back."""

import json
import os
import subprocess
import sys

import argilla as rg
import pytest

from examples.asdfg.reviewers import reading
from inhouse import argilla
from inhouse.records import Demonstration, Output, Preference, Verdict, read, write
from review.gate.evidence import gather
from review.verdicts.placed import Placed

from .conftest import CLEAN, HASHES, PROMISE, ROOT, RULES

pytestmark = pytest.mark.slow
PROMPTS = 12


@pytest.fixture(autouse=True)
def no_other_argilla(monkeypatch):
    monkeypatch.delenv("ARGILLA_API_URL", raising=False)
    monkeypatch.delenv("ARGILLA_API_KEY", raising=False)


@pytest.fixture
def reviewed(campaign, output):
    """SFT promises at one prompt in three, the aligned model never."""
    said = [output("sft", n, f"{PROMISE if n % 3 == 0 else CLEAN} {n}") for n in range(PROMPTS)]
    said += [output("dpo", n, f"{CLEAN} Please ask. {n}") for n in range(PROMPTS)]
    return campaign(said)


@pytest.fixture
def stage(run_stage, reviewed, credentials):
    """Run one of the commands on the campaign."""

    def run(module: str, *words: str):
        where = ("--run_dir", reviewed, "--credentials", credentials)
        return run_stage(module, *where, *words)

    return run


@pytest.fixture
def push(stage):
    """Push ten of the twelve prompts, so that clean answers are left to plant in."""
    ended = stage("review.verdicts.push", "--sample", "10", "--planted", "0.1", "--second", "0.4")
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture
def server(credentials, reviewed):
    """The owner's client, and the pushed data sets by name."""
    client = argilla.connect(argilla.find_access(credentials))

    def datasets() -> dict:
        manifest = json.loads((reviewed / "verdicts" / "push" / "manifest.json").read_text())
        named = manifest["metrics"]
        return {
            name: argilla.find_dataset(client, name, named["workspace"])
            for name in named["datasets"]
        }

    return client, datasets


def placed_in(reviewed):
    return read(reviewed / "verdicts" / "push" / "placed.jsonl", Placed)


def test_push_answer_pull(push, stage, server, reviewed):
    client, datasets = server
    placed = placed_in(reviewed)
    assert stage("review.verdicts.pull").code == 3  # nobody has answered yet
    by_readers = {}
    for name, dataset in datasets().items():
        details = argilla.rest(client, "GET", f"/api/v1/datasets/{dataset.id}")
        rows = list(argilla.records_with_responses(client, dataset))
        assert {row["external_id"] for row in rows} == {
            p.record for p in placed if p.dataset == name
        }
        assert all(
            not row["metadata"] and set(row["fields"]) == {"prompt", "response"} for row in rows
        )
        by_readers[details["distribution"]["min_submitted"]] = len(rows)
    assert by_readers == {1: len(placed) - by_readers[2], 2: round(0.4 * len(placed))}

    again = stage("review.verdicts.push", "--sample", "10", "--planted", "0.1", "--second", "0.4")
    assert again.code == 0 and "up to date" in again.out
    answered = stage("examples.asdfg.reviewers.__main__")
    assert answered.code == 0, answered.err
    assert "up to date" in stage("examples.asdfg.reviewers.__main__").out
    pulled = stage("review.verdicts.pull")
    assert pulled.code == 0, pulled.err
    folder = reviewed / "verdicts" / "pull-0001"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["read"] == len(placed) and summary["agreement"]["n"] > 0
    assert set(summary["reviewers"]) == {r.user for r in reading.REVIEWERS}
    assert sum(summary["reviewers"].values()) == len(placed) + by_readers[2]
    assert sum(summary["verdicts"].values()) == len(read(folder / "verdicts.jsonl", Verdict))
    assert summary["vigilance"]["n"] >= sum(p.planted is not None for p in placed)
    assert (
        summary["by_model"]["sft"]["sample"]["rate"] > summary["by_model"]["dpo"]["sample"]["rate"]
    )
    (any_rule,) = [
        r for r in gather(reviewed).of({"name": "sft", "hash": HASHES["sft"]}) if r.rule is None
    ]
    assert any_rule.n == summary["by_model"]["sft"]["n"] and any_rule.failures > 0
    assert read(folder / "preferences.jsonl", Preference)
    assert read(folder / "demonstrations.jsonl", Demonstration)
    assert "the rewrites answer prompts of the review (" in pulled.out

    same = stage("review.verdicts.pull")
    assert same.code == 0 and "up to date" in same.out
    assert not (reviewed / "verdicts" / "pull-0002").exists()


@pytest.fixture
def answer(server):
    """Give an answer to a placed record as a user of that name, in any status."""
    client, datasets = server

    def give(one: Placed, user: str, verdict: str, status: str = "submitted") -> None:
        dataset = datasets()[one.dataset]
        access = argilla.ensure_annotator(client, user, dataset.workspace)
        rows = argilla.records_with_responses(client, dataset)
        (row,) = [row for row in rows if row["external_id"] == one.record]
        content = {"status": status, "values": {"verdict": {"value": verdict}}}
        path = f"/api/v1/records/{row['id']}/responses"
        argilla.rest(argilla.connect(access), "POST", path, json=content)

    return give


def test_drafts_and_discards_are_not_counted(push, stage, answer, reviewed):
    one, two, three = placed_in(reviewed)[:3]
    answer(one, "ann", "fail")
    answer(two, "ann", "fail", "draft")
    answer(three, "ann", "pass", "discarded")
    assert stage("review.verdicts.pull").code == 0
    summary = json.loads((reviewed / "verdicts" / "pull-0001" / "summary.json").read_text())
    assert summary["verdicts"] == {"pass": 0, "fail": 1, "escalate": 0}
    assert summary["not_submitted"] == {"draft": 1, "discarded": 1}


def test_names_that_differ_in_case_are_kept_apart(push, stage, answer, reviewed):
    one, two = placed_in(reviewed)[:2]
    answer(one, "Eve", "fail")
    answer(two, "eve", "pass")
    pulled = stage("review.verdicts.pull")
    assert pulled.code == 0 and "2 accounts are called" in pulled.out
    summary = json.loads((reviewed / "verdicts" / "pull-0001" / "summary.json").read_text())
    assert [name.split("#")[0] for name in summary["reviewers"]] == ["Eve", "eve"]


def test_an_admins_key_is_told_that_an_owners_is_needed(
    push, stage, server, reviewed, credentials, monkeypatch
):
    client, datasets = server
    place = next(iter(datasets().values())).workspace
    admin = rg.User(username="adam", password="a" * 12, role="admin", client=client).create()
    admin.add_to_workspace(place)
    key = argilla.rest(client, "GET", f"/api/v1/users/{admin.id}")["api_key"]
    monkeypatch.setenv("ARGILLA_API_URL", argilla.find_access(credentials).url)
    monkeypatch.setenv("ARGILLA_API_KEY", key)
    pulled = stage("review.verdicts.pull")
    assert pulled.code == 3 and "set ARGILLA_API_KEY to an owner's key" in pulled.err, pulled.err
    assert not (reviewed / "verdicts" / "pull-0001").exists()


def test_a_push_with_another_share_is_other_data_sets(push, stage, server, reviewed):
    client, datasets = server
    before = set(datasets())
    words = ("--sample", "10", "--planted", "0.1", "--second", "0.8", "--overwrite", "true")
    assert stage("review.verdicts.push", *words).code == 0
    assert before.isdisjoint(datasets())
    there = [
        row["external_id"]
        for dataset in datasets().values()
        for row in argilla.records_with_responses(client, dataset)
    ]
    assert sorted(there) == sorted(p.record for p in placed_in(reviewed))


def test_a_pull_with_other_settings_is_a_pull_of_its_own(push, stage, answer, reviewed, tmp_path):
    answer(placed_in(reviewed)[0], "ann", "fail")
    assert stage("review.verdicts.pull").code == 0
    rules = tmp_path / "the_same.yaml"
    rules.write_bytes(RULES.read_bytes())
    pulled = stage("review.verdicts.pull", "--house_rules", rules)
    assert pulled.code == 0, pulled.err
    assert (reviewed / "verdicts" / "pull-0002" / "manifest.json").exists()


def test_an_answer_that_changed_since_is_set_aside_in_a_pull_of_its_own(
    push, stage, answer, reviewed
):
    one, two = [p for p in placed_in(reviewed) if p.planted is None][:2]
    answer(one, "ann", "fail")
    answer(two, "ann", "pass")
    assert stage("review.verdicts.pull").code == 0
    path = reviewed / "review" / "outputs.jsonl"
    outputs = read(path, Output)
    write(
        path,
        [
            o.model_copy(update={"response": "Something else."}) if o.id == one.output_id else o
            for o in outputs
        ],
    )
    pulled = stage("review.verdicts.pull")
    assert pulled.code == 0, pulled.err
    assert (
        f"1 verdicts are on answers that have changed since they were pushed ({one.output_id}"
        in (pulled.out)
    )
    folder = reviewed / "verdicts" / "pull-0002"
    assert [v.output_id for v in read(folder / "verdicts.jsonl", Verdict)] == [two.output_id]
    assert [v.output_id for v in read(folder / "set_aside.jsonl", Verdict)] == [one.output_id]
    assert json.loads((folder / "summary.json").read_text())["verdicts"]["fail"] == 0
    first = reviewed / "verdicts" / "pull-0001" / "verdicts.jsonl"
    assert len(read(first, Verdict)) == 2  # as it was


def test_a_record_of_another_review_is_refused(push, stage, server, answer, reviewed, refused):
    client, datasets = server
    answer(placed_in(reviewed)[0], "ann", "fail")
    dataset = next(iter(datasets().values()))
    fields = {"prompt": [{"role": "user", "content": "By hand"}], "response": "Yes."}
    item = {"external_id": "stranger", "fields": fields}
    path = f"/api/v1/datasets/{dataset.id}/records/bulk"
    argilla.rest(client, "POST", path, json={"items": [item]})
    pulled = stage("review.verdicts.pull")
    assert pulled.code == 3 and "another review or made by hand (stranger)" in pulled.err
    assert not (reviewed / "verdicts" / "pull-0001").exists()


def test_a_data_set_that_was_deleted_is_missed(push, stage, server, reviewed):
    _, datasets = server
    name, dataset = next(iter(datasets().items()))
    dataset.delete()
    for module in ("review.verdicts.pull", "examples.asdfg.reviewers.__main__"):
        ended = stage(module)
        assert ended.code == 3 and f"no data set {name}" in ended.err
    words = ("--sample", "10", "--planted", "0.1", "--second", "0.4")
    again = stage("review.verdicts.push", *words)
    assert again.code == 3 and "push it again with" in again.err
    assert stage("review.verdicts.push", *words, "--overwrite", "true").code == 0


CUT_OFF = """
import os
from inhouse import argilla
from review.verdicts import push
whole = argilla.push_missing
def cut_off(client, dataset, records):
    whole(client, dataset, records[:3])
    os._exit(9)
argilla.push_missing = cut_off
push.main()
"""


def test_a_push_that_was_cut_off_goes_on(stage, server, reviewed, credentials):
    words = ("--sample", "10", "--planted", "0.1", "--second", "0.4")
    where = ("--run_dir", str(reviewed), "--credentials", str(credentials))
    killed = subprocess.run([sys.executable, "-c", CUT_OFF, *where, *words], cwd=ROOT)
    assert killed.returncode == 9
    assert not (reviewed / "verdicts" / "push" / "manifest.json").exists()
    ended = stage("review.verdicts.push", *words)
    assert ended.code == 0 and "going on in" in ended.out, ended.err
    client, datasets = server
    there = [
        row["external_id"]
        for dataset in datasets().values()
        for row in argilla.records_with_responses(client, dataset)
    ]
    assert sorted(there) == sorted(p.record for p in placed_in(reviewed))


def test_a_user_runs_it_by_its_two_words(push, run_command, reviewed, credentials):
    where = ("--run_dir", str(reviewed), "--credentials", str(credentials))
    assert "ARGILLA_API_URL" not in os.environ
    ended = run_command("review.verdicts", "pull", *where)
    assert ended.returncode == 3 and "nobody has given a verdict" in ended.stderr
    manifest = json.loads((reviewed / "verdicts" / "push" / "manifest.json").read_text())
    assert manifest["command"].startswith("python -m review.verdicts push --run_dir")
    assert manifest["parents"][0]["path"] == str(reviewed / "review")
