"""What a batch of rows is written as does not depend on what else is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("polars")
pytest.importorskip("adbc_driver_sqlite")

import polars as pl

from ledger.columnar.delta import CHANGES, CORRECTIONS
from ledger.views import present, schema, tables
from ledger.views.file import Connection

ROWS = 3_000
SAID = ["it's", "''", "?1", "a\0b", "", "ü" * 200, "-- x", "class", None]


def written(file: Path, table: str, frame: pl.DataFrame, rows: int) -> list[tuple[Any, ...]]:
    """The table, of a frame that is inserted so many rows at a time."""
    connection = Connection(file)
    with connection.transaction():
        for statement in schema.tables():
            connection.rows(statement)
        for part in frame.iter_slices(rows):
            tables.insert(connection, table, 3, part)
    # A text that holds a NUL is compared by its bytes.
    names = [row[1] for row in connection.rows(f"PRAGMA table_info({table})")]
    cells = ", ".join(f"hex({name}), typeof({name})" for name in names)
    found = connection.rows(f"SELECT {cells} FROM {table} ORDER BY id")
    connection.close()
    return found


@pytest.mark.parametrize("said", SAID)
def test_what_every_row_says(tmp_path: Path, said: str | None):
    """What all rows of a large batch say alike is stored as what each says by itself."""
    numbers = pl.int_range(ROWS, eager=True)
    given = {
        **{"partition": 3, "offset": numbers, "epoch": 0, "timestamp_ms": 1_767_225_600_000},
        **{"outcome": "registered", "actor": said or "ann", "said_under": 1, "item_offset": 7},
        **{"item_id": numbers.cast(pl.String), "record_id": said, "label": said, "contract": 2},
        **{"content": said, "source": said, "correction_offset": numbers},
    }
    frame = pl.DataFrame({name: given.get(name) for name in CHANGES}, CHANGES, strict=False)
    whole = written(tmp_path / "whole.db", "changes", frame, ROWS)
    assert whole == written(tmp_path / "parts.db", "changes", frame, 100)
    assert len(whole) == ROWS


def test_numbers_that_every_row_says(tmp_path: Path):
    """A number with a fraction stays what it is."""
    numbers = pl.int_range(ROWS, eager=True)
    given = {
        **{"partition": 3, "offset": numbers, "epoch": 0, "timestamp_ms": 5, "actor": "ann"},
        **{"said_under": 1, "correction_id": "c", "item_id": "i", "record_id": "i"},
        **{"confidence": 0.1 + 0.2},
    }
    frame = pl.DataFrame({name: given.get(name) for name in CORRECTIONS}, CORRECTIONS, strict=False)
    frame = present.opened(frame)
    whole = written(tmp_path / "whole.db", "corrections", frame, ROWS)
    assert whole == written(tmp_path / "parts.db", "corrections", frame, 100)
    assert len(whole) == ROWS
