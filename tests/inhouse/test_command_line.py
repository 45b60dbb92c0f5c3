"""Words of commands that are no stages."""

import argparse

import pytest

from inhouse.command_line import parse_words
from inhouse.errors import InputError


@pytest.fixture
def parser():
    made = argparse.ArgumentParser(prog="it", allow_abbrev=False)
    made.add_argument("--quiet", action="store_true")
    verbs = made.add_subparsers(dest="verb", required=True)
    verbs.add_parser("scan", allow_abbrev=False).add_argument("--names")
    verbs.add_parser("scrub", allow_abbrev=False).add_argument("--out")
    return made


def test_words_are_parsed(parser):
    parsed = parse_words(parser, ["--quiet", "scan", "--names", "x"])
    assert parsed.quiet and parsed.verb == "scan" and parsed.names == "x"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scan", "--name", "x"], "unrecognized '--name': did you mean --names?"),
        (["scan", "--name=x"], "did you mean --names?"),
        (["scan", "--zzz", "x"], "unrecognized '--zzz': there are --help, --names, --quiet"),
        (["scrub", "--quit"], "did you mean --quiet?"),
        (["scan", "more"], "unrecognized 'more': there are"),
    ],
)
def test_an_option_that_there_is_not_names_the_nearest_of_its_verb(parser, words, said):
    with pytest.raises(InputError) as refused:
        parse_words(parser, words)
    assert said in str(refused.value)


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["explode"], 3), ([], 3)])
def test_the_exit_code_is_never_a_gates(parser, words, code):
    with pytest.raises(SystemExit) as ended:
        parse_words(parser, words)
    assert ended.value.code == code
