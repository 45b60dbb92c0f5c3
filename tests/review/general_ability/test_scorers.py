"""Every check against replies that were judged by hand."""

import time

import pytest

from review.general_ability.scorers import CHECKS, passes, split_sentences

CASES = [
    # number: the last one counts, thousands commas are read, text behind it is not.
    ("number", {"value": 2125}, "2,125", True),
    ("number", {"value": 2125}, "2125", True),
    ("number", {"value": 2125}, "The sum is **2,125**.", True),
    ("number", {"value": 2125}, "1,250 + 875 = 2,125 metres", True),
    ("number", {"value": 2125}, "2.125", False),
    ("number", {"value": 12}, "12, because 7 and 5 make it.", False),  # 5 is the last number
    ("number", {"value": 12}, "7 + 5 = 12", True),
    ("number", {"value": 12}, "12.0", True),
    ("number", {"value": 12}, "12 pencils.", True),
    ("number", {"value": 12}, "12km", True),
    ("number", {"value": 12}, "$12", True),
    ("number", {"value": 12}, "twelve", False),
    ("number", {"value": 12}, "", False),
    ("number", {"value": 12}, "112", False),
    ("number", {"value": -3}, "4 - 7 = -3", True),
    ("number", {"value": -3}, "4 − 7 = −3", True),
    ("number", {"value": 3}, "10-7=3", True),
    ("number", {"value": 7}, "10-7", True),  # a sign between two numbers is no sign of one
    ("number", {"value": 1.25}, "1.25", True),
    ("number", {"value": 0.5}, "It is .5", True),
    ("number", {"value": 0.1}, "0.1", True),  # no rounding of binary fractions
    ("number", {"value": 250}, "1,250", False),
    ("number", {"value": 4}, "1,2,3,4", True),
    # equals: case, punctuation and articles do not count, more words do.
    ("equals", {"values": ["white"]}, "White.", True),
    ("equals", {"values": ["white"]}, "**white**", True),
    ("equals", {"values": ["dog", "dogs"]}, "A dog", True),
    ("equals", {"values": ["white"]}, "White snow", False),
    ("equals", {"values": ["white"]}, "", False),
    ("equals", {"values": ["a"]}, "A.", True),  # an article alone is what was said
    # exact
    ("exact", {"text": "tea tea"}, " tea tea\n", True),
    ("exact", {"text": "tea tea"}, "Tea tea", False),
    # states: whole words, any of several, none that is forbidden.
    ("states", {"values": ["letter box"]}, "It was in the letter-box.", False),
    ("states", {"values": ["letter box"]}, "It was in the Letter Box.", True),
    ("states", {"values": ["eva"]}, "Evan owns it.", False),
    ("states", {"values": ["petra"]}, "Petra’s", True),
    ("states", {"values": ["eva"], "never": ["bruno"]}, "Eva", True),
    ("states", {"values": ["eva"], "never": ["bruno"]}, "Eva or Bruno", False),
    ("states", {"values": ["1874"]}, "In 1874.", True),
    ("states", {"values": ["3"]}, "13", False),
    # mentions and without
    ("mentions", {"words": ["lamp", "window"]}, "The window has a lamp.", True),
    ("mentions", {"words": ["lamp", "window"]}, "The windows have a lamp.", False),
    ("without", {"words": ["sun"]}, "The sunny sky.", True),
    ("without", {"words": ["sun"]}, "The sun's light.", False),
    ("without", {"words": ["sun"]}, "", False),
    # matches: the whole reply
    ("matches", {"pattern": "16:30\\.?"}, "16:30.\n", True),
    ("matches", {"pattern": "16:30\\.?"}, "At 16:30", False),
    # words
    ("words", {"at_least": 5, "at_most": 5}, "My aunt's well-known red onions.", True),
    ("words", {"at_least": 5, "at_most": 5}, "My aunt grows onions.", False),
    ("words", {"at_most": 3}, "one two three four", False),
    ("words", {"at_least": 1}, "- ...", False),
    # sentences
    ("sentences", {"count": 2}, "The dog sleeps. It dreams.", True),
    ("sentences", {"count": 2}, "The dog sleeps. It dreams", True),
    ("sentences", {"count": 2}, 'He said "Stop!" Then he left.', True),
    ("sentences", {"count": 1}, "It weighs 3.5 kg, i.e. as much as Mr. Sato's cat.", True),
    ("sentences", {"count": 2}, "Is it so?! No.", True),
    ("sentences", {"count": 2}, "First.\n\nSecond.", True),
    ("sentences", {"count": 1}, "Wait... what?", False),
    ("sentences", {"count": 1}, "", False),
    # lines and paragraphs
    ("lines", {"count": 3, "most_words": 2}, "Apple\n\nPear\nRed plum\n", True),
    ("lines", {"count": 3, "most_words": 2}, "Here they are now:\nPear\nPlum", False),
    ("lines", {"count": 3}, "Apple\nPear", False),
    ("paragraphs", {"count": 2}, "Warm.\n \nCold.", True),
    ("paragraphs", {"count": 2}, "Warm.\nCold.", False),
    ("paragraphs", {"count": 1}, "", False),
    # lists
    ("numbered", {"count": 2}, "1. A pot\n2) A pan", True),
    ("numbered", {"count": 2}, "1. A pot\n1. A pan", False),
    ("numbered", {"count": 2}, "A list:\n1. A pot\n2. A pan", False),
    ("numbered", {"count": 2}, "1. A pot\n2. A pan\n3. A jug", False),
    ("bulleted", {"count": 2}, "- Cow\n* Hen", True),
    ("bulleted", {"count": 2}, "-Cow\n-Hen", False),
    ("commas", {"count": 3, "most_words": 2}, "red, light blue, green.", True),
    ("commas", {"count": 3}, "red, blue and green", False),
    ("commas", {"count": 3}, "red, blue,", False),
    ("commas", {"count": 3}, "red,\nblue, green", False),
    # letters
    ("capitals", {}, "RIVER 12!", True),
    ("capitals", {}, "RIVER and sea", False),
    ("capitals", {}, "12!", False),
    ("small_letters", {}, "the rain.", True),
    ("small_letters", {}, "The rain.", False),
    # beginnings and ends
    ("starts", {"text": "Certainly"}, "\nCertainly, yes.", True),
    ("starts", {"text": "Certainly"}, "certainly, yes.", False),
    ("ends", {"text": "That is all."}, "Toast it. That is all.\n", True),
    ("ends", {"text": "That is all."}, "Toast it. That is all", False),
    # JSON, alone or in a fence, and nothing around it
    ("json_is", {"value": {"a": 1, "b": 2}}, '{"b": 2, "a": 1}', True),
    ("json_is", {"value": {"a": 1}}, '```json\n{"a": 1}\n```', True),
    ("json_is", {"value": {"a": 1}}, '```\n{"a": 1}\n```\n', True),
    ("json_is", {"value": {"a": 1}}, 'Here: {"a": 1}', False),
    ("json_is", {"value": {"a": 1}}, '```json\n{"a": 1}\n```\nDone.', False),
    ("json_is", {"value": {"a": 1}}, '{"a": "1"}', False),
    ("json_is", {"value": {"a": True}}, '{"a": 1}', False),
    ("json_is", {"value": {"a": 1}}, '{"a": 2, "a": 1}', False),  # a key twice is no JSON here
    ("json_is", {"value": []}, "nothing", False),
    ("json_is", {"value": [1, 2]}, "[2, 1]", False),
    ("json_keys", {"keys": ["town", "river"]}, '{"river": "Osk", "town": null}', True),
    ("json_keys", {"keys": ["town"]}, '{"town": "Velm", "river": "Osk"}', False),
    ("json_keys", {"keys": ["town"]}, '["town"]', False),
    # tables
    (
        "table",
        {"columns": ["Name", "Colour"], "rows": 1},
        "|Name|Colour|\n|:-|-:|\n|Ida|red|",
        True,
    ),
    (
        "table",
        {"columns": ["Name", "Colour"], "rows": 1},
        "Name | Colour\n---|---\nIda | red",
        True,
    ),
    (
        "table",
        {"columns": ["Name", "Colour"], "rows": 1},
        "|Name|Colour|\n|Ida|red|\n|Max|tan|",
        False,
    ),
    ("table", {"columns": ["Name", "Colour"], "rows": 1}, "|Name|\n|---|\n|Ida|", False),
    ("table", {"columns": ["Name"], "rows": 2}, "|Name|\n|---|\n|Ida|", False),
]


