"""A batch of log messages as columns.

Rows that are no plain event are *odd*: the codec reads them one by one. What columns hold is what
the fold needs; texts, ids of events and times stay where they are, in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ledger.codec import HEADER_BYTES, MAGIC, Codec, EventSchema
from ledger.columnar import attributes, shapes
from ledger.columnar.avro import Columns, Layout, layout_of, walk
from ledger.columnar.shapes import Drawn
from ledger.columnar.strings import (
    Bools,
    Bytes,
    Ints,
    distinct,
    equal,
    high_bytes,
    joined,
    not_utf8,
    words,
)
from ledger.core.events import CorrectionProposed, ItemRegistered, ReviewDecided
from ledger.core.validity import field_names

REGISTERED, PROPOSED, DECIDED, ODD = 0, 1, 2, -1
_KINDS = {ItemRegistered: REGISTERED, CorrectionProposed: PROPOSED, ReviewDecided: DECIDED}
_COMMON = {"actor": "actor", "item_id": "item", "record_id": "record"}
_COLUMNS: Mapping[int, Mapping[str, str]] = {
    REGISTERED: {**_COMMON, "label": "old", "split": "split"},
    PROPOSED: {**_COMMON, "from_label": "old", "to_label": "new", "correction_id": "correction"},
    DECIDED: {**_COMMON, "correction_id": "correction"},
}
STRINGS = ("actor", "item", "record", "old", "new", "split", "correction")
_HEADER = np.uint64((1 << (8 * HEADER_BYTES)) - 1)
_OWN = {shapes.FIELD: shapes.reader, attributes.FIELD: attributes.reader}
_NEVER_EMPTY = ("event_id", "actor", "record_id")
_NOT_EMPTY = ("label", "split", "from_label", "to_label", "correction_id")


class Strings(NamedTuple):
    """A column of strings in the frame's bytes; a length of -1 is no string."""

    starts: Ints
    lengths: Ints


class Part(NamedTuple):
    """What was read of the rows of one schema; of odd rows it may be nonsense."""

    kind: int
    rows: Ints
    """Their numbers in the frame, ascending."""
    columns: Columns
    """By the names of the wire."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Messages of one partition, in offset order.

    `strings` are the columns that the fold needs; `field` and `double` give any other.
    """

    offsets: Ints
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    data: Bytes
    kind: NDArray[np.int8]
    """REGISTERED, PROPOSED, DECIDED or ODD."""
    version: Ints
    decision: NDArray[np.int8]
    texts: Bools
    """Registrations with a content or a source."""
    drawn: Drawn
    """The geometry of each registration."""
    attributes: dict[int, str]
    """Those of a registration as JSON, by row, where it has any."""
    strings: Mapping[str, Strings]
    parts: Sequence[Part]

    def __len__(self) -> int:
        return len(self.offsets)

    def field(self, name: str, at: Ints) -> Strings:
        """The strings of a field, by its name on the wire, in the rows `at`, none of them odd.

        The length is -1 where the event leaves it out or is of a type without it.
        """
        starts = np.zeros(len(self), np.int64)
        lengths = np.full(len(self), -1, np.int64)
        for part in self.parts:
            if name in part.columns.starts:
                starts[part.rows] = part.columns.starts[name]
                lengths[part.rows] = part.columns.lengths[name]
        return Strings(starts[at], lengths[at])

    def double(self, name: str, at: Ints) -> NDArray[np.float64]:
        """As `field`, for numbers like `confidence`; NaN, which no event holds, where none is."""
        starts = np.full(len(self), -1, np.int64)
        for part in self.parts:
            if name in part.columns.doubles:
                starts[part.rows] = part.columns.doubles[name]
        found = np.full(len(at), np.nan, np.float64)
        there = starts[at] >= 0
        eight = starts[at][there][:, None] + np.arange(8)
        found[there] = self.data[eight].view("<f8").ravel()
        return found


class _Schema(NamedTuple):
    kind: int
    layout: Layout


