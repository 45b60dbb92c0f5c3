"""How well and how fast the finance rules find what breaks them.

    python benchmarks/house_rules.py

Prints recall and precision on tests/data/house_rules_labelled.jsonl, which was written without the
patterns in view. The patterns were then improved on the development half (an even SHA-256 of the
id) and on five later files. The other half, house_rules_validation_2.jsonl and
house_rules_validation_3.jsonl, by two more writers, say what to expect of wording that nobody has
seen. Then seconds on one core over 1,000 replies of
100 words, the same of replies of which no two are alike, texts of growing length, hostile texts of
a megabyte, and texts a second of the personal-data scan.
"""

import hashlib
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from compliance.privacy.scan import scan  # noqa: E402
from compliance.rules import house_rules  # noqa: E402
from compliance.rules.figures import approved  # noqa: E402
from compliance.rules.house_rules import DEFAULT  # noqa: E402
from inhouse.records import Message  # noqa: E402

DATA = ROOT / "tests" / "data"

SENTENCES = (
    "Thank you for your question about the account.",
    "The fee is 1.20% a year and is taken from the balance each quarter.",
    "You can change your address in the app or at any branch.",
    "The value of investments can fall as well as rise, and you may get back less.",
    "We cannot tell you whether the fund suits you, as that depends on your circumstances.",
    "Past performance is not a reliable indicator of future results.",
    "Please allow two working days for the transfer to arrive.",
    "Our advisers are glad to help if anything in the documents is unclear.",
    "The fund returned 9.1% last year.",
    "Statements are sent by post in the first week of each month.",
)

HOSTILE = {
    "rule words without a full stop": "guaranteed fund will rise you should buy risk FDIC PIN "
    * 19_000,
    "breaches": "Your return is guaranteed. " * 38_000,
}


def reply(rng: random.Random, words: int) -> str:
    """A reply of about that many words, some of them near what rules look for."""
    said: list[str] = []
    count = 0
    while count < words:
        said.append(rng.choice(SENTENCES))
        count += len(said[-1].split())
    return " ".join(said)


def seconds(work, texts) -> float:
    """The best of three runs over all texts."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for text in texts:
            work(text)
        best = min(best, time.process_time() - began)
    return best


def read(name: str) -> list[dict]:
    """The labelled replies of one file."""
    text = (DATA / f"house_rules_{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def halves_of(name: str) -> tuple[str, ...]:
    """What a record counts for, by its id."""
    if name.startswith(("x-", "z-")):
        return ("validation_2" if name.startswith("x-") else "validation_3",)
    even = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 0
    return ("all", "development" if even else "other")


def print_labelled(rules: house_rules.HouseRules) -> None:
    """Recall and precision on the labelled replies, by half and by blocker rule."""
    machine = {rule.id: rule for rule in rules.rules if rule.by_machine}
    halves: dict[str, dict[str, Counter]] = {
        half: {"hit": Counter(), "false": Counter(), "missed": Counter()}
        for half in ("development", "other", "all", "validation_2", "validation_3")
    }
    for record in (*read("labelled"), *read("validation_2"), *read("validation_3")):
        asked = [Message(role="user", content=record["prompt"])] if record["prompt"] else []
        findings = rules.check(
            asked,
            record["response"],
            turn=record["turn"],
            jurisdiction=record["jurisdiction"],
            facts=frozenset(map(approved, record["facts"])),
        )
        found = {finding.rule for finding in findings}
        broken = set(record["violates"]) & machine.keys()
        for half in halves_of(record["id"]):
            halves[half]["hit"].update(found & broken)
            halves[half]["false"].update(found - broken)
            halves[half]["missed"].update(broken - found)
    for half, counted in halves.items():
        hit, false, missed = (counted[name].total() for name in ("hit", "false", "missed"))
        print(f"{half:12} recall {hit / (hit + missed):.3f}  precision {hit / (hit + false):.3f}")
    unread = [halves[part] for part in ("other", "validation_2", "validation_3")]
    for rule in (rule.id for rule in machine.values() if rule.severity == "blocker"):
        hit, missed = (sum(part[name][rule] for part in unread) for name in ("hit", "missed"))
        print(f"  {rule:8} recall on what is unread {hit / (hit + missed):.2f} ({hit + missed})")


def main() -> None:
    """Measure and print."""
    rng = random.Random(0)
    rules = house_rules.load(DEFAULT)
    print_labelled(rules)
    texts = [reply(rng, 100) for _ in range(1000)]
    rules.check([], texts[0])
    spent = seconds(lambda text: rules.check([], text), texts)
    print(f"{len(rules.rules)} rules, 1,000 replies of 100 words: {spent:.2f} s (at most 0.5)")
    said = [record["response"] for name in ("labelled", "development") for record in read(name)]
    varied = [" ".join(rng.sample(said, 6)) for _ in range(300)]
    began = time.process_time()
    for text in varied:
        rules.check([], text)
    spent = 1000 * (time.process_time() - began) / len(varied)
    words = sum(len(text.split()) for text in varied) / len(varied)
    print(f"replies of {words:.0f} words that were never seen: {spent:.1f} ms each")
    for about, text in HOSTILE.items():
        began = time.process_time()
        found = len(rules.check([], text))
        print(f"1 MB of {about}: {time.process_time() - began:.1f} s, {found} findings")
    for words in (1_000, 10_000, 100_000):
        text = reply(rng, words)
        spent = seconds(lambda text: rules.check([], text), [text])
        print(f"one reply of {words:,} words: {spent:.3f} s, {1e6 * spent / words:.2f} µs a word")
    spent = seconds(scan, texts)
    print(f"personal data: {1000 / spent:,.0f} texts of 100 words a second (at least 400)")


if __name__ == "__main__":
    main()
