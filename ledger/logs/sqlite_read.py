"""Reads records of one partition: as columns of Python objects, or packed into two buffers.

Packed, SQLite itself lays keys and values one behind the other. That takes a quarter of the
interpreter's time, and the rest of it other threads can use: replay by columns reads this way.
Each returns the checksum that the records lead to; whoever asks holds it against the stored one.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from itertools import chain, islice
from typing import NamedTuple, cast

from ledger.logs import sqlite_checksum as running
from ledger.logs.base import PADDING, Batch, Packed, PackedCells, Topic
from ledger.logs.sqlite_file import Connection

# A batch also ends soon after so many bytes: ten thousand messages of 500 kB are 5 GB.
BATCH_BYTES = 16 * 1024 * 1024
# Rows fetched and checked at a time: they stay in the processor's cache.
_CHUNK_ROWS = 200
_RANGE = "FROM records WHERE partition_id = ? AND offset >= ? AND offset < ?"
_SIZE = f"SELECT sum(length(key)), sum(length(value)) {_RANGE}"
# Per record, in 16 bytes: the key's length (-1: none) and the value's as one number, and the time.
_PACKED = f"""SELECT CAST(group_concat(coalesce(key, x'') || value, '') AS BLOB),
    CAST(group_concat(unhex(printf('%016x%016x',
        coalesce(length(key), -1) << 32 | length(value), timestamp_ms)), '') AS BLOB),
    sum(typeof(key) IN ('blob', 'null') AND typeof(value) = 'blob'
        AND typeof(timestamp_ms) = 'integer')
    FROM (SELECT key, value, timestamp_ms {_RANGE} ORDER BY offset)"""


class Part(NamedTuple):
    """A partition as its row says."""

    partition_id: int
    topic: Topic
    partition: int
    end: int


def columns(
    connection: Connection, part: Part, start: int, stop: int, before: int
) -> tuple[Batch, int, bool]:
    """The records from `start` on, up to `stop` or, which comes third, a good many bytes.

    Raises `TypeError` or `UnicodeDecodeError` where a cell is of another type than was written.
    """
    crc, size = running.crc_of(before), 0
    keys, values, timestamps = list[bytes | None](), list[bytes](), list[int]()
    cursor = connection.execute(
        f"SELECT key, value, timestamp_ms {_RANGE} ORDER BY offset",
        (part.partition_id, start, stop),
    )
    while size < BATCH_BYTES and (rows := list(islice(cursor, _CHUNK_ROWS))):
        cells = cast(list[bytes | None], list(chain.from_iterable(rows)))
        timestamps += cast(list[int], cells[2::3])
        del cells[2::3]
        crc, count = running.after_cells(crc, cells)
        size += count
        keys += cells[0::2]
        values += cast(list[bytes], cells[1::2])
    cursor.close()
    offsets = range(start, start + len(values))
    checksum = running.joined(before, crc, timestamps)
    batch = Batch(part.topic, part.partition, offsets, timestamps, keys, values)
    return batch, checksum, size >= BATCH_BYTES


def packed(
    connection: Connection, part: Part, start: int, stop: int, before: int
) -> tuple[Batch, int] | None:
    """The records of a range; None where they are too large, or not all of them plainly there."""
    where = (part.partition_id, start, stop)
    key_bytes, value_bytes = connection.execute(_SIZE, where).fetchall()[0]
    if value_bytes is None or (key_bytes or 0) + value_bytes > BATCH_BYTES:
        return None
    data, sizes, plain = connection.execute(_PACKED, where).fetchall()[0]
    if plain != stop - start or len(data) != (key_bytes or 0) + value_bytes:
        return None
    numbers = array("q", sizes)
    if sys.byteorder == "little":
        numbers.byteswap()
    timestamps = numbers[1::2]
    checksum = running.joined(before, zlib.crc32(data, running.crc_of(before)), timestamps)
    both = Packed(data + bytes(PADDING), numbers[0::2])
    offsets, keys, values = range(start, stop), PackedCells(both, key=True), PackedCells(both)
    return Batch(part.topic, part.partition, offsets, timestamps, keys, values), checksum
