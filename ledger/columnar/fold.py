"""The fold of one label partition, batch by batch, with array operations where that is simple.

A batch passes in this order. Rows whose record is complex go to the reference fold. Of the others,
each rule of the reference fold marks the records of which it would have to say more than the few
outcomes that are vectorised here. Marked records become complex, with their state from before the
batch; what is left is committed. Records never touch each other, so leaving some out of the
arrays changes nothing for the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.codec import Codec
from ledger.columnar import review
from ledger.columnar.dormant import Dormant
from ledger.columnar.frame import DECIDED, ODD, PROPOSED, REGISTERED, Frame
from ledger.columnar.naming import Naming
from ledger.columnar.rows import Rows, firsts, running_maximum
from ledger.columnar.state import CODE, NO_RECORD, Columns, Fetch, Names, Stubs, hydrate, link
from ledger.columnar.strings import Bools, Ints
from ledger.columnar.tables import MAY_PROPOSE, TAKES, Tables
from ledger.core.contract import Contracts
from ledger.core.events import LabelEvent
from ledger.core.fold import Correction, Item, PartitionFold, Record
from ledger.core.outcome import Outcome

_PROPOSED = CODE[Outcome.PROPOSED]
_NOT_COUNTED = (Outcome.MISPLACED, Outcome.UNKNOWN_CONTRACT)
_SETTING = (Outcome.REGISTERED, Outcome.FILLED, Outcome.APPLIED)


class Referred(NamedTuple):
    """What the reference fold made of one row."""

    row: int
    event: LabelEvent | None
    """None where the bytes are no event of ours."""
    outcome: Outcome
    counted: bool = False
    """Whether the event's contract version counts for its record."""
    item: Item | None = None
    """Where the event set an item, a copy right after it."""
    split: str | None = None
    """The split that the event gave its record."""
    correction: Correction | None = None
    """What a vote or withdrawal is about."""


class Judged(NamedTuple):
    """What became of a batch, until the next one is folded."""

    outcomes: NDArray[np.uint8]
    """By row of the frame, as indices into `OUTCOMES`."""
    rows: Rows
    """Those folded as columns."""
    verdicts: review.Verdicts
    splits: Ints
    """The rows of `rows.at` that gave their record its split."""
    referred: list[Referred]
    """The others, but for those refused before their record was looked at."""


class Named(NamedTuple):
    """A batch of live events whose names are codes; nothing is folded yet."""

    frame: Frame
    rows: Rows
    """Those that may be folded as columns."""
    events: Mapping[int, object]
    """The odd ones, decoded, by row of the frame."""
    outcomes: NDArray[np.uint8]
    """Of the others, which are refused whatever is known; 0 elsewhere."""


