"""The gate's decision as people read it: every criterion in words, those that matter first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from review.bands import FAIL, NOT_ENOUGH, PASS

# Each answer's class on the page and its sign, so that it is told without a colour, too.
ANSWERS = {FAIL: ("fail", "✕"), NOT_ENOUGH: ("open", "?"), PASS: ("pass", "✓")}

FEW = 3  # rules on a line that are named by their titles, too


@dataclass(frozen=True)
class Line:
    """A criterion, or several that say the same of several rules."""

    family: str
    of: str
    answer: str
    reason: str
    measured: str
    limit: str
    more: str


@dataclass(frozen=True)
class Family:
    """All criteria of one kind: how many have each answer."""

    name: str
    counts: dict[str, int]

    @property
    def answer(self) -> str:
        """The worst of them."""
        return next(answer for answer in ANSWERS if self.counts[answer])

    @property
    def told(self) -> str:
        """``7 pass, 1 fail``."""
        return ", ".join(f"{count} {answer}" for answer, count in self.counts.items() if count)


def families(criteria: Sequence[Mapping[str, Any]]) -> list[Family]:
    """The kinds of criteria, in the gate's order."""
    counts: dict[str, dict[str, int]] = {}
    for each in criteria:
        of = counts.setdefault(_family(each["name"])[0], dict.fromkeys(ANSWERS, 0))
        of[each["answer"]] += 1
    return [Family(name, of) for name, of in counts.items()]


def lines(
    criteria: Sequence[Mapping[str, Any]], answer: str, titles: Mapping[str, str]
) -> list[Line]:
    """The criteria of an answer; those of one kind that say the same are one line.

    Args:
        titles: of the rules by their ids; a line of a few rules gives them.
    """
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for each in criteria:
        if each["answer"] == answer:
            family, of = _family(each["name"])
            said = (each["reason"], measured(each), limit(each), more(each))
            alike[(family, *said)].append(of)
    return [
        Line(family, _titled([*filter(None, of)], titles), answer, *said)
        for (family, *said), of in alike.items()
    ]


def _titled(of: Sequence[str], titles: Mapping[str, str]) -> str:
    if len(of) > FEW:
        return ", ".join(of)
    return ", ".join(f"{name} {titles[name]}" if name in titles else name for name in of)


def _family(name: str) -> tuple[str, str]:
    family, _, of = name.partition(": ")
    return family, of


def measured(criterion: Mapping[str, Any]) -> str:
    """What was counted, with its bounds: the figures that the answer was decided from."""
    m = criterion["measured"]
    n = f"{m['n']:,} {criterion['unit']}" if "n" in m else ""
    if not m or m.get("n") == 0:
        return "nothing"
    if "failures" in m:
        shown = f"{m['failures']:g} of {n}"
        return shown + (f": {per_cent(m['rate'])}, at most {per_cent(m['high'])}")
    if "p" in m:
        return f"{signed(m['change'])} ({m['gained']:g} better, {m['lost']:g} worse of {n})"
    if "change" in m:
        return f"{signed(m['change'])} ({signed(m['low'])} to {signed(m['high'])}), {n}"
    if "value" in m:
        return f"{m['value']:.3g} ({n})"
    return f"{m['rules']} rules" if "rules" in m else f"{m['tests']} tests of two seeds"


def limit(criterion: Mapping[str, Any]) -> str:
    """What is asked."""
    asked = criterion["limit"]
    if asked is None:
        return "–"
    if isinstance(asked, Mapping):
        return f"passes up to {asked['passes']:g}, fails above {asked['fails']:g}"
    if "p" in criterion["measured"]:
        return f"more than {per_cent(asked)} better"
    if "change" in criterion["measured"]:
        return f"not lower by {per_cent(-asked)}"
    return f"at most {per_cent(asked)}"


def more(criterion: Mapping[str, Any]) -> str:
    """How many more units would do, where that is known."""
    return f"{criterion['more']:,} more {criterion['unit']}" if criterion["more"] else ""


def headline(gate: Mapping[str, Any]) -> str:
    """The gate's headline as a sentence behind its answer, which it does not say again."""
    said = str(gate["headline"]).removeprefix(f"{gate['answer']}: ")
    return said[:1].upper() + said[1:]


def in_code(text: str) -> Markup:
    """A message of ours: what stands in backticks is a command."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )


def per_cent(value: float) -> str:
    """``12.3 %``; small shares with two digits that count."""
    return f"{100 * value:.1f} %" if abs(value) >= 0.1 or not value else f"{100 * value:.2g} %"


def signed(value: float) -> str:
    """A change, with its sign."""
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{per_cent(abs(value))}"
