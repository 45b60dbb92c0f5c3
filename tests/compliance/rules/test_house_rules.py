"""House rules: what a rule finds, where, and what does not load."""

import copy
import re
from pathlib import Path

import pytest

from compliance.rules.checkers import MOST
from compliance.rules.house_rules import guidelines, load
from inhouse.errors import InputError
from inhouse.records import Message

ROOT = Path(__file__).parents[3]
PROMPT = [Message(role="user", content="q")]
RULE = {
    "id": "R-1",
    "title": "No promises",
    "group": "compliance",
    "severity": "major",
    "kind": "existence",
    "match": ["guarantee[sd]?"],
    "fix": "Promise nothing.",
    "bad": ["It is guaranteed."],
    "good": ["It may fall."],
}
NEEDS = {
    **RULE,
    "id": "R-2",
    "kind": "requires",
    "match": ["last year"],
    "requires": ["past performance"],
    "bad": ["It rose last year."],
    "good": ["It rose last year; past performance is no guide."],
}


@pytest.fixture
def rules(tmp_path):
    """Load rules that a test gives as dicts."""
    from ruamel.yaml import YAML

    def build(*given: dict):
        path = tmp_path / "rules.yaml"
        YAML().dump({"house": "Test", "rules": list(given)}, path)
        return load(path)

    return build


def changed(rule: dict, **values) -> dict:
    made = {**rule, **values}
    return {key: value for key, value in made.items() if value is not ...}


@pytest.fixture
def fault(rules):
    def run(*given: dict) -> str:
        with pytest.raises(InputError) as refusal:
            rules(*given)
        return str(refusal.value)

    return run


# --- what is found ----------------------------------------------------------------------------


def test_a_finding_says_rule_severity_and_place(rules):
    (found,) = rules(RULE).check(PROMPT, "Nothing is GUARANTEED here.")
    assert (found.rule, found.severity, found.text) == ("R-1", "major", "GUARANTEED")
    assert (found.start, found.end) == (11, 21)


@pytest.mark.parametrize("before", ["€", "é" * 7, "😀 ", "日本語、", "a\u0301", "\r\n\t", "\u2028"])
def test_offsets_count_characters_not_bytes(rules, before):
    # re2 works on bytes: an offset in bytes would mark the wrong words in a report.
    text = f"{before}it is guaranteed, {before}and guarantees help."
    found = rules(RULE).check(PROMPT, text)
    assert [text[f.start : f.end] for f in found] == ["guaranteed", "guarantees"]
    assert [f.text for f in found] == ["guaranteed", "guarantees"]


def test_an_exemption_must_cover_the_match(rules):
    rule = changed(RULE, unless=["not guaranteed", "is"])
    assert rules(rule).check(PROMPT, "It is not guaranteed.") == []
    assert len(rules(rule).check(PROMPT, "Not guaranteed? It is guaranteed.")) == 1


def test_a_rule_may_ask_what_the_exchange_is_about(rules):
    loaded = rules(changed(RULE, about=["funds?"], bad=["The fund is guaranteed."]))
    assert loaded.check(PROMPT, "A new card is guaranteed.") == []
    assert len(loaded.check(PROMPT, "That fund is guaranteed.")) == 1
    asked = [Message(role="user", content="Is the fund safe?")]
    assert len(loaded.check(asked, "It is guaranteed.")) == 1


def test_of_thousands_of_breaches_the_first_are_reported(rules):
    found = rules(RULE).check(PROMPT, "It is guaranteed. " * 3000)
    assert len(found) == MOST and found[-1].start == 18 * (MOST - 1) + 6


def test_two_patterns_that_match_one_place_are_one_finding(rules):
    rule = changed(RULE, match=["guarantee[sd]?", r"\bguaranteed\b"])
    assert len(rules(rule).check(PROMPT, "It is guaranteed.")) == 1


def test_what_a_trigger_calls_for_may_stand_anywhere(rules):
    both = rules(NEEDS)
    assert [f.text for f in both.check(PROMPT, "Up last year, and LAST YEAR.")] == [
        "last year",
        "LAST YEAR",
    ]
    assert both.check(PROMPT, "Past performance is no guide. It rose last year.") == []
    assert both.check(PROMPT, "It is a note.") == []


def test_without_a_trigger_the_whole_reply_is_marked(rules):
    rule = changed(NEEDS, match=..., bad=["Hello."], good=["Past performance is no guide."])
    (found,) = rules(rule).check(PROMPT, "Goodbye, then.")
    assert (found.start, found.end, found.text) == (0, 14, "Goodbye, then.")