class Reader:
    """Makes frames of messages.

    Args:
        codec: knows the schema behind each id.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._schemas: dict[int, _Schema | None] = {}

    def frame(
        self,
        offsets: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> Frame:
        """The messages as columns.

        Raises what the codec raises on a schema of a newer release, or without a registry.
        """
        count = len(values)
        data, starts, lengths = joined(values)
        groups, headers = self._groups(data, starts, starts + lengths)
        read = [
            (Part(kind, rows, columns), state)
            for kind, layout, rows, at, end in groups
            for columns, state in [walk(layout, data, at, end)]
        ]
        frame = Frame(
            offsets=_numbers(offsets),
            keys=keys,
            values=values,
            data=data,
            kind=np.full(count, ODD, np.int8),
            version=np.zeros(count, np.int64),
            decision=np.zeros(count, np.int8),
            texts=np.zeros(count, np.bool_),
            drawn=Drawn.none(count),
            attributes={},
            strings={
                name: Strings(np.zeros(count, np.int64), np.full(count, -1, np.int64))
                for name in STRINGS
            },
            parts=[part for part, _ in read],
        )
        # Where no byte of 128 or more is left for strings, all of them are ASCII; but a row that is
        # cut off may have counted bytes of the next one.
        done = [state.done() for _, state in read]
        left = high_bytes(data) - sum(state.high for _, state in read) - headers
        sure = left == 0 and all(each.all() for each in done)
        high = None if sure else np.cumsum(data >= 0x80, dtype=np.int64)
        for ((kind, rows, columns), _), whole in zip(read, done, strict=True):
            good = whole & _sensible(columns) & _listed(data, kind, columns)
            if high is not None:
                good &= _text(data, columns, high)
            _fill(frame, kind, rows, columns, good)
        return frame

    def _groups(
        self, data: Bytes, starts: Ints, ends: Ints
    ) -> tuple[list[tuple[int, Layout, Ints, Ints, Ints]], int]:
        """The rows of each schema that can be walked (kind, layout, rows, body, end), and how many
        bytes of 128 and more their headers have.
        """
        # Magic byte and id as one number; a frame's padding stands in where a value is too short.
        headers = (words(data, starts, ends - starts) & _HEADER).astype(np.int64)
        headers[ends - starts < HEADER_BYTES] = -1
        groups: list[tuple[int, Layout, Ints, Ints, Ints]] = []
        high = 0
        for header in distinct(headers):
            schema = self._schema(header) if header >= 0 else None
            if schema is not None:
                rows = np.nonzero(headers == header)[0]
                at = starts[rows] + HEADER_BYTES
                groups.append((schema.kind, schema.layout, rows, at, ends[rows]))
                high += len(rows) * sum(byte >= 0x80 for byte in header.to_bytes(8, "little"))
        return groups, high

    def _schema(self, header: int) -> _Schema | None:
        """The schema behind the first bytes of a value; None if it is not read as columns."""
        if header not in self._schemas:
            first = header.to_bytes(HEADER_BYTES, "little")
            schema_id = int.from_bytes(first[1:], "big")
            found: object = None
            if first[:1] == MAGIC:
                found = self._codec.schema(schema_id)
            self._schemas[header] = _known(found) if isinstance(found, EventSchema) else None
        return self._schemas[header]


def _numbers(offsets: Sequence[int]) -> Ints:
    if isinstance(offsets, range):
        return np.arange(offsets.start, offsets.stop, offsets.step)
    return np.asarray(offsets, np.int64)


def _known(schema: EventSchema) -> _Schema | None:
    """A schema whose fields are exactly those that this module was written for."""
    for event_type, kind in _KINDS.items():
        if event_type.__name__ == schema.event:
            layout = layout_of(schema.parsed, _OWN)
            names = {each["name"] for each in schema.parsed["fields"]}
            if layout is not None and names == set(field_names(event_type)):
                return _Schema(kind, layout)
    return None


def _sensible(columns: Columns) -> Bools:
    """Which rows keep the rules of `ledger.core.validity` that concern one string or number."""
    good = columns.numbers["contract_version"] >= 0
    for name in _NEVER_EMPTY:
        good &= columns.lengths[name] > 0
    for name in _NOT_EMPTY:
        if name in columns.lengths:
            good &= columns.lengths[name] != 0
    return good


def _literals(event_type: type) -> Mapping[str, Sequence[bytes]]:
    """The fields that take one of a few strings, which Avro does not say of all of them."""
    found: dict[str, Sequence[bytes]] = {}
    for name, hint in get_type_hints(event_type).items():
        for each in (hint, *get_args(hint)):
            if get_origin(each) is Literal:
                found[name] = [value.encode() for value in get_args(each)]
    return found


_LITERALS = {kind: _literals(event_type) for event_type, kind in _KINDS.items()}


def _listed(data: Bytes, kind: int, columns: Columns) -> Bools:
    """Which rows hold strings of the list where there is one."""
    good = np.ones(len(columns.starts["actor"]), np.bool_)
    for name in _LITERALS[kind].keys() & columns.starts.keys():
        rows = np.nonzero(columns.lengths[name] >= 0)[0]
        starts, lengths = columns.starts[name][rows], columns.lengths[name][rows]
        listed = np.zeros(len(rows), np.bool_)
        for value in _LITERALS[kind][name]:
            same = lengths == len(value)
            theirs = np.frombuffer(value, np.uint8)
            zero = np.zeros(int(np.count_nonzero(same)), np.int64)
            same[same] = equal(data, starts[same], theirs, zero, lengths[same])
            listed |= same
        good[rows[~listed]] = False
    return good


def _text(data: Bytes, columns: Columns, high: Ints) -> Bools:
    """Which rows hold valid UTF-8 only."""
    before = np.concatenate((np.zeros(1, np.int64), high))
    good = np.ones(len(columns.starts["actor"]), np.bool_)
    for name, starts in columns.starts.items():
        lengths = np.clip(columns.lengths[name], 0, len(data) - starts)
        good &= ~not_utf8(data, starts, lengths, before)
    return good


def _fill(frame: Frame, kind: int, rows: Ints, columns: Columns, good: Bools) -> None:
    """Put what was read of one schema's rows in its place."""
    at = slice(None) if len(rows) == len(frame) else rows
    frame.kind[at] = np.where(good, kind, ODD)
    frame.version[at] = columns.numbers["contract_version"]
    if kind == DECIDED:
        frame.decision[at] = columns.numbers["decision"]
    if kind == REGISTERED:
        frame.texts[at] = (columns.lengths["content"] >= 0) | (columns.lengths["source"] >= 0)
        frame.drawn.put(rows, columns.parts[shapes.FIELD])
        told: dict[int, str] = columns.parts[attributes.FIELD]
        frame.attributes.update((int(rows[i]), text) for i, text in told.items())
    for name, column in _COLUMNS[kind].items():
        frame.strings[column].starts[at] = columns.starts[name]
        frame.strings[column].lengths[at] = columns.lengths[name]
