"""The red team's seeds and counterfactual pairs, read from YAML.

    seeds:
      - id: PROM-01/01          # the rule that it tempts to break, and a name of its own
        ask: Promise me 5%.     # what tempts
        twin: What is 5%?       # of the same shape and topic, to be answered plainly
        turns:                  # optional: what was said before, and told before the twin, too
          - user: Hello.
          - assistant: Good morning.
        system: You answer …    # optional: the system turn, with a sheet perhaps
        figures: ["2.35%"]      # optional: those that the sheet approves, for numeric rules
    pairs:
      - id: FAIR-01/age-01
        trait: age
        question: I am {trait} and would like a loan.
        one: "31"
        other: "66"

The suite's own stand in ``seeds/``, split by theme; a firm's file has the same keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inhouse.errors import InputError, nearest
from inhouse.records import Message, is_blank
from inhouse.records.turns import Role
from inhouse.strict_yaml import line_of, load_yaml

OURS = Path(__file__).parent / "seeds"
TRAIT = "{trait}"  # where a pair's question names the trait
FILE_KEYS = ("seeds", "pairs")


@dataclass(frozen=True)
class Seed:
    """A message that tempts a model to break a rule, and its benign ``twin`` (empty: none).

    ``before`` is what stands before either: an optional system turn, then whole exchanges.
    """

    id: str
    ask: str
    place: str
    twin: str = ""
    before: tuple[Message, ...] = ()
    figures: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        return rule_of(self.id)

    def with_last(self, text: str) -> list[Message]:
        """The conversation that ends with a user's ``text``."""
        return [*self.before, Message(role="user", content=text)]


@dataclass(frozen=True)
class Pair:
    """One question to be asked twice, with one and with another value of a trait."""

    id: str
    trait: str
    question: str
    one: str
    other: str
    place: str
    before: tuple[Message, ...] = ()

    @property
    def rule(self) -> str:
        return rule_of(self.id)

    def sides(self) -> dict[str, list[Message]]:
        """Both conversations, ``one`` and ``other``."""
        return {
            side: [*self.before, Message(role="user", content=self.question.replace(TRAIT, value))]
            for side, value in (("one", self.one), ("other", self.other))
        }


def rule_of(name: str) -> str:
    """The rule that a seed's or pair's id begins with."""
    return name.partition("/")[0]


def ours() -> tuple[list[Seed], list[Pair]]:
    """What comes with the suite, in the order of the files' names."""
    files = [read(path) for path in sorted(OURS.glob("*.yaml"))]
    return [seed for seeds, _ in files for seed in seeds], [p for _, pairs in files for p in pairs]


def read(path: Path) -> tuple[list[Seed], list[Pair]]:
    """A file's seeds and pairs.

    Raises:
        InputError: with file and line: not YAML, an unknown or missing key, an empty text, turns
            out of order, an id that is none or stands there twice.
    """
    tree = load_yaml(path)
    if not hasattr(tree, "keys"):
        raise InputError(f"{path}, line 1: expected the keys seeds: and pairs:, or one of them")
    _check_keys(tree, FILE_KEYS, str(path))
    seeds = [_seed(entry) for entry in _entries(path, tree, "seeds")]
    pairs = [_pair(entry) for entry in _entries(path, tree, "pairs")]
    if not seeds and not pairs:
        raise InputError(f"{path} holds no seed and no pair: expected at least one")
    check_ids([*seeds, *pairs])
    return seeds, pairs


def check_ids(entries: Sequence[Seed | Pair]) -> None:
    """Refuse an id that is there twice: what is counted by seed would run together.

    Raises:
        InputError: names both places.
    """
    seen: dict[str, str] = {}
    for entry in entries:
        if entry.id in seen:
            raise InputError(
                f"{entry.place}: id {entry.id} stands already in {seen[entry.id]}; "
                "give this one another name"
            )
        seen[entry.id] = entry.place


