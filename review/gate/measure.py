"""Measure how often the house rules' checker is right, on replies that people labelled.

    python -m review.gate.measure labelled.jsonl --rules configs/house/finance

Records in: ``prompt``, ``response``, ``violates`` (rule ids), perhaps ``turn``, ``jurisdiction``,
``facts``, the figures that are approved: rules about figures are measured on replies that have the
key. Use a file that nobody tuned the patterns on: what they were tuned on says nothing of new
wording. Out: the counts beside the rules, which the gate and the report then correct rates by.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from inhouse.command_line import parse_words
from inhouse.run import command


def main() -> None:
    """The words, the labelled replies, the counts."""
    parser = argparse.ArgumentParser(
        prog="python -m review.gate.measure",
        description="How often the house rules' checker is right, on labelled replies.",
        allow_abbrev=False,
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="Labelled replies.")
    parser.add_argument("--rules", type=Path, required=True, help="The house rules.")
    parser.add_argument("--note", default="", help="Who labelled them, and what they are.")
    words = parse_words(parser)

    from compliance.rules import house_rules
    from inhouse.files import write_json
    from review.gate import checker

    rules = house_rules.load(words.rules)
    measured = checker.measure_files(rules, words.files, words.note)
    print(f"{'':10}{'found of broken':>18}{'left of kept':>18}")
    for name, c in measured.rules.items():
        print(f"{name:10}{f'{c.tp} of {c.tp + c.fn}':>18}{f'{c.tn} of {c.tn + c.fp}':>18}")
    path = checker.beside(words.rules)
    write_json(path, measured.model_dump())
    print(f"wrote {path}; next: python -m review.gate")


if __name__ == "__main__":
    command(main)
