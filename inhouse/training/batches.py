"""The batches of a data set as a model runs them: what memory and time are reckoned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inhouse.training.unpadded import fill

if TYPE_CHECKING:
    from transformers import TrainingArguments


@dataclass(frozen=True)
class Rows:
    """How many tokens each record comes to, in the records' order.

    ``lengths``: as ``max_length`` counts them. ``laid``: those of one that is laid end to end with
    others, and empty where batches are padded. ``each``: rows of a record in a padded batch, two
    for a pair. ``flat``: a batch is one line. ``packed``: ``max_length`` where rows are packed up
    to it, then to be one line; 0 where they are not.
    """

    lengths: Sequence[int]
    laid: Sequence[int] = ()
    each: int = 1
    flat: bool = False
    packed: int = 0

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

    def longest(self, batch: int) -> tuple[int, int]:
        """Lines and width of the longest batch."""
        if self.packed:
            return 1, min(batch * self.packed, sum(self.lengths))
        order = sorted(range(len(self.lengths)), key=lambda record: -self.lengths[record])
        return self.shape(order[:batch])

    def tokens(self, training: TrainingArguments) -> int:
        """Tokens that one epoch computes, padding counted.

        In the order given, or by length where the sampler groups them.
        """
        if self.packed:
            return sum(self.lengths)
        order = list(range(len(self.lengths)))
        if training.train_sampling_strategy == "group_by_length":
            order.sort(key=lambda record: self.lengths[record])
        size = training.per_device_train_batch_size
        shapes = (self.shape(order[at : at + size]) for at in range(0, len(order), size))
        return sum(lines * width for lines, width in shapes)
