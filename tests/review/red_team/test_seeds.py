"""The red team's seeds: what ships is whole and varied, and what is wrong in a file is refused."""

from collections import Counter
from pathlib import Path

import pytest

from compliance.rules.house_rules import load
from inhouse.errors import InputError
from review.red_team import seeds

ROOT = Path(__file__).parents[3]
FINANCE = ROOT / "configs" / "house" / "finance"


@pytest.fixture(scope="module")
def rules():
    return load(FINANCE)


@pytest.fixture(scope="module")
def shipped():
    return seeds.ours()


# --- what ships -------------------------------------------------------------------------------


def test_every_finance_rule_has_eight_to_twelve_seeds_with_a_twin_each(rules, shipped):
    counted = Counter(seed.rule for seed in shipped[0])
    assert set(counted) == {rule.id for rule in rules.rules} and len(counted) == 29
    assert all(8 <= number <= 12 for number in counted.values()), counted
    assert all(seed.twin and seed.twin != seed.ask for seed in shipped[0])


def test_ids_are_numbered_in_order_within_each_rule(shipped):
    seen: Counter[str] = Counter()
    for seed in shipped[0]:
        seen[seed.rule] += 1
        assert seed.id == f"{seed.rule}/{seen[seed.rule]:02}"


def test_no_text_stands_there_twice_and_none_names_the_fictional_firm(shipped):
    texts = [text for seed in shipped[0] for text in (seed.ask, seed.twin)]
    texts += [pair.question for pair in shipped[1]]
    assert len(set(texts)) == len(texts)
    assert not [text for text in texts if "asdfg" in text.lower()]


def test_seeds_differ_in_length_and_shape(shipped):
    lengths = sorted(len(seed.ask.split()) for seed in shipped[0])
    assert lengths[0] <= 8 and lengths[-1] >= 30
    assert sum(bool(seed.before) for seed in shipped[0]) >= 25
    assert sum(bool(seed.figures) for seed in shipped[0]) >= 5


def test_a_complaint_is_one_and_its_twin_is_none(rules, shipped):
    # COMP-01 looks at the prompt: a seed that does not wake it could never be found broken.
    complaints = [seed for seed in shipped[0] if seed.rule == "COMP-01"]
    bland = "We are sorry you feel that way."
    for seed in complaints:
        asked, twin = (
            {finding.rule for finding in rules.check(seed.with_last(text), bland)}
            for text in (seed.ask, seed.twin)
        )
        assert "COMP-01" in asked and "COMP-01" not in twin, seed.id


def test_what_an_assistant_said_before_breaks_no_rule(rules, shipped):
    said = [turn.content for seed in shipped[0] for turn in seed.before if turn.role == "assistant"]
    assert len(said) >= 20
    for text in said:
        assert rules.check([], text, turn="later") == [], text


def test_no_seed_of_a_rule_about_the_first_turn_has_turns_before(rules, shipped):
    for seed in shipped[0]:
        if rules.rule(seed.rule).scope == "first_turn":
            assert all(turn.role == "system" for turn in seed.before), seed.id


def test_pairs_are_many_and_differ_in_the_trait_alone(shipped):
    pairs = shipped[1]
    assert len(pairs) >= 24 and len({pair.trait for pair in pairs}) >= 9
    assert {pair.rule for pair in pairs} == {"FAIR-01"}
    for pair in pairs:
        one, other = (messages[-1].content for messages in pair.sides().values())
        assert one != other
        head, tail = pair.question.split(seeds.TRAIT)
        assert one == head + pair.one + tail and other == head + pair.other + tail


def test_no_pair_has_an_article_that_fits_one_side_only(shipped):
    for pair in shipped[1]:
        for article, wrong in ((" a {trait}", "aeiou"), (" an {trait}", "bcdfgklmnprstvwz")):
            if article in f" {pair.question}":
                for value in (pair.one, pair.other):
                    sounds_like_you = value.lower().startswith(("universal", "european"))
                    assert sounds_like_you or value[0].lower() not in wrong, pair.id


# --- a file that is read ----------------------------------------------------------------------


def written(tmp_path, text: str) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_with_every_key(tmp_path):
    text = """
seeds:
  - id: PROM-01/own
    system: You answer for a bank.
    turns:
      - user: Hello.
      - assistant: How can I help?
    figures: ["2.35%"]
    ask: Promise it.
    twin: What is it?
  - id: X-1/2
    ask: Do it.
pairs:
  - id: FAIR-01/age
    trait: age
    question: I am {trait}.
    one: "31"
    other: "66"
"""
    (one, bare), (pair,) = seeds.read(written(tmp_path, text))
    assert [(m.role, m.content) for m in one.with_last(one.ask)] == [
        ("system", "You answer for a bank."),
        ("user", "Hello."),
        ("assistant", "How can I help?"),
        ("user", "Promise it."),
    ]
    assert (one.rule, one.figures, one.twin) == ("PROM-01", ("2.35%",), "What is it?")
    assert (bare.rule, bare.twin, bare.before) == ("X-1", "", ())
    assert {side: m[-1].content for side, m in pair.sides().items()} == {
        "one": "I am 31.",
        "other": "I am 66.",
    }


SEED = "seeds:\n  - id: PROM-01/1\n    ask: Promise it.\n"
PAIR = (
    "pairs:\n  - id: F/1\n    trait: age\n    question: I am {trait}.\n    one: x\n    other: y\n"
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (SEED + "    twinn: What?\n", 4, "twinn: there is no such key; did you mean twin?"),
        ("seed:\n  - id: A/1\n", 1, "did you mean seeds?"),
        ("seeds:\n  - id: A/1\n    twin: What?\n", 2, "ask: is missing"),
        ("seeds:\n  - ask: Do it.\n", 2, "id: is missing"),
        (SEED + "  - id: PROM-01/1\n    ask: Again.\n", 4, "stands already in"),
        (SEED.replace("Promise it.", '" "'), 3, "ask: is empty"),
        (SEED.replace("Promise it.", "12"), 3, "put it in quotes"),
        (SEED.replace("PROM-01/1", "PROM-01"), 2, "is no id"),
        (SEED.replace("PROM-01/1", "PROM-01/a b"), 2, "is no id"),
        (SEED + "    figures: 5%\n", 4, "figures: expected a list"),
        (SEED + "    turns:\n      - assistant: Hello.\n", 5, "expected user:"),
        (SEED + "    turns:\n      - user: Hello.\n", 4, "the last turn is the user's"),
        (SEED + "    turns:\n      - user: ''\n      - assistant: Hi.\n", 5, "is empty"),
        ("seeds: Promise it.\n", 1, "seeds: expected a list"),
        ("seeds:\n  - Promise it.\n", 2, "expected keys and values"),
        ("- Promise it.\n", 1, "expected the keys seeds: and pairs:"),
        (SEED + "    ask: Twice.\n", 4, "duplicate key"),
        (PAIR.replace("{trait}", "old"), 4, "names no {trait}"),
        (PAIR.replace("other: y", "other: x"), 6, "is what one: says, too"),
        (PAIR.replace("    trait: age\n", ""), 2, "trait: is missing"),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path, text, line, words):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as refused:
        seeds.read(path)
    assert f"{path}, line {line}" in str(refused.value)
    assert words in str(refused.value)


def test_a_file_without_a_seed_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no seed"):
        seeds.read(written(tmp_path, "seeds: []\n"))
