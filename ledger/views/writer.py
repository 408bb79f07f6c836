"""Writes a view: the rows of a batch, what they make of the present, and how far it came, in one
transaction.

Several processes may write one file, each its own partitions. A writer says where it believes a
partition to stand; if it stands elsewhere, or more of governance is known there, or the file is
another one by now, the writer is late: it was frozen while another took over. It is refused
(`Fenced`), forgets what it believed, and starts from what is there. Because the rows at a place
are the same whoever writes them, nothing else is needed.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ledger.columnar.delta import Delta
from ledger.core.epochs import live
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import LedgerError, ViewsUnavailable
from ledger.logs.base import Topic
from ledger.views import contract, file, present, rollback, schema, tables
from ledger.views.contract import Known
from ledger.views.file import Connection
from ledger.views.present import FOREVER, Spans
from ledger.views.tables import Place

_PATIENCE_S, _LOOK_S = 2.0, 0.01


class Fenced(LedgerError):
    """Somebody else has written meanwhile: look where the view stands, and start from there."""


class ViewWriter:
    """The view of a dataset, made if it is not there.

    Args:
        path: where it is.
        dataset: what it is of.

    Raises:
        InvalidSetting: what stands at `path` is no view.
    """

    def __init__(self, path: Path, dataset: Dataset) -> None:
        file.refuse_other(path)
        self.path = path
        self._connection = Connection(_made(path, dataset))
        self._identity = _identity(self._connection.file)
        tables.recognise(self._connection, dataset)
        self._connection.rows("PRAGMA journal_mode = WAL")
        self._connection.rows("PRAGMA synchronous = NORMAL")  # why is said in `ledger.views.file`

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    @property
    def replaced(self) -> bool:
        """Whether the path leads to another file by now, or nowhere."""
        return _identity(self.path) != self._identity

    @property
    def position(self) -> Position:
        """How far the view goes, whoever wrote it."""
        return tables.position_of(self._connection)

    def place(self, partition: int) -> Place:
        """Where a partition stands."""
        return tables.places(self._connection, partition)[0]

    def rows(self, partition: int, spans: Spans) -> Delta:
        """The rows of some ranges of a partition, of which a fold is restored."""
        return tables.rows(self._connection, partition, spans)

    def write(self, partition: int, here: Place, known: Known, delta: Delta, stop: int) -> Place:
        """Add the rows of `[here.offset, stop)`; where the partition stands then.

        Args:
            partition: the partition.
            here: where it stands, as the caller believes.
            known: governance.
            delta: the rows, all of one epoch: the one at `here.offset`.
            stop: the next offset to fold.

        Raises:
            Fenced: the partition stands elsewhere, or more of governance is known.
        """
        with self._turn(partition, here, known):
            here = self._align(partition, known, here, here.offset)
            tables.add(self._connection, partition, delta)
            contract.split_items(self._connection, known, delta.changes)
            place = self._align(partition, known, here._replace(offset=stop), stop)
            tables.put_place(self._connection, Topic.LABELS, partition, place)
        return place

    def reset(self, partition: int, here: Place, known: Known, start: int) -> Place:
        """Forget the rows at `start` and beyond, which are to be folded again, and take in what is
        known of governance; where the partition stands then.

        Args:
            partition: the partition.
            here: where it stands, as the caller believes.
            known: governance.
            start: up to where it stands under that governance; `here.offset` if all of it does.

        Raises:
            Fenced: as `write`.
        """
        with self._turn(partition, here, known):
            place = self._align(partition, known, here, start)
            tables.put_place(self._connection, Topic.LABELS, partition, place)
        return place

    @contextmanager
    def _turn(self, partition: int, here: Place, known: Known) -> Generator[None]:
        """One transaction, for a writer that is not late."""
        if self.replaced:
            raise Fenced(f"the views at {self.path} are another file now")
        with self._connection.transaction():
            found, stored = tables.places(self._connection, partition)
            if found != here:
                raise Fenced(f"partition {partition} stands at {found}, and not at {here}")
            if stored.offset > known.stop:
                raise Fenced(f"governance is known up to {stored.offset}, here to {known.stop}")
            if stored.offset < known.stop:
                contract.write(self._connection, known)
                place = Place(known.stop, len(known.governance.rollbacks), known.stop)
                tables.put_place(self._connection, Topic.GOVERNANCE, 0, place)
            yield

    def _align(self, partition: int, known: Known, here: Place, start: int) -> Place:
        """Keep what stands `here` only below `start`, and let the present follow from what is live
        in the epoch that begins or goes on there; where the partition stands then.
        """
        place = Place(start, known.epochs.epoch(partition, start), known.stop)
        if place != here:
            governance = known.epochs.governances[place.epoch]
            before = tables.spans_of(self._connection, partition)
            after: Spans = live(governance, partition, FOREVER)
            if before != after:
                tables.write_spans(self._connection, partition, after)
            folded = here.offset
            changed = present.apart(present.below(before, folded), present.below(after, start))
            if changed or start < folded:
                items = rollback.align(self._connection, partition, changed, after, start)
                contract.split_items(self._connection, known, items)
        return place


def _made(path: Path, dataset: Dataset) -> Path:
    """The file behind the path, made if it is not there."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if (found := file.current(path)) is not None:
            return found
        with file.only_one(path) as alone:
            if alone:
                file.remove_leftovers(path)
                return _make(path, dataset)
        # Who is alone may be removing what seems left over: a file made now might be among it.
        time.sleep(_LOOK_S)
    return _make(path, dataset)  # a rebuild takes longer, and has removed what it will


def _make(path: Path, dataset: Dataset) -> Path:
    while (found := file.current(path)) is None:
        made = file.fresh(path)
        connection = Connection(made)
        with connection.transaction():
            tables.create(connection, dataset)
            for statement in schema.finish():
                connection.rows(statement)
        connection.close()
        if not file.install(path, made, over=False):
            file.remove(made)
    return found


def _identity(path: Path) -> tuple[int, int]:
    """What tells a file from another that took its path."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0)
    except OSError as error:
        raise ViewsUnavailable(f"the views at {path}: {error.strerror}") from error
    return found.st_dev, found.st_ino
