"""Where the rows that followers make are kept.

A sink knows for itself how far it has each partition; what it is told of earlier offsets it passes
over. So several sinks of different progress are fed by one follower, and one that is made anew, or
was left out for a while, catches up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import polars as pl
import structlog

from consumers.follower import Follower, Piece, Reset
from ledger.checkpoints.writer import CheckpointWriter, Overtaken, Rows
from ledger.columnar.delta import Delta
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.restore import restore
from ledger.core.epochs import live
from ledger.core.governance import Governance
from ledger.dataset import Dataset
from ledger.errors import CheckpointsUnavailable
from ledger.views.contract import Known
from ledger.views.tables import Place
from ledger.views.writer import Fenced, ViewWriter

Answer = TypeVar("Answer")
_AGAIN_S, _AGAIN_S_MAX = 0.5, 60.0
_BEYOND = 2**62
_say = structlog.get_logger("errata.worker")
LATE = (Fenced, Overtaken)
"""What a sink raises where somebody else has written: look what is there, and start anew."""


class Again(Exception):
    """A sink that was passed over can be told again: take every partition up anew."""


class Sink(Protocol):
    """Keeps rows of partitions. Every method may raise what is in `LATE`."""

    def offset(self, partition: int) -> int:
        """The next offset of the partition that it has not kept."""
        ...

    def take_up(self, partition: int, known: Known) -> int:
        """Drop what does not stand under this governance; the next offset to be told."""
        ...

    def take(self, said: Piece | Reset, known: Known) -> None:
        """Keep rows, or drop some."""
        ...

    def settle(self, partition: int, known: Known) -> None:
        """All that was said so far stands under this governance; keep it durably."""
        ...

    def check(self) -> None:
        """Raise one of `LATE` if what it writes to is another one by now; called when idle."""
        ...

    def renew(self) -> None:
        """Begin anew, after one of `LATE` or any other error."""
        ...


class ViewSink:
    """Keeps rows in the view of a dataset, each piece in a transaction.

    Args:
        path: where the view is.
        dataset: what it is of.
    """

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._path, self._dataset = path, dataset
        self._writer = ViewWriter(path, dataset)
        self._places: dict[int, Place] = {}

    def offset(self, partition: int) -> int:
        """What the view says now, whoever wrote it."""
        return self._writer.place(partition).offset

    def take_up(self, partition: int, known: Known) -> int:
        """Begin where the view stands."""
        place = self._places[partition] = self._writer.place(partition)
        if place.governance > known.stop:
            raise Fenced(f"governance is known up to {place.governance}, here to {known.stop}")
        then = known.governance.prefix(place.governance)
        for said in Follower(self._dataset, partition, place.offset, then).advance(
            known.governance, 0
        ):
            self.take(said, known)
        self.settle(partition, known)
        return self._places[partition].offset

    def take(self, said: Piece | Reset, known: Known) -> None:
        """Write the rows that the view has not."""
        place = self._places[said.partition]
        if isinstance(said, Reset):
            if said.start < place.offset:
                place = self._writer.reset(said.partition, place, known, said.start)
        elif said.stop > place.offset:
            delta = said.delta if said.start >= place.offset else rest(said.delta, place.offset)
            place = self._writer.write(said.partition, place, known, delta, said.stop)
        self._places[said.partition] = place

    def settle(self, partition: int, known: Known) -> None:
        """Let the view follow governance; its rows are durable as they come."""
        place = self._places[partition]
        if place.governance < known.stop:
            self._places[partition] = self._writer.reset(partition, place, known, place.offset)

    def restore(
        self, governance: Governance, partition: int, stop: int
    ) -> tuple[int, ColumnarPartition]:
        """The state of the fold at `stop`, or where the view ends before it, from its rows."""
        stop = min(stop, self._writer.place(partition).offset)
        rows = self._writer.rows(partition, live(governance, partition, stop))
        return stop, restore(self._dataset, governance, partition, stop, rows)

    def check(self) -> None:
        """Notice that the view was deleted, or rebuilt."""
        if self._writer.replaced:
            raise Fenced(f"the views at {self._path} are another file now")

    def renew(self) -> None:
        """Open the file that is there now."""
        self._places.clear()
        if self._writer.replaced:
            before, self._writer = self._writer, ViewWriter(self._path, self._dataset)
            before.close()

    def close(self) -> None:
        """Release the file."""
        self._writer.close()


class CheckpointSink:
    """Keeps rows in checkpoints: gathered, and stored every so many events, whenever governance
    moves on (a tag, a rollback), and at the end.

    Args:
        writer: stores them.
    """

    def __init__(self, writer: CheckpointWriter) -> None:
        self._writer = writer

    def offset(self, partition: int) -> int:
        """What is stored, whoever did it."""
        return self._writer.stored(partition)

    def take_up(self, partition: int, known: Known) -> int:
        """Begin where what is stored stands."""
        return self._writer.begin(partition, known.epochs)

    def take(self, said: Piece | Reset, known: Known) -> None:
        """Gather the rows that are not there."""
        if isinstance(said, Reset):
            self._writer.reset(said.partition, said.start)
        else:
            rows = Rows(said.partition, said.start, said.stop, said.delta, said.met)
            self._writer.write(rows, known.epochs)

    def settle(self, partition: int, known: Known) -> None:
        """Store what is gathered."""
        self._writer.flush(partition, known.epochs)

    def check(self) -> None:
        """A checkpoint is only ever added to."""

    def renew(self) -> None:
        """Go on from what is stored."""
        self._writer.forget()


class PassedOver:
    """A sink that others do not wait for. While what it writes to is away it is passed over; it is
    asked again now and then, and then catches up.

    Args:
        sink: the sink.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._away = False
        self._wait_s = 0.0
        """How long it was given the last time; 0 once something was stored again."""
        self._until_s = 0.0

    def offset(self, partition: int) -> int:
        """As the sink says; beyond everything while it is away."""
        return self._tried(lambda: self._sink.offset(partition), _BEYOND)

    def take_up(self, partition: int, known: Known) -> int:
        """Likewise."""
        return self._tried(lambda: self._sink.take_up(partition, known), _BEYOND)

    def take(self, said: Piece | Reset, known: Known) -> None:
        """Let the sink keep it, or pass it over."""
        self.check()
        self._tried(lambda: self._sink.take(said, known), None)

    def settle(self, partition: int, known: Known) -> None:
        """Likewise. Only what was stored shows that all is well again."""
        self._tried(lambda: self._sink.settle(partition, known), None)
        if self._wait_s and not self._away:
            self._wait_s = 0.0
            _say.warning("no longer passed over")

    def check(self) -> None:
        """Raise `Again` when it was time to ask, and an answer came."""
        if not self._away:
            self._sink.check()
        elif time.monotonic() >= self._until_s:
            self._away = False
            self._sink.renew()
            self.offset(0)
            if not self._away:
                raise Again

    def renew(self) -> None:
        """Let the sink begin anew."""
        self._sink.renew()

    def _tried(self, act: Callable[[], Answer], otherwise: Answer) -> Answer:
        if self._away:
            return otherwise
        try:
            return act()
        except CheckpointsUnavailable as error:
            if not self._wait_s:
                _say.warning("passed over", why=str(error))
            self._away, self._wait_s = True, min(2 * self._wait_s or _AGAIN_S, _AGAIN_S_MAX)
            self._until_s = time.monotonic() + self._wait_s
            return otherwise


def rest(delta: Delta, start: int) -> Delta:
    """The rows at `start` and beyond."""
    return Delta(*(frame.filter(pl.col("offset") >= start) for frame in delta))
