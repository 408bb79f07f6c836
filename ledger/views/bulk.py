"""A view made from nothing, at the speed of the fold: rows in order, the present and the indexes at
the end, into a file of its own that then takes the place of the old one.

Until then nothing of the old view is touched, so that who reads it reads on, and a rebuild that is
killed leaves it as it was. A worker that writes it meanwhile finds the new file at its next turn,
and goes on from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import polars as pl

from ledger.columnar.delta import Delta, empty
from ledger.core.epochs import live
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest
from ledger.logs.base import Topic
from ledger.views import contract, file, present, schema, tables
from ledger.views.contract import Known
from ledger.views.file import Connection
from ledger.views.tables import Place

_UNSAFE = ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE")


@contextmanager
def bulk(
    path: Path, dataset: Dataset, known: Known, gate: Callable[[Path], None] = lambda _: None
) -> Generator[BulkView]:
    """A view to be filled, which is at `path` when the block is left without an error.

    Args:
        path: where it is to be.
        dataset: what it is of.
        known: governance.
        gate: called with the file when it is whole; if it raises, what stands at `path` stays.

    Raises:
        InvalidRequest: another rebuild of this view is on its way.
        InvalidSetting: what stands at `path` is no view.
    """
    file.refuse_other(path)
    with file.only_one(path) as alone:
        if not alone:
            raise InvalidRequest(f"another rebuild of the views at {path} is on its way")
        file.remove_leftovers(path)
        made = file.fresh(path)
        try:
            view = BulkView.create(made, dataset, known)
            try:
                yield view
                view.finish()
            except BaseException:
                view.close()
                raise
            gate(made)
            file.refuse_other(path)  # it may have come meanwhile
        except BaseException:
            file.remove(made)
            raise
        file.replace(path, made)


class BulkView:
    """A view on its way. One partition after the other: its rows in order, then `end`."""

    def __init__(self, connection: Connection, known: Known) -> None:
        self._connection, self._known = connection, known
        self._state: _Partition | None = None

    @classmethod
    def create(cls, made: Path, dataset: Dataset, known: Known) -> Self:
        """An empty one, under this governance."""
        connection = Connection(made)
        for each in _UNSAFE:
            connection.rows(f"PRAGMA {each}")
        tables.create(connection, dataset)
        return cls(connection, known)

    def begin(self, partition: int, stop: int) -> None:
        """A partition begins, which will end at `stop`."""
        epochs = self._known.epochs
        epoch = epochs.epoch(partition, stop)
        spans: present.Spans = live(epochs.governances[epoch], partition, present.FOREVER)
        self._state = _Partition(partition, spans)
        with self._connection.transaction():
            tables.write_spans(self._connection, partition, spans)
            place = Place(stop, epoch, self._known.stop)
            tables.put_place(self._connection, Topic.LABELS, partition, place)

    def take(self, delta: Delta) -> None:
        """Add rows of the partition that began last."""
        state = self._state
        assert state is not None
        with self._connection.transaction():
            tables.insert(self._connection, "changes", state.partition, delta.changes)
            tables.insert(self._connection, "reviews", state.partition, delta.reviews)
            tables.insert(self._connection, "refusals", state.partition, delta.refusals)
            tables.insert(self._connection, "corrections", state.partition, state.take(delta))

    def end(self) -> None:
        """The partition that began last has all its rows."""
        state = self._state
        assert state is not None
        with self._connection.transaction():
            tables.settle(self._connection, state.partition, state.later())
            tables.insert(self._connection, "items", state.partition, state.items())
        self._state = None

    def finish(self) -> None:
        """Add what follows from the rows, and make the file whole."""
        for statement in schema.finish():
            self._connection.rows(statement)
        with self._connection.transaction():
            contract.write(self._connection, self._known)
            place = Place(self._known.stop, len(self._known.governance.rollbacks), self._known.stop)
            tables.put_place(self._connection, Topic.GOVERNANCE, 0, place)
        self.close()
        descriptor = os.open(self._connection.file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


class _Partition:
    """What is known of a partition's present, while its rows pass by."""

    def __init__(self, partition: int, spans: present.Spans) -> None:
        self.partition = partition
        self._spans = spans
        self._changes = pl.DataFrame(schema=present.CHANGED)
        self._new: list[pl.DataFrame] = []
        self._later = [present.standing(empty().reviews)]

    def take(self, delta: Delta) -> pl.DataFrame:
        """Look at a batch; its corrections, with what became of them as far as it says."""
        changes = present.alive(delta.changes, self._spans)
        self._new.append(_own(changes[list(present.CHANGED)]))
        if sum(map(len, self._new)) > len(self._changes):
            self._compact()
        reviews = present.alive(delta.reviews, self._spans)
        self._later.append(_own(present.earlier(delta._replace(reviews=reviews))))
        return present.stand(delta.corrections, delta.reviews, self._spans)

    def items(self) -> pl.DataFrame:
        """The items at the end."""
        self._compact()
        return present.items(self._changes)

    def later(self) -> pl.DataFrame:
        """What became of corrections in a later batch than theirs."""
        key = ("partition", "correction_offset")
        return pl.concat(self._later).unique(key, keep="last", maintain_order=True).sort(key)

    def _compact(self) -> None:
        """Keep what still says something of its item."""
        self._changes = present.telling(pl.concat([self._changes, *self._new]))
        self._new.clear()


def _own(frame: pl.DataFrame) -> pl.DataFrame:
    """A copy without the messages that the strings of a batch lie in."""
    return cast("pl.DataFrame", pl.from_arrow(cast("Any", frame.to_arrow())))
