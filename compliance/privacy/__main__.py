"""``python -m compliance.privacy``: personal data in records, found or replaced.

    python -m compliance.privacy scan demonstrations.jsonl --names customers.txt --json
    python -m compliance.privacy scrub demonstrations.jsonl --names customers.txt --out clean.jsonl
    python -m compliance.privacy scan demonstrations.jsonl --ner_model models/names --allow ours.txt

Records in: JSON Lines with ``text`` or ``messages`` (or ``prompt``, ``response`` …), a JSON array,
CSV, TSV, Parquet or Arrow; a file with any other ending is plain text. ``scrub`` writes the kind of
file that it read.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from inhouse.command_line import parse_words
from inhouse.run import command


def main() -> None:
    """The words, then the verb."""
    words = parse_words(parser())
    os.environ["HF_HUB_OFFLINE"] = "1"  # a supplied model is a folder: nobody is asked for it
    from compliance.privacy import commands

    {"scan": commands.scan_files, "scrub": commands.scrub_files}[words.verb](words)


def parser() -> argparse.ArgumentParser:
    """The verbs and their flags."""
    top = argparse.ArgumentParser(
        prog="python -m compliance.privacy",
        description="Personal data in records: found, replaced.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, about in (
        ("scan", "Say where personal data stands; exit 2 if there is any."),
        ("scrub", "Write the records with placeholders or pseudonyms instead."),
    ):
        verb = verbs.add_parser(name, help=about, description=about, allow_abbrev=False)
        verb.add_argument(
            "files", type=Path, nargs="+", metavar="FILE", help="Records (JSONL, CSV …), or a text."
        )
        verb.add_argument("--names", type=Path, help="The customer list, one name a line.")
        verb.add_argument(
            "--ner_model", type=Path, help="A local folder with a model that labels names."
        )
        verb.add_argument(
            "--allow",
            type=Path,
            help="The firm's own public contacts, one a line, which are left alone.",
        )
        if name == "scan":
            verb.add_argument("--json", action="store_true", help="One line of JSON a record.")
        else:
            verb.add_argument("--out", type=Path, help="Where to write; else FILE.clean beside it.")
            verb.add_argument(
                "--key",
                type=Path,
                help="Pseudonyms instead of placeholders, from this key file (made, mode 0600).",
            )
    return top


if __name__ == "__main__":
    command(main)
