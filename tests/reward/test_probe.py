"""What should not matter: length by hand, paraphrases, and an invariance that can fail.

The best-of-n curve: exact expectations, a judge that is never trained on, bad names.
"""

import itertools
import math

import numpy as np
import pytest

from inhouse.chat import reply_ids
from inhouse.errors import InputError
from inhouse.generation.score import Calibration, Scored, Scorer, template_hash
from inhouse.judge import find_judge
from inhouse.models.load import new_reward_model, save_model
from inhouse.records import Message, Preference
from reward.probe import curve, invariance, length_bias, paraphrase, table
from reward.split import Pair


def scored(value: float) -> Scored:
    return Scored(value, (value,), 0.0, 1.0, False)


def pair_of(chosen: int, rejected: int) -> Pair:
    record = Preference(
        prompt=[Message(role="user", content="q")],
        chosen=[Message(role="assistant", content="a")],
        rejected=[Message(role="assistant", content="b")],
    )
    return Pair(record, {"chosen_ids": [1] * chosen, "rejected_ids": [1] * rejected}, {})


def bias(scores: list[float], lengths: list[tuple[int, int]]) -> dict:
    pairs = [pair_of(*both) for both in lengths]
    return length_bias(pairs, [scored(s) for s in scores], [scored(0.0) for _ in scores])


def test_length_bias_by_hand():
    # Score differences 1, -1, 2, -2 with length differences 10, -10, 20, -20: score is length, and
    # neither has to do with which answer is preferred.
    found = bias([1.0, -1.0, 2.0, -2.0], [(20, 10), (10, 20), (30, 10), (10, 30)])
    assert found["partial_correlation"] == pytest.approx(1.0)
    assert (found["shorter_won"]["rate"], found["longer_won"]["rate"]) == (0.0, 1.0)


def test_a_preference_that_goes_with_length_is_held_fixed():
    # Every chosen answer is longer by about 10 and scores higher by about 1, and what is left of
    # both over that is unrelated: r_sl is high, and the partial correlation is 0.
    scores, lengths = [1.1, 0.9, 1.1, 0.9], [(21, 10), (21, 10), (19, 10), (19, 10)]
    differences = np.array(scores), np.array([a - b for a, b in lengths], float)
    s, n = (np.concatenate([d, -d]) for d in differences)
    assert np.corrcoef(s, n)[0, 1] > 0.98
    assert bias(scores, lengths)["partial_correlation"] == pytest.approx(0.0, abs=1e-9)


def test_answers_of_one_length_say_nothing_of_length():
    found = bias([1.0, 2.0], [(10, 10), (10, 10)])
    assert found == {"partial_correlation": None, "shorter_won": None, "longer_won": None}


def test_a_paraphrase_says_the_same_otherwise():
    assert paraphrase("We will help. It is not a fee.") == "We’ll assist.\nIt isn’t a fee."
    assert paraphrase("Yes") == "Yes"


@pytest.fixture
def scorer(tiny_model, tokenizer):
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0, heads=2)
    return Scorer.around(model.eval(), tokenizer, Calibration.none(2, template_hash(tokenizer)))


def pairs_of(scorer, preferences):
    for row in preferences:
        record = Preference(**row)
        rows = {}
        for side in ("chosen", "rejected"):
            prompt, reply = reply_ids(scorer.tokenizer, record.prompt, getattr(record, side)[0])
            rows[f"{side}_ids"] = prompt + reply
        yield Pair(record, rows, {})


def together(scorer, pairs) -> list[float]:
    rows = [ids for pair in pairs for ids in pair.row.values()]
    return [scored.score for scored in scorer.assess_rows(rows)]


def test_scores_do_not_move_with_padding_or_neighbours(scorer, preferences):
    pairs = list(pairs_of(scorer, preferences[:6]))
    found = invariance(scorer, pairs, together(scorer, pairs))
    assert found["pairs"] == 6
    assert found["padding"] < 1e-5 and found["batch"] < 1e-5
    assert found["paraphrase"]["moved"] > 0  # "It is 3%." and the line break after it
    assert found["paraphrase"]["order_kept"]["n"] == 6


def test_a_model_that_sees_padding_is_found_out(scorer, preferences):
    pairs = list(pairs_of(scorer, preferences[:6]))
    scores = together(scorer, pairs)
    real = scorer.model.base_model.forward

    def noisy(input_ids, **options):
        out = real(input_ids=input_ids, **options)
        out.last_hidden_state = out.last_hidden_state + 0.01 * input_ids.shape[1]
        return out

    scorer.model.base_model.forward = noisy
    assert invariance(scorer, pairs, scores)["padding"] > 1e-3


# --- climbing it ---------------------------------------------------------------------------------


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
