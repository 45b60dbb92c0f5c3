"""``python -m inhouse.run show|verify runs/<name>``: where results came from, and if they hold."""

from __future__ import annotations

import argparse
from pathlib import Path

from inhouse.command_line import parse_words
from inhouse.run import command, show, verify


def main() -> None:
    """The words, then the verb."""
    parser = argparse.ArgumentParser(
        prog="python -m inhouse.run", description="Where results came from.", allow_abbrev=False
    )
    parser.add_argument("verb", choices=("show", "verify"), metavar="VERB", help="show or verify.")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="Such as runs/asdfg.")
    words = parse_words(parser)
    {"show": show, "verify": verify}[words.verb](words.run_dir)


if __name__ == "__main__":
    command(main)
