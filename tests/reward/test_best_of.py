"""The best-of-n curve: exact expectations, a judge that is never trained on, bad names."""

import itertools
import math

import numpy as np
import pytest

from inhouse.errors import InputError
from inhouse.generation.score import Scorer
from inhouse.judge import find_judge
from inhouse.models.load import new_reward_model, save_model
from inhouse.records import Message
from reward.best_of import curve, table


def longer(prompt, a: str, b: str) -> float:
    """A judge that likes long answers."""
    return 0.5 if len(a) == len(b) else float(len(a) > len(b))


def test_the_expected_best_is_that_over_all_subsets():
    proxies = np.array([[0.3, -1.0, 2.0, 0.9]])
    wins = np.array([[0.1, 0.9, 0.4, 0.6]])
    for row in table(proxies, wins, judged=True):
        subsets = list(itertools.combinations(range(4), row["n"]))
        best = [max(subset, key=lambda at: proxies[0, at]) for subset in subsets]
        assert row["proxy"] == pytest.approx(np.mean([proxies[0, at] for at in best]))
        assert row["judge"] == pytest.approx(np.mean([wins[0, at] for at in best]))
        assert row["kl"] == pytest.approx(math.log(row["n"]) - (row["n"] - 1) / row["n"])
    assert [row["n"] for row in table(proxies, wins, judged=True)] == [1, 2, 4]
    assert table(proxies, wins, judged=False)[0]["judge"] is None


def test_a_curve_climbs_the_scorer_and_starts_level_for_the_judge(tiny_model, tokenizer, tmp_path):
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0)
    save_model(model, tokenizer, tmp_path / "reward")
    prompts = [[Message(role="user", content=f"What is fee {n}?")] for n in range(3)]
    found = curve(
        Scorer(str(tmp_path / "reward")),
        str(tiny_model),
        prompts,
        longer,
        n=4,
        max_new_tokens=6,
        seed=0,
    )
    proxies = [row["proxy"] for row in found]
    assert proxies == sorted(proxies) and proxies[0] < proxies[-1]
    assert found[0]["judge"] == pytest.approx(0.5)  # any answer against another
    assert all(0 <= row["judge"] <= 1 for row in found)


@pytest.mark.parametrize("name", ["nowhere:f", "math:nothing", "math", ":f", "math:", "math:pi"])
def test_a_judge_that_is_no_function_is_refused(name):
    with pytest.raises(InputError, match="judge is"):
        find_judge(name)


def test_a_judge_is_found_by_its_dotted_name():
    assert find_judge("math:hypot") is math.hypot
