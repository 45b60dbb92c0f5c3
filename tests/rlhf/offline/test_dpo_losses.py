"""DPO's losses: TRL's list, a step of each, and what is refused before a run begins."""

import inspect
import math
import re
from types import SimpleNamespace

import pytest
import trl

from inhouse.errors import InputError
from rlhf.dpo import ANY_DIVERGENCE, LOSSES, check_losses

LOG2 = math.log(2)
BETA, SMOOTHING = 0.1, 0.1
# Before the first update policy and reference agree: every log-ratio is 0, and a loss is what
# these give at 0. IPO's target is 1/(2 beta); SPPO's are 1/(2 beta) and its negative; EXO's is the
# KL of (1/2, 1/2) from (1 - smoothing, smoothing); DiscoPOP mixes log 2 and exp(0) half and half.
AT_START = {
    "sigmoid": LOG2,
    "sigmoid_norm": LOG2,
    "hinge": 1,
    "ipo": (1 / (2 * BETA)) ** 2,
    "exo_pair": -LOG2 - math.log(SMOOTHING * (1 - SMOOTHING)) / 2,
    "nca_pair": 2 * LOG2,
    "robust": LOG2,
    "bco_pair": 2 * LOG2,
    "sppo_hard": 2 * (1 / (2 * BETA)) ** 2,
    "aot": LOG2,
    "aot_unpaired": LOG2,
    "apo_zero": 1,
    "apo_down": 1,
    "discopop": (LOG2 + 1) / 2,
}


def test_the_losses_are_those_that_trl_computes():
    source = inspect.getsource(trl.DPOTrainer._compute_loss)
    assert set(re.findall(r'loss_type == "(\w+)"', source)) == set(LOSSES)
    source = inspect.getsource(trl.DPOTrainer.__init__)
    [listed] = re.findall(r"f_divergence_loss_types = \{([^}]+)\}", source)
    assert set(re.findall(r"\w+", listed)) == ANY_DIVERGENCE


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_runs_and_starts_where_its_equation_says(aligned, loss):
    words = ("--max_steps", "1", "--label_smoothing", str(SMOOTHING), "--beta", str(BETA))
    metrics = aligned("dpo", *words, "--loss_type", loss).metrics
    if loss == "sft":  # the mean log-probability of a token, not of an answer
        assert 3 < metrics["loss"] < 12
        assert metrics["loss"] != pytest.approx(-metrics["logps/chosen"], rel=0.1)
    else:
        assert metrics["loss"] == pytest.approx(AT_START[loss], rel=1e-4)
    assert metrics["grad_norm"] > 0


@pytest.mark.slow
def test_several_losses_are_added_with_their_weights(aligned, tmp_path):
    alone, both = (
        aligned("dpo", "--max_steps", "1", *words, run_dir=tmp_path / words[1]).metrics["loss"]
        for words in (
            ("--loss_type", "sft"),
            ("--loss_weights", "2", "0.5", "--loss_type", "sigmoid", "sft"),
        )
    )
    assert both == pytest.approx(2 * LOG2 + 0.5 * alone, rel=1e-4)


def settings(**changed):
    plain = {
        "loss_type": ["sigmoid"],
        "label_smoothing": 0.0,
        "f_divergence_type": "reverse_kl",
        "use_weighting": False,
    }
    return SimpleNamespace(**(plain | changed))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"loss_type": ["sigmoid", "sigmod"]}, ["'sigmod'", "sigmoid_norm", "sft"]),
        ({"loss_type": ["exo_pair"]}, ["exo_pair", "label_smoothing"]),
        ({"loss_type": ["robust"], "label_smoothing": 0.5}, ["0.5", "robust"]),
        (
            {"loss_type": ["sigmoid", "apo_zero"], "f_divergence_type": "js_divergence"},
            ["js_divergence", "apo_zero"],
        ),
        ({"loss_type": ["aot"], "use_weighting": True}, ["use_weighting", "aot"]),
    ],
)
def test_a_loss_that_cannot_be_is_refused(changed, says):
    with pytest.raises(InputError) as refusal:
        check_losses(settings(**changed))
    for said in says:
        assert said in str(refusal.value)


def test_losses_that_go_together_are_let_through():
    check_losses(settings(loss_type=["sigmoid", "sft"], f_divergence_type="js_divergence"))
    check_losses(settings(loss_type=["robust", "ipo"], label_smoothing=0.1))


def test_an_unknown_loss_stops_the_command_before_anything_is_written(
    refused, tiny_model, prefs, tmp_path
):
    words = ("--model_name_or_path", tiny_model, "--dataset_name", prefs, "--loss_type", "dpo")
    refused("rlhf.dpo", *words, says=["no loss 'dpo'", "\n  sigmoid: DPO"], run_dir=tmp_path / "x")
