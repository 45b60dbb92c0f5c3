"""What ``python -m inhouse.models`` does: one function for each verb.

    python -m inhouse.models inspect examples/asdfg/model --json
    python -m inhouse.models merge runs/mine/sft --output_dir runs/mine/merged
    python -m inhouse.models convert model.Q4_1.gguf --output_dir models/mine

``inspect`` says what a model is and which training fits this machine. ``merge`` makes one model of
a stage's adapter and its base, and proves that it says the same. ``convert`` makes a folder that
transformers loads and trains of a GGUF.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from inhouse.command_line import parse_words
from inhouse.run import command, require


def main() -> None:
    """Read the command line, then let the verb do it."""
    words = parse_words(parser())
    # Before the hub's library is imported: it reads its environment once, then.
    if not words.allow_network:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    {"inspect": inspect, "merge": merge, "convert": convert}[words.verb](words)


def parser() -> argparse.ArgumentParser:
    """The verbs and their flags."""
    parser = argparse.ArgumentParser(
        prog="python -m inhouse.models",
        description="Models: looked into, merged, and converted from GGUF.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=about, description=about, allow_abbrev=False)
        added.add_argument(
            "--allow_network", action="store_true", help="Let the model be fetched from the hub."
        )
        return added

    look = verb("inspect", "What a model is, and which training fits this machine.")
    look.add_argument("model", metavar="NAME_OR_PATH")
    look.add_argument("--json", action="store_true", help="The same as data; sizes in bytes.")
    one = verb("merge", "Make one model of an adapter and its base; exit 2 if it differs.")
    one.add_argument("adapter", metavar="RUN_STAGE", help="The adapter's folder.")
    one.add_argument("--output_dir", type=Path, required=True, help="A new folder for the model.")
    one.add_argument("--overwrite", action="store_true", help="Delete an earlier merge there.")
    turn = verb("convert", "Make a model folder of a GGUF.")
    turn.add_argument("gguf", type=Path, metavar="FILE.gguf", help="The file, as one part.")
    turn.add_argument("--output_dir", type=Path, required=True, help="A new folder for the model.")
    turn.add_argument(
        "--chat_template", type=Path, metavar="FILE", help="A Jinja file instead of the GGUF's own."
    )
    turn.add_argument(
        "--expected_sha256", default="", metavar="HEX", help="Refuse the file if it has another."
    )
    turn.add_argument("--overwrite", action="store_true", help="Delete an earlier one there.")
    return parser


def inspect(words: argparse.Namespace) -> None:
    """Print what a model is."""
    from inhouse.models import inspect as inspection
    from inhouse.models.folder import locate

    folder = locate(words.model)
    if Path(words.model).exists():
        require(folder, "")  # it is there: this refuses a stage that has not finished
    facts = inspection.inspect(folder)
    print(json.dumps(facts, indent=2) if words.json else inspection.page(facts))


def merge(words: argparse.Namespace) -> None:
    """Merge an adapter into a folder of its own."""
    from inhouse.models import merge as merging

    merging.merge(words.adapter, words.output_dir, overwrite=words.overwrite)


def convert(words: argparse.Namespace) -> None:
    """Convert a GGUF into a folder of its own."""
    from inhouse.models.gguf import convert as converting

    converting.convert(
        words.gguf,
        words.output_dir,
        chat_template=words.chat_template,
        expected_sha256=words.expected_sha256,
        overwrite=words.overwrite,
    )


if __name__ == "__main__":
    command(main)
