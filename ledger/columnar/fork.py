"""A partition as it is, and beside it as it would be without some of its events.

What no such event has been about yet is the same on both sides, and is folded once. From the first
event on that is left out of it a record is folded on both sides, each with a state of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ledger.codec import Codec
from ledger.columnar.fold import ColumnarPartition, Named
from ledger.columnar.frame import DECIDED, PROPOSED, Frame
from ledger.columnar.rows import Rows
from ledger.columnar.state import NO_RECORD, Columns, chain, link
from ledger.columnar.strings import Bools, Ints
from ledger.core.contract import Contracts
from ledger.core.events import LabelEvent
from ledger.core.fold import Record

_NEVER = 2**62


class Fork:
    """The two states of one label partition after a prefix of it.

    Args:
        contracts: the contract at every live version.
        partition: this partition's number.
        partitions: how many label partitions there are.
        codec: reads the rows that are folded one by one.
    """

    def __init__(self, contracts: Contracts, partition: int, partitions: int, codec: Codec) -> None:
        self.whole = ColumnarPartition(contracts, partition, partitions, codec)
        """As it is."""
        self.less = ColumnarPartition(contracts, partition, partitions, codec, self.whole)
        """As it would be, of the records that are touched."""
        # One list of geometries, so that their numbers may be copied.
        self.less.columns.shapes = self.whole.columns.shapes
        self.strays = set[bytes | None]()
        """The keys of events left out that are about no record here: nothing differs for them."""
        self._touched = np.zeros(1, np.bool_)  # by the code of the record

    def apply(self, batch: Named, gone: Bools) -> None:
        """Fold a batch of live events, as `whole` names it, of which some are left out."""
        records = np.full(len(batch.frame), NO_RECORD, np.int64)
        records[batch.rows.at] = batch.rows.record
        self._code(records, batch.events, batch.frame)
        self._touch(batch.frame, records, gone)
        self.whole.fold(batch)
        apart = self._apart(records, gone)
        if apart.any():
            self._place(batch.rows)
            events = {row: event for row, event in batch.events.items() if apart[row]}
            rows = batch.rows.where(apart[batch.rows.at])
            rows = rows.where(~self._idle(rows, records[list(events)]))
            self.less.fold(batch._replace(rows=rows, events=events))

    def void(self, frame: Frame, events: Mapping[int, object], gone: Bools) -> None:
        """Note a batch of a void range, all of it decoded, of which some are left out."""
        records = np.full(len(frame), NO_RECORD, np.int64)
        self._code(records, events, frame)
        self._touch(frame, records, gone)
        self.whole.note(frame, events)
        apart = self._apart(records, gone)
        self.less.note(frame, {row: event for row, event in events.items() if apart[row]})

    @property
    def touched(self) -> Ints:
        """The codes of the records that the events left out are about."""
        return np.nonzero(self._touched)[0]

    def narrow(self) -> None:
        """Forget what is the same on both sides; neither is to be folded on."""
        whole, less = self.whole.columns.things, self.less.columns.things
        self._reach()
        items = np.nonzero(whole.exists)[0]
        records = whole.record[items]
        same = less.exists[items] & (whole.label[items] == less.label[items])
        for name in ("version", "shape", "attributes"):
            same &= getattr(whole, name)[items] == getattr(less, name)[items]
        same &= whole.split[records] == less.split[records]
        same |= ~self._touched[records]
        whole.exists[items[same]] = less.exists[items[same]] = False
        fold = self.whole.reference
        if fold.records:
            kept = fold.records.keys() & set(self._names(self.touched))
            fold.records = {name: fold.records[name] for name in kept}

    def _names(self, codes: Ints) -> list[str]:
        return self.whole.names.things.of(codes).to_list()

    def _code(self, records: Ints, events: Mapping[int, object], frame: Frame) -> None:
        """Put the record of each event in its row, where it stands where that belongs."""
        fold = self.whole.reference
        found = {
            row: event.record_id
            for row, event in events.items()
            if isinstance(event, LabelEvent) and not fold.misplaced(frame.keys[row], event)
        }
        records[list(found)] = self.whole.codes(found.values())

    def _touch(self, frame: Frame, records: Ints, gone: Bools) -> None:
        """Keep the records of which these rows are left out apart, from what they are now on."""
        strays = np.nonzero(gone & (records == NO_RECORD))[0].tolist()
        self.strays.update(frame.keys[row] for row in strays)
        self._reach()
        fresh = np.unique(records[gone & (records != NO_RECORD)])
        fresh = fresh[~self._touched[fresh]]
        if len(fresh):
            self._touched[fresh] = True
            self._copy(fresh)

    def _reach(self) -> None:
        """Make room for everything that has a code."""
        things = self.whole.columns.things
        self.less.columns.things.grow(things.capacity)
        missing = things.capacity - len(self._touched)
        if missing:
            self._touched = np.concatenate((self._touched, np.zeros(missing, np.bool_)))

    def _apart(self, records: Ints, gone: Bools) -> Bools:
        """Which rows are folded into what would be: of touched records, and not left out."""
        return ~gone & (records != NO_RECORD) & self._touched[records]

    def _place(self, rows: Rows) -> None:
        """Tell `less` the records of items, which naming told `whole`."""
        for codes in (rows.record, rows.item):
            self.less.columns.things.record[codes] = self.whole.columns.things.record[codes]

    def _copy(self, fresh: Ints) -> None:
        """Let `less` know all that `whole` knows of some records."""
        mine, theirs = self.less.columns, self.whole.columns
        plain = fresh[~theirs.things.complex[fresh]]
        items = chain(theirs.things.items, theirs.things.before, plain)
        corrections = chain(theirs.things.corrections, theirs.corrections.before, plain)
        mine.corrections.grow(theirs.corrections.capacity)
        # An id that records share is one's correction here, and another's there.
        owners = mine.corrections.record[corrections]
        self.less.make_complex(np.unique(owners[owners != NO_RECORD]).astype(np.int64))
        for name in theirs.things.FILLS:
            for codes in (fresh, items):
                getattr(mine.things, name)[codes] = getattr(theirs.things, name)[codes]
        for name in theirs.corrections.FILLS:
            known = getattr(theirs.corrections, name)[corrections]
            getattr(mine.corrections, name)[corrections] = known
        _copy_votes(mine, theirs, corrections)
        records = self.whole.reference.records
        for name in self._names(fresh[theirs.things.complex[fresh]]):
            if name in records:
                self.less.reference.records[name] = _copied(records[name])

    def _idle(self, rows: Rows, odd: Ints) -> Bools:
        """The votes whose correction is not there without what is left out. All that is left of
        them is the contract that they bring to their record, which is noted here.

        Args:
            rows: what is to be folded as columns.
            odd: the records of what is not, which may be the proposal.
        """
        own, things = self.less.columns.corrections, self.less.columns.things
        own.grow(self.less.names.corrections.size)
        idle = (rows.kind == DECIDED) & ~things.complex[rows.record] & ~np.isin(rows.record, odd)
        votes = rows.correction[idle]
        proposed = rows.correction[rows.kind == PROPOSED]
        idle[idle] = (own.record[votes] == NO_RECORD) & ~np.isin(votes, proposed)
        raising = rows.where(idle & (rows.version > things.contract[rows.record]))
        # Where another event of its record names an earlier contract, the vote is folded after all.
        least = things.scratch
        least[raising.record] = _NEVER
        others = rows.where(~idle)
        np.minimum.at(least, others.record, others.version)
        folded = least[raising.record] < raising.version
        least[raising.record] = least[others.record] = -1
        idle[np.isin(rows.at, raising.at[folded])] = False
        noted = raising.where(~folded)
        np.maximum.at(things.contract, noted.record, noted.version.astype(np.int32))
        things.known[noted.record] = True
        return idle


def _copy_votes(mine: Columns, theirs: Columns, corrections: Ints) -> None:
    votes = chain(theirs.corrections.vote, theirs.votes.before, corrections)
    codes = theirs.votes.correction[votes]
    mine.corrections.vote[corrections] = -1
    added = mine.votes.add(codes, theirs.votes.actor[votes], theirs.votes.decision[votes])
    link(mine.corrections.vote, mine.votes.before, codes, added, mine.corrections.scratch)


def _copied(record: Record) -> Record:
    return Record(
        record.contract_version,
        record.split,
        {name: replace(item) for name, item in record.items.items()},
        {
            name: replace(correction, votes=dict(correction.votes))
            for name, correction in record.corrections.items()
        },
        set(record.void_event_ids),
        dict(record.void_corrections),
    )
