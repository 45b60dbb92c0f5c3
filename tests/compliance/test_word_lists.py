"""The data files beside the code: words that patterns are made of, for a linguist to read."""

import re
import tomllib
from pathlib import Path

import pytest

from compliance.patterns import CircularList, Lists, UnknownList, alternatives, reads

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "compliance").rglob("*.toml"))
LISTED = [file for file in FILES if file.stem != "normalise"]  # that one has tables of characters


def test_all_are_found_and_shipped():
    assert [file.stem for file in FILES] == [
        *("normalise", "asked"),
        *("contacts", "identifiers", "postal", "postal_words"),
        *("secrets", "surroundings", "telephones"),
        *("names", "clauses"),
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = project["tool"]["setuptools"]["package-data"]
    for file in FILES:
        package = ".".join(file.parent.relative_to(ROOT).parts)
        assert "*.toml" in shipped[package]


@pytest.mark.parametrize("file", LISTED, ids=lambda file: file.stem)
def test_every_list_is_used_and_every_list_that_is_named_is_there(file):
    code = file.with_suffix(".py").read_text(encoding="utf-8")
    words = Lists.beside(str(file)).words
    named = set(re.findall(r"(?<!P)<([a-z_]+)>", "".join(map("".join, words.values()))))
    assert named <= words.keys()
    by_code = {name for name in words if f"<{name}>" in code or f'"{name}"' in code}
    if "in _LISTS.words" in code:  # each list is a kind of thing, and all are tried
        by_code = words.keys()
    assert words.keys() - named - by_code == set()


@pytest.mark.parametrize("file", LISTED, ids=lambda file: file.stem)
def test_every_alternative_is_a_pattern_and_stands_there_once(file):
    lists = Lists.beside(str(file))
    for name, words in lists.words.items():
        assert all(word and reads(lists.fill(word)) for word in words), name
        assert sorted(set(words)) == sorted(words), name


def test_alternatives_stand_one_a_line_or_with_bars_between():
    assert alternatives("\none two | (?:a|b)\n\n, | $\n") == ["one two", "(?:a|b)", ",", "$"]


def test_lists_may_stand_in_lists():
    lists = Lists({"sure": ["certain", "bound"], "rising": ["<sure> to rise", "up"]})
    assert lists.fill("(?P<x>is) <rising>") == "(?P<x>is) (?:(?:certain|bound) to rise|up)"
    assert lists.compile(r"\b<rising>\b").search("It is BOUND to rise.")
    with pytest.raises(UnknownList, match="none"):
        lists.fill("<none>")


def test_a_list_that_names_itself_through_another_is_refused():
    lists = Lists({"a": ["<b>"], "b": ["x", "<a>"]})
    with pytest.raises(CircularList):
        lists.fill("<a>")
