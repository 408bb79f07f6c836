"""The labels at a position as columns: one Polars frame, from which bytes and files are made.

Its canonical bytes are those of `ledger.snapshot.Snapshot`. What needs the content of items, or
their attributes, asks the reference state, whose texts are fetched from the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa

from ledger.columnar.fold import ColumnarPartition
from ledger.core.events import Geometry
from ledger.core.position import Position
from ledger.snapshot import Change, Format, Row, Snapshot

if TYPE_CHECKING:
    from ledger.replay import State

COLUMNS: Mapping[str, Any] = {
    "id": pl.String,
    "record": pl.String,
    "label": pl.String,
    "geometry_type": pl.String,
    "coordinates": pl.List(pl.Float64),
    "split": pl.String,
}
_ESCAPED = r'[\x00-\x1f"\\]'
"""What JSON does not take as it is."""


def frame_of(partitions: Sequence[ColumnarPartition], simple: State, version: int) -> pl.DataFrame:
    """The labelled items of all partitions under a contract version, sorted by the id's bytes.

    Args:
        partitions: the state.
        simple: the records that the reference fold keeps.
        version: the contract to read the labels under.
    """
    rows = [(*row[:3], *_geometry_cells(row.geometry), row.split) for row in simple.snapshot().rows]
    frames = [pl.DataFrame(rows, schema=dict(COLUMNS), orient="row")]
    frames += [_plain(partition, version) for partition in partitions]
    return pl.concat(frames).sort("id")  # Polars compares strings by their UTF-8 bytes


def _geometry_cells(geometry: Geometry | None) -> tuple[str | None, list[float] | None]:
    return (geometry.type, list(geometry.coordinates)) if geometry else (None, None)


def _plain(partition: ColumnarPartition, version: int) -> pl.DataFrame:
    things, names, tables = partition.columns.things, partition.names, partition.tables
    items = np.nonzero(things.exists)[0]
    since = things.version[items].astype(np.int64)
    label = tables.forward(
        things.label[items].astype(np.int64), since, np.full_like(since, version)
    )
    known = [each if isinstance(each, str) else None for each in tables.labels]
    split = things.split[things.record[items]]
    frame = pl.DataFrame(
        {
            "id": names.things.of(items),
            "record": names.things.of(things.record[items].astype(np.int64)),
            "label": pl.Series(known, dtype=pl.String).gather(label),
            "geometry_type": pl.Series([None], dtype=pl.String).new_from_index(0, len(items)),
            "coordinates": pl.Series([None], dtype=COLUMNS["coordinates"]).new_from_index(
                0, len(items)
            ),
            "split": pl.Series([*names.splits.strings(), None], dtype=pl.String).gather(
                np.where(split < 0, names.splits.size, split)
            ),
        },
        schema=dict(COLUMNS),
    )
    return frame.filter(pl.col("label").is_not_null())


class ColumnarSnapshot(Snapshot):
    """The labelled items at a closed position; `rows` are made only when asked for."""

    def __init__(
        self,
        position: Position,
        contract_version: int,
        frame: pl.DataFrame,
        reference: Callable[[], State],
    ) -> None:
        super().__init__(position, contract_version, ())
        self.frame = frame
        self._reference = reference

    @property
    def rows(self) -> Sequence[Row]:
        """Every item with its attributes and content: a Python object each, from the state."""
        return self._all_rows

    @cached_property
    def _all_rows(self) -> Sequence[Row]:
        return self._reference().snapshot().rows

    def __len__(self) -> int:
        return len(self.frame)

    def lines(self) -> Iterator[bytes]:
        """The canonical lines."""
        return (line.encode() for line in self._lines)

    @cached_property
    def _lines(self) -> pl.Series:
        frame, column = self.frame, pl.col
        special = column("geometry_type").is_not_null()
        for name in ("id", "record", "label", "split"):
            special |= column(name).str.contains(_ESCAPED).fill_null(value=False)
        other = column("record") != column("id")
        line = pl.concat_str(
            pl.lit('{"id":"'),
            column("id"),
            pl.when(other)
            .then(pl.concat_str(pl.lit('","record":"'), column("record")))
            .otherwise(pl.lit("")),
            pl.lit('","label":"'),
            column("label"),
            pl.when(column("split").is_null())
            .then(pl.lit(""))
            .otherwise(pl.concat_str(pl.lit('","split":"'), column("split"))),
            pl.lit('"}\n'),
        )
        made = frame.select(line=line, special=special)
        rows = made["special"].arg_true()
        lines = made["line"]
        if len(rows):
            exact = [row.line().decode() for row in _rows(frame[rows])]
            lines = lines.scatter(rows, pl.Series(exact, dtype=pl.String))
        return lines

    def canonical(self) -> memoryview:
        """The canonical bytes as a whole."""
        array: Any = self._lines.rechunk().to_arrow().cast(pa.large_string())
        _, offsets, data = array.buffers()
        if data is None:
            return memoryview(b"")
        ends = np.frombuffer(offsets, np.int64)
        return memoryview(data)[int(ends[array.offset]) : int(ends[array.offset + len(array)])]

    @cached_property
    def sha256(self) -> str:
        """The content hash, hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def diff(self, after: Snapshot) -> Iterator[Change]:
        """The items that differ, sorted by id; their rows are without content and attributes."""
        if not isinstance(after, ColumnarSnapshot):
            yield from super().diff(after)
            return
        pairs = self.frame.join(
            after.frame, on="id", how="full", coalesce=True, suffix="_after", nulls_equal=True
        )
        columns = [name for name in COLUMNS if name != "id"]
        same = (pl.col(name).eq_missing(pl.col(name + "_after")) for name in columns)
        changed = pairs.filter(~pl.all_horizontal(same)).sort("id")
        old = changed.select("id", *columns)
        new = changed.select("id", *(pl.col(name + "_after").alias(name) for name in columns))
        for item_id, mine, theirs in zip(changed["id"], _maybe(old), _maybe(new), strict=True):
            yield Change(item_id, mine, theirs)

    def labels(self) -> Mapping[str, int]:
        """How many items have each label, by label."""
        counts = self.frame["label"].value_counts()
        return dict(sorted(counts.rows()))

    def to_arrow(self, *, content: bool = False) -> pa.Table:
        """The rows as an Arrow table, as `ledger.snapshot` describes it."""
        if content:
            return super().to_arrow(content=True)
        kinds: dict[str, Any] = dict.fromkeys(COLUMNS, pa.string())
        kinds["coordinates"] = pa.list_(pa.float64())
        return self.frame.to_arrow().cast(pa.schema(list(kinds.items())))

    def write(self, target: BinaryIO, format: Format = "jsonl", *, content: bool = False) -> None:
        """Write the rows to an open binary file; see `Snapshot.write`."""
        if content or format == "parquet":
            super().write(target, format, content=content)
        elif format == "jsonl":
            target.write(self.canonical())
        else:
            rows = list(_rows(self.frame))
            Snapshot(self.position, self.contract_version, rows).write(target, format)


def _maybe(frame: pl.DataFrame) -> Iterator[Row | None]:
    for cells in frame.iter_rows():
        yield None if cells[2] is None else _row(cells)


def _rows(frame: pl.DataFrame) -> Iterator[Row]:
    return (_row(cells) for cells in frame.iter_rows())


def _row(cells: tuple[Any, ...]) -> Row:
    id_, record, label, kind, coordinates, split = cells
    geometry = Geometry(kind, tuple(coordinates)) if kind else None
    return Row(id_, record, label, geometry, split, {}, None)
