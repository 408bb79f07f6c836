"""Follows one label partition: folds it batch by batch and says what each batch changed.

Every offset is folded in its native epoch (see `ledger.core.epochs`), so the rows at some end of
the log don't depend on how it was reached: on the size of batches, or on when governance was
learned. What was folded before a rollback was known whose `at` lies below it, or before a contract
that it names, is said again: first comes a `Reset`, then the rows from there on.

Give governance that was read after the labels: then what the labels need is in it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from ledger.columnar.delta import Delta, delta, empty
from ledger.columnar.fold import ColumnarPartition, Judged
from ledger.columnar.frame import ODD, Frame, Reader
from ledger.columnar.replay import ahead, batches, begin
from ledger.core.epochs import Epochs, Range
from ledger.core.governance import Governance
from ledger.dataset import Dataset
from ledger.logs.base import Batch

Restore = Callable[[Governance, int, int], tuple[int, ColumnarPartition]]
"""`(governance, partition, stop)`: the state that this governance makes of the offsets below one
that is at most `stop`, and that offset. The follower owns the state from then on. It asks only
where the rows that it gave below `stop` bear the state out (`Epochs.stands`).
"""
_EVERYTHING = 2**63
_THREAD_FROM = 10_000
"""From how many offsets on a thread that reads ahead takes less than it saves."""


class Piece(NamedTuple):
    """What the events at offsets `start <= offset < stop` of a partition changed."""

    partition: int
    start: int
    stop: int
    epoch: int
    delta: Delta
    met: frozenset[int]
    """The contract versions that these events name, refused ones too."""


class Reset(NamedTuple):
    """Everything said of the partition's offsets from `start` on is void; it is said again."""

    partition: int
    start: int


