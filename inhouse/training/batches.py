"""The batches of a data set as a model runs them: what memory and time are reckoned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inhouse.training.unpadded import fill

if TYPE_CHECKING:
    from transformers import TrainingArguments


MICRO_BATCH = 1024  # tokens, or one longer row: activations are held for no more at once


def micro_batches(lengths: Sequence[int], at_least: int = 1) -> list[list[int]]:
    """Rows that run one after another, in groups of about :data:`MICRO_BATCH` tokens each.

    The longest first, each to the group that has the fewest tokens.

    Args:
        at_least: groups that there must be, no more than rows.
    """
    count = max(at_least, len(fill(lengths, max(MICRO_BATCH, *lengths))))
    groups: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        group = filled.index(min(filled))
        groups[group].append(row)
        filled[group] += lengths[row]
    return groups


@dataclass(frozen=True)
class Rows:
    """How many tokens each record comes to, in the records' order.

    ``lengths``: as ``max_length`` counts them. ``laid``: those of one that is laid end to end with
    others, and empty where batches are padded. ``each``: rows of a record in a padded batch, two
    for a pair. ``flat``: a batch is one line. ``packed``: ``max_length`` where rows are packed up
    to it, then to be one line; 0 where they are not. ``parted``: a batch runs in micro-batches.
    """

    lengths: Sequence[int]
    laid: Sequence[int] = ()
    each: int = 1
    flat: bool = False
    packed: int = 0
    parted: bool = False

    @property
    def count(self) -> int:
        """Rows that the trainer draws from: those that are packed as if each were full."""
        return math.ceil(sum(self.lengths) / self.packed) if self.packed else len(self.lengths)

    def shape(self, records: Sequence[int]) -> tuple[int, int]:
        """Lines and their width, in tokens, of a batch of these records."""
        if self.flat or self.packed:
            return 1, sum(self.lengths[record] for record in records)
        if self.laid:
            laid = [self.laid[record] for record in records]
            return len(fill(laid)), max(laid)
        return self.each * len(records), max(self.lengths[record] for record in records)

    def together(self, records: Sequence[int]) -> list[list[int]]:
        """A batch of these records, in groups that run one after another."""
        if not self.parted:
            return [list(records)]
        groups = micro_batches([self.lengths[record] for record in records])
        return [[records[place] for place in group] for group in groups]

    def heaviest(self, batch: int) -> list[int]:
        """The records that run at once in the longest batch, and take the most memory."""
        order = sorted(range(len(self.lengths)), key=lambda record: -self.lengths[record])
        return max(self.together(order[:batch]), key=lambda group: math.prod(self.shape(group)))

    def longest(self, batch: int) -> tuple[int, int]:
        """Lines and width of what runs at once in the longest batch."""
        if self.packed:
            return 1, min(batch * self.packed, sum(self.lengths))
        return self.shape(self.heaviest(batch))

    def computed(self, records: Sequence[int]) -> int:
        """Tokens that a batch of these records computes, padding counted."""
        return sum(math.prod(self.shape(group)) for group in self.together(records))

    def batches(self, training: TrainingArguments) -> list[list[int]]:
        """An epoch's batches: in the order given, or by length where the sampler groups them."""
        order = list(range(len(self.lengths)))
        if training.train_sampling_strategy == "group_by_length":
            order.sort(key=lambda record: self.lengths[record])
        size = training.per_device_train_batch_size
        return [order[at : at + size] for at in range(0, len(order), size)]

    def tokens(self, training: TrainingArguments) -> int:
        """Tokens that one epoch computes, padding counted."""
        return sum(self.lengths) if self.packed else sum(map(self.computed, self.batches(training)))

    def typical(self, training: TrainingArguments) -> list[int]:
        """The records of the batch that computes the median number of tokens."""
        ordered = sorted(self.batches(training), key=self.computed)
        return ordered[len(ordered) // 2]
