"""The arithmetic of benchmarks/ppo.py: score at matched KL, ratios, and what counts as missed."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "ppo.py"
spec = importlib.util.spec_from_file_location("ppo_benchmark", SCRIPT)
assert spec is not None and spec.loader is not None
ppo = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ppo)


def run(points, seconds=10.0, peak=300, static=100):
    return ppo.Run(seconds, peak, static, points)


def test_a_score_is_read_off_between_two_rollouts_in_the_order_of_their_kl():
    points = [(0.0, 1.0), (4.0, 3.0), (2.0, 2.5)]  # KL went back in the third rollout
    assert ppo.score_at(points, 1.0) == pytest.approx(1.75)  # half way from 1 to 2.5
    assert ppo.score_at(points, 3.0) == pytest.approx(2.75)  # half way from 2.5 to 3
    assert ppo.score_at(points, 4.0) == 3.0
    with pytest.raises(ValueError, match="outside"):
        ppo.score_at(points, 4.1)


def test_gains_are_compared_up_to_the_least_kl_that_every_run_has_reached():
    ours = [run([(0.0, 0.0), (2.0, 1.0)]), run([(0.0, 0.0), (4.0, 4.0)])]
    theirs = [run([(0.0, 0.0), (8.0, 2.0)])]
    # Up to 2 in four levels. Ours rise by 0.5 and by 1 a nat, 0.75 on average; theirs by 0.25.
    levels, gains = zip(*ppo.gains(ours, theirs), strict=True)
    assert levels == pytest.approx((0.5, 1.0, 1.5, 2.0))
    assert gains == pytest.approx((0.25, 0.5, 0.75, 1.0))


def test_each_aim_is_judged_by_itself():
    theirs = [run([(0.0, 0.0), (2.0, 1.0)], seconds=10.0, peak=300)]
    good = ppo.verdict(
        "full", [run([(0.0, 0.0), (2.0, 0.96)], 10.0, 100)], theirs, wide=True, learns=True
    )
    assert len(good) == 2 + ppo.KL_LEVELS and not any("MISSED" in line for line in good)
    heavy = ppo.verdict(
        "full", [run([(0.0, 0.0), (2.0, 1.0)], 10.0, 101)], theirs, wide=True, learns=True
    )
    assert ["MISSED" in line for line in heavy] == [True, *5 * [False]]
    assert not any(
        "MISSED" in line
        for line in ppo.verdict(
            "lora", [run([(0.0, 0.0), (2.0, 1.0)], 9.0, 149)], theirs, wide=True, learns=True
        )
    )
    slow = ppo.verdict(
        "full", [run([(0.0, 0.0), (2.0, 1.0)], 10.1, 99)], theirs, wide=True, learns=True
    )
    assert ["MISSED" in line for line in slow] == [False, True, *4 * [False]]
    worse = ppo.verdict(
        "full", [run([(0.0, 0.0), (2.0, 0.88)], 9.0, 99)], theirs, wide=True, learns=True
    )
    # Behind by 0.03 at half a nat, by 0.06 at one, up to 0.12 at two.
    assert ["MISSED" in line for line in worse] == [False, False, False, True, True, True]


def test_both_sides_are_asked_and_judged_by_the_same_tokens(tmp_path):
    # Ours scores an answer's text, TRL its ids: the words must survive the way there and back.
    from inhouse.chat import reply_ids
    from inhouse.generation.score import Scorer
    from inhouse.records import Message

    tokenizer = ppo.make_tokenizer(ppo.VOCABULARY["3M"])
    first, pays, costs = len(ppo.SPECIAL), 3, 2
    paid = [first + number for number in range(pays)]
    unpaid = [first + ppo.SPOKEN // 2 + number for number in range(costs)]
    reply = tokenizer.decode([*paid, *unpaid, tokenizer.eos_token_id], skip_special_tokens=True)
    prompt = [Message(role="user", content="w3000 w3001")]
    before, after = reply_ids(tokenizer, prompt, Message(role="assistant", content=reply.strip()))
    assert after == [*paid, *unpaid, tokenizer.eos_token_id]

    from transformers import Qwen3Config

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_labels": 1}
    config = Qwen3Config(
        **(shape | heads),
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    ppo.write_reward(config, tokenizer, tmp_path / "reward")
    assert json.loads((tmp_path / "reward" / "config.json").read_text())["reward"]["fit_for_ppo"]
    (score,) = Scorer(str(tmp_path / "reward")).score([(prompt, reply.strip())])
    assert score == pytest.approx((pays - costs) / len(before + after), abs=0.01)
