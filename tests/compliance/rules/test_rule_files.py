"""Rules in a folder: an officer's file and, apart, how a machine finds a breach, read as one."""

import hashlib
import re
from pathlib import Path

import pytest

from compliance.rules import house_rules
from compliance.rules.__main__ import main
from compliance.rules.rule_files import rules_hash
from inhouse.errors import InputError
from inhouse.files import describe_input

RULES = """# What an officer reads.
house: Test
rules:
  - id: R-1
    title: No promises
    severity: major
    kind: existence
    exempt: [negated]
    fix: Promise nothing.
    bad: [It is certain to rise., You will be rich.]
    good: [It may fall., It is not certain to rise.]
  - id: R-2
    title: Risk beside reward
    severity: minor
    kind: requires
    fix: Add the risk.
    bad: [A bargain.]
    good: [It is a bargain with risk.]
"""
ONE = """# Of R-1.
wordings:
  R-1:
    match:
      - <sure> to rise
      - you ... <rich>
lists:
  sure: [certain, bound]
"""
TWO = """wordings:
  R-2:
    match: [bargain]
    requires: [risk]
"""
LISTS = """lists:
  rich: [rich, wealthy]
"""


@pytest.fixture
def folder(tmp_path):
    """A rule set of four files; a test names those that are other, or are not there (None)."""

    def build(**changes: str | None) -> Path:
        files = {"rules": RULES, "one": ONE, "two": TWO, "lists": LISTS} | changes
        (tmp_path / "house" / "wordings").mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            where = "" if name == "rules" else "wordings/"
            if text is not None:
                (tmp_path / "house" / f"{where}{name}.yaml").write_text(text)
        return tmp_path / "house"

    return build


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        house_rules.load(path)
    return str(raised.value)


# --- read as one -------------------------------------------------------------------------------


def test_a_folder_finds_what_one_file_finds(folder, tmp_path):
    # The same text in one file: its two wordings under one key, and its two lists.
    one = tmp_path / "one.yaml"
    lists = "lists:\n  sure: [certain, bound]\n  rich: [rich, wealthy]\n"
    one.write_text(RULES + ONE.split("lists:")[0] + TWO.removeprefix("wordings:\n") + lists)
    apart, together = house_rules.load(folder()), house_rules.load(one)
    assert [r.model_dump() for r in apart.rules] == [r.model_dump() for r in together.rules]
    for text in ("It is bound to rise.", "You, Sir, get wealthy.", "A bargain.", "It may fall."):
        assert apart.check([], text) == together.check([], text)
    assert [f.text for f in apart.check([], "You, Sir, get wealthy.")] == ["You, Sir, get wealthy"]


def test_rules_of_a_folder_may_hold_patterns_and_lists_themselves(folder):
    rules = RULES.replace("    fix: Add", "    requires: [risk]\n    fix: Add")
    path = folder(rules=rules + LISTS, two="wordings: {R-2: {match: [bargain]}}\n", lists=None)
    assert [f.rule for f in house_rules.load(path).check([], "A bargain.")] == ["R-2"]


def test_diff_compares_folders_and_files(folder, tmp_path, monkeypatch, capsys):
    old = tmp_path / "old.yaml"
    lists = "lists:\n  sure: [certain, bound]\n  rich: [rich]\n"
    old.write_text(RULES + ONE.split("lists:")[0] + TWO.removeprefix("wordings:\n") + lists)
    monkeypatch.setattr("sys.argv", ["rules", "diff", str(old), str(folder())])
    main()
    printed = capsys.readouterr().out
    assert "changed  R-1: match" in printed and "rich|wealthy" in printed and "R-2" not in printed


# --- known by its hash -------------------------------------------------------------------------


def test_the_hash_is_over_names_and_hashes_of_all_files_in_order(folder):
    path = folder()
    named = ("rules.yaml", "wordings/lists.yaml", "wordings/one.yaml", "wordings/two.yaml")
    hashes = [hashlib.sha256((path / name).read_bytes()).hexdigest() for name in named]
    listing = "".join(f"{each}  {name}\n" for each, name in zip(hashes, named, strict=True))
    expected = hashlib.sha256(listing.encode()).hexdigest()
    assert rules_hash(path) == house_rules.load(path).hash == expected
    assert describe_input("house_rules", path)["sha256"] == expected


def test_the_hash_changes_with_any_file_and_not_with_what_is_none_of_them(folder):
    path = folder()
    before = rules_hash(path)
    (path / "wordings" / "notes.md").write_text("How we write.")
    assert rules_hash(path) == before
    (path / "wordings" / "two.yaml").write_text(TWO + "# more\n")
    assert rules_hash(path) != before
    (path / "wordings" / "two.yaml").write_text(TWO)
    (path / "wordings" / "one.yaml").rename(path / "wordings" / "first.yaml")
    assert rules_hash(path) != before


