"""``python -m compliance.rules``: a firm's house rules, run and shown.

python -m compliance.rules check replies.jsonl --rules configs/house/finance --json
python -m compliance.rules test
python -m compliance.rules explain PROM-01
"""

from __future__ import annotations

import argparse
from pathlib import Path

from compliance.rules import commands
from compliance.rules.house_rules import DEFAULT
from inhouse.command_line import parse_words
from inhouse.run import command


def main() -> None:
    """The words, then the verb."""
    words = parse_words(parser())
    getattr(commands, words.verb)(words)


def parser() -> argparse.ArgumentParser:
    """The verbs and their flags."""
    top = argparse.ArgumentParser(
        prog="python -m compliance.rules", description="A firm's house rules, run and shown."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=about, description=about, allow_abbrev=False)
        if name != "diff":
            added.add_argument("--rules", type=Path, default=DEFAULT, help="The rules' YAML file.")
        return added

    check = verb("check", "Find breaches in replies (text or JSONL); exit 2 on a blocker.")
    check.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="Replies (JSONL), or a text."
    )
    check.add_argument("--json", action="store_true", help="One line of JSON for each record.")
    check.add_argument("--facts", type=Path, help="The approved figures, JSON.")
    verb("test", "Run every rule against its own examples; exit 2 if one is past its review.")
    verb("explain", "One rule in words.").add_argument("rule", metavar="RULE")
    diff = verb("diff", "What changed between two rule sets (files or folders).")
    diff.add_argument("old", type=Path, metavar="OLD")
    diff.add_argument("new", type=Path, metavar="NEW")
    coverage = verb("coverage", "Which rules no training record touches.")
    coverage.add_argument("files", type=Path, nargs="*", metavar="FILE", help="Training records.")
    verb("guidelines", "The page raters read, in Markdown.")
    return top


if __name__ == "__main__":
    command(main)
