"""A firm's house rules: loaded from data, run against replies.

    python -m compliance.rules check replies.jsonl --rules configs/house/finance --json
    python -m compliance.rules test
    python -m compliance.rules explain PROM-01

    rules = load("configs/house/asdfg.yaml")
    findings = rules.check(prompt, response)

A rule is data in a strict schema (``compliance/rules/schema.py``). Its ``bad:`` and ``good:``
examples run whenever it is loaded: a rule that misses its own example does not load.
Compliance rules and tone rules are told apart by ``group``, so that a fluent violation never
outscores an awkward compliant reply. Replies are normalised before they are checked, and spans are
the original's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path

from compliance.normalise import is_english
from compliance.patterns import Pattern, Several, either
from compliance.rules.checkers import CHECKERS, Context, Patterns, not_checkable, off_topic
from compliance.rules.clauses import Text
from compliance.rules.figures import Figure, approved
from compliance.rules.rule_files import rules_hash
from compliance.rules.schema import Example, Rule, near
from compliance.rules.wording import Wording
from compliance.rules.written import Written, read
from inhouse.config import ROOT
from inhouse.errors import GateError, InputError
from inhouse.records import Finding, Message

DEFAULT = ROOT / "configs" / "house" / "finance"
ALSO_CALLED = {"GB": "UK", "UNITEDKINGDOM": "UK", "USA": "US", "UNITEDSTATES": "US"}
IN_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"

# Characters beyond which each pattern searches by itself: of a long text full of the rules' words,
# the automaton of all of them has so many states that it is 100 times slower.
LONG = 5_000
FEW = 40  # patterns in an automaton beyond which the next rule starts another
Live = tuple[int, Wording]  # a wording, behind the id of the list that it is from


@dataclass(frozen=True)
class HouseRules:
    """A rule set that passed its own examples; ``hash`` goes into manifests and guidelines."""

    house: str
    rules: tuple[Rule, ...]
    hash: str
    _patterns: dict[str, Patterns]

    def check(
        self,
        prompt: Sequence[Message],
        response: str,
        *,
        turn: str | None = None,
        jurisdiction: str | None = None,
        facts: frozenset[Figure] | None = None,
    ) -> list[Finding]:
        """Every place where a response breaks a rule, by where it stands.

        Args:
            turn: ``first`` or ``later``, where that is known; else the prompt tells.
            jurisdiction: whose rules apply; where it is not known, all of them do.
            facts: the approved figures, from :func:`approved_figures`; without them no figure can
                be traced, and ``numeric`` rules are not checked.
        """
        context = _context(prompt, turn, facts)
        text = Text(response)
        found = []
        awake = self._awake(text)
        for rule in self.rules:
            if rule.id in awake and _applies(rule, context, jurisdiction):
                found += self._check_one(rule, text, context)
        return sorted(found, key=lambda finding: (finding.start, finding.rule))

    def not_checked(self, *, facts: bool = False) -> dict[str, str]:
        """The rules that no machine checks here, and why."""
        context = Context(facts=frozenset() if facts else None)
        reasons = {rule.id: not_checkable(rule.kind, context) for rule in self.rules}
        return {name: reason for name, reason in reasons.items() if reason}

    def overdue(self, today: date | None = None) -> list[Rule]:
        """Rules past their ``review_by``."""
        today = today or date.today()
        return [rule for rule in self.rules if rule.review_by and rule.review_by < today]

    def check_reviewed(self, today: date | None = None) -> None:
        """What a release asks of its rules: that none is past its ``review_by``.

        Raises:
            GateError: names each that is, its date and its owner.
        """
        late = [
            f"{rule.id} was to be reviewed by {rule.review_by}, owner {rule.owner or 'none'}"
            for rule in self.overdue(today)
        ]
        if late:
            raise GateError(
                f"{len(late)} of {len(self.rules)} rules are past their review: "
                f"{'; '.join(late)}\nno release is made with them: review each, then give it a "
                "later review_by"
            )

    @cached_property
    def jurisdictions(self) -> set[str]:
        """Those that the rules name."""
        return {named for rule in self.rules for named in rule.jurisdictions}

    def group_of(self, rule: str) -> str:
        """``compliance`` or ``tone``."""
        return self._by_id[rule].group

    def rule(self, name: str) -> Rule:
        """The rule of that id.

        Raises:
            InputError: there is none.
        """
        if name not in self._by_id:
            known = ", ".join(self._by_id)
            raise InputError(f"no rule {name}{near(name, self._by_id)}; the file has {known}")
        return self._by_id[name]

    @cached_property
    def _by_id(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in self.rules}

    def _check_one(self, rule: Rule, text: Text, context: Context) -> list[Finding]:
        patterns = self._patterns[rule.id]
        if off_topic(patterns, text, context):
            return []
        found = []
        for start, end in CHECKERS[rule.kind](patterns, text, context):
            a, b = text.seen.original(start, end)
            # Personal data is never repeated: findings go into logs, reports and Argilla.
            words = "[personal data]" if rule.kind == "pii" else text.written[a:b]
            found.append(Finding(rule=rule.id, severity=rule.severity, start=a, end=b, text=words))
        return found

    # Patterns in a few automata, so that a reply is read a few times, not once a pattern. Of all
    # rules in one, varied text would make three times as many states, each of which costs once.
    # Of a pattern of words apart the words are in it, each for itself, for the same reason.
    @cached_property
    def _automata(self) -> list[_Automaton]:
        made = [_Automaton()]
        for rule in self.rules:
            waiting = {other.id for other in self.rules if rule.id in other.also_when}
            waiting |= set() if rule.id in self._always_awake else {rule.id}
            if len(made[-1].parts.places) > FEW:
                made.append(_Automaton())
            wordings = self._patterns[rule.id].match
            for wording in wordings:
                made[-1].add(wording.needs, (id(wordings), wording), waiting)
        for automaton in made:
            automaton.parts.compile()
        return made

    @cached_property
    def _always_awake(self) -> frozenset[str]:
        return frozenset(
            rule.id for rule in self.rules if not _waits_for_match(rule, self._patterns[rule.id])
        )

    def _awake(self, text: Text) -> set[str]:
        """The rules that may find something; ``text.live`` says with which of their patterns."""
        if len(text.text) > LONG:
            return {rule.id for rule in self.rules}
        awake, text.live = set(self._always_awake), defaultdict(list)
        for automaton in self._automata:
            for (wordings, wording), wakes in automaton.found(text.text):
                text.live[wordings].append(wording)
                awake |= wakes
        return awake


class _Automaton:
    """Some rules' wordings, searched for together: what each needs, and whom it wakes."""

    def __init__(self) -> None:
        self.parts = Several()
        # What each wording needs, by the part that was added last, as that is mostly the rarest.
        self.needs: dict[int, list[tuple[frozenset[int], Live, set[str]]]] = defaultdict(list)

    def add(self, parts: Sequence[str], wording: Live, wakes: set[str]) -> None:
        """A wording by the parts that all must be there."""
        needs = frozenset(map(self.parts.add, parts))
        self.needs[max(needs)].append((needs, wording, wakes))

    def found(self, text: str) -> Iterator[tuple[Live, set[str]]]:
        """The wordings that a text may hold, each with whom it wakes."""
        hits = self.parts.found(text)
        for last in self.needs if hits is None else hits & self.needs.keys():
            for needs, wording, wakes in self.needs[last]:
                if hits is None or needs <= hits:
                    yield wording, wakes


