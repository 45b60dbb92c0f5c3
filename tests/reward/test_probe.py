"""What should not matter: length by hand, paraphrases, and an invariance that can fail."""

import numpy as np
import pytest

from inhouse.chat import reply_ids
from inhouse.generation.score import Calibration, Scored, Scorer, template_hash
from inhouse.models.load import new_reward_model
from inhouse.records import Message, Preference
from reward.probe import invariance, length_bias, paraphrase
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
