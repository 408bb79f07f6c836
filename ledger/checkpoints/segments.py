"""The rows of a `Delta` as Parquet files that any engine reads.

A file holds what its frame does, without the columns that other columns lead to: `record_id` of
changes and corrections is the part of `item_id` before `#`, and a review names its correction by
`correction_offset`, where `correction_id`, `item_id` and `record_id` stand. Offsets and times are
stored as differences, ids as what differs from the id before; that and zstd keep a row small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ledger.columnar.delta import CHANGES, CORRECTIONS, REFUSALS, REVIEWS, Delta

TABLES: Mapping[str, pl.Schema] = {
    "changes": CHANGES,
    "corrections": CORRECTIONS,
    "reviews": REVIEWS,
    "refusals": REFUSALS,
}
KEPT = "kept"
SCHEMAS: Mapping[str, pl.Schema] = {
    **TABLES,
    KEPT: pl.Schema(
        {"offset": pl.Int64, "timestamp_ms": pl.Int64, "key": pl.Binary, "value": pl.Binary}
    ),
}
"""Those of all files: beside the rows, the messages that `ledger.checkpoints.kept` tells of."""
IMPLIED: Mapping[str, Sequence[str]] = {
    "changes": ("record_id",),
    "corrections": ("record_id",),
    "reviews": ("correction_id", "item_id", "record_id"),
    "refusals": (),
    KEPT: (),
}
"""The columns of each table that are not stored."""

_RISING = ("offset", "timestamp_ms", "item_offset", "correction_offset")
_IDS = ("item_id", "record_id", "correction_id")
_LEVEL = 3  # higher ones take three times as long, and save nothing
_ROW_GROUP = 1 << 20
_STRINGS = (pa.string_view(), pa.large_string())
_BYTES = (pa.binary_view(), pa.large_binary())


def stored(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of a frame that are stored."""
    return frame.drop(IMPLIED[table], strict=False)


def encode(frame: pl.DataFrame) -> bytes:
    """A frame of stored columns as a Parquet file; the same rows give the same bytes."""
    table: Any = frame.to_arrow()
    table = table.cast(pa.schema([(field.name, _plain(field.type)) for field in table.schema]))
    encodings = {name: "DELTA_BINARY_PACKED" for name in _RISING if name in frame.columns}
    encodings |= {name: "DELTA_BYTE_ARRAY" for name in _IDS if name in frame.columns}
    words: Any = [name for name in frame.columns if name not in (*encodings, "key", "value")]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=_LEVEL,
        row_group_size=_ROW_GROUP,
        use_dictionary=words,
        column_encoding=encodings,
        store_schema=False,
    )
    return sink.getvalue().to_pybytes()


def _plain(kind: Any) -> Any:
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(kind.value_type)
    if kind in _BYTES:
        return pa.binary()
    return pa.string() if kind in _STRINGS else kind


def decode(table: str, data: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The stored columns of a file that `encode` made, or those of them that are asked for."""
    schema = stored(table, pl.DataFrame(schema=SCHEMAS[table])).schema
    wanted = [name for name in schema if columns is None or name in columns]
    read: Any = pl.from_arrow(pq.read_table(pa.BufferReader(data), columns=wanted))
    return read.cast({name: schema[name] for name in wanted})


def whole(frames: Mapping[str, pl.DataFrame]) -> Delta:
    """Stored columns as a `Delta`, with what they imply. Where columns are left out, so is what
    would follow from them.
    """
    record = pl.col("item_id").str.split_exact("#", 1).struct.field("field_0").alias("record_id")
    found = {
        table: frame.with_columns(record)
        if "record_id" in IMPLIED[table] and "item_id" in frame.columns
        else frame
        for table, frame in frames.items()
    }
    names = ("correction_id", "item_id", "record_id")
    if set(stored("reviews", pl.DataFrame(schema=REVIEWS)).columns) <= set(
        frames["reviews"].columns
    ):
        said = found["corrections"].select(correction_offset="offset", **{n: n for n in names})
        found["reviews"] = found["reviews"].join(
            said, on="correction_offset", how="left", maintain_order="left"
        )
    return Delta(
        *(
            found[table].select(name for name in schema if name in found[table].columns)
            for table, schema in TABLES.items()
        )
    )