def test_what_is_due_in_a_first_reply_is_due_where_a_pattern_says_so(rules):
    # The rule waits for no pattern, since on a first turn it is always due.
    rule = changed(NEEDS, scope="first_turn")
    loaded = rules(rule)
    (found,) = loaded.check([], "It rose last year.")
    assert found.text == "last year"
    assert loaded.check([], "It rose this year.") == []
    assert len(loaded.check([], "It rose this year.", turn="first")) == 1


def test_of_many_exemptions_the_one_that_matches_counts(rules):
    rule = changed(RULE, unless=["never guaranteed", "not (?:at all )?guaranteed", "is"])
    loaded = rules(rule)
    assert loaded.check(PROMPT, "It is not at all guaranteed. It is never guaranteed.") == []
    assert len(loaded.check(PROMPT, "It is not guaranteed, then it is guaranteed.")) == 1
    assert loaded.check(PROMPT, "It is not guaranteed. " * 300) == []  # a long text


def test_an_empty_reply_lacks_what_is_always_due(rules):
    rule = changed(NEEDS, match=..., bad=["Hello."], good=["Past performance is no guide."])
    assert [f.rule for f in rules(rule).check(PROMPT, "")] == ["R-2"]


def test_findings_stand_in_the_order_of_the_text(rules):
    loaded = rules(NEEDS, RULE)
    found = loaded.check(PROMPT, "Guaranteed, last year, guaranteed.")
    assert [f.start for f in found] == sorted(f.start for f in found)
    assert {f.rule for f in found} == {"R-1", "R-2"}
    assert loaded.group_of("R-2") == "compliance"


def test_a_pattern_made_to_take_forever_does_not(rules):
    rule = changed(RULE, match=[r"(a+)+$"], bad=["aaa"], good=["b"])
    assert rules(rule).check(PROMPT, "a" * 5000 + "b") == []  # re would take longer than the sun


# --- what does not load -----------------------------------------------------------------------


def test_a_rule_that_misses_its_own_examples_does_not_load(fault):
    message = fault(changed(RULE, bad=["It is guaranteed.", "It is certain."]))
    assert "R-1 does not find its own bad example 'It is certain.'" in message
    message = fault(changed(RULE, good=["We guarantee nothing."]))
    assert "R-1 finds something in its own good example" in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fix": ...}, "fix"),
        ({"bad": ...}, "bad"),
        ({"bad": []}, "bad"),
        ({"good": []}, "good"),
        ({"group": "style"}, "group"),
        ({"severity": "bad"}, "severity"),
        ({"kind": "absence"}, "kind"),
        ({"id": 5}, "id"),
        ({"match": "guarantee"}, "match"),
        ({"match": ...}, "needs match:"),
        ({"kind": "requires"}, "needs requires:"),
        ({"mach": ["x"]}, "mach"),
    ],
)
def test_a_rule_that_is_not_in_the_schema_names_line_and_field(fault, tmp_path, change, said):
    message = fault(changed(NEEDS), changed(RULE, **change))
    assert said in message
    line = int(re.search(rf"{re.escape(str(tmp_path / 'rules.yaml'))}, line (\d+)", message)[1])
    text = (tmp_path / "rules.yaml").read_text().splitlines()
    second = next(n for n, content in enumerate(text, 1) if n > 3 and content.startswith("- "))
    assert second <= line <= len(text)


@pytest.mark.parametrize("name", ["match", "unless", "requires"])
def test_a_pattern_that_re2_does_not_take_names_rule_and_pattern(fault, name):
    message = fault(changed(NEEDS, **{name: [r"(?<=x)y"]}))
    assert "R-2" in message and name in message and "(?<=x)y" in message


def test_two_rules_of_one_name_do_not_load(fault):
    assert "two rules are called R-1" in fault(RULE, copy.deepcopy(RULE))


def test_no_rules_do_not_load(fault):
    assert "rules" in fault()


def test_a_file_that_is_no_mapping_does_not_load(tmp_path):
    (tmp_path / "r.yaml").write_text("- a\n")
    with pytest.raises(InputError, match=r"r\.yaml"):
        load(tmp_path / "r.yaml")
    with pytest.raises(InputError, match="no file"):
        load(tmp_path / "none.yaml")


# --- the demonstration's rules ----------------------------------------------------------------


