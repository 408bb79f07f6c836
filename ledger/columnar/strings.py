"""Strings that lie in a buffer of bytes, as codes; and Kafka's hash of many keys at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bools = NDArray[np.bool_]

PADDING = 64
"""Zero bytes behind a buffer, so that words may be loaded across its end."""

_MASKS: Words = np.array([(1 << (8 * size)) - 1 for size in range(9)], np.uint64)
_SHIFT = np.uint64(32)
_INLINE = 12
_SIZE_MAX = np.uint64(0xFFFFFFFF)


def words(data: Bytes, starts: Ints, lengths: Ints) -> Words:
    """The first 8 bytes of each string, little-endian, zero behind its end."""
    # An 8-byte type without alignment: numpy gathers it in one move wherever it starts.
    everywhere: Any = np.ndarray((len(data) - 7,), "V8", data, strides=(1,))
    found: Words = everywhere[starts].view("<u8")
    if lengths.min(initial=8) >= 8:
        return found
    return found & _MASKS[np.clip(lengths, 0, 8)]


def series(data: Bytes, starts: Ints, lengths: Ints) -> pl.Series:
    """The strings, which must be valid UTF-8, as a Polars series over the same bytes."""
    views = np.empty((len(starts), 2), np.uint64)
    first = words(data, starts, lengths)
    np.bitwise_or(lengths.view(np.uint64), first << _SHIFT, out=views[:, 0])
    views[:, 1] = starts.view(np.uint64) << _SHIFT
    rows = np.nonzero(lengths <= _INLINE)[0]
    if len(rows):  # short strings lie in the view itself
        views[rows, 1] = words(data, starts[rows] + 4, lengths[rows] - 4)
    buffers: Any = [None, _buffer(views), _buffer(data)]
    array: Any = pa.Array.from_buffers(pa.string_view(), len(starts), buffers)
    made: Any = pl.from_arrow(array)
    return made


def _buffer(array: Any) -> Any:
    return pa.py_buffer(array)


def equal(one: Bytes, first: Ints, other: Bytes, second: Ints, lengths: Ints) -> Bools:
    """Which strings of one buffer are those of the other; they are pairwise equally long."""
    found = np.ones(len(lengths), np.bool_)
    for length in distinct(lengths):
        if length <= 0:
            continue
        rows = np.nonzero(lengths == length)[0]
        mine, theirs = _blocks(one, first[rows], length), _blocks(other, second[rows], length)
        if mine.tobytes() != theirs.tobytes():
            found[rows] = (mine.view(np.uint8) == theirs.view(np.uint8)).reshape(-1, length).all(1)
    return found


def _blocks(data: Bytes, starts: Ints, length: int) -> NDArray[Any]:
    everywhere: Any = np.ndarray((len(data) - length + 1,), f"V{length}", data, strides=(1,))
    return everywhere[starts]


def distinct(numbers: Ints) -> list[int]:
    """The distinct numbers, of which there are few."""
    found: list[int] = []
    while len(numbers):
        found.append(int(numbers[0]))
        numbers = numbers[numbers != numbers[0]]
    return found


class Interner:
    """Gives each distinct string a small code, the same in every batch.

    Codes ascend with the first appearance. Polars may leave gaps where several threads intern at
    once; each interner is used by one.
    """

    def __init__(self) -> None:
        self._type = pl.Categorical(pl.Categories.random())
        self._alive = pl.Series([], dtype=self._type)  # Polars forgets codes that nobody uses
        self.size = 0
        """All codes so far are below it."""

    def codes(self, data: Bytes, starts: Ints, lengths: Ints) -> Ints:
        """The code of each string; they must be valid UTF-8."""
        if not len(starts):
            return np.empty(0, np.int64)
        return self.of_series(series(data, starts, lengths))

    def of_series(self, strings: pl.Series) -> Ints:
        """The code of each string of a series without nulls."""
        codes = strings.cast(self._type).to_physical().to_numpy().astype(np.int64)
        self.size = max(self.size, int(codes.max(initial=-1)) + 1)
        return codes

    def strings(self, start: int = 0) -> pl.Series:
        """Every string from a code on, by code."""
        return self.of(np.arange(start, self.size))

    def of(self, codes: Ints) -> pl.Series:
        """The string behind each code."""
        return pl.Series(codes.astype(np.uint32)).cat.to(self._type).cast(pl.String)


_M = np.uint32(0x5BD1E995)


def murmur2(data: Bytes, starts: Ints, lengths: Ints) -> NDArray[np.uint32]:
    """As `ledger.core.partitioner.murmur2`, for many keys at once."""
    found = np.uint32(0x9747B28C) ^ lengths.astype(np.uint32)
    everywhere: Any = np.ndarray((len(data) - 3,), "V4", data, strides=(1,))
    whole = lengths & ~3
    for at in range(0, int(whole.max(initial=0)), 4):
        rows = np.nonzero(whole > at)[0]
        k = everywhere[starts[rows] + at].view("<u4") * _M
        k = (k ^ (k >> np.uint32(24))) * _M
        found[rows] = (found[rows] * _M) ^ k
    rows = np.nonzero(lengths & 3)[0]
    rest = words(data, starts[rows] + whole[rows], lengths[rows] & 3).astype(np.uint32)
    found[rows] = (found[rows] ^ rest) * _M
    found = (found ^ (found >> np.uint32(13))) * _M
    return found ^ (found >> np.uint32(15))


def partitions_of(data: Bytes, starts: Ints, lengths: Ints, partitions: int) -> Ints:
    """As `ledger.core.partitioner.partition_of`, for many keys at once."""
    hashes = murmur2(data, starts, lengths) & np.uint32(0x7FFFFFFF)
    return hashes.astype(np.int64) % partitions


def not_utf8(data: Bytes, starts: Ints, lengths: Ints, high: Ints) -> Bools:
    """Which strings are no UTF-8. `high` counts the bytes of 128 and more before each place."""
    bad = np.zeros(len(starts), np.bool_)
    for row in np.nonzero(high[starts + lengths] != high[starts])[0].tolist():
        try:
            data[starts[row] : starts[row] + lengths[row]].tobytes().decode()
        except UnicodeDecodeError:
            bad[row] = True
    return bad
