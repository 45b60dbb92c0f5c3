"""``python -m review.verdicts``: answers go to compliance reviewers, and their verdicts come back.

python -m review.verdicts push --run_dir runs/asdfg
python -m review.verdicts pull --run_dir runs/asdfg
"""

from __future__ import annotations

import sys

from inhouse.errors import InputError, nearest
from inhouse.run import command
from review.verdicts import pull, push

WORDS = {"push": push, "pull": pull}


def main() -> None:
    """The word, then its own options."""
    word, *rest = sys.argv[1:] or ["--help"]
    if word in ("-h", "--help"):
        lines = [f"  {name}  {stage.STAGE.about}" for name, stage in WORDS.items()]
        print("\n".join(["python -m review.verdicts push | pull [--help]", "", *lines]))
        return
    if word not in WORDS:
        like = nearest(word, WORDS)
        hint = f"did you mean {like}?" if like else "there are push and pull"
        raise InputError(f"python -m review.verdicts knows no {word!r}: {hint}")
    sys.argv = [sys.argv[0], *rest]
    WORDS[word].main()


if __name__ == "__main__":
    command(main)
