"""What an answer states, and a standard of a firm's own that compares two answers.

Used by training, which watches what it does to answers, and by the review, which counts.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence

from inhouse.errors import InputError, words_of
from inhouse.records import Message

# Prefers an answer to a prompt over another: 1.0 the first, 0.0 the second, 0.5 a tie.
Judge = Callable[[Sequence[Message], str, str], float]


def find_judge(name: str) -> Judge:
    """The function that a dotted name means, such as ``house.standards:prefers``.

    Raises:
        InputError: no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"judge is {name!r}: give module:function, importable from here ({words_of(error)})"
        ) from None
    if not callable(found):
        raise InputError(f"judge is {name!r}, which is {type(found).__name__}: name a function")
    return found


def states_facts(response: str, facts: Sequence[str]) -> bool:
    """Whether every fact stands in the response: whole words, whole figures, any case."""
    text = " ".join(response.split())
    return all(
        re.search(rf"(?<![\w.,]){re.escape(fact)}(?!\w|[.,]\d)", text, re.IGNORECASE)
        for fact in (" ".join(fact.split()) for fact in facts)
    )
