"""Known breaches among the answers, which tell how watchful reviewers are.

Each is a ``bad:`` example of a house rule. One that stands for itself is the last sentence of a
clean answer that is not read otherwise, to a prompt at which some model broke that rule, if there
is one: a bare sentence among whole answers would be known for what it is. One that came with a
question of its own is the reply to that question.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from compliance.rules.house_rules import HouseRules
from compliance.rules.schema import Example, Rule
from inhouse.records import Message, Output, content_id, is_blank, plain
from review.summary import HELD_OUT

GRAVE = ("blocker", "major")  # breaches that nobody may pass


@dataclass(frozen=True)
class Planted:
    """A reply that is known to break a rule."""

    rule: str
    prompt: list[Message]
    response: str


def plant(
    rules: HouseRules,
    outputs: Sequence[Output],
    taken: Collection[str],
    number: int,
    draw: random.Random,
) -> list[Planted]:
    """So many known breaches, spread over the rules; fewer where the rules have no fit examples.

    Args:
        outputs: whose clean answers may carry an example.
        taken: ids of the outputs that are read themselves.
    """
    examples = list(_spread(rules, draw))
    clean = [o for o in outputs if o.split == HELD_OUT and not o.findings]
    clean = [o for o in clean if o.id not in taken and not is_blank(o.response)]
    draw.shuffle(clean)
    donors, tempted = _Donors(clean), _tempted(outputs)
    planted: dict[tuple[str, str], Planted] = {}
    for rule, example in islice(cycle(examples), 4 * number if examples else 0):
        if len(planted) == number:
            break
        donor = donors.next(tempted[rule.id])
        made = _placed(rules, rule, example, donor, outputs[0].prompt)
        if made is not None:
            planted.setdefault((str(made.prompt), made.response), made)
    return list(planted.values())


def _spread(rules: HouseRules, draw: random.Random) -> Iterator[tuple[Rule, str | Example]]:
    """The grave rules' examples, one of each rule in turn."""
    waiting = [
        (rule, draw.sample(fit, len(fit)))
        for rule in rules.rules
        if rule.group == "compliance" and rule.severity in GRAVE
        if (fit := [example for example in rule.bad if _stands_alone(example)])
    ]
    draw.shuffle(waiting)
    for turn in range(max((len(examples) for _, examples in waiting), default=0)):
        yield from ((rule, e[turn]) for rule, e in waiting if turn < len(e))


def _stands_alone(example: str | Example) -> bool:
    """Whether a reviewer can see that it is a breach, from the question and the reply alone."""
    if isinstance(example, str):
        return True
    return example.facts is None and example.jurisdiction is None and example.turn != "later"


def _tempted(outputs: Sequence[Output]) -> dict[str, set[str]]:
    """The prompts at which some model broke a rule, by rule: there a breach surprises nobody."""
    found: dict[str, set[str]] = defaultdict(set)
    for output in outputs:
        for finding in output.findings:
            found[finding.rule].add(content_id(plain(output.prompt)))
    return found


class _Donors:
    """Clean answers that carry an example each; all before any carries another."""

    def __init__(self, clean: list[Output]):
        self.waiting, self.used = clean, list[Output]()

    def next(self, fitting: Collection[str]) -> Output | None:
        """The next one, to a fitting prompt if there is any; None where there are none at all."""
        if not self.waiting:
            self.waiting, self.used = self.used, []
        if not self.waiting:
            return None
        fit = (at for at, o in enumerate(self.waiting) if content_id(plain(o.prompt)) in fitting)
        self.used.append(self.waiting.pop(next(fit, 0) if fitting else 0))
        return self.used[-1]


def _placed(
    rules: HouseRules,
    rule: Rule,
    example: str | Example,
    donor: Output | None,
    any_prompt: list[Message],
) -> Planted | None:
    """An example as a reply that breaks the rule, by the rule's own checker where it has one."""
    if isinstance(example, Example) and example.prompt:
        asked = [Message(role="user", content=example.prompt)]
        return Planted(rule.id, asked, example.response)
    words = example if isinstance(example, str) else example.response
    prompt = donor.prompt if donor else any_prompt
    for response in ([f"{donor.response.rstrip()} {words}"] if donor else []) + [words]:
        found = {finding.rule for finding in rules.check(prompt, response)}
        if not rule.by_machine or rule.id in found:
            return Planted(rule.id, prompt, response)
    return None