def test_the_demonstration_has_ten_rules_of_both_groups_and_kinds():
    loaded = load(ROOT / "configs" / "house" / "asdfg.yaml")
    assert len(loaded.rules) == 10
    assert {rule.group for rule in loaded.rules} == {"compliance", "tone"}
    assert {rule.kind for rule in loaded.rules} == {"existence", "requires"}


def test_guidelines_show_raters_every_rule_with_an_example(rules):
    text = guidelines(rules(RULE, NEEDS))
    for said in ("R-1", "No promises", "Promise nothing.", "It is guaranteed.", "It may fall."):
        assert said in text
    assert "R-2" in text


def test_guidelines_say_what_an_example_depends_on(rules):
    asked = {"response": "It is 5%.", "prompt": "What  is the\nrate?", "facts": ["4%", "6%"]}
    kept = {"response": "It is open.", "facts": []}
    figures = changed(RULE, kind="numeric", match=[], bad=[asked], good=[kept])
    text = guidelines(rules(figures))
    assert 'It is 5%. (asked "What is the rate?"; approved figures: 4%, 6%)' in text
    assert "It is open. (approved figures: none)" in text


def test_the_hash_is_the_files(rules, tmp_path):
    import hashlib

    loaded = rules(RULE)
    expected = hashlib.sha256((tmp_path / "rules.yaml").read_bytes()).hexdigest()
    assert loaded.hash == expected


# --- words apart ------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path):
    """Load one rule, changed, in a file with two lists of words."""
    from ruamel.yaml import YAML

    def build(**changes):
        lists = {"thing": ["fund", r"£\d+"], "sure": ["is certain", "cannot fall"]}
        file = {"house": "Test", "lists": lists, "rules": [changed(RULE, **changes)]}
        YAML().dump(file, tmp_path / "rules.yaml")
        return load(tmp_path / "rules.yaml")

    return build


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The fund, at 1.5% a year, is certain.", ["fund, at 1.5% a year, is certain"]),
        ("You get £50, which is certain.", ["£50, which is certain"]),
        ("The fund cannot fall.", ["fund cannot fall"]),  # a negation that is one of the words
        ("The fund does not say what is certain.", []),  # one that stands between them
        ("The fund is here. It is certain.", []),  # two sentences
        ("It is certain about the fund.", []),  # the other order
        ("The refund is certain.", []),  # part of a word
        ("You said that the fund is certain.", []),  # reported before it
        ("The fund, you said, is certain.", []),  # and within it
    ],
)
def test_words_one_after_another_in_a_sentence(listed, text, found):
    loaded = listed(
        match=["<thing> ... <sure>"],
        exempt=["negated", "denied", "reported"],
        bad=["The fund is certain."],
        good=["It may fall."],
    )
    assert [finding.text for finding in loaded.check(PROMPT, text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is certain about the fund.", ["is certain about the fund"]),
        ("The fund is certain.", ["fund is certain"]),
        ("It is certain, and not the fund.", []),
    ],
)
def test_words_together_in_any_order(listed, text, found):
    loaded = listed(match=..., together=[["<sure>", "<thing>"]], bad=["The fund is certain."])
    assert [finding.text for finding in loaded.check(PROMPT, text)] == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"together": [["a"]]}, "together"),
        ({"together": [["a", "b", "c", "d"]]}, "together"),
        ({"together": [["a", " "]]}, "is empty"),
        ({"match": ["a ... "]}, "is empty"),
        ({"match": ["a ...  ... b"]}, "is empty"),
        ({"together": [["<none>", "b"]]}, "names <none>"),
        ({"match": ["(?:a ... b)"]}, "is no pattern by itself"),
    ],
)
def test_words_apart_that_mean_nothing_are_refused(listed, change, said):
    with pytest.raises(InputError, match=said):
        listed(**change)


def test_a_rules_own_groups_are_not_taken_for_what_stands_between(listed):
    loaded = listed(match=["(do not) (panic) ... <thing>"], bad=["Do not panic, fund."])
    assert loaded.check(PROMPT, "Do not panic, the fund is here.")


def test_a_breach_that_several_patterns_find_is_told_once(listed):
    rule = listed(match=["<sure>", "fund <sure>", "certain of"], bad=["It is certain."])
    found = rule.check([], "The fund is certain of it. It is certain.")
    assert [f.text for f in found] == ["fund is certain", "certain of", "is certain"]
