"""Any bytes are records or a refusal, whatever kind of file they are called."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inhouse.reading.fuzz import (
    KINDS,
    NAMES,
    PIECES,
    ROWS,
    WORDS,
    array,
    cells,
    lines,
    read_all,
)
from tests.inhouse.reading.fuzz import readers as all_readers

READERS = all_readers()
WRITERS = {"jsonl": lines, "json": array, "csv": cells(","), "tsv": cells("\t")}

few = settings(
    max_examples=100,
    deadline=None,  # the machine may be busy
    derandomize=True,  # what passed once passes again
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # one path, written each time
)
values = st.recursive(
    st.sampled_from(WORDS) | st.text() | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
        | st.fixed_dictionaries({"role": inner, "content": inner})
        | st.fixed_dictionaries({"from": inner, "value": inner})
    ),
    max_leaves=8,
)
changes = st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=3)
changed = st.builds(lambda row, fields: {**row, **fields}, st.sampled_from([{}, *ROWS]), changes)
rows = st.lists(changed, min_size=1, max_size=2)


@pytest.mark.parametrize("name", READERS)
@few
@given(
    content=st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join),
    kind=st.sampled_from(KINDS),
)
def test_any_bytes_are_records_or_a_refusal(tmp_path, name, content, kind):
    path = tmp_path / f"d{READERS[name].ending}"
    path.write_bytes(content)
    assert read_all(path, kind) >= 0


@pytest.mark.parametrize("name", WRITERS)
@few
@given(rows=rows, kind=st.sampled_from(KINDS))
def test_fields_of_any_type_are_records_or_a_refusal(tmp_path, name, rows, kind):
    path = tmp_path / f"d{READERS[name].ending}"
    try:
        path.write_bytes(WRITERS[name](rows))
    except UnicodeEncodeError:  # half a character
        return
    assert read_all(path, kind) >= 0


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_records_or_a_refusal(tmp_path, name):
    """The first inputs of ``fuzz.py``, which makes as many as one has time for."""
    path = tmp_path / f"d{READERS[name].ending}"
    for number in range(200):
        path.write_bytes(READERS[name].make(random.Random(f"0 {name} {number}")))
        assert read_all(path, KINDS[number % len(KINDS)]) >= 0
