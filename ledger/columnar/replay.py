"""Reads the log and folds it as columns: what `ledger.replay` does one event at a time.

The next messages are read while the last ones are decoded and folded: in a thread, unless the log
fetches them by itself. Then all that is left of reading is the interpreter's own work, and to
pass that back and forth takes longer than it saves. Batches are as large as a core's own cache can
take in: larger ones need fewer operations, and wait longer for memory.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from queue import Queue
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger import replay as reference
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.frame import Frame, Reader
from ledger.columnar.snapshot import ColumnarSnapshot, attributes_of, frame_of
from ledger.columnar.state import Fetch
from ledger.core.events import Event
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.logs.base import Batch, Topic

Observer = Callable[[Batch, NDArray[np.uint8]], None]
"""Gets each batch of label events with the outcome of each, as an index into `OUTCOMES`."""

_AHEAD_MAX = 1
Each = TypeVar("Each")
ROWS = 20_000
"""Events folded at a time: enough to make the cost of each array operation small."""
_BYTES_MAX = 64 * 1024 * 1024
_SAMPLE = 16  # every so manieth value is asked for its size
_GAP_MAX = 1_000
"""Two events nearer than this are fetched in one read."""


@dataclass(frozen=True, slots=True)
class ColumnarState:
    """Everything the fold knows at a closed position."""

    dataset: Dataset
    position: Position
    governance: Governance
    partitions: list[ColumnarPartition]

    def snapshot(self) -> ColumnarSnapshot:
        """The labelled items, sorted by the id's UTF-8 bytes."""
        contract = self.governance.contract
        frame = frame_of(self.partitions, self.simple(), contract.version)
        return ColumnarSnapshot(self.position, contract, frame, self.reference, self._attributes)

    def _attributes(self) -> pl.DataFrame:
        return attributes_of(self.partitions, (item for _, item in self.simple().items()))

    def simple(self) -> reference.State:
        """The complex records only, as the reference fold knows them, without their texts."""
        return reference.State(
            self.position, self.governance, [each.reference for each in self.partitions]
        )

    def reference(self) -> reference.State:
        """The whole state as the reference fold knows it; the texts are fetched from the log."""
        state = self.simple()
        folds = [
            type(fold)(fold.contracts, fold.partition, fold.partitions) for fold in state.partitions
        ]
        for fold, partition in zip(folds, self.partitions, strict=True):
            fold.records = partition.records(fetcher(self.dataset, fold.partition))
        return reference.State(self.position, self.governance, folds)


def replay(dataset: Dataset, position: Position, observe: Observer | None = None) -> ColumnarState:
    """The state at a closed position, from the log alone."""
    governance = reference.fold_governance(dataset, position.governance)
    begun = [begin(dataset, governance, *each) for each in enumerate(position.labels)]
    folds = [fold for _, fold in begun]
    if observe is not None:
        reference.refuse_unseen(dataset, None, position)
    reader = Reader(dataset.codec)
    # One stream over all partitions: while the last of one is folded, the next one is read.
    ranges = [(done, stop) for (done, _), stop in zip(begun, position.labels, strict=True)]
    found = _batches(dataset, governance, ranges, timed=observe is not None)
    for batch, live in found if dataset.log.prefetches else ahead(found):
        frame = reader.frame(batch.offsets, batch.keys, batch.values)
        fold = folds[batch.partition]
        outcomes = fold.apply(frame) if live else fold.void(frame)
        if observe is not None:
            observe(batch, outcomes)
    return ColumnarState(dataset, position, governance, folds)


def _batches(
    dataset: Dataset, governance: Governance, ranges: Sequence[tuple[int, int]], *, timed: bool
) -> Iterator[tuple[Batch, bool]]:
    """The label events of a range of each partition, and whether they are live."""
    for partition, (start, stop) in enumerate(ranges):
        for span in governance.spans(partition, stop):
            first = max(span.start, start)
            if first < span.stop:
                for batch in batches(dataset, partition, first, span.stop, timed=timed):
                    yield batch, span.live


def begin(
    dataset: Dataset, governance: Governance, partition: int, stop: int
) -> tuple[int, ColumnarPartition]:
    """Where a fold of `[0, stop)` of a partition begins, and its state there: nothing at 0; or, of
    a log whose head is missing, what stands in for it.
    """
    if dataset.stand_in is not None and min(stop, dataset.head(partition)):
        return dataset.stand_in.begin(governance, partition, stop)
    return 0, ColumnarPartition(governance.contracts, partition, dataset.partitions, dataset.codec)


