"""One pure function per kind of house rule, in a table.

A checker takes a rule's compiled patterns, the text it looks at and what surrounds it, and returns
the spans that break the rule, as offsets in the normalised text. Patterns are google-re2: linear in
the text whatever a rule's author writes, where ``re`` takes seconds for ``(a+)+$``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, islice

from compliance.normalise import Span
from compliance.patterns import Pattern, Several
from compliance.privacy.scan import scan_seen
from compliance.rules.clauses import FRAMES, Text, denies_risk
from compliance.rules.figures import Figure, figures
from compliance.rules.readability import FORMATS, METRICS
from compliance.rules.wording import Wording


@dataclass(frozen=True)
class Context:
    """What surrounds a reply: the conversation before it, and what the firm has approved.

    ``turn`` is what the record says (``first``, ``later``), or None; ``first`` whether the reply is
    the conversation's first as far as the prompt shows. ``facts`` are approved figures, or None
    where no fact sheet was given.
    """

    prompt: Text = field(default_factory=lambda: Text(""))
    asked: Text = field(default_factory=lambda: Text(""))
    turn: str | None = None
    first: bool = True
    facts: frozenset[Figure] | None = None


@dataclass(frozen=True)
class Patterns:
    """A rule's wordings and figures. What each does depends on the rule's kind.

    Of ``unless_sentence``, ``unless_reply`` and ``about`` only whether one is there is asked, so
    each is one pattern, or None.
    """

    match: list[Wording] = field(default_factory=list)
    unless: list[Wording] = field(default_factory=list)
    unless_sentence: Pattern | None = None
    unless_reply: Pattern | None = None
    requires: list[Wording] = field(default_factory=list)
    near: list[Wording] = field(default_factory=list)
    prompt: list[Wording] = field(default_factory=list)
    about: Pattern | None = None
    also: tuple[Patterns, ...] = ()
    exempt: tuple[str, ...] = ()
    within: int = 12
    scope: str = "response"
    entities: frozenset[str] = frozenset()
    at_most: float | None = None
    at_least: float | None = None
    metric: str = ""
    format: str = ""

    def unless_in(self, text: Text) -> list[Wording]:
        """The ``unless`` wordings that match a text."""
        if text.live is None or not self.unless:  # a long text, or one that is looked at once
            return self.unless
        hits = self._all_unless.found(text.text)
        if hits is None:
            return self.unless
        return [w for w in self.unless if self._all_unless.places[w.pattern] in hits]

    @cached_property
    def _all_unless(self) -> Several:
        return Several(wording.pattern for wording in self.unless).compile()


def existence(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """Every match that is the firm's own claim ("guaranteed", but not "not guaranteed")."""
    return _hits(rule, rule.match, text)


