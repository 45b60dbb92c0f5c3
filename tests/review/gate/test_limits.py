"""What gate.yaml may say, and how a slip in it is told."""

import pytest

from inhouse.errors import InputError
from review.gate.limits import SHIPPED, find, read


def written(tmp_path, text):
    path = tmp_path / "gate.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_that_ships_asks_for_everything():
    limits = read(SHIPPED)
    assert limits.not_asked == []
    assert limits.violations.severity["blocker"] == 0.01
    # The bands of the compliance note.
    assert limits.memorisation.verbatim_extraction.least == 300
    assert limits.memorisation.tpr_at_1_fpr.model_dump() == {
        "passes": 0.02,
        "fails": 0.05,
        "least": 1000,
    }


def test_what_is_left_out_is_not_asked(tmp_path):
    limits = read(written(tmp_path, "empty_answers:\n  at_most: 0.1\n"))
    assert limits.violations is None and "red_team" in limits.not_asked
    assert "empty_answers" not in limits.not_asked


def test_a_campaign_without_a_file_of_its_own_takes_the_one_that_ships():
    assert find("no such campaign") == SHIPPED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("empty_answer:\n  at_most: 0.1\n", "line 1, empty_answer: .*did you mean empty_answers"),
        ("violations:\n  severity:\n    bloker: 0.1\n", "line 3, .*'blocker'.*found 'bloker'"),
        ("violations:\n  sevrity: {}\n", "line 2, violations.sevrity: .*did you mean severity"),
        ("helpfulness:\n  margin: 1.5\n", "line 2, helpfulness.margin: .*found 1.5"),
        ("helpfulness:\n  margin: yes\n", "helpfulness.margin"),
        ("confidence: 0.95\n", "asks for nothing"),
        ("[]\n", "expected keys"),
        (
            "memorisation:\n  membership_auc: {passes: 0.7, fails: 0.6, least: 9}\n",
            r"membership_auc: fails \(0.6\) is below passes",
        ),
    ],
)
def test_a_slip_is_told_with_its_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read(written(tmp_path, text))
