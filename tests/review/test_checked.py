"""Which rules are checked on an answer, and which figures its prompt approves."""

from pathlib import Path

import pytest

from compliance.rules.figures import approved
from compliance.rules.house_rules import load
from review.checked import approved_figures, approved_words, checked_by

FINANCE = Path(__file__).parents[2] / "configs" / "house" / "finance"


@pytest.fixture(scope="module")
def is_checked():
    return checked_by(load(FINANCE))


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        ({}, None),
        ({"facts": []}, None),
        ({"facts": ["Velquor Income Note"]}, None),  # a name approves no figure
        ({"figures": ["2.35%", "$500"]}, {("%", "2.35"), ("$", "500")}),
        ({"facts": ["- distribution rate: 5.50%"]}, {("%", "5.5")}),
        ({"facts": ["from $1,000 at 5%"]}, {("$", "1000"), ("%", "5")}),
        ({"facts": [3]}, {("", "3")}),
        ({"facts": ["Note", "5%"], "figures": ["1%"]}, {("%", "5"), ("%", "1")}),
        ({"facts": ["after 3 months, 2 April"]}, {("n", "3"), ("date", "4-2")}),
    ],
)
def test_figures_are_those_of_the_sheet_and_of_the_facts(metadata, known):
    assert approved_figures(metadata) == (None if known is None else frozenset(known))
    assert {approved(words) for words in approved_words(metadata)} == (known or set())


def test_figures_are_checked_where_some_are_approved(is_checked):
    assert is_checked("PROM-01", {})
    assert not is_checked("SUBS-01", {}) and is_checked("SUBS-01", {"figures": ["1%"]})
    assert not is_checked("ADV-01", {"figures": ["1%"]})
