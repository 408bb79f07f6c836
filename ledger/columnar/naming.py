"""From strings to codes: who a row is about, and whether that is plain."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ledger.columnar.frame import DECIDED, ODD, PROPOSED, Frame, Strings
from ledger.columnar.rows import Rows
from ledger.columnar.state import CODE, Columns, Names
from ledger.columnar.strings import (
    Bools,
    Interner,
    Ints,
    alike,
    equal,
    joined,
    partitions_of,
)
from ledger.columnar.tables import Tables
from ledger.core.outcome import Outcome

_MARK = re.compile(b"#")


class Naming:
    """Names the rows of one partition.

    Args:
        names: the strings behind the codes.
        columns: the state.
        partition: the partition's number.
        partitions: how many there are.
    """

    def __init__(self, names: Names, columns: Columns, partition: int, partitions: int) -> None:
        self._names = names
        self._columns = columns
        self._partition = partition
        self._partitions = partitions

    def rows(
        self, frame: Frame, tables: Tables, outcomes: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int8], Rows]:
        """The kind of each row, ODD where its ids break a rule, and the rows to be folded.

        Misplaced rows and those under no contract get their outcome, and are left out.
        """
        kind = frame.kind.copy()
        at = np.nonzero(kind != ODD)[0]
        things = self._columns.things
        record = self._names.things.codes(frame.data, *_some(frame, "record", at))
        item = self._items(frame, at, record)
        things.grow(self._names.things.size)
        good = self._records(frame, at, record) & self._regions(frame, at, record, item)
        kind[at[~good]] = ODD
        at, record, item = at[good], record[good], item[good]

        there = things.home[record] & self._keyed(frame, at)
        outcomes[at[~there]] = CODE[Outcome.MISPLACED]
        admitted = there & tables.admits(frame.version[at], frame.offsets[at])
        outcomes[at[there & ~admitted]] = CODE[Outcome.UNKNOWN_CONTRACT]
        return kind, self._coded(frame, tables, at[admitted], record[admitted], item[admitted])

    def _coded(self, frame: Frame, tables: Tables, at: Ints, record: Ints, item: Ints) -> Rows:
        names = self._names
        actor = self._codes(names.actors, frame, "actor", at)
        old = self._codes(names.labels, frame, "old", at)
        new = self._codes(names.labels, frame, "new", at)
        tables.know(names.actors, names.labels)
        return Rows(
            at=at,
            kind=frame.kind[at],
            record=record,
            item=item,
            actor=actor,
            version=frame.version[at],
            judged=frame.version[at],
            old=tables.label_codes(old),
            new=tables.label_codes(new),
            split=self._codes(names.splits, frame, "split", at),
            correction=self._corrections(frame, at),
            decision=frame.decision[at],
            offset=frame.offsets[at],
            texts=frame.texts[at],
        )

    def _corrections(self, frame: Frame, at: Ints) -> Ints:
        """The codes of the corrections. What this batch proposes comes first: most of its decisions
        are about that, and then find it at once.
        """
        codes = np.full(len(at), -1, np.int64)
        for kind in (PROPOSED, DECIDED):
            rows = np.nonzero(frame.kind[at] == kind)[0]
            codes[rows] = self._codes(self._names.corrections, frame, "correction", at[rows])
        return codes

    def _codes(self, interner: Interner, frame: Frame, name: str, at: Ints) -> Ints:
        """The codes of a column; -1 where there is no string."""
        starts, lengths = _some(frame, name, at)
        rows = np.nonzero(lengths >= 0)[0]
        if len(rows) == len(at):
            return interner.codes(frame.data, starts, lengths)
        codes = np.full(len(at), -1, np.int64)
        codes[rows] = interner.codes(frame.data, starts[rows], lengths[rows])
        return codes

    def _items(self, frame: Frame, at: Ints, record: Ints) -> Ints:
        """The codes of the items, most of which are their records."""
        starts, lengths = _some(frame, "item", at)
        same = alike(frame.data, (starts, lengths), frame.data, _some(frame, "record", at))
        item = record.copy()
        if same.all():
            return item
        rows = np.nonzero(~same)[0]
        item[rows] = self._names.things.codes(frame.data, starts[rows], lengths[rows])
        return item

    def _records(self, frame: Frame, at: Ints, record: Ints) -> Bools:
        """Which rows name a record by a possible name. A new one's home is found on the way."""
        things = self._columns.things
        new = np.nonzero(things.record[record] != record)[0]
        good = np.ones(len(at), np.bool_)
        if len(new):
            starts, lengths = _some(frame, "record", at[new])
            # Most batches hold no such byte at all, which is soon found.
            any_mark = _MARK.search(frame.data.data) is not None
            marks = np.nonzero(frame.data == ord("#"))[0] if any_mark else np.empty(0, np.int64)
            bad = np.searchsorted(marks, starts) != np.searchsorted(marks, starts + lengths)
            good[new[bad]] = False
            codes = record[new]
            things.record[codes[~bad]] = codes[~bad]
            homes = partitions_of(frame.data, starts, lengths, self._partitions)
            things.home[codes] = (homes == self._partition) & ~bad
        return good

    def _regions(self, frame: Frame, at: Ints, record: Ints, item: Ints) -> Bools:
        """Which rows name an item that is their record or a region of it."""
        things = self._columns.things
        good = things.record[item] == record
        new = np.nonzero(~good)[0]
        if len(new):
            starts, lengths = _some(frame, "item", at[new])
            whole, sizes = _some(frame, "record", at[new])
            region = lengths > sizes + 1
            region[region] = frame.data[(starts + sizes)[region]] == ord("#")
            mine, theirs = starts[region], whole[region]
            region[region] = equal(frame.data, mine, frame.data, theirs, sizes[region])
            rows = new[region]
            good[rows] = True
            things.record[item[rows]] = record[rows]
        return good

    def _keyed(self, frame: Frame, at: Ints) -> Bools:
        """Which rows have their record's name as key."""
        data, first, lengths = joined(frame.keys)
        if len(at) < len(frame):
            first, lengths = first[at], lengths[at]
        return alike(data, (first, lengths), frame.data, _some(frame, "record", at))


def _some(frame: Frame, name: str, at: Ints) -> Strings:
    column = frame.strings[name]
    if len(at) == len(column.starts):
        return column
    return Strings(column.starts[at], column.lengths[at])