@pytest.mark.parametrize(("check", "parameters", "reply", "right"), CASES)
def test_a_check_reads_a_reply_as_a_reader_does(check, parameters, reply, right):
    assert CHECKS[check](reply, **parameters) is right


def test_every_check_is_tried_both_ways():
    assert {(name, right) for name, _, _, right in CASES} == {
        (name, right) for name in CHECKS for right in (True, False)
    }


def test_all_checks_of_an_item_must_hold():
    checks = [{"check": "capitals"}, {"check": "states", "values": ["breakfast"]}]
    assert passes("BREAKFAST.", checks)
    assert not passes("Breakfast.", checks) and not passes("LUNCH.", checks)


def test_sentences_are_parted_where_they_end():
    assert split_sentences("Dr. Lind left. (Why?) Nobody knows!") == [
        "Dr. Lind left.",
        "(Why?)",
        "Nobody knows!",
    ]


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_check_takes_the_longest_reply_in_little_time(name):
    parameters = next(p for check, p, _, _ in CASES if check == name)
    for text in ("a " * 20_000, "1,1" * 20_000, "." * 40_000, "\n" * 40_000, "1.\n \n" * 10_000):
        before = time.monotonic()
        CHECKS[name](text, **parameters)
        assert time.monotonic() - before < 5