class Follower:
    """One partition, from where it was left on.

    Args:
        dataset: the log.
        partition: which one of `labels`.
        offset: how far it was folded before.
        governance: what was known then, which is not to change any more; None where nothing was
            folded.
        restore: brings the state back; by default it is folded again from the log's start.
    """

    def __init__(
        self,
        dataset: Dataset,
        partition: int,
        offset: int = 0,
        governance: Governance | None = None,
        restore: Restore | None = None,
    ) -> None:
        self.partition = partition
        self.offset = offset
        """The next offset to be folded."""
        self._dataset = dataset
        self._reader = Reader(dataset.codec)
        self._restore = restore or self._from_nothing
        self._known = governance or Governance(dataset.partitions, _nothing_is_used)
        self.epochs = Epochs(self._known)
        """Of all governance that was given so far."""
        self._epoch = 0
        self._fold: ColumnarPartition | None = None

    def follow(self, governance: Governance, batch: Batch) -> Iterator[Piece | Reset]:
        """Fold on over the next messages of the partition. Messages before `offset` are left out;
        such as are missing before the batch are read from the log.
        """
        yield from self._learn(governance)
        yield from self._read(batch.offsets[0])

        def given(start: int, stop: int) -> Iterator[tuple[Batch, Frame]]:
            part = _part(batch, start, stop)
            if len(part):
                yield part, self._framed(part)

        yield from self._advance(batch.offsets[-1] + 1, given)

    def advance(self, governance: Governance, stop: int) -> Iterator[Piece | Reset]:
        """Read the log on to `stop`, and fold."""
        yield from self._learn(governance)
        yield from self._read(stop)

    def _learn(self, governance: Governance) -> Iterator[Reset]:
        """Take in what is new of governance; an earlier state of it says nothing new."""
        known = self._known
        new = len(governance.changes) > len(known.changes)
        if not new and len(governance.rollbacks) <= len(known.rollbacks):
            return
        self._known = governance.prefix(_EVERYTHING)  # a state of its own: theirs may go on
        self.epochs = Epochs(self._known)
        last = len(known.rollbacks)
        start = self._diverged(known, last)
        if start is not None:
            self._fold = None
            if start < self.offset:
                self.offset = start
                yield Reset(self.partition, start)
        elif self._fold is not None and self._epoch == last:
            self._fold.govern(self.epochs.governances[last].contracts)

    def _diverged(self, known: Governance, last: int) -> int | None:
        """The first offset that is folded otherwise now, `self.offset` where only the state is;
        None where all stands. Only the epoch that was the last one can have gone on.
        """
        starts = self.epochs.starts(self.partition)
        if starts[last] > self.offset:
            return None
        found = [start for start in starts[last + 1 : last + 2] if start < self.offset]
        stop = min([self.offset, *found])
        for change in self.epochs.governances[last].changes[len(known.changes) :]:
            version, at = change.event.version, change.event.at[self.partition]
            used = self._known.first_use(self.partition, version, at, stop) if at < stop else None
            if used is not None:
                found.append(max(used, starts[last]))
        return min(found, default=None)

    def _read(self, stop: int) -> Iterator[Piece]:
        return self._advance(stop, self._frames)

    def _advance(
        self, stop: int, frames: Callable[[int, int], Iterable[tuple[Batch, Frame]]]
    ) -> Iterator[Piece]:
        """Fold up to `stop`, epoch by epoch."""
        for part in self.epochs.ranges(self.partition, stop):
            if self.offset < part.stop:
                yield from self._stood_in_for(part)
            if part.stop <= self.offset:
                continue
            fold = self._state(part)
            for batch, frame in frames(self.offset, part.stop):
                judged = fold.judge(frame)
                made = delta(batch, frame, judged, fold, part.epoch)
                yield self._piece(batch.offsets[-1] + 1, part.epoch, made, _met(frame, judged))
            if self.offset < part.stop:  # the log skips the offsets that are left
                yield self._piece(part.stop, part.epoch, empty(), set())

    def _stood_in_for(self, part: Range) -> Iterator[Piece]:
        """What checkpoints say of the events of an epoch that the log holds no more."""
        stop = min(part.stop, self._dataset.head(self.partition))
        if self._dataset.stand_in is not None and self.offset < stop:
            where = (self.partition, self.offset, stop)
            for end, made, met in self._dataset.stand_in.pieces(self.epochs, *where):
                yield self._piece(end, part.epoch, made, set(met))

    def _piece(self, stop: int, epoch: int, made: Delta, met: set[int]) -> Piece:
        start, self.offset = self.offset, stop
        return Piece(self.partition, start, stop, epoch, made, frozenset(met))

    def _state(self, part: Range) -> ColumnarPartition:
        """The state at `self.offset` under the governance of an epoch."""
        if self._fold is None or self._epoch != part.epoch:
            governance = self.epochs.governances[part.epoch]
            stands = self.epochs.stands(governance, self.partition, self.offset)
            back = self._restore if stands else self._from_nothing
            done, fold = back(governance, self.partition, self.offset)
            for span in governance.spans(self.partition, self.offset):
                for _, frame in self._frames(max(span.start, done), span.stop):
                    _ = fold.apply(frame) if span.live else fold.void(frame)
            self._fold, self._epoch = fold, part.epoch
        return self._fold

    def _from_nothing(
        self, governance: Governance, partition: int, stop: int
    ) -> tuple[int, ColumnarPartition]:
        return begin(self._dataset, governance, partition, stop)

    def _frames(self, start: int, stop: int) -> Iterator[tuple[Batch, Frame]]:
        if start >= stop:
            return
        found = batches(self._dataset, self.partition, start, stop)
        made = ((batch, self._framed(batch)) for batch in found)
        yield from ahead(made) if stop - start >= _THREAD_FROM else made

    def _framed(self, batch: Batch) -> Frame:
        return self._reader.frame(batch.offsets, batch.keys, batch.values)


def _met(frame: Frame, judged: Judged) -> set[int]:
    """The contract versions that the events name."""
    met: set[int] = set(np.unique(frame.version[frame.kind != ODD]).tolist())
    return met | {each.event.contract_version for each in judged.referred if each.event}


def _part(batch: Batch, start: int, stop: int) -> Batch:
    """The messages at offsets `start <= offset < stop`."""
    first, last = bisect_left(batch.offsets, start), bisect_left(batch.offsets, stop)
    if last - first == len(batch):
        return batch
    return Batch(
        batch.topic,
        batch.partition,
        batch.offsets[first:last],
        batch.timestamps_ms[first:last],
        batch.keys[first:last],
        batch.values[first:last],
    )


def _nothing_is_used(partition: int, version: int, start: int, stop: int) -> int | None:
    """Of a log that nothing was read of."""
    del partition, version, start, stop
    return None
