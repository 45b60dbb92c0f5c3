"""Pairs go to a real server and come back, again and again, whatever was done to them there."""

import json

import pytest

pytestmark = pytest.mark.slow

RULE = """\
house: One Rule
rules:
  - id: TONE-01
    title: No slang
    group: tone
    severity: major
    kind: existence
    authority: ["style guide"]
    match: ['\\blol\\b']
    fix: Write in full sentences.
    bad: ["lol, find out."]
    good: ["Please open the page."]
"""


@pytest.fixture
def stage(server, run_command, write_lines, tmp_path):
    """Run push or pull on three pairs under a house of one rule, in a workspace of the test's."""
    pairs = [
        {"id": f"p{n}", "prompt": [{"role": "user", "content": f"Question {n}?"}]}
        | {"response_a": "Yes.", "response_b": "No.", "source_a": {}, "source_b": {}}
        | {"findings_a": [], "findings_b": []}
        for n in range(3)
    ]
    write_lines(tmp_path / "pairs.jsonl", pairs)
    (tmp_path / "rule.yaml").write_text(RULE)

    def run(name: str, *words: str):
        return run_command(
            *(f"labeling.{name}", "--run_dir", str(tmp_path / "runs" / tmp_path.name), *words),
            *("--dataset_name", str(tmp_path / "pairs.jsonl")),
            *("--house_rules", str(tmp_path / "rule.yaml")),
            ARGILLA_API_URL=server.url,
            ARGILLA_API_KEY=server.credentials()["users"]["owner"]["api_key"],
        )

    return run


@pytest.fixture
def dataset(server, tmp_path):
    """The test's only data set, as the server knows it now."""

    def find() -> str:
        api = server.api()
        everything = {item["id"]: item for item in api("GET", "me/datasets")["items"]}
        spaces = {item["id"]: item["name"] for item in api("GET", "me/workspaces")["items"]}
        (found,) = [
            name
            for name, item in everything.items()
            if spaces[item["workspace_id"]] == tmp_path.name
        ]
        return found

    return find


def test_pairs_that_are_all_there_are_pushed_again(stage, dataset, server):
    first = stage("push")
    assert first.returncode == 0, first.stderr
    where = dataset()
    for words, says in (((), "up to date"), (("--overwrite",), "push: wrote")):
        again = stage("push", *words)
        assert again.returncode == 0, again.stderr
        assert says in again.stdout
    assert dataset() == where and sorted(server.api().ids(where)) == ["p0", "p1", "p2"]


def test_a_data_set_that_was_deleted_is_not_called_up_to_date(stage, dataset, server):
    assert stage("push").returncode == 0
    server.api()("DELETE", f"datasets/{dataset()}")
    again = stage("push")
    assert again.returncode == 3 and "Traceback" not in again.stderr
    assert "push it again with `python -m labeling.push --overwrite`" in again.stderr
    assert stage("push", "--overwrite").returncode == 0
    assert sorted(server.api().ids(dataset())) == ["p0", "p1", "p2"]


def test_a_record_that_nobody_pushed_is_counted_and_left_out(stage, dataset, server, tmp_path):
    assert stage("push").returncode == 0
    where, api = dataset(), server.api()
    strange = {"prompt": [{"role": "user", "content": "By hand"}]}
    fields = strange | {"response_a": "1", "response_b": "2"}
    api("POST", f"datasets/{where}/records/bulk", {"items": [{"fields": fields}]})
    ids = api.ids(where)
    api.answer(ids[None], preferred="a")
    api.answer(ids["p1"], preferred="b", violations_a=["TONE-01"], violations_b=["none"])
    pulled = stage("pull")
    assert pulled.returncode == 0, pulled.stderr
    assert "1 records in Argilla were not pushed from here: left out" in pulled.stdout
    (path,) = (tmp_path / "runs" / tmp_path.name / "ratings").glob("pull-*/ratings.jsonl")
    (rating,) = map(json.loads, path.read_text().splitlines())
    assert (rating["pair_id"], rating["choice"]) == ("p1", "b")
    assert rating["violations_a"] == ["TONE-01"] and not rating.get("violations_b")
