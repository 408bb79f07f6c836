"""Avro bodies as columns: a walk over all rows at the same time, field by field.

It reads only what it is sure of. A row that is not plainly what its schema says (a length beyond
the row, an unusual spelling, a number that our rules refuse, a value of a kind not read here) is
*odd*, and left to the codec. So this decoder cannot disagree about which bytes are undecodable:
it must only never take a row that the codec would refuse, nor read another value than it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from ledger.columnar.strings import Bools, Bytes, Ints

_SIZE_BYTES_MAX = 4
_LONG_BYTES_MAX = 9
_HIGH_BITS = np.uint64(0x8080808080808080)
_ARRAY_MAX = 64


class Walk:
    """Where the walk stands in each row.

    Args:
        data: the bytes, padded.
        at: where each row's body starts.
        end: where it ends.
    """

    def __init__(self, data: Bytes, at: Ints, end: Ints) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.odd: Bools = np.zeros(len(at), np.bool_)
        self.high = 0
        """How many bytes of 128 and more were read so far that belong to no string."""

    def some(self, rows: Ints) -> Walk:
        """The same walk for some rows; `join` brings them back."""
        return Walk(self.data, self.at[rows], self.end[rows])

    def join(self, rows: Ints, part: Walk) -> None:
        """Go on where the walk over some of the rows ended."""
        self.at[rows] = part.at
        self.odd[rows] |= part.odd
        self.high += part.high

    def byte(self) -> Bytes:
        """The next byte of each row."""
        found = self.data[self.at]
        self.at += 1
        return found

    def varint(self, bytes_max: int) -> Ints:
        """The next number of variable length, its sign still folded in."""
        first = self.byte()
        value = (first & 0x7F).astype(np.int64)
        rows = np.nonzero(first >= 0x80)[0]
        shift = 7
        while len(rows):
            self.high += len(rows)
            if shift >= 7 * bytes_max:
                self.odd[rows] = True
                break
            more = self.data[self.at[rows]]
            self.at[rows] += 1
            value[rows] |= (more & 0x7F).astype(np.int64) << shift
            rows = rows[more >= 0x80]
            shift += 7
        return value

    def skip(self, lengths: Ints | int) -> None:
        """Go on by so many bytes, at most to the row's end."""
        self.at += lengths
        self.odd |= self.at > self.end
        np.minimum(self.at, self.end, out=self.at)

    def done(self) -> Bools:
        """Which rows were read plainly and to their very end."""
        return ~self.odd & (self.at == self.end)


