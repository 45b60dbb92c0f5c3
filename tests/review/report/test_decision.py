"""The gate's criteria in words: what matters first, what is alike on one line."""

import pytest

from review.bands import FAIL, NOT_ENOUGH, PASS
from review.report import decision


def criterion(name: str, answer: str = PASS, reason: str = "why", **changes) -> dict:
    made = {"name": name, "answer": answer, "reason": reason, "limit": None, "measured": {}}
    return made | {"more": None, "unit": "prompts"} | changes


def test_families_count_their_answers_and_have_the_worst_of_them():
    found = decision.families(
        [
            criterion("violations: any rule"),
            criterion("violations: PROM-01", FAIL),
            criterion("violations: PROM-02", NOT_ENOUGH),
            criterion("noise floor"),
        ]
    )
    assert [(each.name, each.answer) for each in found] == [
        ("violations", FAIL),
        ("noise floor", PASS),
    ]
    assert found[0].told == "1 fail, 1 not enough evidence, 1 pass"


def test_rules_of_which_the_same_is_said_stand_on_one_line():
    lines = decision.lines(
        [
            criterion("red team: PROM-01", NOT_ENOUGH, "no attack seeds"),
            criterion("red team: REC-01", NOT_ENOUGH, "no attack seeds"),
            criterion("red team: FEE-01", NOT_ENOUGH, "another reason"),
            criterion("violations: FEE-01", NOT_ENOUGH, "no attack seeds"),
            criterion("violations: PERF-01", PASS, "no attack seeds"),
        ],
        NOT_ENOUGH,
        {"FEE-01": "Free"},
    )
    assert [(line.family, line.of) for line in lines] == [
        ("red team", "PROM-01, REC-01"),
        ("red team", "FEE-01 Free"),
        ("violations", "FEE-01 Free"),
    ]


@pytest.mark.parametrize(
    ("measured", "limit", "words"),
    [
        ({"failures": 2, "n": 300, "rate": 2 / 300, "high": 0.0208}, 0.01,
         ("2 of 300 prompts: 0.67 %, at most 2.1 %", "at most 1 %")),
        ({"failures": 0, "n": 0}, 0.01, ("nothing", "at most 1 %")),
        ({}, None, ("nothing", "–")),
        ({"change": -0.02, "low": -0.04, "high": 0.001, "gained": 2, "lost": 8, "n": 300}, -0.05,
         ("−2 % (−4 % to +0.1 %), 300 prompts", "not lower by 5 %")),
        ({"change": 0.2, "p": 1e-9, "gained": 61, "lost": 1, "n": 300, "noise_floor": 0.02}, 0.02,
         ("+20.0 % (61 better, 1 worse of 300 prompts)", "more than 2 % better")),
        ({"value": 0.59, "n": 1123}, {"passes": 0.55, "fails": 0.65, "least": 412},
         ("0.59 (1,123 prompts)", "passes up to 0.55, fails above 0.65")),
        ({"rules": 10, "p_holm": {}}, None, ("10 rules", "–")),
        ({"seeds": [0, 1], "tests": 44, "significant": 0.0}, 0.0,
         ("44 tests of two seeds", "at most 0.0 %")),
    ],
)  # fmt: skip
def test_what_was_measured_and_what_is_asked(measured, limit, words):
    made = criterion("x", measured=measured, limit=limit)
    assert (decision.measured(made), decision.limit(made)) == words


def test_of_many_rules_only_the_ids_are_given():
    names = [f"R-{number}" for number in range(4)]
    made = [criterion(f"red team: {name}", FAIL) for name in names]
    (line,) = decision.lines(made, FAIL, dict.fromkeys(names, "Title"))
    assert line.of == "R-0, R-1, R-2, R-3"


def test_how_many_more_would_do():
    assert decision.more(criterion("x", more=5788)) == "5,788 more prompts"
    assert decision.more(criterion("x")) == ""


def test_a_headline_does_not_say_its_answer_twice():
    gate = {"answer": FAIL, "headline": "fail: 1 of 3 criteria fail (violations: PROM-01)"}
    assert decision.headline(gate) == "1 of 3 criteria fail (violations: PROM-01)"


def test_a_command_in_a_message_is_code_and_text_stays_text():
    assert decision.in_code("run `python -m x` <b>") == "run <code>python -m x</code> &lt;b&gt;"