def batches(
    dataset: Dataset, partition: int, start: int, stop: int, *, timed: bool = True
) -> Iterator[Batch]:
    """The label events at offsets `start <= offset < stop`, as many at a time as fold well; their
    times may be missing unless `timed`.
    """
    where = (Topic.LABELS, partition, start, stop)
    packed = dataset.log.read_packed(*where, ROWS, timed=timed)
    yield from whole(dataset.log.read(*where), ROWS) if packed is None else packed


def frames(
    dataset: Dataset, governance: Governance, partition: int, start: int, stop: int
) -> Iterator[tuple[Batch, Frame, bool]]:
    """The label events at offsets `start <= offset < stop`, as columns too, and whether they are
    live.
    """
    reader = Reader(dataset.codec)
    for span in governance.spans(partition, stop):
        first = max(span.start, start)
        for batch in batches(dataset, partition, first, span.stop) if first < span.stop else ():
            yield batch, reader.frame(batch.offsets, batch.keys, batch.values), span.live


def whole(batches: Iterable[Batch], rows: int) -> Iterator[Batch]:
    """The same messages in batches of about so many rows; of fewer where they are large."""
    parts: list[Batch] = []
    count = 0
    for batch in batches:
        parts.append(batch)
        count += len(batch)
        mean = sum(len(value or b"") for value in batch.values[::_SAMPLE]) / len(batch) * _SAMPLE
        if count >= rows or count * mean >= _BYTES_MAX:
            yield _joined(parts)
            parts, count = [], 0
    if parts:
        yield _joined(parts)


def _joined(parts: Sequence[Batch]) -> Batch:
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return first
    count = sum(map(len, parts))
    offsets: Sequence[int] = range(first.offsets[0], first.offsets[0] + count)
    if last.offsets[-1] != offsets[-1]:  # some are skipped
        offsets = list(chain.from_iterable(part.offsets for part in parts))
    return Batch(
        first.topic,
        first.partition,
        offsets,
        list(chain.from_iterable(part.timestamps_ms for part in parts)),
        list(chain.from_iterable(part.keys for part in parts)),
        list(chain.from_iterable(part.values for part in parts)),
    )


def ahead(source: Iterable[Each]) -> Generator[Each]:
    """The same, the next of which is made in a thread while one is worked on."""
    ready: Queue[Each | BaseException | None] = Queue(_AHEAD_MAX)
    stopped = threading.Event()

    def read() -> None:
        last: BaseException | None = None
        try:
            for each in source:
                ready.put(each)
                if stopped.is_set():
                    break
        except BaseException as error:
            last = error
        ready.put(last)

    thread = threading.Thread(target=read, name="errata-read-ahead", daemon=True)
    thread.start()
    try:
        while (each := ready.get()) is not None:
            if isinstance(each, BaseException):
                raise each
            yield each
    finally:
        stopped.set()
        while thread.is_alive():
            while not ready.empty():
                ready.get_nowait()
            thread.join(0.01)


def recall(dataset: Dataset, partition: int, start: int, stop: int) -> Iterator[Batch]:
    """The label messages at offsets `start <= offset < stop`, which some rollback made void; what
    the log lacks of them is kept by what stands in for it.
    """
    head = dataset.head(partition)
    if dataset.stand_in is not None and start < head:
        yield from dataset.stand_in.recall(partition, start, min(stop, head))
    if max(start, head) < stop:
        yield from dataset.log.read(Topic.LABELS, partition, max(start, head), stop)


def fetcher(dataset: Dataset, partition: int) -> Fetch:
    """Reads single events of a partition back from the log, or what stands in for it."""

    def fetch(offsets: Sequence[int]) -> Iterator[tuple[int, Event]]:
        lost = bisect_left(offsets, dataset.head(partition))
        if dataset.stand_in is not None:
            yield from dataset.stand_in.events(partition, offsets[:lost])
        for near in _runs(offsets[lost:]):
            for batch in dataset.log.read(Topic.LABELS, partition, near[0], near[-1] + 1):
                wanted = near[bisect_left(near, batch.offsets[0]) :]
                for offset in wanted[: bisect_left(wanted, batch.offsets[-1] + 1)]:
                    row = bisect_left(batch.offsets, offset)
                    event = dataset.codec.decode(batch.values[row])
                    assert isinstance(event, Event)
                    yield offset, event

    return fetch


def _runs(offsets: Sequence[int]) -> Iterator[Sequence[int]]:
    """The ascending offsets in runs without large gaps."""
    start = 0
    for i in range(1, len(offsets) + 1):
        if i == len(offsets) or offsets[i] - offsets[i - 1] > _GAP_MAX:
            yield offsets[start:i]
            start = i