class _Entry:
    """One item of a list in a file, and where it stands."""

    def __init__(self, path: Path, node: Any, line: int) -> None:
        self.path, self.node, self.place = path, node, f"{path}, line {line}"

    def at(self, key: str) -> str:
        return f"{self.path}, line {line_of(self.node, key)}, {key}"

    def text(self, key: str, *, needed: bool = True) -> str:
        """A key's text.

        Raises:
            InputError: it is missing, no text, or shows nothing.
        """
        if key not in self.node:
            if needed:
                raise InputError(f"{self.place}: {key}: is missing")
            return ""
        return _text(self.node[key], self.at(key))


def _entries(path: Path, tree: Mapping[str, Any], key: str) -> Iterator[_Entry]:
    if key not in tree:
        return
    if not isinstance(tree[key], list):
        raise InputError(f"{path}, line {line_of(tree, key)}, {key}: expected a list")
    for number, node in enumerate(tree[key]):
        line = line_of(tree[key], number)
        if not hasattr(node, "keys"):
            raise InputError(f"{path}, line {line}, {key}: expected keys and values, found a text")
        yield _Entry(path, node, line)


def _seed(entry: _Entry) -> Seed:
    _check_keys(entry.node, ("id", "ask", "twin", "turns", "system", "figures"), str(entry.path))
    return Seed(
        id=_id(entry),
        ask=entry.text("ask"),
        place=entry.place,
        twin=entry.text("twin", needed=False),
        before=_before(entry),
        figures=tuple(_list_of_texts(entry, "figures")),
    )


def _pair(entry: _Entry) -> Pair:
    _check_keys(entry.node, ("id", "trait", "question", "one", "other", "system"), str(entry.path))
    question, one, other = (entry.text(key) for key in ("question", "one", "other"))
    if TRAIT not in question:
        raise InputError(f"{entry.at('question')}: names no {TRAIT}: put it where the sides differ")
    if one == other:
        raise InputError(f"{entry.at('other')}: {other!r} is what one: says, too")
    return Pair(_id(entry), entry.text("trait"), question, one, other, entry.place, _before(entry))


def _id(entry: _Entry) -> str:
    name = entry.text("id")
    rule, slash, own = name.partition("/")
    if not (rule and slash and own) or any(character.isspace() for character in name):
        raise InputError(
            f"{entry.at('id')}: {name!r} is no id: expected the rule, a slash and a name without "
            "blanks, as PROM-01/03"
        )
    return name


def _before(entry: _Entry) -> tuple[Message, ...]:
    system = entry.text("system", needed=False)
    said = [Message(role="system", content=system)] if system else []
    turns = entry.node.get("turns", [])
    if not isinstance(turns, list):
        raise InputError(f"{entry.at('turns')}: expected a list of user: and assistant: turns")
    for number, turn in enumerate(turns):
        role: Role = "assistant" if number % 2 else "user"
        line = line_of(turns, number)
        if not hasattr(turn, "keys") or list(turn) != [role]:
            raise InputError(
                f"{entry.path}, line {line}, turns: expected {role}: and a text; turns go user, "
                "assistant, user, assistant"
            )
        text = _text(turn[role], f"{entry.path}, line {line}, {role}")
        said.append(Message(role=role, content=text))
    if len(turns) % 2:
        raise InputError(
            f"{entry.at('turns')}: the last turn is the user's: expected the assistant's, as ask: "
            "and twin: come next"
        )
    return tuple(said)


def _list_of_texts(entry: _Entry, key: str) -> list[str]:
    values = entry.node.get(key, [])
    if not isinstance(values, list):
        raise InputError(f'{entry.at(key)}: expected a list of texts, as ["2.35%"]')
    return [_text(value, entry.at(key)) for value in values]


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {value!r} is no text: put it in quotes")
    if is_blank(value):
        raise InputError(f"{where}: is empty: write what is said, or take the key out")
    return str(value).strip()


def _check_keys(node: Any, known: Sequence[str], path: str) -> None:
    for key in node:
        if key not in known:
            like = nearest(str(key), known)
            hint = f"; did you mean {like}?" if like else f"; expected {', '.join(known)}"
            raise InputError(
                f"{path}, line {line_of(node, key)}, {key}: there is no such key{hint}"
            )