def requires(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """The triggers in the text, if what they call for is not there.

    The trigger may stand in the customer's message (``prompt``). Without any the whole text is the
    trigger: the disclosure is always due. ``scope: sentence`` asks for it beside each trigger.
    """
    if rule.prompt and not _hits(rule, rule.prompt, context.asked):
        return []
    if rule.scope == "sentence":
        hits = _hits(rule, rule.match, text)
        return [hit for hit in hits if not _disclosed(rule, _sentence_of(text, hit))]
    if _disclosed(rule, text.text):
        return []
    always = not rule.match or (rule.scope == "first_turn" and context.turn == "first")
    if always:
        return _whole(text)
    # What breaks another rule may call for this disclosure, too.
    triggers = [rule, *rule.also]
    return sorted({hit for each in triggers for hit in _hits(each, each.match, text)})


def forbid_near(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """A match and what must not stand near it, as one span ("FDIC" … "funds")."""
    return _hits(rule, rule.match, text)


def substitution(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """Every word that the house replaces by another."""
    return _hits(rule, rule.match, text)


def occurrence(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """Matches beyond ``at_most``; or the whole text, if there are fewer than ``at_least``."""
    hits = _hits(rule, rule.match, text)
    if rule.at_least is not None and len(hits) < rule.at_least:
        return _whole(text)
    return hits[int(rule.at_most) :] if rule.at_most is not None else []


def metric(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """The whole text, if a measure of it ("words_per_sentence") is out of bounds."""
    value = METRICS[rule.metric](text)
    low = rule.at_least is not None and value is not None and value < rule.at_least
    high = rule.at_most is not None and value is not None and value > rule.at_most
    return _whole(text) if low or high else []


def numeric(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """Every figure that neither the conversation nor an approved fact holds.

    Personal data is another rule's matter: a date of birth is no figure. Nor is what an ``unless``
    pattern covers: opening hours, the date of a letter.
    """
    if context.facts is None:
        return []
    known = context.facts | {figure for _, figure in figures(context.prompt.text)}
    fits_all = {value for unit, value in known if unit == ""}
    of_any_unit = {value for _, value in known}
    spans = [
        span
        for span, (unit, value) in figures(text.text)
        if (unit, value) not in known
        and value not in (fits_all if unit else of_any_unit)
        and not (unit == "date" and value.partition("-")[2] in fits_all)  # a day of the month
    ]
    if not spans:
        return []
    data = [(entity.start, entity.end) for entity in scan_seen(text.text)]
    exempt = _covers([*data, *_exempt(rule, text)])
    return [span for span in spans if not exempt(span) and _counts(rule, text, span)]


def pii(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """Personal data of the kinds named; of a kind in brackets only what is not the firm's own.

    ``(EMAIL)`` is none where an ``unless`` pattern matches its sentence ("our helpline", "write to
    us"), or, if the rule has ``near``, where none of those does. What ``match`` tells of a person
    ("your neighbour is overdrawn") counts where it is said, not denied, asked, quoted or supposed.
    """
    frames = (Text.negated, Text.asked, Text.reported, Text.supposed)
    told = _hits(rule, rule.match, text) if rule.match else []
    found = [span for span in told if not any(frame(text, span) for frame in frames)]
    for entity in scan_seen(text.text):
        span = (entity.start, entity.end)
        sentence = _sentence_of(text, span)
        sure = entity.type in rule.entities
        perhaps = f"({entity.type})" in rule.entities and not _any(rule.unless, sentence)
        perhaps = perhaps and (not rule.near or _any(rule.near, sentence))
        if (sure or perhaps) and _counts(rule, text, span):
            found.append(span)
    return sorted(found)


def format_(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """The whole text, if it is not of the form asked for; with ``prompt`` only where it was."""
    if rule.prompt and not _hits(rule, rule.prompt, context.asked):
        return []
    return [] if FORMATS[rule.format](text.text) else _whole(text)


def off_topic(rule: Patterns, text: Text, context: Context) -> bool:
    """Whether neither the reply nor what it answers is ``about`` what the rule is for."""
    if rule.about is None:
        return False
    return not (rule.about.search(text.text) or rule.about.search(context.asked.text))


def by_people(rule: Patterns, text: Text, context: Context) -> list[Span]:
    """Nothing: ``judge`` and ``human`` rules are carried and shown, and counted as unchecked."""
    return []


CHECKERS: dict[str, Callable[[Patterns, Text, Context], list[Span]]] = {
    "existence": existence,
    "substitution": substitution,
    "occurrence": occurrence,
    "metric": metric,
    "requires": requires,
    "forbid_near": forbid_near,
    "numeric": numeric,
    "pii": pii,
    "format": format_,
    "judge": by_people,
    "human": by_people,
}


def not_checkable(kind: str, context: Context) -> str:
    """Why a rule of this kind says nothing here, or an empty text."""
    if kind in ("judge", "human"):
        return f"not checked by machine ({kind})"
    if kind == "numeric" and context.facts is None:
        return "not checked: no approved figures (--facts)"
    return ""


# --- what kinds share --------------------------------------------------------------------------


MOST = 500  # places where one rule is broken in one reply: with more, nobody reads on


def _hits(rule: Patterns, wordings: list[Wording], text: Text) -> list[Span]:
    """Matches that count, in order, each breach once; with ``near``, widened to what is near."""
    if text.live is not None and wordings is rule.match:
        wordings = text.live.get(id(wordings), [])
    tails: dict[Span, Span] = {}
    for wording in wordings:
        for span, tail in wording.places(text.text):
            tails[span] = max(tail, tails.get(span, tail), key=lambda t: t[1] - t[0])
    if not tails or (rule.unless_reply and rule.unless_reply.search(text.text)):
        return []
    covered = _covers(_exempt(rule, text))
    open_ = (span for span in sorted(tails) if not covered(span))
    counted = (span for span in open_ if _counts(rule, text, span, tails[span]))
    kept = list(islice(counted, MOST))
    if rule.near:
        kept = [wide for span in kept for wide in _nearby(rule, text, span)]
    return _outermost(kept)


def _outermost(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, without those inside another: one breach is told once."""
    kept: list[Span] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not kept or end > kept[-1][1]:
            kept.append((start, end))
    return kept


def _exempt(rule: Patterns, text: Text) -> Iterator[Span]:
    """What the ``unless`` wordings match."""
    wordings = rule.unless_in(text)
    return (found.span() for w in wordings for found in w.compiled.finditer(text.text))


def _covers(spans: Iterable[Span]) -> Callable[[Span], bool]:
    """Whether one of the spans covers a given one, in logarithmic time."""
    ordered = sorted(spans)
    starts = [start for start, _ in ordered]
    reach = list(accumulate((end for _, end in ordered), max))  # the furthest end so far

    def covered(span: Span) -> bool:
        before = bisect_right(starts, span[0])
        return before > 0 and reach[before - 1] >= span[1]

    return covered


def _counts(rule: Patterns, text: Text, span: Span, tail: Span | None = None) -> bool:
    """Whether a place is the firm's own claim, and not what the rule exempts.

    Words apart (``tail`` is the last of them) were looked through for a negation already.
    """
    if rule.unless_sentence and rule.unless_sentence.search(_sentence_of(text, span)):
        return False
    apart = tail is not None and tail != span
    # "you said that the fund is certain to rise"
    if tail is not None and apart and "reported" in rule.exempt and text.reported(tail):
        return False
    frames = [frame for frame in rule.exempt if not (apart and frame == "denied")]
    return not any(FRAMES[frame](text, span) for frame in frames)


def _nearby(rule: Patterns, text: Text, span: Span) -> Iterator[Span]:
    """The span and the closest ``near`` match in its sentence, ``within`` words or fewer away."""
    low, high = text.exchange(span[0])
    sentence = text.text[low:high]
    best: tuple[int, Span] | None = None
    for wording in rule.near:
        for found in wording.compiled.finditer(sentence):
            start, end = low + found.start(), low + found.end()
            if start < span[1] and span[0] < end:
                continue
            between = text.text[min(end, span[1]) : max(start, span[0])]
            distance = len(between.split())
            wide = (min(start, span[0]), max(end, span[1]))
            if distance <= rule.within and (best is None or distance < best[0]):
                best = (distance, wide)
    if best:
        yield best[1]


def _disclosed(rule: Patterns, text: str) -> bool:
    """Whether what a rule calls for is said, and not said to be otherwise ("no risk of loss")."""
    return any(
        not denies_risk(text, found.span())
        for wording in rule.requires
        for found in wording.compiled.finditer(text)
    )


def _any(wordings: list[Wording], text: str) -> bool:
    return any(wording.compiled.search(text) for wording in wordings)


def _sentence_of(text: Text, span: Span) -> str:
    start, _ = text.sentence(span[0])
    _, end = text.sentence(max(span[0], span[1] - 1))
    return text.text[start:end]


def _whole(text: Text) -> list[Span]:
    """The text without the blanks around it; nothing to point at in an empty one."""
    stripped = text.text.strip()
    start = text.text.find(stripped)
    return [(start, start + len(stripped))]
