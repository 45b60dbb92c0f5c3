"""The composed reward: what counts, what it is worth, and that a blocker is never outweighed."""

import math
import sys
from pathlib import Path

import pytest

from inhouse.errors import InputError
from inhouse.generation.score import Scored, Scorer
from inhouse.models.load import new_reward_model, save_model
from inhouse.records import Message
from rlhf.online.rewards import Reward, Rewards, averages, read

ROOT = Path(__file__).parents[3]
ASK = [Message(role="user", content="What is it?")]
RULES = """
house: Test
rules:
  - {id: B-1, title: No promise, severity: blocker, kind: existence, match: ['guaranteed'],
     fix: none, bad: [It is guaranteed.], good: [It may fall.]}
  - {id: M-1, title: No superlatives, severity: major, kind: existence, match: ['best'],
     fix: none, bad: [The best fund.], good: [A fund.]}
  - {id: T-1, title: No slang, group: tone, severity: minor, kind: existence, match: ['gonna'],
     fix: none, bad: [We are gonna pay.], good: [We will pay.]}
"""
WEIGHTS = """
weights: {learned: 2.0, rules: 1.0, tone: 0.5}
costs: {blocker: 3.0, major: 1.0, minor: 0.5, advisory: 0.2}
limit: 3.0
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def written(folder: Path, text: str = WEIGHTS) -> Path:
    path = folder / "rewards.yaml"
    path.write_text(text)
    return path


def scored(value: float, abstained: bool = False) -> Scored:
    return Scored(value, (value,), 0.0, 0.9, abstained)


def composed(tmp_path, rules, text: str, learned: dict[str, Scored]) -> Rewards:
    """The composition with a learned part that says what the test wants."""
    composition = read(written(tmp_path, text))
    from compliance.rules.house_rules import load

    return Rewards(
        composition, load(rules), lambda texts: [learned[reply] for _, reply in texts], {}
    )


# --- what an answer earns ---------------------------------------------------------------------


def test_the_total_is_the_weighted_sum_of_the_parts(tmp_path, rules):
    replies = {
        "Fine.": scored(1.5),
        "The best, the very best.": scored(-0.5),
        "The best is gonna come.": scored(10.0, abstained=True),
    }
    rewards = composed(tmp_path, rules, WEIGHTS, replies)
    plain, best, cut = rewards.score([(ASK, reply) for reply in replies])
    assert plain == Reward(3.0, {"learned": 1.5, "rules": 0.0, "tone": 0.0}, False, False)
    # 2 · -0.5, and the rule that is broken twice costs 1 once
    assert best == Reward(-2.0, {"learned": -0.5, "rules": -1.0, "tone": 0.0}, False, False)
    # 10 is cut off at 3: 2 · 3 - 1 - 0.5 · 0.5; the part is kept as it was measured
    assert cut.total == pytest.approx(4.75) and cut.parts["learned"] == 10.0
    assert cut.abstained and not cut.blocked


@pytest.mark.parametrize("weight", [1e-300, 1e-9, 1.0, 1e9, 1e300])
@pytest.mark.parametrize("limit", [1e-6, 3.0, 1e6])
def test_a_blocker_is_never_outweighed(tmp_path, rules, weight, limit):
    text = (
        f"weights: {{learned: {weight!r}, rules: 1.0, tone: 1.0e-3}}\n"
        "costs: {blocker: 1.0e-9, major: 1.0e9, minor: 1.0e9, advisory: 1.0}\n"
        f"limit: {limit!r}\n"
    )
    worst = "The best is gonna come."
    replies = {"It is guaranteed.": scored(1.7e308), worst: scored(-1.7e308)}
    rewards = composed(tmp_path, rules, text, replies)
    blocked, unblocked = rewards.score([(ASK, reply) for reply in replies])
    assert blocked.blocked and not unblocked.blocked
    assert math.isfinite(blocked.total) and blocked.total < unblocked.total
    assert blocked.total == rewards.blocked_total < rewards.lowest_total


def test_house_rules_block_even_where_they_have_no_weight(tmp_path, rules):
    text = "weights: {learned: 1}\ncosts: {blocker: 3, major: 1, minor: 1, advisory: 1}\nlimit: 3\n"
    rewards = composed(tmp_path, rules, text, {"It is guaranteed.": scored(3.0)})
    (found,) = rewards.score([(ASK, "It is guaranteed.")])
    assert found.blocked and found.total == -4.0 and found.parts == {"learned": 3.0}


def test_what_a_trainer_logs_are_means():
    batch = [
        Reward(1.0, {"learned": 2.0, "tone": -0.5}, False, True),
        Reward(-4.0, {"learned": 0.0, "tone": 0.0}, True, False),
    ]
    assert averages(batch) == {
        "reward/total": -1.5,
        "reward/learned": 1.0,
        "reward/tone": -0.25,
        "reward/blocked": 0.5,
        "reward/abstained": 0.5,
    }


def test_the_learned_part_is_the_models_normalised_score(tiny_model, tokenizer, rules, tmp_path):
    folder = tmp_path / "reward"
    model = new_reward_model(str(tiny_model), dtype="float32", seed=0)
    save_model(model, tokenizer, folder)
    rewards = Rewards.load(written(tmp_path), folder, rules)
    texts = [(ASK, "Fine."), (ASK, "Good day to you.")]
    expected = Scorer(str(folder)).score(texts)
    assert [found.parts["learned"] for found in rewards.score(texts)] == pytest.approx(expected)
    assert rewards.score([]) == []


# --- a firm's own part ------------------------------------------------------------------------


@pytest.fixture
def plugged_in(tmp_path, monkeypatch):
    """An installed package with an entry point, as a firm would ship one."""
    site = tmp_path / "site"
    info = site / "acme-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[inhouse.rewards]\nbrevity = acme_parts:brevity\nbroken = acme_parts:broken\n"
        "short = acme_parts:short\n"
    )
    (site / "acme_parts.py").write_text(
        "def brevity(texts):\n    return [-len(reply.split()) / 2 for _, reply in texts]\n"
        "def broken(texts):\n    return [0.0 if n else float('nan') for n in range(len(texts))]\n"
        "def short(texts):\n    return [0.0]\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("acme_parts", None)


COSTS = "costs: {blocker: 3, major: 1, minor: 1, advisory: 1}\nlimit: 3\n"


def test_a_firms_own_part_counts_once_it_has_a_weight(plugged_in, tmp_path):
    rewards = Rewards.load(written(tmp_path, "weights: {brevity: 4.0}\n" + COSTS))
    texts = [(ASK, "Two words."), (ASK, "Nine words, that is to say, a few more.")]
    one, many = rewards.score(texts)
    assert one == Reward(-4.0, {"brevity": -1.0}, False, False)
    assert many.parts == {"brevity": -4.5} and many.total == -12.0  # cut off at 3


@pytest.mark.parametrize(
    ("part", "says"), [("broken", "'broken' is nan for 1 of 2"), ("short", "1 numbers for 2")]
)
def test_a_part_that_is_no_number_for_every_answer_is_refused(plugged_in, tmp_path, part, says):
    rewards = Rewards.load(written(tmp_path, f"weights: {{{part}: 1.0}}\n" + COSTS))
    with pytest.raises(InputError, match=says):
        rewards.score([(ASK, "One."), (ASK, "Two.")])


def test_a_part_that_nobody_provides_is_refused_with_those_that_are(plugged_in, tmp_path):
    path = written(tmp_path, "weights: {brevitty: 1.0}\n" + COSTS)
    with pytest.raises(InputError, match=r"'brevitty'.*learned, rules, tone, brevity"):
        Rewards.load(path)


# --- what is refused --------------------------------------------------------------------------


def test_the_shipped_composition_loads():
    assert set(read(ROOT / "configs" / "rewards.yaml").weights) == {"learned", "rules", "tone"}


def test_a_learned_part_needs_a_model_and_rules_need_a_file(tmp_path, rules):
    path = written(tmp_path)
    with pytest.raises(InputError, match="python -m reward"):
        Rewards.load(path, None, rules)
    with pytest.raises(InputError, match="--house_rules"):
        Rewards.load(written(tmp_path, "weights: {tone: 1}\n" + COSTS))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n", "expected the keys weights, costs, limit"),
        ("weights: {tone: 1}\n" + COSTS + "limits: 3\n", r"line 4, limits: .*known keys"),
        ("weights: {tone: 0}\n" + COSTS, "line 1, weights.tone: .*greater than 0"),
        ("weights: {tone: -1}\n" + COSTS, "greater than 0"),
        ("weights: {tone: .nan}\n" + COSTS, "weights.tone"),
        ("weights: {tone: .inf}\n" + COSTS, "weights.tone: .*finite"),
        ("weights: {tone: true}\n" + COSTS, "weights.tone: .*number"),
        ("weights: {}\n" + COSTS, "at least 1"),
        ("weights: {tone: 1}\ncosts: {major: 1}\nlimit: 3\n", "costs has major; it must have"),
        (
            "weights: {tone: 1}\ncosts: {blocker: 1, major: 1, minor: 1, advisory: 1, small: 1}\n"
            "limit: 3\n",
            "and nothing else",
        ),
        ("weights: {tone: 1.0e308, rules: 1.0e308}\n" + COSTS, "beyond what numbers hold"),
    ],
)
def test_a_file_that_is_not_in_the_schema_is_refused(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        read(written(tmp_path, text))
