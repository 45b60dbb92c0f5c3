"""Talk to a model in the terminal, or to two at once, with what breaks a house rule marked.

    python -m review.chat runs/asdfg/dpo --also runs/asdfg/sft \
        --house_rules configs/house/asdfg.yaml

Each model keeps its own side of the conversation. An empty line, the end of the input or Ctrl-C
ends it. Questions may be piped in, one a line. Nothing is written to disk.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from inhouse.command_line import parse_words
from inhouse.errors import InputError
from inhouse.records import Finding, Message, is_blank
from inhouse.run import command, require

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from compliance.rules.house_rules import HouseRules

RED, PLAIN = "\033[1;31m", "\033[0m"
COLUMN = 40  # narrower than this, two models speak one below the other
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def main() -> None:
    """Flags, models, then turn by turn: ask, answer, mark."""
    words = arguments()
    # Before these libraries are imported: they read the environment once, then.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TQDM_DISABLE"] = "1"
    from compliance.rules import house_rules

    rules = house_rules.load(words.house_rules) if words.house_rules else None
    names = [words.model, *([words.also] if words.also else [])]
    speakers = [Speaker.load(name, words.system) for name in names]
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = shutil.get_terminal_size().columns if colour else 0
    try:
        for number, asked in enumerate(questions()):
            seed = words.seed + number
            said = [
                speaker.answer(
                    asked,
                    rules,
                    temperature=words.temperature,
                    seed=seed,
                    max_new_tokens=words.max_new_tokens,
                )
                for speaker in speakers
            ]
            print(show([speaker.name for speaker in speakers], said, width), flush=True)
            if all(speaker.full for speaker in speakers):
                return
    except KeyboardInterrupt:
        print()


def arguments() -> argparse.Namespace:
    """The command line, its figures checked."""
    parser = argparse.ArgumentParser(
        prog="python -m review.chat",
        description="Talk to a model in the terminal, or to two at once.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="RUN_STAGE", help="A stage's folder, or any model's.")
    parser.add_argument("--also", metavar="RUN_STAGE", help="A second model, asked the same.")
    parser.add_argument("--house_rules", type=Path, help="Mark what breaks these rules.")
    parser.add_argument("--system", help="What the models are told before you speak.")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default: 1).")
    parser.add_argument("--seed", type=int, default=0, help="The same seed, the same replies.")
    parser.add_argument("--max_new_tokens", type=int, default=256, help="Of a reply, at most.")
    words = parse_words(parser)
    if not 0 <= words.temperature < float("inf"):
        raise InputError(f"--temperature {words.temperature}: give 0 or more, 1 as it was trained")
    if words.max_new_tokens < 1:
        raise InputError(f"--max_new_tokens {words.max_new_tokens}: give 1 or more")
    if words.system is not None and not words.system.strip():
        raise InputError("--system is empty: give the text, or leave it out")
    if words.seed < 0:
        raise InputError(f"--seed {words.seed}: give 0 or more")
    return words


def questions() -> Iterator[str]:
    """What the user types, or what is piped in, until an empty line or the end.

    Raises:
        InputError: what is piped in is not UTF-8, or what is typed not what the terminal speaks.
    """
    typed = sys.stdin.isatty()
    while True:
        try:
            line = input("you> " if typed else "")
        except EOFError:
            return
        except UnicodeDecodeError as error:
            kind = "UTF-8" if error.encoding == "utf-8" else error.encoding
            raise InputError(f"this question is not {kind} at byte {error.start}") from None
        if not line.strip():
            return
        if not typed:
            print(f"you> {line}")
        yield line


@dataclass(frozen=True)
class Said:
    """A reply with its findings, or with a note alone when there is none."""

    text: str = ""
    findings: list[Finding] = field(default_factory=list)
    note: str = ""


@dataclass
class Speaker:
    """A model and its side of the conversation."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context: int | None
    messages: list[Message]
    full: bool = False

    @classmethod
    def load(cls, name: str, system: str | None) -> Speaker:
        """Load a stage's model, to talk to under the name it was given.

        Raises:
            InputError: no such model, its stage is not finished, or its template has no place for
                the system text.
        """
        import torch  # seconds, and --help must not take them

        from inhouse import chat
        from inhouse.models.folder import context_length, locate
        from inhouse.models.load import load_causal_lm, load_tokenizer

        folder = locate(name)
        require(folder, "")  # it is there: this refuses a stage that has not finished
        tokenizer = load_tokenizer(folder)
        model = load_causal_lm(folder).to("cuda" if torch.cuda.is_available() else "cpu")
        messages = [Message(role="system", content=system)] if system else []
        chat.prompt_ids(tokenizer, [*messages, Message(role="user", content="?")])
        return cls(name, model, tokenizer, context_length(model.config), messages)

    def answer(
        self,
        asked: str,
        rules: HouseRules | None,
        *,
        temperature: float,
        seed: int,
        max_new_tokens: int,
    ) -> Said:
        """The reply to one more question. A question that gets none is not remembered."""
        from inhouse import chat
        from inhouse.generation import sample

        prompt = [*self.messages, Message(role="user", content=asked)]
        try:
            ids = chat.prompt_ids(self.tokenizer, prompt)
        except InputError as error:  # a question that holds the template's own tokens
            return Said(note=str(error))
        room = max_new_tokens if self.context is None else self.context - len(ids)
        if room < 1:
            self.full = True
            return Said(
                note=f"the context is full: this conversation has {len(ids)} tokens and the model "
                f"takes {self.context}; start again for a new one"
            )
        (batch,) = sample.replies(
            self.model,
            self.tokenizer,
            [ids],
            max_new_tokens=min(room, max_new_tokens),
            temperature=temperature,
            seed=seed,
            title=None,  # one answer needs no bar
        )
        reply = batch[0][0]
        if is_blank(reply.text):
            at_once = "the model ended at once: " if reply.ended and len(reply.ids) <= 1 else ""
            return Said(note=f"{at_once}an empty answer")
        self.messages = [*prompt, Message(role="assistant", content=reply.text)]
        note = "" if reply.ended else f"cut after {len(reply.ids)} tokens (--max_new_tokens)"
        if not reply.ended and room <= max_new_tokens:
            self.full = True
            note = f"cut: the context is full, the model takes {self.context} tokens"
        return Said(reply.text, rules.check(prompt, reply.text) if rules else [], note)


