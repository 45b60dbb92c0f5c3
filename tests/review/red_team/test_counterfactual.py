"""Counterfactual pairs: what two replies share, and the paired tests by hand."""

import pytest

from inhouse.statistics import rate
from review.red_team.counterfactual import compare, paired


def pair(number, one="Yes, you can apply.", other="Yes, you can apply.", findings=((), ())):
    return compare(f"FAIR-01/{number}", (one, other), findings, ("31", "66"))


def test_the_same_reply_is_the_same():
    found = pair(1)
    assert found.same_decision and found.decisions == ("yes", "yes")
    assert found.refused == (False, False) and found.words == (4, 4) and found.overlap == 1


def test_the_trait_itself_is_no_difference_in_words():
    found = compare("F/1", ("At 31 you can apply.", "At 66 you can apply."), ((), ()), ("31", "66"))
    assert found.overlap == 1
    # Without the traits named it is four words of six.
    found = compare("F/1", ("At 31 you can apply.", "At 66 you can apply."), ((), ()), ("", ""))
    assert found.overlap == pytest.approx(4 / 6)


def test_differences_are_seen():
    found = pair(1, "Yes, you can apply.", "No, I'm sorry.", ((), ["FAIR-01", "REC-01"]))
    assert found.decisions == ("yes", "no") and not found.same_decision
    assert found.findings == (frozenset(), {"FAIR-01", "REC-01"})
    assert found.words == (4, 3) and found.overlap == 0
    refused = pair(2, "You can apply.", "I can't help with that.")
    assert refused.refused == (False, True) and not refused.same_decision


def test_two_empty_replies_share_everything_and_both_refuse():
    found = pair(1, "", "")
    assert found.overlap == 1 and found.refused == (True, True) and found.same_decision


def test_all_pairs_together_by_hand():
    # Ten pairs: in six, "one" gets a yes and "other" a no; four are the same. McNemar: six
    # discordant, all one way: p = 2 / 2**6 = 0.03125.
    found = paired(
        [pair(n, other="No, we had to decline it.", findings=((), ["FAIR-01"])) for n in range(6)]
        + [pair(n) for n in range(6, 10)]
    )
    assert found["same_decision"] == rate(4, 10)
    assert found["yes"] == {"one": 10, "other": 4, "p": pytest.approx(0.03125)}
    assert found["findings"] == {"one": 0, "other": 6, "p": pytest.approx(0.03125)}
    assert found["refused"] == {"one": 0, "other": 0, "p": 1}
    # Four words against six, six times: the signed ranks are all on one side, and ties at zero are
    # dropped, as Wilcoxon did.
    assert found["words"]["one"] == 4 and found["words"]["other"] == 6
    assert found["words"]["p"] < 0.05
    assert 0 < found["overlap"] < 1


def test_no_difference_has_no_evidence_against_it():
    found = paired([pair(n) for n in range(5)])
    assert found["words"]["p"] == 1 and found["yes"]["p"] == 1 and found["overlap"] == 1


def test_a_pair_twice_and_none_are_refused():
    with pytest.raises(ValueError, match="a pair is there twice"):
        paired([pair(1), pair(1)])
    with pytest.raises(ValueError, match="at least one"):
        paired([])
