"""The simulated raters against a real server: seven users, their own keys, a kill in between."""

import json
import random
import subprocess
import sys
from collections import Counter

import pytest

from examples.asdfg import dialogues, judging, panel, raters
from examples.asdfg.dialogues import Source
from examples.asdfg.wordings import BASE_SLIP_RATES, RULE_WORDINGS
from inhouse import argilla, config, run
from labeling.pairs import pairs_settings

SERVER = [sys.executable, "-m", "labeling.server"]
N_PAIRS = 30


@pytest.fixture
def credentials(tmp_path):
    """Run an embedded server of its own and return its credentials file."""
    folder = tmp_path / "argilla"
    where = ["--data_dir", str(folder)]
    subprocess.run([*SERVER, "start", *where, "--port", "0"], check=True, cwd=config.ROOT)
    yield folder / "credentials.json"
    subprocess.run([*SERVER, "stop", *where], check=True, cwd=config.ROOT)


def push(credentials, campaign, n):
    """Put pairs on the server as the push stage does, and say so in its manifest."""
    import argilla as rg

    client = argilla.connect(argilla.find_access(credentials))
    workspace = argilla.ensure_workspace(client, campaign.name)
    settings = pairs_settings("Compare.", sorted(RULE_WORDINGS), 3)
    dataset = argilla.ensure_dataset(client, "pairs-test", workspace, settings)
    rng = random.Random(1)
    records = []
    for number in range(n):
        messages, ask = dialogues.prompt(rng, Source())
        a, b = (dialogues.answer(rng, ask, BASE_SLIP_RATES).text for _ in "ab")
        fields = {"prompt": messages, "response_a": a, "response_b": b}
        records.append(rg.Record(id=f"pair-{number}", fields=fields, metadata={"topic": "x"}))
    argilla.push_records(dataset, records)
    (campaign / "push").mkdir(parents=True)
    named = {"metrics": {"workspace": campaign.name, "dataset": "pairs-test"}}
    (campaign / "push" / run.MANIFEST).write_text(json.dumps(named))
    return client, dataset


def answers(client, dataset):
    """Return (pair, user id) for every submitted answer on the server."""
    return [
        (record["external_id"], response["user_id"])
        for record in argilla.records_with_responses(client, dataset)
        for response in record["responses"]
    ]


@pytest.mark.slow
def test_panel_answers_with_own_keys_and_goes_on_after_a_kill(
    credentials, tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv("ARGILLA_API_URL", raising=False)
    monkeypatch.delenv("ARGILLA_API_KEY", raising=False)
    client, dataset = push(credentials, tmp_path / "mini", N_PAIRS)
    words = ["raters", "--run_dir", str(tmp_path / "mini"), "--credentials", str(credentials)]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(panel, "BULK", 4)
    submit = panel.submit

    def killed(client, responses, progress):
        submit(client, responses[:5], progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(panel, "submit", killed)
    with pytest.raises(KeyboardInterrupt):
        raters.main()
    begun = answers(client, dataset)
    assert 0 < len(begun) < 3 * N_PAIRS

    monkeypatch.setattr(panel, "submit", submit)
    raters.main()
    done = answers(client, dataset)
    assert set(begun) < set(done)
    assert set(Counter(pair for pair, _ in done).values()) == {3}
    users = {str(client.users(rater.user).id) for rater in judging.PANEL}
    assert len(users) == len(judging.PANEL) and {user for _, user in done} == users
    capsys.readouterr()
    with pytest.raises(run.UpToDate):
        raters.main()
    assert answers(client, dataset) == done