@dataclass(slots=True)
class Columns:
    """What was read of some rows, by field name."""

    starts: dict[str, Ints] = field(default_factory=dict[str, Ints])
    lengths: dict[str, Ints] = field(default_factory=dict[str, Ints])
    """-1 where there is no string."""
    numbers: dict[str, Ints] = field(default_factory=dict[str, Ints])
    doubles: dict[str, Ints] = field(default_factory=dict[str, Ints])
    """Where each one's 8 bytes start; -1 where there is none."""
    parts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a reader of its own read of a field."""


Read = Callable[[Walk, Columns], None]
Layout = list[Read]


def layout_of(schema: Any, own: Mapping[str, Callable[[Any], Read]]) -> Layout | None:
    """How to walk a record schema; None if it holds something that is not read here.

    Args:
        schema: the record.
        own: gives the reader of a field by the field's name, from its type.
    """
    try:
        return [
            own[each["name"]](each["type"])
            if each["name"] in own
            else _reader(each["name"], each["type"])
            for each in schema["fields"]
        ]
    except NotImplementedError:
        return None


def walk(layout: Layout, data: Bytes, at: Ints, end: Ints) -> tuple[Columns, Walk]:
    """Read rows of one schema."""
    state, columns = Walk(data, at.copy(), end), Columns()
    for read in layout:
        read(state, columns)
    return columns, state


def _reader(name: str, kind: Any) -> Read:
    if isinstance(kind, list):
        return _nullable(name, cast("list[Any]", kind))
    given = cast("Mapping[str, Any]", kind if isinstance(kind, Mapping) else {"type": kind})
    match given["type"]:
        case "string":
            return _string(name)
        case "long":
            return _moment if given.get("logicalType") == "timestamp-micros" else _long(name)
        case "double":
            return _double(name)
        case "enum":
            return _enum(name, len(given["symbols"]))
        case "array" if given["items"] == "long":
            return _offsets
        case "record" if str(given["name"]).rpartition(".")[2] == "Position":
            return _position(given)
        case "record" | "Geometry" | "errata.Geometry":
            return _never
        case _:
            raise NotImplementedError


def _nullable(name: str, kinds: list[Any]) -> Read:
    if len(kinds) != 2 or kinds[0] != "null":
        raise NotImplementedError
    if kinds[1] == "string":
        return _nullable_string(name)
    inner = _reader(name, kinds[1])

    def read(walk: Walk, columns: Columns) -> None:
        rows = chosen(walk)
        part, read = walk.some(rows), Columns()
        if len(rows):
            inner(part, read)
            walk.join(rows, part)
        if kinds[1] == "double":
            columns.doubles[name] = np.full(len(walk.at), -1, np.int64)
            columns.doubles[name][rows] = read.doubles.get(name, -1)

    return read


def chosen(walk: Walk) -> Ints:
    """The rows in which a nullable field is there."""
    branch = walk.byte()
    walk.odd |= (branch != 0) & (branch != 2)
    return np.nonzero(branch == 2)[0]


def _never(walk: Walk, _: Columns) -> None:
    walk.odd[:] = True


def _position(kind: Mapping[str, Any]) -> Read:
    parts = [_reader(each["name"], each["type"]) for each in kind["fields"]]

    def read(walk: Walk, _: Columns) -> None:
        for each in parts:
            each(walk, inner := Columns())
            walk.skip(0)
            for number in inner.numbers.values():
                walk.odd |= number < 0

    return read


def _string(name: str) -> Read:
    def read(walk: Walk, columns: Columns) -> None:
        size = walk.varint(_SIZE_BYTES_MAX)
        walk.odd |= (size & 1) == 1
        columns.starts[name] = walk.at.copy()
        columns.lengths[name] = size >> 1
        walk.skip(size >> 1)

    return read


def _nullable_string(name: str) -> Read:
    whole = _string(name)

    def read(walk: Walk, columns: Columns) -> None:
        rows = chosen(walk)
        if len(rows) == len(walk.at):
            whole(walk, columns)
            return
        columns.starts[name] = np.zeros(len(walk.at), np.int64)
        columns.lengths[name] = np.full(len(walk.at), -1, np.int64)
        if len(rows):
            part = walk.some(rows)
            whole(part, inner := Columns())
            walk.join(rows, part)
            columns.starts[name][rows] = inner.starts[name]
            columns.lengths[name][rows] = inner.lengths[name]

    return read


def _unfolded(value: Ints) -> Ints:
    """A number with its sign."""
    return (value >> 1) ^ -(value & 1)


def _long(name: str) -> Read:
    def read(walk: Walk, columns: Columns) -> None:
        columns.numbers[name] = _unfolded(walk.varint(_LONG_BYTES_MAX))

    return read


def _moment(walk: Walk, _: Columns) -> None:
    """Any number of up to 8 bytes: it is less than 2**55, which is within the years 1 to 9999."""
    everywhere: Any = np.ndarray((len(walk.data) - 7,), "V8", walk.data, strides=(1,))
    last = ~everywhere[walk.at].view("<u8") & _HIGH_BITS
    walk.odd |= last == 0
    # The lowest bit set is the top bit of the last byte: below it are 8 bits for each byte, less 1.
    size = (np.bitwise_count((last & -last) - np.uint64(1)).astype(np.int64) + 1) >> 3
    walk.high += int(size.sum()) - len(size)
    walk.at = walk.at + size


def _enum(name: str, count: int) -> Read:
    def read(walk: Walk, columns: Columns) -> None:
        index = walk.byte()
        walk.odd |= (index >= 2 * count) | (index >= 0x80) | (index & 1 == 1)
        columns.numbers[name] = (index >> 1).astype(np.int64)

    return read


def _double(name: str) -> Read:
    def read(walk: Walk, columns: Columns) -> None:
        start = walk.at
        tail = [walk.data[start + i] for i in range(8)]
        walk.high += int(sum(np.count_nonzero(each >= 0x80) for each in tail))
        walk.odd |= (tail[7] & 0x7F == 0x7F) & (tail[6] >= 0xF0)  # NaN and the infinities
        columns.doubles[name] = start
        walk.at = start + 8

    return read


def _offsets(walk: Walk, _: Columns) -> None:
    """An array of offsets in one block, not empty, none negative."""
    left = walk.byte().astype(np.int64)
    walk.odd |= (left & 1 == 1) | (left == 0) | (left >= 2 * _ARRAY_MAX)
    left >>= 1
    left[walk.odd] = 0
    rows = np.nonzero(left)[0]
    while len(rows):
        part = walk.some(rows)
        part.odd |= (part.varint(_LONG_BYTES_MAX) & 1) == 1
        part.skip(0)
        walk.join(rows, part)
        left[rows] -= 1
        rows = rows[left[rows] > 0]
    walk.odd |= walk.byte() != 0