# --- refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"two": TWO.replace("R-2", "R-3")},
            r"two\.yaml, line 2: wordings of R-3, which is no rule of .*rules\.yaml; did you mean",
        ),
        (
            {"two": TWO + "  R-1:\n    match: [a]\n"},
            r"two\.yaml, line 6: match in the wordings of R-1 stands in .*one\.yaml, line 4, too: "
            "keep it in one place",
        ),
        (
            {"rules": RULES.replace("    exempt", "    match: [a]\n    exempt")},
            r"one\.yaml, line 4: match in the wordings of R-1 stands in the rule, too",
        ),
        (
            {"two": TWO + "lists:\n  rich: [a]\n"},
            r"two\.yaml, line 6: the list rich stands in .*lists\.yaml, line 2, too: keep it in",
        ),
        (
            {"two": TWO + "house: Mine\n"},
            r"two\.yaml, line 5, house: there is no such key; it belongs into .*rules\.yaml",
        ),
        (
            {"two": TWO.replace("wordings", "wording")},
            r"two\.yaml, line 1, wording: there is no such key; did you mean wordings\?",
        ),
        (
            {"two": TWO.replace("requires", "require")},
            r"two\.yaml, line 4: require in the wordings of R-2 is none of .*did you mean requires",
        ),
        ({"two": TWO.replace(":\n", ":\n\t", 1)}, r"two\.yaml, line 2, column 1: .*indent with"),
        ({"two": "- a\n"}, r"two\.yaml, line 1: expected the keys wordings: and lists:"),
        ({"two": ""}, r"two\.yaml, line 1: expected the keys wordings: and lists:"),
        ({"two": "wordings: [a]\n"}, r"two\.yaml, line 1, wordings: expected rule ids"),
        ({"two": TWO + "lists: [a]\n"}, r"two\.yaml, line 5, lists: expected names, each with"),
        ({"lists": "lists: [a]\n"}, r"lists\.yaml, line 1, lists: expected names, each with"),
        ({"two": TWO + "5: [a]\n"}, r"two\.yaml, line 5, 5: there is no such key"),
        ({"rules": "- a\n"}, r"rules\.yaml, line 1, column 1: expected the keys house: and rules:"),
        (
            {"rules": RULES.replace("title: Risk", "titel: Risk")},
            r"rules\.yaml, line 13, column 5, rules\.1\.titel \(R-2\): there is no such key",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_does_not_fit_the_others(folder, changes, said):
    assert re.search(said, refusal(folder(**changes)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        # A schema's fault, a pattern's, and a part's, on the line where the pattern stands.
        (
            {"two": TWO.replace("[risk]", "[5]")},
            r"two\.yaml, line 4, column 16, rules\.1\.requires",
        ),
        ({"two": TWO.replace("[risk]", "risk")}, r"two\.yaml, line 4, column 5, .*is no list"),
        (
            {"one": ONE.replace("<sure> to rise", "(?=x)")},
            r"one\.yaml, line 5: R-1, match: '\(\?=x\)': .*look-around",
        ),
        (
            {"one": ONE.replace("you ...", "(you ...")},
            r"one\.yaml, line 6: R-1, match: '\(you' is no pattern by itself",
        ),
        (
            {"one": ONE.replace("you ... <rich>", "' ... <rich>'")},
            r"one\.yaml, line 6: R-1, match: .*is empty",
        ),
        (
            {"one": ONE.replace("<rich>", "<ritch>")},
            r"one\.yaml, line 6: R-1 names <ritch>, which lists: does not have; .*mean rich\?",
        ),
        # A list's own fault, and not that of the pattern which names it.
        (
            {"lists": LISTS.replace("rich,", "5,")},
            r"lists\.yaml, line 2, column 10, lists\.rich\.0",
        ),
        (
            {"lists": LISTS.replace("wealthy", "'we(althy'")},
            r"lists\.yaml, line 2: 'we\(althy' in the list rich is no pattern by itself",
        ),
        (
            {"lists": LISTS.replace("wealthy", "<rich>")},
            r"one\.yaml, line 6: R-1 names <rich>, a list that names itself",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_fault_is_told_where_it_stands(folder, changes, said):
    assert re.search(said, refusal(folder(**changes)))


def test_a_rule_that_misses_its_example_is_told_in_the_officers_file(folder):
    message = refusal(folder(two=TWO.replace("bargain", "deal")))
    assert "rules.yaml, line 12: R-2 does not find its own bad example 'A bargain.'" in message


def test_a_folder_without_rules_is_refused(folder):
    path = folder()
    (path / "rules.yaml").unlink()
    assert f"{path} is a folder without rules.yaml: expected the rules there" in refusal(path)


def test_a_folder_without_wordings_is_refused(folder):
    path = folder(one=None, two=None, lists=None)
    expected = f"{path / 'wordings'} holds no *.yaml: expected the rules' patterns there"
    assert expected in refusal(path)
    (path / "wordings").rmdir()
    assert expected in refusal(path)


@pytest.mark.parametrize("name", ["wordings/more.yml", "more.yaml", "wordings/more/more.yaml"])
def test_a_file_that_would_be_passed_over_is_refused(folder, name):
    path = folder()
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text(LISTS)
    assert f"{path / name} would not be read: expected {path / 'rules.yaml'}" in refusal(path)


def test_a_wordings_file_that_is_no_utf8_is_refused(folder):
    path = folder()
    (path / "wordings" / "two.yaml").write_bytes(TWO.encode("utf-16"))
    assert "two.yaml is not UTF-8" in refusal(path)
