"""No snapshot is ever overwritten."""

from pathlib import Path

from inhouse.run.snapshots import following, newest

ONE, TWO = {"ratings.jsonl": "one\n"}, {"ratings.jsonl": "one\ntwo\n"}


def snapshot(parent: Path, name: str, holds: dict[str, str], finished: bool = True) -> Path:
    (parent / name).mkdir(parents=True)
    for file, text in holds.items():
        (parent / name / file).write_text(text)
    if finished:
        (parent / name / "manifest.json").write_text("{}")
    return parent / name


def test_the_first_snapshot_is_number_one(tmp_path):
    assert following(tmp_path / "ratings", ONE).name == "pull-0001"


def test_the_same_answers_are_the_last_snapshot(tmp_path):
    last = snapshot(tmp_path, "pull-0001", ONE)
    assert following(tmp_path, ONE) == last


def test_other_answers_are_a_new_snapshot(tmp_path):
    snapshot(tmp_path, "pull-0001", ONE)
    assert following(tmp_path, TWO).name == "pull-0002"
    snapshot(tmp_path, "pull-0002", TWO)
    # Back to what the first one held is still a third.
    assert following(tmp_path, ONE).name == "pull-0003"


def test_every_file_that_is_named_has_to_be_the_same(tmp_path):
    last = snapshot(tmp_path, "pull-0001", {**ONE, "set_aside.jsonl": "x\n"})
    assert following(tmp_path, {**ONE, "set_aside.jsonl": "x\n"}) == last
    assert following(tmp_path, {**ONE, "set_aside.jsonl": ""}).name == "pull-0002"


def test_a_snapshot_that_was_cut_off_is_gone_on_with(tmp_path):
    snapshot(tmp_path, "pull-0001", ONE)
    cut_off = snapshot(tmp_path, "pull-0002", TWO, finished=False)
    assert following(tmp_path, TWO) == cut_off


def test_numbers_beyond_four_digits_still_rise(tmp_path):
    for number in (9999, 10000):
        snapshot(tmp_path, f"pull-{number:04d}", ONE)
    assert following(tmp_path, TWO).name == "pull-10001"


def test_the_newest_is_the_last_one_that_is_whole(tmp_path):
    assert newest(tmp_path) is None
    snapshot(tmp_path, "pull-9999", ONE)
    whole = snapshot(tmp_path, "pull-10000", ONE)
    snapshot(tmp_path, "pull-10001", TWO, finished=False)
    assert newest(tmp_path) == whole