def load(path: str | Path) -> HouseRules:
    """Read a rule file, or a folder of them, and run every rule against its own examples.

    Raises:
        InputError: it is not in the schema (with file and line), a pattern is not re2's, two rules
            share an id, or a rule misses one of its examples.
    """
    path = Path(path)
    house, written = read(path)
    patterns = {each.rule.id: _patterns_of(each) for each in written}
    for rule in (each.rule for each in written if each.rule.also_when):
        also = tuple(patterns[name] for name in rule.also_when)
        patterns[rule.id] = replace(patterns[rule.id], also=also)
    rules = HouseRules(house, tuple(each.rule for each in written), rules_hash(path), patterns)
    for each in written:
        _run_examples(rules, each)
    return rules


def _run_examples(rules: HouseRules, written: Written) -> None:
    """Raises InputError: a rule does not find its bad example, or finds something in a good one."""
    rule = written.rule
    for name, examples in (("bad", rule.bad), ("good", rule.good)):
        for example in examples if rule.by_machine else []:
            if bool(check_example(rules, rule, example)) != (name == "bad"):
                verb = "does not find" if name == "bad" else "finds something in"
                raise InputError(
                    f"{written.place} {verb} its own {name} example {shown(example)!r}"
                )


def check_example(rules: HouseRules, rule: Rule, example: str | Example) -> list[Finding]:
    """What one rule finds in one of its examples."""
    if isinstance(example, str):
        example = Example(response=example)
    prompt = [Message(role="user", content=example.prompt)] if example.prompt else []
    facts = frozenset(map(approved, example.facts)) if example.facts is not None else None
    context = _context(prompt, example.turn, facts)
    if not _applies(rule, context, example.jurisdiction):
        return []
    # Pattern by pattern: the automaton of all of them takes longer to warm up than this takes.
    return rules._check_one(rule, Text(example.response), context)


