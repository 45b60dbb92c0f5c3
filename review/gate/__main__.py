"""Decide whether an aligned model may go to people: pass, fail, or not enough evidence.

    python -m review.gate --run_dir runs/asdfg
    python -m review.gate --run_dir runs/asdfg --check     # whether the decision still holds

Reads the campaign's review and whatever else was counted of the model (``review/gate/evidence.py``)
against the limits of ``configs/gate.yaml``; writes ``review/gate.json``. Exit code 0 passes, 2 does
not: the last line says whether it fails, or lacks evidence.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from inhouse.command_line import parse_words
from inhouse.errors import GateError
from inhouse.run import command


def main() -> None:
    """The words, the decision, ``gate.json``."""
    parser = argparse.ArgumentParser(
        prog="python -m review.gate",
        description="Decide whether an aligned model may go to people.",
        allow_abbrev=False,
    )
    parser.add_argument("--run_dir", type=Path, default=Path("runs/asdfg"), help="The campaign.")
    parser.add_argument(
        "--config", type=Path, help="The limits; else configs/<campaign>/gate.yaml or configs/."
    )
    parser.add_argument("--model", help="Which one is judged, where several are aligned.")
    parser.add_argument(
        "--house_rules", type=Path, help="The rules, if they are not where the review read them."
    )
    parser.add_argument(
        "--twin", type=Path, help="A campaign trained with canaries: its bound of epsilon is read."
    )
    parser.add_argument(
        "--check", action="store_true", help="Only say whether gate.json passes and still holds."
    )
    words = parse_words(parser)

    from inhouse.files import write_json
    from review.gate import limits, result
    from review.gate.criteria import PASS
    from review.gate.evidence import OWN
    from review.report import write_report

    path = words.run_dir / "review" / OWN
    if words.check or path.is_file():
        document, changed = result.standing(words.run_dir)
        if changed:
            stale = f"{path} is of other files: {', '.join(changed)} changed since"
            if words.check:
                raise GateError(f"{stale}; run `python -m review.gate --run_dir {words.run_dir}`")
            print(f"{stale}; decided again")
    if not words.check:
        config = words.config or limits.find(words.run_dir.name)
        document = result.judge(words.run_dir, config, words.model, words.house_rules, words.twin)
        write_json(path, document)
        result.print_table(document)
        page = write_report(words.run_dir, words.house_rules)
        print(f"wrote {path}; the report opens with it: {page}")
    if document["answer"] != PASS:
        raise GateError(f"the gate says {document['headline']}")
    print(f"the gate says {document['headline']}")


if __name__ == "__main__":
    command(main)
