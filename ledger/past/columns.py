"""The same answers for a long log, found by columns: see `whatif`.

Where few events are left out, a first pass finds the records that they are about, and a second one
folds only those. Else one pass folds everything. Either way a record is folded once up to the first
event that is left out of it, and twice from there on: see `ledger.columnar.fork`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import polars as pl

from ledger.columnar.fork import Fork
from ledger.columnar.frame import DECIDED, ODD, PROPOSED, Frame, Reader
from ledger.columnar.replay import ROWS, ColumnarState, ahead, batches, replay, whole
from ledger.columnar.state import CODE, NO_RECORD
from ledger.columnar.strings import Bools, Interner, Ints
from ledger.core.events import ReviewDecided
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.logs.base import Batch, Topic
from ledger.past.selection import Chosen
from ledger.past.whatif import WhatIf, with_open
from ledger.replay import State, fold_governance

_OPEN = (CODE[Outcome.PROPOSED], CODE[Outcome.ESCALATED])
FEW_MAX = 0.04
"""Up to this share of the events is it cheaper to look first which records they are about."""
_SAMPLES, _SAMPLE = 4, 250


def opened(dataset: Dataset, position: Position) -> State:
    """The state at a closed position, of those records only that have an open correction; without
    texts.
    """
    found = replay(dataset, position)
    state = found.simple()
    for partition, fold in zip(found.partitions, state.partitions, strict=True):
        known = partition.columns.corrections
        waiting = (known.record != NO_RECORD) & np.isin(known.status, _OPEN)
        codes = np.unique(known.record[waiting]).astype(np.int64)
        fold.records = with_open(fold.records) | partition.columns.records(codes, {})
    return state


def what_if(dataset: Dataset, position: Position, chosen: Sequence[Chosen]) -> WhatIf:
    """The difference that it would make if the chosen events had never been appended."""
    governance = fold_governance(dataset, position.governance)
    asked = _Asked(dataset, governance, chosen)
    few = asked.share(position) <= FEW_MAX
    passed_over, forks = 0, list[Fork]()
    for partition, stop in enumerate(position.labels):
        fork = Fork(governance.contracts, partition, dataset.partitions, dataset.codec)
        found = asked.chosen_few(partition, stop) if few else asked.everything(partition, stop)
        passed_over += sum(asked.fold(fork, batch, live) for batch, live in found)
        fork.narrow()
        forks.append(fork)
    before, after = (
        ColumnarState(dataset, position, governance, folds).snapshot()
        for folds in ([fork.whole for fork in forks], [fork.less for fork in forks])
    )
    return WhatIf(position, passed_over, _records(forks), before.diff(after))


def _records(forks: Sequence[Fork]) -> int:
    """How many records the events left out are about, by their keys."""
    strays = set[bytes | None]().union(*(fork.strays for fork in forks))
    if strays:  # such a key may be that of a record which others are about
        names = (fork.whole.names.things.of(fork.touched).to_list() for fork in forks)
        return len(strays.union(each.encode() for some in names for each in some))
    return sum(len(fork.touched) for fork in forks)


class _Asked:
    """Which events are left out, of what."""

    def __init__(self, dataset: Dataset, governance: Governance, chosen: Sequence[Chosen]) -> None:
        self.dataset, self.governance, self.chosen = dataset, governance, chosen
        self.reader = Reader(dataset.codec)
        self.fields = {name for each in chosen for name in each.fields}
        self.strings = Interner()
        self.codes: Mapping[str, int] = {
            value: int(self.strings.of_series(pl.Series([value]))[0])
            for each in chosen
            for value in each.fields.values()
        }

    def share(self, position: Position) -> float:
        """About which share of the events is left out, by a sample."""
        count, found = 0, 0
        for partition, stop in enumerate(position.labels):
            starts = [stop * number // _SAMPLES for number in range(_SAMPLES)]
            parts = (
                self.dataset.log.read(Topic.LABELS, partition, start, min(start + _SAMPLE, stop))
                for start in starts
            )
            for batch in whole(chain.from_iterable(parts), ROWS):
                count += len(batch)
                found += int(np.count_nonzero(self.left_out(batch, self.frame(batch))))
        return found / max(count, 1)

    def fold(self, fork: Fork, batch: Batch, live: bool) -> int:
        """Fold a batch; how many of its events are left out."""
        frame = self.frame(batch)
        if live:
            named = fork.whole.named(frame)
            gone = self.left_out(batch, frame, named.events)
            fork.apply(named, gone)
        else:
            events = dict(enumerate(map(self.dataset.codec.decode, frame.values)))
            gone = self.left_out(batch, frame, events)
            fork.void(frame, events, gone)
        return int(np.count_nonzero(gone))

    def everything(self, partition: int, stop: int) -> Iterator[tuple[Batch, bool]]:
        """The messages below an offset, and whether they are live."""
        found = (
            (batch, span.live)
            for span in self.governance.spans(partition, stop)
            for batch in batches(self.dataset, partition, span.start, span.stop, timed=False)
        )
        return found if self.dataset.log.prefetches else ahead(found)

    def chosen_few(self, partition: int, stop: int) -> Iterator[tuple[Batch, bool]]:
        """Likewise, but only those whose keys are the keys of events that are left out."""
        keys = self.keys(partition, stop)
        for span in self.governance.spans(partition, stop) if keys else ():
            parts = (
                batch.rows([row for row, key in enumerate(batch.keys) if key in keys])
                for batch in self.dataset.log.read(Topic.LABELS, partition, span.start, span.stop)
            )
            for batch in whole((part for part in parts if len(part)), ROWS):
                yield batch, span.live

    def keys(self, partition: int, stop: int) -> frozenset[bytes | None]:
        """The keys of the events that are left out."""
        found = set[bytes | None]()
        for batch in ahead(whole(self.likely(partition, stop), ROWS)):
            rows = np.nonzero(self.left_out(batch, self.frame(batch)))[0].tolist()
            found.update(batch.keys[row] for row in rows)
        return frozenset(found)

    def likely(self, partition: int, stop: int) -> Iterator[Batch]:
        """The messages that hold the bytes which one of the selections asks for: only those are
        taken apart.
        """
        wanted = [[value.encode() for value in each.fields.values()] for each in self.chosen]
        for batch in self.dataset.log.read(Topic.LABELS, partition, 0, stop):
            found = set[int]()
            for needles in wanted:
                rows = [row for row, value in enumerate(batch.values) if value is not None]
                for needle in needles:
                    rows = [row for row in rows if needle in (batch.values[row] or b"")]
                found.update(rows)
            if found:
                yield batch.rows(sorted(found))

    def frame(self, batch: Batch) -> Frame:
        """The batch as columns."""
        return self.reader.frame(batch.offsets, batch.keys, batch.values)

    def left_out(
        self, batch: Batch, frame: Frame, decoded: Mapping[int, object] | None = None
    ) -> Bools:
        """Which messages of a batch are left out; `decoded` are the odd ones, and maybe others."""
        found = np.zeros(len(frame), np.bool_)
        said = {name: self.said(frame, name) for name in self.fields}
        for each in self.chosen:
            asked = frame.kind == (DECIDED if each.event_type is ReviewDecided else PROPOSED)
            for name, value in each.fields.items():
                asked &= said[name] == self.codes[value]
            if each.since is not None:
                asked &= frame.offsets >= each.since.labels[batch.partition]
            if each.until is not None:
                asked &= frame.offsets < each.until.labels[batch.partition]
            found |= asked
        for row in np.nonzero(frame.kind == ODD)[0].tolist():
            if decoded is None:
                event = self.dataset.codec.decode(batch.values[row])
            else:
                event = decoded[row]
            offset = batch.offsets[row]
            found[row] = any(each.takes(batch.partition, offset, event) for each in self.chosen)
        return found

    def said(self, frame: Frame, name: str) -> Ints:
        """What each event says in a field, as a code; -1 where it says nothing."""
        codes = np.full(len(frame), -1, np.int64)
        rows = np.nonzero((frame.kind == DECIDED) | (frame.kind == PROPOSED))[0]
        starts, lengths = frame.field(name, rows)
        there = lengths >= 0
        codes[rows[there]] = self.strings.codes(frame.data, starts[there], lengths[there])
        return codes