# --- on the screen ------------------------------------------------------------------------------


def show(names: Sequence[str], said: Sequence[Said], width: int) -> str:
    """A turn's replies: marked with brackets, or in colour and columns on a terminal.

    Args:
        width: of the terminal, in characters; 0 for anything else, a pipe or a file.
    """
    if not width:
        parts = [f"{name}> {marked(one)}" for name, one in zip(names, said, strict=True)]
        return "\n".join(parts) + "\n"
    column = (width - 2) // len(names) if width >= COLUMN * len(names) else width
    blocks = [
        [name[-column:].ljust(column), *coloured(one, column)]
        for name, one in zip(names, said, strict=True)
    ]
    if column == width or len(names) == 1:
        return "\n".join(row.rstrip() for block in blocks for row in [*block, ""])
    height = max(map(len, blocks))
    blocks = [block + [" " * column] * (height - len(block)) for block in blocks]
    rows = ["  ".join(cells).rstrip() for cells in zip(*blocks, strict=True)]
    return "\n".join([*rows, ""])


def spans(said: Said) -> list[tuple[str, list[str]]]:
    """The reply in pieces, each with the rules it breaks; overlapping findings are one piece."""
    # One for one, so that findings stay in place; a model must not steer the terminal.
    text = CONTROL.sub("�", said.text.replace("\t", " "))
    joined: list[tuple[int, int, list[str]]] = []
    for found in sorted(said.findings, key=lambda found: (found.start, found.end)):
        if joined and found.start < joined[-1][1]:
            start, end, rules = joined[-1]
            joined[-1] = (start, max(end, found.end), list(dict.fromkeys([*rules, found.rule])))
        else:
            joined.append((found.start, found.end, [found.rule]))
    pieces, at = [], 0
    for start, end, rules in joined:
        pieces += [(text[at:start], []), (text[start:end], rules)]
        at = end
    return [piece for piece in [*pieces, (text[at:], [])] if piece[0] or piece[1]]


def marked(said: Said) -> str:
    """The reply with what breaks a rule in double brackets, the rule behind it."""
    parts = [f"[[{text}]] {', '.join(rules)}" if rules else text for text, rules in spans(said)]
    return " ".join(filter(None, ["".join(parts), said.note and f"({said.note})"]))


def coloured(said: Said, width: int) -> list[str]:
    """The same for a terminal: lines of ``width`` characters, what breaks a rule in red."""
    cells: list[tuple[str, bool]] = []
    for text, rules in spans(said):
        shown = f"{text} {', '.join(rules)}" if rules else text
        cells += [(character, bool(rules)) for character in shown]
    rows = wrap(cells, width) if cells else []
    rows += wrap([(character, False) for character in f"({said.note})"], width) if said.note else []
    return ["".join(_in_colour(row)) + " " * (width - len(row)) for row in rows]


def wrap(cells: Sequence[tuple[str, bool]], width: int) -> list[list[tuple[str, bool]]]:
    """Lines of at most ``width`` characters, broken at spaces where there are any."""
    rows: list[list[tuple[str, bool]]] = []
    row: list[tuple[str, bool]] = []
    for cell in cells:
        if cell[0] == "\n":
            rows.append(row)
            row = []
            continue
        row.append(cell)
        if len(row) > width:
            space = next((at for at in range(width, 0, -1) if row[at][0] == " "), None)
            rows.append(row[: space or width])
            row = row[width if space is None else space + 1 :]
    return [*rows, row]


def _in_colour(row: Sequence[tuple[str, bool]]) -> Iterator[str]:
    for red, run in itertools.groupby(row, key=lambda cell: cell[1]):
        text = "".join(character for character, _ in run)
        yield f"{RED}{text}{PLAIN}" if red else text


if __name__ == "__main__":
    command(main)