def jurisdictions_of(jurisdiction: str) -> set[str]:
    """How rules may name a jurisdiction: "U.K." and "gb" are UK, and DE is in the EU."""
    bare = re.sub(r"[\W_]", "", jurisdiction.upper())
    named = ALSO_CALLED.get(bare, bare)
    return {named, "EU"} if named in IN_EU.split() else {named}


def shown(example: str | Example) -> str:
    """An example's reply, as people read it."""
    return example if isinstance(example, str) else example.response


def in_context(example: str | Example) -> str:
    """An example's reply with what it depends on: what was asked, which figures are approved."""
    reply = " ".join(shown(example).split())
    if isinstance(example, str):
        return reply
    asked = [f'asked "{" ".join(example.prompt.split())}"'] if example.prompt else []
    figures = ", ".join(example.facts or ()) or "none"
    approved = [f"approved figures: {figures}"] if example.facts is not None else []
    around = "; ".join([*asked, *approved])
    return f"{reply} ({around})" if around else reply


def checked_language(response: str) -> bool:
    """Whether a reply is in English, the rules' language: of any other they say nothing."""
    return is_english(response)


COMPARE = (
    "# How to compare two answers for {house}",
    "",
    "Choose the answer you would rather see sent to the customer: right, complete, courteous, "
    "and within the rules below. Choose *tie* only if you could not care which one is sent.",
    "",
)


def guidelines(rules: HouseRules, opening: Sequence[str] = COMPARE) -> str:
    """The page that people read in Argilla, in Markdown: what to do, and each rule with an example.

    Args:
        opening: lines that say what to do, ``{house}`` in them; by default to compare two answers.
    """
    lines = [line.format(house=rules.house) for line in opening]
    for rule in rules.rules:
        lines += [f"- **{rule.id} {rule.title}** ({rule.severity}). {rule.fix}"]
        lines += [f"    - breaks it: {in_context(rule.bad[0])}"]
        lines += [f"    - keeps it: {in_context(rule.good[0])}"]
    return "\n".join([*lines, "", f"Rules {rules.hash[:12]}"])


def _context(
    prompt: Sequence[Message], turn: str | None, facts: frozenset[Figure] | None
) -> Context:
    asked = next((m.content for m in reversed(prompt) if m.role == "user"), "")
    return Context(
        prompt=Text("\n".join(message.content for message in prompt)),
        asked=Text(asked),
        turn=turn,
        first=turn == "first" or (turn is None and all(m.role != "assistant" for m in prompt)),
        facts=facts,
    )


def _applies(rule: Rule, context: Context, jurisdiction: str | None) -> bool:
    if rule.scope == "first_turn" and not context.first:
        return False
    if not rule.jurisdictions or not jurisdiction:
        return True
    return not jurisdictions_of(jurisdiction).isdisjoint(rule.jurisdictions)


def _waits_for_match(rule: Rule, patterns: Patterns) -> bool:
    """Whether a rule can find something only where one of its ``match`` wordings does."""
    if rule.at_least is not None or rule.scope == "first_turn":
        return False
    return bool(patterns.match) and rule.kind not in ("pii", "numeric", "metric", "format")


def _patterns_of(written: Written) -> Patterns:
    """What a rule's checker works with."""

    def one_of(key: str) -> Pattern | None:
        wordings = written.wordings[key]
        return either(wording.pattern for wording in wordings) if wordings else None

    rule, wordings = written.rule, written.wordings
    return Patterns(
        match=wordings["match"],
        unless=wordings["unless"],
        unless_sentence=one_of("unless_sentence"),
        unless_reply=one_of("unless_reply"),
        requires=wordings["requires"],
        near=wordings["near"],
        prompt=wordings["prompt"],
        about=one_of("about"),
        exempt=tuple(rule.exempt),
        within=rule.within,
        scope=rule.scope,
        entities=frozenset(rule.entities),
        at_most=rule.at_most,
        at_least=rule.at_least,
        metric=rule.metric,
        format=rule.format,
    )