class ColumnarPartition:
    """The state of one label partition after a prefix of it.

    Args:
        contracts: the contract at every live version.
        partition: this partition's number.
        partitions: how many label partitions there are.
        codec: reads the rows that are folded one by one.
        beside: another state of the partition, which names what this one folds.
    """

    def __init__(
        self,
        contracts: Contracts,
        partition: int,
        partitions: int,
        codec: Codec,
        beside: ColumnarPartition | None = None,
    ) -> None:
        self._reference = PartitionFold(contracts, partition, partitions)
        self._asleep: tuple[Dormant, Fetch] | None = None
        self.names = beside.names if beside else Names()
        self.tables = beside.tables if beside else Tables(contracts, partition)
        self.columns = Columns(self.names, self.tables)
        self.fast_rows = 0
        """How many events were folded as columns."""
        self._codec = codec
        self._naming = Naming(self.names, self.columns, partition, partitions)
        self._stubs: Stubs = {}

    def govern(self, contracts: Contracts) -> None:
        """Go on under later contracts, of which those so far are the first. No event so far may
        name one of the new ones where that is admissible.
        """
        self.tables.govern(contracts)
        self._reference.contracts = contracts

    @property
    def reference(self) -> PartitionFold:
        """The complex records. Read them through `records`: here their texts are missing."""
        self._wake(np.nonzero(self.columns.things.dormant)[0])
        return self._reference

    def sleep(self, records: Ints, rows: Dormant, fetch: Fetch) -> None:
        """Keep some records, of which nothing is known here, as their rows."""
        things = self.columns.things
        things.complex[records] = things.dormant[records] = True
        self._asleep = (rows, fetch)

    def _wake(self, records: Ints) -> None:
        if self._asleep is None:
            return
        dormant = self.columns.things.dormant
        records = np.unique(records[dormant[records]])
        if len(records):
            rows, fetch = self._asleep
            names = self.names.things.of(records).to_list()
            self._reference.records.update(rows.wake(records, names, fetch, self._stubs))
            dormant[records] = False

    def apply(self, frame: Frame) -> NDArray[np.uint8]:
        """Fold a batch of live events; the outcome of each, as an index into `OUTCOMES`."""
        return self.judge(frame).outcomes

    def judge(self, frame: Frame) -> Judged:
        """As `apply`, with all that is needed to say what changed; see `ledger.columnar.delta`."""
        return self.fold(self.named(frame))

    def named(self, frame: Frame) -> Named:
        """The first part of `judge`: names become codes."""
        outcomes = np.zeros(len(frame), np.uint8)
        kind, rows = self._naming.rows(frame, self.tables, outcomes)
        events = {row: self._codec.decode(frame.values[row]) for row in _rows(kind == ODD)}
        return Named(frame, rows, events, outcomes)

    def fold(self, batch: Named) -> Judged:
        """The second part of `judge`."""
        frame, rows, events, outcomes = batch
        marked = self._records_of(events, frame)
        columns, things = self.columns, self.columns.things
        referred = things.complex[rows.record]
        complex_rows = rows.at[referred].tolist()
        self._wake(rows.record[referred])
        rows = rows.where(~referred)

        before = things.contract[rows.record].astype(np.int64)
        rows.judged = running_maximum(rows.record, rows.version, before)
        added = self._register(rows, marked, frame), self._propose(rows, marked)
        verdicts = self._verdicts(rows, marked)
        self._withdraw(marked, *added)

        left = ~marked[rows.record]
        complex_rows += rows.at[~left].tolist()
        self.make_complex(np.nonzero(marked)[0])
        rows = rows.where(left)
        splits = self._commit(rows, marked, outcomes)
        review.commit(columns, verdicts, ~marked[verdicts.votes.record])
        outcomes[verdicts.votes.at] = verdicts.outcomes
        self.fast_rows += len(rows)

        by_one: list[Referred] = []
        for row in sorted([*complex_rows, *events]):
            event = events[row] if row in events else self._codec.decode(frame.values[row])
            by_one.append(self._refer(frame, row, event))
            outcomes[row] = CODE[by_one[-1].outcome]
        return Judged(outcomes, rows, verdicts, splits, by_one)

    def void(self, frame: Frame) -> NDArray[np.uint8]:
        """Note a batch of a void range."""
        return self.note(frame, dict(enumerate(map(self._codec.decode, frame.values))))

    def note(self, frame: Frame, events: Mapping[int, object]) -> NDArray[np.uint8]:
        """Note some rows of a void range, decoded."""
        outcomes = np.zeros(len(frame), np.uint8)
        self.make_complex(np.nonzero(self._records_of(events, frame))[0])
        for row, event in events.items():
            outcome = Outcome.UNDECODABLE
            if isinstance(event, LabelEvent):
                outcome = self._reference.void(frame.keys[row], event)
            outcomes[row] = CODE[outcome]
        return outcomes

    def records(self, fetch: Fetch) -> dict[str, Record]:
        """Everything the fold knows, as the reference fold keeps it.

        Args:
            fetch: reads the log; the texts are fetched there.
        """
        one_by_one = self.reference.records
        hydrate(self._stubs, fetch)
        stubs: Stubs = {}
        things = self.columns.things
        made = self.columns.records(np.nonzero(things.known & ~things.complex)[0], stubs)
        hydrate(stubs, fetch)
        return made | one_by_one

    def _records_of(self, events: Mapping[int, object], frame: Frame) -> Bools:
        """The records of events that the reference fold is to judge, as a mask of things."""
        found = {
            event.record_id
            for row, event in events.items()
            if isinstance(event, LabelEvent) and event.record_id.encode() == frame.keys[row]
        }
        codes = self.codes(found)
        marked = np.zeros(self.columns.things.capacity, np.bool_)
        marked[codes] = True
        return marked

    def codes(self, things: Iterable[str]) -> Ints:
        """The codes of some records or items by their ids, new ones where they have none."""
        codes = self.names.things.of_series(pl.Series(list(things), dtype=pl.String))
        self.columns.things.grow(self.names.things.size)
        return codes

    def make_complex(self, records: Ints) -> None:
        """Leave some records to the reference fold from now on."""
        self._wake(records)
        fresh = records[~self.columns.things.complex[records]]
        if len(fresh):
            self._reference.records.update(self.columns.records(fresh, self._stubs))
            self.columns.forget(fresh)

    def _refer(self, frame: Frame, row: int, event: object) -> Referred:
        if not isinstance(event, LabelEvent):
            return Referred(row, None, Outcome.UNDECODABLE)
        record = self._reference.records.get(event.record_id)
        split = record.split if record else None
        outcome = self._reference.apply(int(frame.offsets[row]), frame.keys[row], event)
        if outcome in _NOT_COUNTED:
            return Referred(row, event, outcome)
        record = self._reference.records[event.record_id]
        item = record.items.get(event.item_id) if outcome in _SETTING else None
        correction_id: str | None = getattr(event, "correction_id", None)
        return Referred(
            row,
            event,
            outcome,
            counted=event.event_id not in record.void_event_ids,
            item=replace(item) if item else None,
            split=record.split if split is None else None,
            correction=record.corrections.get(correction_id) if correction_id else None,
        )

    def _register(self, rows: Rows, marked: Bools, frame: Frame) -> Ints:
        """Make the items; those that are new."""
        things, tables = self.columns.things, self.tables
        new = rows.where(rows.kind == REGISTERED)
        good = tables.may(MAY_PROPOSE, new.judged, new.actor)
        good &= tables.label_is(TAKES, new.version, new.old)
        good &= ~things.exists[new.item] & firsts(new.item, things.scratch)
        marked[new.record[~good]] = True
        made = new.where(good)
        things.exists[made.item] = True
        things.label[made.item] = things.given[made.item] = made.old
        things.version[made.item] = made.version
        things.offset[made.item] = made.offset
        things.texts[made.item] = made.texts
        self.columns.describe(made.item, frame, made.at)
        self._made_at = made
        return made.item

    def _propose(self, rows: Rows, marked: Bools) -> Ints:
        """Make the corrections; those that are new."""
        things, tables, own = self.columns.things, self.tables, self.columns.corrections
        own.grow(self.names.corrections.size)
        new = rows.where(rows.kind == PROPOSED)
        good = tables.may(MAY_PROPOSE, new.judged, new.actor)
        good &= (new.old != 0) & (new.new != 0) & tables.label_is(TAKES, new.version, new.new)
        good &= things.exists[new.item] & (self._since(new.item) < new.at)
        good &= (own.record[new.correction] == NO_RECORD) & firsts(new.correction, own.scratch)
        marked[new.record[~good]] = True
        made = new.where(good)
        code = made.correction
        own.record[code], own.item[code], own.actor[code] = made.record, made.item, made.actor
        own.old[code], own.new[code], own.version[code] = made.old, made.new, made.version
        own.status[code], own.votes[code], own.offset[code] = _PROPOSED, 0, made.offset
        own.vote[code] = -1
        self._proposed_at = made
        return code

    def _since(self, items: Ints) -> Ints:
        """The row of this batch that registered each item; -1 where an earlier batch did."""
        scratch, made = self.columns.things.scratch, self._made_at
        scratch[made.item] = made.at
        found = scratch[items]
        scratch[made.item] = -1
        return found

    def _verdicts(self, rows: Rows, marked: Bools) -> review.Verdicts:
        own, made = self.columns.corrections, self._proposed_at
        votes = rows.where(rows.kind == DECIDED)
        own.scratch[made.correction] = made.at
        since = own.scratch[votes.correction]
        own.scratch[made.correction] = -1
        known = (own.record[votes.correction] == votes.record) & (since < votes.at)
        marked[votes.record[~known]] = True
        verdicts = review.Verdicts(self.columns, votes.where(known))
        votes = verdicts.votes
        marked[votes.record[verdicts.counted[verdicts.difficult()]]] = True
        marked[votes.record[review.crowded(self.columns, verdicts)]] = True
        return verdicts

    def _withdraw(self, marked: Bools, items: Ints, corrections: Ints) -> None:
        """Unmake what this batch brought to marked records: the reference fold makes it again."""
        things, own = self.columns.things, self.columns.corrections
        things.exists[items[marked[things.record[items]]]] = False
        own.record[corrections[marked[own.record[corrections]]]] = NO_RECORD

    def _commit(self, rows: Rows, marked: Bools, outcomes: NDArray[np.uint8]) -> Ints:
        """Take the rows in, but for votes; the numbers of those that gave their record its split"""
        things, own = self.columns.things, self.columns.corrections
        things.known[rows.record] = True
        things.contract[rows.record] = rows.judged  # it only rises, and the last one written stays
        made, proposed = (
            each.where(~marked[each.record]) for each in (self._made_at, self._proposed_at)
        )
        link(things.items, things.before, made.record, made.item, things.scratch)
        codes = proposed.correction
        link(things.corrections, own.before, proposed.record, codes, things.scratch)
        outcomes[made.at] = CODE[Outcome.REGISTERED]
        outcomes[proposed.at] = _PROPOSED
        given = made.where((made.split >= 0) & (things.split[made.record] < 0))
        given = given.where(firsts(given.record, things.scratch))
        things.split[given.record] = given.split
        return given.at


def _rows(mask: Bools) -> list[int]:
    return np.nonzero(mask)[0].tolist()
