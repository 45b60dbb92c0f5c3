"""No snapshot is ever overwritten."""

import json
from pathlib import Path

import pytest

from inhouse.config import Stage
from inhouse.files import describe_input
from inhouse.run import snapshots

STAGE = Stage("pull", "python -m pull", "answers come back")
ONE, TWO = {"ratings.jsonl": "one\n"}, {"ratings.jsonl": "one\ntwo\n"}


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "placed.jsonl"
    path.write_text("1\n")
    return path


@pytest.fixture
def snapshot(tmp_path, source):
    """Write a snapshot that was read from the source with these settings."""

    def write(name: str, holds: dict[str, str], finished: bool = True, **settings) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file, text in holds.items():
            (folder / file).write_text(text)
        inputs = [describe_input("placed", source)]
        known = {"stage": STAGE.name, "settings": settings, "inputs": inputs}
        if finished:
            (folder / "manifest.json").write_text(json.dumps(known))
        return folder

    return write


@pytest.fixture
def following(tmp_path, source):
    """What follows in the folder, read from the source with these settings."""

    def find(holds: dict[str, str], **settings) -> Path:
        return snapshots.following(tmp_path, holds, STAGE, settings, {"placed": source})

    return find


def test_the_first_snapshot_is_number_one(following):
    assert following(ONE).name == "pull-0001"


def test_the_same_answers_are_the_last_snapshot(snapshot, following):
    last = snapshot("pull-0001", ONE)
    assert following(ONE) == last


def test_other_answers_are_a_new_snapshot(snapshot, following):
    snapshot("pull-0001", ONE)
    assert following(TWO).name == "pull-0002"
    snapshot("pull-0002", TWO)
    # Back to what the first one held is still a third.
    assert following(ONE).name == "pull-0003"


def test_every_file_that_is_named_has_to_be_the_same(snapshot, following):
    last = snapshot("pull-0001", {**ONE, "set_aside.jsonl": "x\n"})
    assert following({**ONE, "set_aside.jsonl": "x\n"}) == last
    assert following({**ONE, "set_aside.jsonl": ""}).name == "pull-0002"


def test_other_settings_are_a_new_snapshot(snapshot, following):
    last = snapshot("pull-0001", ONE, credentials="a.json", run_dir="runs/x")
    assert following(ONE, credentials="a.json", run_dir="./runs/x") == last  # in another spelling
    assert following(ONE, credentials="b.json").name == "pull-0002"
    assert following(ONE, credentials="a.json", house_rules="other").name == "pull-0002"


def test_what_was_read_is_another_file_now(snapshot, following, source):
    snapshot("pull-0001", ONE)
    source.write_text("2\n")
    assert following(ONE).name == "pull-0002"


def test_a_snapshot_that_was_cut_off_is_gone_on_with(snapshot, following):
    snapshot("pull-0001", ONE)
    cut_off = snapshot("pull-0002", TWO, finished=False)
    assert following(TWO) == cut_off


def test_numbers_beyond_four_digits_still_rise(snapshot, following, tmp_path):
    for number in (9999, 10000):
        snapshot(f"pull-{number:04d}", ONE)
    assert following(TWO).name == "pull-10001"


def test_the_newest_is_the_last_one_that_is_whole(snapshot, tmp_path):
    assert snapshots.newest(tmp_path) is None
    snapshot("pull-9999", ONE)
    whole = snapshot("pull-10000", ONE)
    snapshot("pull-10001", TWO, finished=False)
    assert snapshots.newest(tmp_path) == whole


def test_a_copy_beside_them_is_no_snapshot(snapshot, following, tmp_path):
    last = snapshot("pull-0001", ONE)
    for name in ("pull-0001-old", "pull-old", "pull-", "pull-²"):
        snapshot(name, TWO)
    assert following(ONE) == last and following(TWO).name == "pull-0002"
    assert snapshots.newest(tmp_path) == last
