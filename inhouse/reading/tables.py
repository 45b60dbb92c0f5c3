"""Tables: CSV and TSV with Python's own reader, Parquet and Arrow with pyarrow.

A CSV cell is a text: "0049", "None" and "True" stay what they are. Nothing is written anywhere.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inhouse.errors import InputError, words_of
from inhouse.reading.strict_json import Fault

DELIMITERS = {".csv": ",", ".tsv": "\t"}
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LONGEST_CELL = 2**31 - 1  # characters; the csv module's own limit would be 131,072


def cells(text: str, delimiter: str, source: str) -> Iterator[tuple[int, dict[str, str] | Fault]]:
    """Each row of a table below its head, with the line in which it begins.

    Raises:
        InputError: there is no head, or it cannot be used.
    """
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    head: list[str] | None = None
    begins = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield begins, Fault(_csv_fault(str(error)))
            return
        if any(row):
            if head is None:
                head = _checked_head([name.strip() for name in row], delimiter, source, begins)
            else:
                yield begins, _row(row, head, delimiter)
        begins = reader.line_num + 1
    if head is None:
        raise InputError(f"{source} is empty: expected a line with the names of its columns")


def _checked_head(head: list[str], delimiter: str, source: str, line: int) -> list[str]:
    where = f"{source}, line {line}"
    other = next((sign for sign in NAMES if sign != delimiter and sign in head[0]), None)
    if len(head) == 1 and other:
        raise InputError(
            f"{where}: the columns are parted by {NAMES[other]}, expected {NAMES[delimiter]}: save "
            f"the file with {NAMES[delimiter]}"
            + (", or name it .tsv" if other == "\t" else "")
            + (", or name it .csv" if other == "," else "")
        )
    twice = [name for name, count in Counter(head).items() if count > 1]
    if twice:
        raise InputError(f"{where}: two columns are called {twice[0]!r}: rename one of them")
    return head


def _row(row: list[str], head: list[str], delimiter: str) -> dict[str, str] | Fault:
    if len(row) != len(head):
        sign = {",": "comma", "\t": "tab"}[delimiter]
        return Fault(
            f"{len(row)} cells, the head has {len(head)}: a cell with a {sign} or a line break in "
            'it stands between quotes, "…"'
        )
    quoted = next((c for c in row if c[:1] == " " and c.strip()[:1] == c.strip()[-1:] == '"'), None)
    if quoted is not None:
        return Fault('a blank before a quote makes the quotes part of the text: write ,"…"')
    return dict(zip(head, row, strict=True))


def _csv_fault(words: str) -> str:
    if "unexpected end" in words:
        return "a quote opens here and is never closed"
    if "expected after" in words:
        return 'text behind a closing quote: a quote inside a cell is written twice, ""'
    return f"not a table: {words}"


def cells_text(head: list[str], rows: list[dict[str, Any]], ending: str, original: str) -> str:
    """Rows as a table again, with the line ends of ``original``."""
    made = io.StringIO()
    made.write("\ufeff" if original.startswith("\ufeff") else "")
    ends = "\r\n" if "\r\n" in original else "\n"
    writer = csv.writer(made, delimiter=DELIMITERS[ending], lineterminator=ends)
    writer.writerow(head)
    writer.writerows([row.get(name, "") for name in head] for row in rows)
    return made.getvalue()


# --- columns ------------------------------------------------------------------------------------


def read_columns(path: Path) -> Any:
    """The pyarrow table of a Parquet or Arrow file, or of a folder that ``save_to_disk`` wrote.

    Raises:
        InputError: it is none, or damaged.
    """
    import pyarrow

    try:
        if path.is_dir():
            state = json.loads((path / "state.json").read_text(encoding="utf-8"))
            parts = [_arrow(path / part["filename"]) for part in state["_data_files"]]
            table = pyarrow.concat_tables(parts)
        else:
            table = _parquet(path) if path.suffix.lower() == ".parquet" else _arrow(path)
        table.validate(full=True)
    except (pyarrow.ArrowException, OSError, ValueError, LookupError, TypeError, MemoryError) as e:
        raise InputError(
            f"cannot read {path} as a table: {words_of(e, most=200)}: write it anew"
        ) from None
    names = table.column_names
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{path}: two columns are called {twice[0]!r}: rename one of them")
    return table


def _parquet(path: Path) -> Any:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        return file.read()


def _arrow(path: Path) -> Any:
    from pyarrow import ipc

    content = path.read_bytes()
    if content.startswith(b"ARROW1"):
        return ipc.open_file(content).read_all()
    return ipc.open_stream(content).read_all()


def column_rows(table: Any, source: str) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
    """Each row of a pyarrow table with its number; a missing value is absent."""
    number = 0
    for batch in table.to_batches(max_chunksize=1000):
        try:
            rows = batch.to_pylist()
        except (ValueError, ArithmeticError, TypeError, LookupError) as error:
            raise InputError(
                f"{source}, records {number + 1} to {number + len(batch)}: {words_of(error)}"
            ) from None
        for row in rows:
            number += 1
            # NaN is how pandas writes a missing number
            yield number, {k: v for k, v in row.items() if v is not None and v == v}


def columns_like(table: Any, rows: list[dict[str, Any]], as_parquet: bool) -> bytes:
    """A file of rows that were changed, each column of its old type where that holds it.

    Args:
        as_parquet: else Arrow's own format.
    """
    import pyarrow
    from pyarrow import ipc, parquet

    columns, fields = [], []
    names = dict.fromkeys([*table.column_names, *(name for row in rows for name in row)])
    for name in names:
        known = table.schema.field(name) if name in table.column_names else None
        column = _column([row.get(name) for row in rows], table, known)
        columns.append(column)
        fields.append(known.with_type(column.type) if known else pyarrow.field(name, column.type))
    made = io.BytesIO()
    schema = pyarrow.schema(fields, metadata=_metadata_without_types(table, fields))
    changed = pyarrow.Table.from_arrays(columns, schema=schema)
    if as_parquet:
        parquet.write_table(changed, made)
    else:
        with ipc.new_stream(made, schema) as file:
            file.write_table(changed)
    return made.getvalue()


def _column(values: list[Any], table: Any, known: Any) -> Any:
    """A column as it was, or its changed values in its type, or in another that holds them."""
    import pyarrow

    if known is None:
        return pyarrow.array(values)
    old = table.column(known.name)
    if all(new == was or was != was for new, was in zip(values, old.to_pylist(), strict=True)):
        return old
    column = pyarrow.array(values, type=known.type)
    return column if column.to_pylist() == values else pyarrow.array(values)  # a key it has not


def _metadata_without_types(table: Any, fields: list[Any]) -> dict[bytes, bytes] | None:
    """A schema's own metadata; without the types that ``datasets`` notes, where one has changed."""
    kept = dict(table.schema.metadata or {})
    if [(f.name, f.type) for f in fields] != [(f.name, f.type) for f in table.schema]:
        kept.pop(b"huggingface", None)
        kept.pop(b"pandas", None)
    return kept or None
