"""Rules as their authors wrote them, with the lists filled in and every pattern tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import re2

from compliance.patterns import CircularList, Lists, UnknownList, explained, reads
from compliance.rules.rule_files import Document
from compliance.rules.schema import PATTERNS, WORDINGS, Rule, near
from compliance.rules.wording import Wording, parts_of
from inhouse.errors import InputError


@dataclass(frozen=True)
class Written:
    """A rule with the lists filled in, what it looks for by key, and where it stands."""

    rule: Rule
    wordings: dict[str, list[Wording]]
    place: str


def read(path: Path) -> tuple[str, list[Written]]:
    """The house, and its rules in order.

    Raises:
        InputError: with file and line of the first fault.
    """
    document = Document(path)
    file = document.validated()
    ids = [rule.id for rule in file.rules]
    for at, rule in enumerate(file.rules):
        where = document.place("rules", at)
        if rule.id in ids[:at]:
            raise InputError(f"{where}: {rule.id}: two rules are called {rule.id}")
        unknown = [name for name in rule.also_when if name not in ids or name == rule.id]
        if unknown:
            raise InputError(
                f"{where}: {rule.id}, also_when names {unknown[0]}, which is no other rule"
            )
    lists = Lists(file.lists)
    return file.house, [_written(document, at, rule, lists) for at, rule in enumerate(file.rules)]


def _written(document: Document, number: int, rule: Rule, lists: Lists) -> Written:
    """A rule with the lists filled in, and every pattern tried."""
    place = f"{document.place('rules', number)}: {rule.id}"
    found: dict[str, list[Wording]] = {key: [] for key in PATTERNS}
    for key in WORDINGS:
        loc = ("rules", number, key)
        for at, said in enumerate(getattr(rule, key)):
            where = f"{document.place(*loc, at)}: {rule.id}" if document.is_apart(*loc) else place
            parts = parts_of(said) if isinstance(said, str) else said
            if not all(part.strip() for part in parts):
                what = "a pattern, or what stands before or behind a ' ... ', is empty"
                raise InputError(f"{where}, {key}: {what}")
            filled = tuple(_filled(part, lists, where) for part in parts)
            wording = Wording(filled, any_order=key == "together")
            _try(wording, f"{where}, {key}", document, lists)
            found["match" if key == "together" else key].append(wording)
    texts = {key: [wording.pattern for wording in wordings] for key, wordings in found.items()}
    for words in rule.swap if rule.kind == "substitution" else ():
        found["match"].append(Wording((rf"\b(?:{words})\b",)))
        _try(found["match"][-1], f"{place}, match", document, lists)
    return Written(rule.model_copy(update=texts), found, place)


def _filled(part: str, lists: Lists, where: str) -> str:
    try:
        return lists.fill(part)
    except UnknownList as error:
        name = error.args[0]
        hint = near(name, lists.words)
        raise InputError(f"{where} names <{name}>, which lists: does not have{hint}") from None
    except CircularList as error:
        raise InputError(f"{where} names <{error.args[0]}>, a list that names itself") from None


def _try(wording: Wording, where: str, document: Document, lists: Lists) -> None:
    """Raises InputError: re2 does not take a wording, a part of it, or a word of a list."""
    fault = ""
    if len(wording.parts) > 1:
        broken = (part for part in wording.parts if not reads(part))
        fault = next((f"{part!r} is no pattern by itself" for part in broken), "")
    try:
        _ = wording.compiled
    except re2.error as error:
        fault = fault or f"{wording.pattern!r}: {explained(error)}"
    if fault:
        raise InputError(_fault_of_a_list(document, lists) or f"{where}: {fault}")


def _fault_of_a_list(document: Document, lists: Lists) -> str:
    """Which word of a list is no pattern, as those that use the list are not to blame."""
    for name, words in lists.words.items():
        for at, word in enumerate(words):
            place = document.place("lists", name, at)
            if not reads(_filled(word, lists, place)):
                return f"{place}: {word!r} in the list {name} is no pattern by itself"
    return ""
