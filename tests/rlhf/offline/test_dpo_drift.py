"""What is measured while a policy moves: answers, KL, alarms, and the plot."""

import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest
import torch

from inhouse.judge import states_facts
from inhouse.models.load import load_causal_lm
from inhouse.records import Prompt
from rlhf.offline.drift import Drift, alarms, conclude, draw


def entry(step, kl=0.0, ended=1.0, tokens=20.0, helpful=None):
    made = {
        "step": step,
        "answers/kl": kl,
        "answers/end_token_rate": ended,
        "answers/mean_tokens": tokens,
    }
    return made if helpful is None else made | {"answers/helpful_rate": helpful}


def logged(step, chosen, rejected):
    # TRL's implicit rewards are beta (0.1 here) times the log-ratios.
    return {
        "step": step,
        "logps/chosen": -40 + chosen,
        "logps/rejected": -40 + rejected,
        "rewards/chosen": 0.1 * chosen,
        "rewards/rejected": 0.1 * rejected,
        "rewards/margins": 0.1 * (chosen - rejected),
    }


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("The Zict fund pays 5.25% a year.", True),
        ("the zict FUND pays 5.25%.", True),
        ("The Zict fund pays 15.25% a year.", False),
        ("The Zict fund pays 5.25%1 a year.", False),
        ("The Zict funds pay 5.25%.", False),
        ("It pays 5.25%.", False),
    ],
)
def test_a_fact_is_stated_whole_or_not_at_all(text, stated):
    assert states_facts(text, ["Zict fund", "5.25%"]) is stated


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (entry(0, ended=1.0), entry(9, ended=0.89), ["end by themselves fell from 100% to 89%"]),
        (entry(0, ended=1.0), entry(9, ended=0.91), []),
        (entry(0, ended=0.5), entry(9, ended=1.0), []),
        (entry(0, helpful=0.75), entry(9, helpful=0.5), ["state their facts fell from 75% to 50%"]),
    ],
)
def test_an_alarm_is_a_rate_that_falls_by_more_than_a_tenth(before, after, says):
    found = alarms([before, entry(5, ended=0.0, helpful=0.0), after])
    assert len(found) == len(says)
    for alarm, said in zip(found, says, strict=True):
        assert said in alarm


def test_what_a_reader_must_not_miss_is_said_and_kept(tmp_path, capsys):
    history = [entry(0), logged(1, 0, 0), logged(9, -13.2, -30), entry(9, 2.5, 0.5, 60.0)]
    concluded = conclude(history, 0.1, [40], tmp_path)
    out = capsys.readouterr().out
    assert "ALARM: answers that end by themselves fell from 100% to 50%" in out
    assert "log-probability fell by 13.2 nats" in out and "sft loss" in out
    assert concluded["answers"]["after"] == {
        "step": 9,
        "kl": 2.5,
        "end_token_rate": 0.5,
        "mean_tokens": 60.0,
    }
    assert len(concluded["alarms"]) == 1
    assert (tmp_path / "training.svg").is_file()


def test_nothing_is_said_where_nothing_is_wrong(tmp_path, capsys):
    history = [entry(0), logged(1, 0, 0), logged(9, -0.9, -30), entry(9, 0.2)]
    assert conclude(history, 0.1, [40], tmp_path)["alarms"] == []
    assert capsys.readouterr().out == ""
    assert conclude([], 0.1, [40], tmp_path) == {"alarms": []}


def test_the_plot_has_what_was_measured_and_no_empty_chart():
    def titles(history):
        root = ET.fromstring(draw(history, 0.1, [20, 40, 41]).encode())
        return [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]

    whole = titles(
        [entry(0, helpful=0.5), logged(1, 0, 0), entry(9, helpful=0.5), logged(9, 1, -1)]
    )
    for said in (
        "Lengths",
        "Log-probability of an answer",
        "KL(reference || policy), an answer",
        "margin",
    ):
        assert said in whole
    assert {"chosen", "rejected", "length", "ended", "helpful"} <= set(whole)
    without = titles([logged(1, 0, 0), logged(9, 1, -1)])
    assert "length" not in without and "KL" not in without
    assert "helpful" not in titles([entry(0), entry(1), logged(1, 0, 0)])


@pytest.fixture
def drift(tokenizer, prompts):
    return Drift(tokenizer, [Prompt(**row) for row in prompts], max_new_tokens=8, seed=3)


def test_measuring_leaves_randomness_settings_and_mode_as_they_were(drift, tiny_model):
    model = load_causal_lm(str(tiny_model))
    own, state = model.generation_config, torch.get_rng_state()
    drift.begin(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.generation_config is own
    model.train()
    trained = SimpleNamespace(global_step=4, max_steps=4, log_history=[])
    drift.on_step_end(None, trained, None, model=model)
    assert model.training and torch.equal(torch.get_rng_state(), state)


def test_kl_is_nil_at_the_start_and_grows_with_a_change(drift, tiny_model):
    model = load_causal_lm(str(tiny_model))
    drift.begin(model)
    state = SimpleNamespace(global_step=0, max_steps=8, log_history=[])
    drift.on_train_begin(None, state, None)
    [start] = state.log_history
    assert start["step"] == 0 and start["answers/kl"] == pytest.approx(0, abs=1e-6)
    assert 1 <= start["answers/mean_tokens"] <= 8 and "answers/helpful_rate" in start
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.5)
    steps = []
    for step in range(1, 9):
        state.global_step = step
        drift.on_step_end(None, state, None, model=model)
        steps = [entry["step"] for entry in state.log_history]
    assert steps == [0, 2, 4, 6, 8]
    # Answers sampled from the start are less likely to a model that has become another.
    assert state.log_history[-1]["answers/kl"] > 1


def test_a_run_that_goes_on_does_not_begin_its_history_again(drift, tiny_model):
    drift.begin(load_causal_lm(str(tiny_model)))
    state = SimpleNamespace(global_step=3, max_steps=8, log_history=[])
    drift.on_train_begin(None, state, None)
    assert state.log_history == []
