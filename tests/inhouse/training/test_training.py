"""The plan's arithmetic: classes of lengths, padding, time."""

from types import SimpleNamespace

from inhouse.training.batches import Rows
from inhouse.training.plan import count_steps, length_classes, length_table, time_line


def settings(**changed):
    values = {
        "train_batch_size": 2,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "world_size": 1,
        "max_steps": -1,
        "num_train_epochs": 3.0,
        "packing": False,
        "train_sampling_strategy": "random",
    }
    return SimpleNamespace(**values | changed)


def test_lengths_fall_into_classes_of_a_multiple_of_sixteen():
    # The longest of 200 in eight classes is 25 each, rounded up to 32.
    classes = dict(length_classes([40, 64, 65, 200]))
    assert classes == {64: 2, 96: 1, 128: 0, 160: 0, 192: 0, 224: 1}
    assert sum(count for _, count in length_classes(range(1, 500))) == 499


def test_the_table_tells_shortest_median_and_longest():
    lines = length_table([*range(1, 101)])
    assert lines[0] == "lengths      1 to 100 tokens, median 51, 95 % up to 95"
    assert lines[1].split()[:4] == ["up", "to", "16", "16"] and len(lines) == 8


def test_steps_are_whole_batches_times_epochs_or_what_was_asked():
    assert count_steps(settings(), 5) == 9  # three batches, the last one half, three epochs
    assert count_steps(settings(gradient_accumulation_steps=2), 5) == 6
    assert count_steps(settings(world_size=2), 5) == 6
    assert count_steps(settings(max_steps=4), 5) == 4


def test_time_is_tokens_computed_by_tokens_a_second():
    # 36 padded tokens an epoch (see test_batches), three epochs, at 0.6 a second: 180 seconds.
    line = time_line(settings(), Rows([2, 10, 4, 8]), seconds=10.0, tokens=6)
    assert line == "time         about 3.0 min at 1 tokens a second"
    # And 6 tokens beside each of six updates: 36 more, 60 seconds.
    line = time_line(settings(), Rows([2, 10, 4, 8]), seconds=10.0, tokens=6, beside=6.0)
    assert line == "time         about 4.0 min at 1 tokens a second"
