"""The labels at a position as columns: one Polars frame, from which bytes and files are made.

Its canonical bytes are those of `ledger.snapshot.Snapshot`. What needs the content of items, or
their attributes, asks the reference state, whose texts are fetched from the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ledger.columnar import shapes
from ledger.columnar.attributes import text_of
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.forward import forward
from ledger.core.contract import Contract
from ledger.core.events import Geometry, record_of
from ledger.core.fold import Item
from ledger.core.position import Position
from ledger.snapshot import Change, Difference, Format, Row, Snapshot

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
_PLAIN: Mapping[str, Any] = {
    name: pa.list_(pa.float64()) if name == "coordinates" else pa.string() for name in COLUMNS
}
_INDEXED = ("label", "split")
SAID = [name for name in COLUMNS if name not in ("id", "record")]
"""What a canonical line says of an item."""
_ESCAPED = r'[\x00-\x1f"\\]'
"""What JSON does not take as it is."""


def frame_of(partitions: Sequence[ColumnarPartition], simple: State, version: int) -> pl.DataFrame:
    """The labelled items of all partitions under a contract version, sorted by the id's bytes.

    Args:
        partitions: the state.
        simple: the records that the reference fold keeps.
        version: the contract to read the labels under.
    """
    rows = [(row.item_id, *_cells(row)) for row in simple.snapshot().rows]
    frames = [pl.DataFrame(rows, schema=dict(COLUMNS), orient="row")]
    frames += [_plain(partition, version) for partition in partitions]
    return pl.concat(frames).sort("id")  # Polars compares strings by their UTF-8 bytes


def _cells(row: Row) -> tuple[Any, ...]:
    geometry = row.geometry
    kind, numbers = (geometry.type, list(geometry.coordinates)) if geometry else (None, None)
    return row.record_id, row.label, kind, numbers, row.split


def _plain(partition: ColumnarPartition, version: int) -> pl.DataFrame:
    columns, names, tables = partition.columns, partition.names, partition.tables
    things = columns.things
    items = np.nonzero(things.exists)[0]
    since = things.version[items].astype(np.int64)
    until = np.full_like(since, version)
    label = forward(columns, items, things.label[items].astype(np.int64), since, until)
    known = [each if isinstance(each, str) else None for each in tables.labels]
    split = things.split[things.record[items]]
    kinds, coordinates = columns.shapes.columns(things.shape[items])
    frame = pl.DataFrame(
        {
            "id": names.things.of(items),
            "record": names.things.of(things.record[items].astype(np.int64)),
            "label": pl.Series(known, dtype=pl.String).gather(label),
            "geometry_type": kinds,
            "coordinates": coordinates,
            "split": pl.Series([*names.splits.strings(), None], dtype=pl.String).gather(
                np.where(split < 0, names.splits.size, split)
            ),
        },
        schema=dict(COLUMNS),
    )
    return frame.filter(pl.col("label").is_not_null())


def attributes_of(partitions: Sequence[ColumnarPartition], simple: Iterable[Item]) -> pl.DataFrame:
    """The attributes of every item that has any, as JSON: columns `id` and `attributes`.

    Args:
        partitions: the state.
        simple: the items that the reference fold keeps.
    """
    told = [(item.item_id, text_of(item.single_attributes)) for item in simple]
    schema = {"id": pl.String(), "attributes": pl.String()}
    frames = [pl.DataFrame(told, schema=schema, orient="row").drop_nulls()]
    for partition in partitions:
        things, names = partition.columns.things, partition.names
        items = np.nonzero(things.exists & (things.attributes >= 0))[0]
        codes = things.attributes[items].astype(np.int64)
        columns = [names.things.of(items), names.attributes.of(codes)]
        frames.append(pl.DataFrame(columns, schema=schema))
    return pl.concat(frames)


def arrow_schema() -> pa.Schema:
    """The columns of a snapshot as `ledger.snapshot` documents them."""
    kinds = {**_PLAIN, **dict.fromkeys(_INDEXED, pa.dictionary(pa.int32(), pa.string()))}
    return pa.schema(list(kinds.items()))


def as_arrow(table: pa.Table, contract: Contract) -> pa.Table:
    """A table of plain strings, of the columns of `arrow_schema` and maybe more, as that says.
    Labels that are no class of the contract, which somebody relabelled, come behind its classes.
    """
    arrow: Any = pa
    compute: Any = pc
    for name, first in (("label", list(contract.classes)), ("split", list[str]())):
        said: Any = table.column(name).unique().drop_null().to_pylist()
        values = [*first, *sorted(set[str](said) - set(first))]
        names = arrow.array(values, pa.string())
        index = compute.index_in(table.column(name).combine_chunks(), value_set=names)
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, arrow.DictionaryArray.from_arrays(index, names))
    return table


def indexed(codes: NDArray[Any], names: Sequence[str | None], values: Sequence[str]) -> Any:
    """An Arrow dictionary of `values` from indices into names; null where the name is not there."""
    at: Mapping[str | None, int] = {value: number for number, value in enumerate(values)}
    numbers = np.array([at.get(name, -1) for name in names], np.int32)
    index = numbers.take(codes, mode="clip")  # nothing is: but what may raise is buffered first
    none = index < 0
    arrow: Any = pa.array(index, mask=none if none.any() else None)
    whole: Any = pa.DictionaryArray
    return whole.from_arrays(arrow, pa.array(values, pa.string()))


class ColumnarSnapshot(Snapshot):
    """The labelled items at a closed position; `rows` are made only when asked for.

    Args:
        position: where it was taken.
        contract: what its labels stand under.
        columns: the items, as a Polars frame of `COLUMNS` or an Arrow table of `arrow_schema`.
        reference: the state there, for contents and attributes.
        attributes: those of every item that has any, as JSON: columns `id` and `attributes`. None
            where only the state knows them.
    """

    def __init__(
        self,
        position: Position,
        contract: Contract,
        columns: pl.DataFrame | pa.Table,
        reference: Callable[[], State],
        attributes: Callable[[], pl.DataFrame] | None = None,
    ) -> None:
        super().__init__(position, contract, ())
        self._columns = columns
        self.reference = reference
        self.attributes = attributes

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The items as a Polars frame."""
        if isinstance(self._columns, pl.DataFrame):
            return self._columns
        return cast("pl.DataFrame", pl.from_arrow(self._columns.cast(pa.schema(_PLAIN))))

    @property
    def rows(self) -> Sequence[Row]:
        """Every item with its attributes and content: a Python object each, from the state."""
        return self._all_rows

    @cached_property
    def _all_rows(self) -> Sequence[Row]:
        return self.reference().snapshot().rows

    def __len__(self) -> int:
        return len(self._columns)

    def lines(self) -> Iterator[bytes]:
        """The canonical lines."""
        return (line.encode() for line in self._lines)

    @cached_property
    def _lines(self) -> pl.Series:
        frame, column = self.frame, pl.col
        special = pl.any_horizontal(
            column(name).str.contains(_ESCAPED).fill_null(value=False)
            for name in ("id", "record", "label", "split")
        )
        other = column("record") != column("id")
        drawn: pl.Expr | pl.Series = pl.lit("")
        if frame["geometry_type"].null_count() < len(frame):
            drawn = (
                ',"geometry":' + shapes.as_json(frame["geometry_type"], frame["coordinates"])
            ).fill_null("")
        line = pl.concat_str(
            pl.lit('{"id":"'),
            column("id"),
            pl.when(other)
            .then(pl.concat_str(pl.lit('","record":"'), column("record")))
            .otherwise(pl.lit("")),
            pl.lit('","label":"'),
            column("label"),
            pl.lit('"'),
            drawn,
            pl.when(column("split").is_null())
            .then(pl.lit(""))
            .otherwise(pl.concat_str(pl.lit(',"split":"'), column("split"), pl.lit('"'))),
            pl.lit("}\n"),
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

    def diff(self, after: Snapshot) -> Difference:
        """The items that differ, sorted by id; their rows are without content and attributes."""
        if not isinstance(after, ColumnarSnapshot):
            return super().diff(after)
        pairs = self.frame.join(
            after.frame, on="id", how="full", coalesce=True, suffix="_after", nulls_equal=True
        )
        said = [name for name in COLUMNS if name != "id"]
        same = (exact(pairs[name]).eq_missing(exact(pairs[name + "_after"])) for name in said)
        differs = ~pl.select(pl.all_horizontal(*same)).to_series()
        return difference_of(pairs.filter(differs).sort("id"))

    def labels(self) -> Mapping[str, int]:
        """How many items have each label, by label."""
        counts = self.frame["label"].value_counts()
        return dict(sorted(counts.rows()))

    def to_arrow(self, *, content: bool = False) -> pa.Table:
        """The rows as an Arrow table, as `ledger.snapshot` describes it."""
        if content:
            return super().to_arrow(content=True)
        if isinstance(self._columns, pa.Table):
            return self._columns
        return as_arrow(self._columns.to_arrow().cast(pa.schema(_PLAIN)), self.contract)

    def write(self, target: BinaryIO, format: Format = "jsonl", *, content: bool = False) -> None:
        """Write the rows to an open binary file; see `Snapshot.write`."""
        if content or format == "parquet":
            super().write(target, format, content=content)
        elif format == "jsonl":
            target.write(self.canonical())
        else:
            rows = list(_rows(self.frame))
            Snapshot(self.position, self.contract, rows).write(target, format)


class ColumnarDifference(Difference):
    """The items that differ between two snapshots; changes are made only when asked for.

    Args:
        table: an Arrow table of `difference_schema`.
    """

    def __init__(self, table: pa.Table) -> None:
        super().__init__(())
        self._table = table

    @property
    def changes(self) -> Sequence[Change]:
        """Every change; their rows are without content and attributes."""
        return self._made

    @cached_property
    def _made(self) -> Sequence[Change]:
        columns: list[list[Any]] = [column.to_pylist() for column in self._table.columns]
        made: list[Change] = []
        for item, _, *cells in zip(*columns, strict=True):
            record = record_of(item)
            sides = (cells[: len(SAID)], cells[len(SAID) :])
            rows = [_row((item, record, *side)) if side[0] is not None else None for side in sides]
            made.append(Change(item, *rows))
        return made

    def __len__(self) -> int:
        return len(self._table)

    def to_arrow(self) -> pa.Table:
        """The changes as an Arrow table; see `Difference.to_arrow`."""
        return self._table


def exact(column: pl.Series) -> pl.Series:
    """What tells canonical lines apart: of coordinates the bits, for 0.0 and -0.0 are two texts."""
    if column.dtype != COLUMNS["coordinates"]:
        return column
    numbers: Any = column.rechunk().to_arrow().cast(pa.list_(pa.float64()))
    return cast("pl.Series", pl.from_arrow(numbers.view(pa.list_(pa.int64()))))


def difference_of(pairs: pl.DataFrame) -> ColumnarDifference:
    """The difference that columns `id`, `label`, `label_after`, ... make: those of `SAID` twice."""
    old, new = pl.col("label").is_null(), pl.col("label_after").is_null()
    kind = pl.when(old).then(pl.lit("added")).when(new).then(pl.lit("removed"))
    made = pairs.select(
        pl.col("id"),
        kind.otherwise(pl.lit("changed")).alias("change"),
        *(pl.col(name).alias(f"before_{name}") for name in SAID),
        *(pl.col(f"{name}_after").alias(f"after_{name}") for name in SAID),
    )
    return ColumnarDifference(made.to_arrow().cast(difference_schema()))


def changes_as_arrow(changes: Sequence[Change]) -> pa.Table:
    """Changes as `Difference.to_arrow` gives them."""
    rows = [(c.item_id, *_said(c.before), *_said(c.after)) for c in changes]
    schema = {"id": COLUMNS["id"], **{name: COLUMNS[name] for name in SAID}}
    schema |= {f"{name}_after": COLUMNS[name] for name in SAID}
    return difference_of(pl.DataFrame(rows, schema=schema, orient="row")).to_arrow()


def _said(row: Row | None) -> tuple[Any, ...]:
    return (None,) * len(SAID) if row is None else _cells(row)[1:]


def difference_schema() -> pa.Schema:
    """The columns of a difference as `ledger.snapshot` documents them."""
    fields: list[tuple[str, Any]] = [("id", pa.string()), ("change", pa.string())]
    for side in ("before", "after"):
        fields += [(f"{side}_{name}", _PLAIN[name]) for name in SAID]
    return pa.schema(fields)


def _rows(frame: pl.DataFrame) -> Iterator[Row]:
    return (_row(cells) for cells in frame.iter_rows())


def _row(cells: tuple[Any, ...]) -> Row:
    id_, record, label, kind, coordinates, split = cells
    geometry = Geometry(kind, tuple(coordinates)) if kind else None
    return Row(id_, record, label, geometry, split, {}, None)
