"""Draw a campaign's report again, after a gate was asked or verdicts were pulled.

    python -m review.report --run_dir runs/asdfg
    python -m review.report --run_dir runs/asdfg --pdf

Writes ``review/report.html``, and with ``--pdf`` ``review/report.pdf``: what stands on paper of it,
through a Chromium's printing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from inhouse.command_line import parse_words
from inhouse.run import command


def main() -> None:
    """The words, the page, its print."""
    parser = argparse.ArgumentParser(
        prog="python -m review.report",
        description="Draw a campaign's report again.",
        allow_abbrev=False,
    )
    parser.add_argument("--run_dir", type=Path, default=Path("runs/asdfg"), help="The campaign.")
    parser.add_argument(
        "--house_rules", type=Path, help="The rules, if they are not where the review read them."
    )
    parser.add_argument(
        "--pdf", action="store_true", help="Print the first pages to report.pdf, with a Chromium."
    )
    words = parse_words(parser)

    from review.report import write_report

    print(f"the report: {write_report(words.run_dir, words.house_rules)}")
    if words.pdf:
        from review.report.pdf import write_pdf

        print(f"on paper: {write_pdf(words.run_dir, words.house_rules)}")


if __name__ == "__main__":
    command(main)
