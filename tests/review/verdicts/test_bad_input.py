"""What the commands refuse before anything is written, without a server."""

import json
import socket

import pytest

from .conftest import RULES


@pytest.fixture(autouse=True)
def no_argilla(monkeypatch):
    """No server is known here, whatever runs on this machine."""
    monkeypatch.delenv("ARGILLA_API_URL", raising=False)
    monkeypatch.delenv("ARGILLA_API_KEY", raising=False)


@pytest.fixture
def reviewed(campaign, output):
    """A campaign whose review has ten answers of two models."""
    return campaign([output(model, n) for model in ("sft", "dpo") for n in range(5)])


@pytest.fixture
def server_down(monkeypatch):
    """The address of an Argilla that does not answer."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    monkeypatch.setenv("ARGILLA_API_URL", address)
    monkeypatch.setenv("ARGILLA_API_KEY", "key")
    return address


def write_push(campaign, rules, **changes) -> None:
    """What a push leaves behind."""
    folder = campaign / "verdicts" / "push"
    folder.mkdir(parents=True)
    one = {"record": "r", "dataset": "d", "output_id": "sft-0-0-held_out", "hash": "h"}
    (folder / "placed.jsonl").write_text(json.dumps(one) + "\n")
    named = {"url": "u", "workspace": "w", "datasets": ["d"], "guidelines": rules.hash, **changes}
    manifest = {"metrics": named, "config": {"house_rules": None}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_push_before_the_review(refused, tmp_path):
    refused(
        "review.verdicts.push", says=["run `python -m review --run_dir"], run_dir=tmp_path / "x"
    )


def test_push_while_the_review_goes_on(refused, reviewed):
    (reviewed / "review" / "manifest.json").unlink()
    (reviewed / "review" / "begun.json").write_text("{}")
    refused("review.verdicts.push", says=["run `python -m review --run_dir"], run_dir=reviewed)


def test_pull_before_push(refused, reviewed):
    says = ["run `python -m review.verdicts push --run_dir"]
    refused("review.verdicts.pull", says=says, run_dir=reviewed)


def test_push_without_a_server(refused, reviewed, tmp_path):
    words = ("--credentials", tmp_path / "none.json")
    says = ["python -m labeling.server start"]
    refused("review.verdicts.push", *words, says=says, run_dir=reviewed)


def test_push_to_a_server_that_is_down(refused, reviewed, server_down):
    says = [f"no Argilla answers at {server_down}", "python -m labeling.server start"]
    refused("review.verdicts.push", says=says, run_dir=reviewed)


def test_pull_from_a_server_that_is_down(refused, reviewed, rules, server_down):
    write_push(reviewed, rules)
    refused("review.verdicts.pull", says=[f"no Argilla answers at {server_down}"], run_dir=reviewed)


def test_a_model_that_was_not_asked(refused, reviewed):
    says = ["models names 'kto2', which the review did not ask: there are sft, dpo"]
    refused("review.verdicts.push", "--models", "kto2", says=says, run_dir=reviewed)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("sample", "-1"), ("flagged", "-2"), ("planted", "0.6"), ("second", "1.5"), ("second", "-1")],
)
def test_a_share_or_number_out_of_range(refused, reviewed, flag, value):
    says = [f"{flag} is {float(value) if '.' in value or flag == 'second' else value}"]
    refused("review.verdicts.push", f"--{flag}", value, says=says, run_dir=reviewed)


def changed_rules(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(RULES.read_text().replace("No guarantees", "No guarantee"))
    return path


def test_rules_that_changed_since_the_review(refused, reviewed, tmp_path):
    other = changed_rules(tmp_path)
    says = ["has changed since", "python -m review --overwrite"]
    refused("review.verdicts.push", "--house_rules", other, says=says, run_dir=reviewed)


def test_rules_that_changed_since_the_push(refused, reviewed, rules, tmp_path):
    write_push(reviewed, rules)
    says = ["has changed since", "python -m review.verdicts push --overwrite"]
    words = ("--house_rules", changed_rules(tmp_path))
    refused("review.verdicts.pull", *words, says=says, run_dir=reviewed)


def test_rules_that_are_gone(refused, reviewed, tmp_path):
    words = ("--house_rules", tmp_path / "gone.yaml")
    says = ["no house rules at", "--house_rules"]
    refused("review.verdicts.push", *words, says=says, run_dir=reviewed)


# --- the two words ----------------------------------------------------------------------------


def test_another_word_names_the_nearest(run_stage):
    ended = run_stage("review.verdicts.__main__", "pul", "--run_dir", "x")
    assert ended.code == 3 and "knows no 'pul': did you mean pull?" in ended.err


def test_without_a_word_both_are_listed(run_stage):
    for words in ((), ("--help",)):
        ended = run_stage("review.verdicts.__main__", *words)
        assert ended.code == 0 and "push" in ended.out and "pull" in ended.out


def test_a_word_has_its_own_options(run_stage, monkeypatch):
    ended = run_stage("review.verdicts.__main__", "push", "--help")
    assert ended.code == 0 and "--sample" in ended.out and "--second" in ended.out
    ended = run_stage("review.verdicts.__main__", "pull", "--sample", "3")
    assert ended.code == 3 and "--sample" in ended.err
