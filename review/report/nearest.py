"""The training example that an answer is nearest to: what a model may have learned it from.

Examples and answers are compared with what they answer, as words and pairs of words, each weighted
by how rare it is among the examples, by the cosine (tf-idf: Manning, Raghavan and Schütze 2008,
https://nlp.stanford.edu/IR-book/html/htmledition/tf-idf-weighting-1.html; logarithmic tf, smoothed
idf). It finds what is worded alike. That an example is near does not prove that it is the cause.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.errors import InputError
from inhouse.records import Demonstration, Preference, Prompt
from review.learned import LEARNED, records_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_WORD = re.compile(r"[^\W_]+(?:['’.,][^\W_]+)*%?")
SHORTEST = 0.1  # a cosine below which two texts share hardly more than a word
CELLS = 4_000_000  # answers times examples that are compared at once: 32 MB


@dataclass(frozen=True)
class Example:
    """One reply that a model was shown, and where it stands; ``kind`` says what it was shown as."""

    kind: str
    place: str
    asked: str
    answered: str


@dataclass(frozen=True)
class Near:
    """The nearest example, by its number, and the cosine, 0 to 1."""

    example: int
    cosine: float


def examples_of(manifests: Mapping[str, Mapping[str, Any]]) -> tuple[list[Example], list[str]]:
    """Every reply that the campaign's stages learned from, and the files that cannot be read.

    Such are gone, or changed, or hold single verdicts, from which KTO learns.

    Args:
        manifests: the stages', by their folder's name.
    """
    found: dict[tuple[str, str, str], Example] = {}
    unread = []
    for path, stage in _sources(manifests).items():
        try:
            records = records_of(path, stage)
        except InputError:
            records = []
        if any(isinstance(record, Prompt) for _, record in records) or not records:
            unread.append(str(path))
        for place, record in records:
            for example in _examples(f"{path}, {place}", record):
                found.setdefault((example.kind, example.asked, example.answered), example)
    return list(found.values()), unread


def _sources(manifests: Mapping[str, Mapping[str, Any]]) -> dict[Path, str]:
    """The files that showed a model replies, and the stage that read each; PPO reads prompts."""
    return {
        Path(entry["path"]): stage
        for stage, kinds in LEARNED.items()
        if kinds != (Prompt,)
        for entry in manifests.get(stage, {}).get("inputs", [])
        if entry["name"] == "dataset_name"
    }


def _examples(place: str, record: Demonstration | Preference | Prompt) -> Iterator[Example]:
    if isinstance(record, Prompt):
        return
    if isinstance(record, Preference):
        asked = record.prompt[-1].content
        chosen, rejected = "preferred by raters", "rejected by raters"
        if record.source == "rewrite":
            chosen, rejected = "rewritten by a reviewer", "rejected by a reviewer"
        yield Example(chosen, place, asked, record.chosen[0].content)
        yield Example(rejected, place, asked, record.rejected[0].content)
        return
    for before, turn in pairwise(record.messages):
        if turn.role == "assistant" and turn.train:
            yield Example("demonstration", place, before.content, turn.content)


def nearest(examples: Sequence[Example], answers: Sequence[tuple[str, str]]) -> list[Near | None]:
    """For each answer, with what was asked before it, the example that is nearest, if any is near.

    Of several that are equally near the first counts.
    """
    if not examples or not answers:
        return [None] * len(answers)
    weights = _Weights([_terms(each.asked, each.answered) for each in examples])
    shown = weights.matrix(weights.counted).T.tocsr()
    found: list[Near | None] = []
    batch = max(1, CELLS // len(examples))
    for at in range(0, len(answers), batch):
        asked = weights.matrix([_terms(*answer) for answer in answers[at : at + batch]])
        alike = (asked @ shown).toarray()
        for best, cosines in zip(alike.argmax(axis=1), alike, strict=True):
            near = Near(int(best), round(float(cosines[best]), 3))
            found.append(near if near.cosine >= SHORTEST else None)
    return found


class _Weights:
    """How rare each term is among the examples, and texts as rows of weighted terms."""

    def __init__(self, counted: Sequence[Counter[str]]):
        self.counted = counted
        among = Counter(term for terms in counted for term in terms)
        self.columns = {term: at for at, term in enumerate(among)}
        self.idf = {term: log((1 + len(counted)) / (1 + n)) + 1 for term, n in among.items()}
        self.unseen = log(1 + len(counted)) + 1  # counts in a text's length, and matches nothing

    def matrix(self, texts: Sequence[Counter[str]]) -> csr_array:
        """Shape: (texts, terms), every row of length 1, but for terms that no example has."""
        from scipy.sparse import csr_array

        data: list[float] = []
        columns: list[int] = []
        ends = [0]
        for terms in texts:
            weights = {
                term: (1 + log(n)) * self.idf.get(term, self.unseen) for term, n in terms.items()
            }
            length = sum(weight**2 for weight in weights.values()) ** 0.5
            known = [term for term in weights if term in self.columns]
            columns += [self.columns[term] for term in known]
            data += [weights[term] / length for term in known]
            ends.append(len(data))
        return csr_array((data, columns, ends), shape=(len(texts), len(self.columns)))


def _terms(asked: str, answered: str) -> Counter[str]:
    """Words and pairs of neighbouring words; the question's and the reply's do not join."""
    terms: Counter[str] = Counter()
    for text in (asked, answered):
        words = [word.lower() for word in _WORD.findall(text)]
        terms.update(words)
        terms.update(f"{one} {other}" for one, other in pairwise(words))
    return terms
