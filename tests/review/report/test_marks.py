"""Marks: each piece names the rules it breaks, and an excerpt keeps what is marked."""

import pytest

from review.report.marks import excerpt, of_all, segments
from tests.review.report.said import output


def pieces(text: str, *spans):
    return segments(text, output(text, spans=spans).findings)


def test_an_answer_without_findings_is_one_piece():
    assert pieces("Fine.") == [("Fine.", [])]


def test_a_finding_is_cut_out():
    expected = [("It is ", []), ("free", ["F"]), (".", [])]
    assert pieces("It is free.", ("F", 6, 10)) == expected


def test_findings_that_overlap_are_both_named_where_they_do():
    # abcdefgh: one over b-e, another over d-g.
    assert pieces("abcdefgh", ("ONE", 1, 5), ("TWO", 3, 7)) == [
        ("a", []),
        ("bc", ["ONE"]),
        ("de", ["ONE", "TWO"]),
        ("fg", ["TWO"]),
        ("h", []),
    ]


def test_a_finding_within_another_and_one_over_all():
    found = pieces("abcd", ("ALL", 0, 4), ("IN", 1, 2))
    assert found == [("a", ["ALL"]), ("b", ["ALL", "IN"]), ("cd", ["ALL"])]


def test_two_findings_of_one_rule_at_one_place_name_it_once():
    found = pieces("abcdef", ("P", 0, 5), ("P", 2, 5))
    assert found == [("ab", ["P"]), ("cde", ["P"]), ("f", [])]


@pytest.mark.parametrize("spans", [[("A", 0, 0)], [("A", 3, 3), ("B", 1, 4)], [("A", 0, 0)] * 2])
def test_pieces_put_together_are_the_answer(spans):
    text = "ab😀\ncd"
    assert "".join(piece for piece, _ in pieces(text, *spans)) == text


def test_a_finding_of_the_whole_answer_is_told_from_one_in_it():
    text = "It is free."
    whole, part = output(text, spans=[("TONE-03", 0, 11), ("FEE-01", 6, 10)]).findings
    assert of_all(whole, text) and not of_all(part, text)


def test_an_excerpt_keeps_the_first_finding_and_says_what_is_left_out():
    text = "x" * 500 + "guaranteed" + "y" * 500
    findings = output(text, spans=[("PROM-01", 500, 510)]).findings
    part = excerpt(text, findings, 90)
    # A third of the 90 characters stands before what is marked.
    assert (part.start, len(part.text), part.before, part.behind) == (470, 90, True, True)
    assert ("guaranteed", ["PROM-01"]) in segments(part.text, findings, part.start)


def test_a_short_text_is_whole_and_a_finding_at_the_end_is_kept():
    assert excerpt("short", [], 5) == ("short", 0, False, False)
    text = "x" * 95 + "free."
    part = excerpt(text, output(text, spans=[("F", 95, 99)]).findings, 20)
    assert part == (text[80:], 80, True, False)


def test_a_finding_outside_of_an_excerpt_is_not_marked_in_it():
    text = "free " + "x" * 200 + " free"
    findings = output(text, spans=[("F", 0, 4), ("F", 206, 210)]).findings
    part = excerpt(text, findings, 20)
    assert [piece for piece, broken in segments(part.text, findings, part.start) if broken] == [
        "free"
    ]
