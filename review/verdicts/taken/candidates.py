"""Where people and patterns differ: sentences that a rule's author may want among its examples."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from compliance.rules.house_rules import HouseRules
from review.verdicts.taken.settled import Settled

_END = re.compile(r"[.!?][\"')\]]*\s+|\n+")


def candidates(settled: Sequence[Settled], rules: HouseRules) -> dict[str, dict[str, list[str]]]:
    """By rule: ``bad``, what people say breaks it and patterns miss; ``good``, the other way round.

    A rule of personal data names the answers instead, because its words are repeated nowhere.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for rule in (rule for rule in rules.rules if rule.by_machine):
        lists: dict[str, list[str]] = defaultdict(list)
        for each in settled:
            if each.output is None or not each.decided:
                continue
            places = [f for f in each.output.findings if f.rule == rule.id]
            if (rule.id in each.rules) == bool(places):
                continue
            kind = "good" if places else "bad"
            marks = [s for v in each.verdicts for s in v.spans if s.rule == rule.id]
            spans = [(f.start, f.end) for f in places] + [(s.start, s.end) for s in marks]
            text = each.output.response
            private = f"[personal data] in output {each.output.id}"
            lists[kind] += [private] if rule.kind == "pii" else sentences(text, spans)
        if lists:
            found[rule.id] = {kind: list(dict.fromkeys(lists[kind])) for kind in ("bad", "good")}
    return found


def sentences(text: str, spans: Iterable[tuple[int, int]]) -> list[str]:
    """The sentences that hold these spans; without spans the whole text."""
    ends = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    found = []
    for start, end in spans:
        first = max(at for at in ends if at <= start)
        last = min((at for at in ends if at >= end), default=len(text))
        found.append(text[first:last].strip())
    return [words for words in found or [text.strip()] if words]
