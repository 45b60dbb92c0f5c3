"""What a batch computes, by hand: padded, laid end to end, packed, single rows and pairs."""

from types import SimpleNamespace

import pytest

from inhouse.training import batches
from inhouse.training.batches import Rows, micro_batches

LENGTHS = [2, 10, 4, 8]


def settings(**changed) -> SimpleNamespace:
    plain = {"train_sampling_strategy": "random", "per_device_train_batch_size": 2}
    return SimpleNamespace(**plain | changed)


@pytest.mark.parametrize(
    ("rows", "changed", "tokens"),
    [
        (Rows(LENGTHS), {}, 2 * 10 + 2 * 8),  # (2, 10), (4, 8)
        (Rows(LENGTHS), {"train_sampling_strategy": "group_by_length"}, 2 * 4 + 2 * 10),
        (Rows(LENGTHS, each=2), {}, 4 * 10 + 4 * 8),
        (Rows(LENGTHS, laid=LENGTHS), {}, 2 * 10 + 2 * 8),  # 10 + 2 is more than a line of 10
        (Rows(LENGTHS, laid=LENGTHS), {"per_device_train_batch_size": 4}, 3 * 10),  # 8 + 2
        (Rows(LENGTHS, flat=True), {}, 24),
        (Rows(LENGTHS, packed=12), {}, 24),
    ],
)
def test_an_epoch_computes_its_padding_too(rows, changed, tokens):
    assert rows.tokens(settings(**changed)) == tokens


@pytest.mark.parametrize(
    ("rows", "shape"),
    [
        (Rows(LENGTHS), (3, 10)),
        (Rows(LENGTHS, each=2), (6, 10)),
        (Rows(LENGTHS, laid=[3, 15, 6, 9]), (2, 15)),  # 15; 9 + 6
        (Rows(LENGTHS, flat=True), (1, 22)),
        (Rows(LENGTHS, packed=12), (1, 24)),  # all there is, three rows of 12 would be more
        (Rows(LENGTHS * 9, packed=12), (1, 36)),
    ],
)
def test_the_longest_batch_of_three(rows, shape):
    assert rows.longest(3) == shape


def test_packed_rows_are_fewer_than_records():
    assert Rows(LENGTHS).count == 4
    assert Rows(LENGTHS, packed=12).count == 2  # 10 + 2, 8 + 4


# --- micro-batches ----------------------------------------------------------------------------


def test_rows_are_dealt_to_as_few_groups_as_hold_them(monkeypatch):
    monkeypatch.setattr(batches, "MICRO_BATCH", 12)
    assert micro_batches([2, 4]) == [[1, 0]]
    assert micro_batches(LENGTHS) == [[1, 0], [3, 2]]  # 10 + 2, 8 + 4
    assert micro_batches(LENGTHS, 3) == [[1], [3], [2, 0]]  # another process needs three
    assert micro_batches([30, 2]) == [[0], [1]]  # a row is never cut


def test_what_runs_at_once_is_a_group(monkeypatch):
    monkeypatch.setattr(batches, "MICRO_BATCH", 12)
    rows = Rows(LENGTHS, laid=LENGTHS, parted=True)
    assert rows.together([0, 1, 2, 3]) == [[1, 0], [3, 2]]
    assert rows.longest(4) == (2, 10)  # 10 | 2: heavier than 8 | 4
    assert rows.computed([0, 1, 2, 3]) == 2 * 10 + 2 * 8
    assert rows.tokens(settings(per_device_train_batch_size=4)) == 36


def test_the_typical_batch_is_of_the_median_size():
    # Two at a time: 20, 16 and 8 tokens.
    assert Rows([*LENGTHS, 4, 4]).typical(settings()) == [2, 3]
