"""What can be asked of a view: labels at a position, items, corrections, what was said of a record.

An answer about the present is as fresh as its rows: `positions` says how far they go. Answers about
the past take governance from the log, for a view may not have come to all of it; what it holds is
enough for every covered position below its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import polars as pl

from ledger.columnar.now import READ, labels_now
from ledger.columnar.snapshot import COLUMNS
from ledger.core.epochs import Epochs, live
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest, ViewsDamaged, ViewsUnavailable
from ledger.logs.base import Topic
from ledger.views import file, present, tables
from ledger.views.file import Connection
from ledger.views.schema import PARTITION
from ledger.views.tables import Place

Fields = dict[str, Any]
_CHANGES = {**present.CHANGED, "coordinates": pl.String}


class Told(NamedTuple):
    """Where something was said of a record."""

    partition: int
    offset: int
    table: str


class View:
    """A view, for reading. Use `open`, and close it, or use it in a `with` statement."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self.connection = connection
        self.partitions = partitions

    @classmethod
    def open(cls, path: Path, dataset: Dataset) -> Self:
        """The view of a dataset.

        Raises:
            InvalidRequest: there is none yet.
            ViewsDamaged: what is there is no view of this dataset, or is damaged.
            ViewsUnavailable: it cannot be read now.
        """
        found = file.current(path)
        if found is None:
            raise InvalidRequest(
                f"there are no views at {path} yet: `errata worker` keeps them, "
                "`errata rebuild` makes them"
            )
        connection = Connection(found, readonly=True)
        try:
            tables.recognise(connection, dataset)
        except BaseException:
            connection.close()
            raise
        return cls(connection, dataset.partitions)

    @contextmanager
    def still(self) -> Generator[None]:
        """All that is asked in the block sees one state, whatever is written meanwhile."""
        self.connection.rows("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(ViewsDamaged, ViewsUnavailable):  # it may have ended itself
                self.connection.rows("COMMIT")

    @property
    def position(self) -> Position:
        """How far the rows go: by partition, and of governance. It need not be closed."""
        return tables.position_of(self.connection)

    def place(self, partition: int) -> Place:
        """Where a partition stands."""
        return tables.place_of(self.connection, Topic.LABELS, partition)

    def answers(self, governance: Governance, position: Position) -> bool:
        """Whether the rows answer a closed position: they reach it, the governance under which
        they were folded does, and the position is covered (see `ledger.core.epochs`).

        Args:
            governance: the state at the log's end.
            position: closed.
        """
        then = governance.prefix(position.governance)
        for partition, stop in enumerate(position.labels):
            place = self.place(partition)
            if place.offset < stop or place.governance < position.governance:
                return False
            folded = Epochs(governance.prefix(place.governance))
            if not folded.stands(then, partition, stop):
                return False
        return True

    def labels(self, governance: Governance, position: Position) -> pl.DataFrame:
        """The labelled items at a position that the rows answer, as `ledger.columnar.snapshot` has
        them: columns id, record, label, geometry_type, coordinates, split, sorted by id.
        """
        then = governance.prefix(position.governance)
        parts = [
            self.changes(partition, live(then, partition, stop))
            for partition, stop in enumerate(position.labels)
        ]
        items = present.items(pl.concat(parts))
        now = labels_now(items.select(READ), then.contracts, then.contract.version)
        return (
            items.with_columns(label=now, id="item_id", record="record_id")
            .filter(pl.col("label").is_not_null())
            .select(*COLUMNS)
            .sort("id")
        )

    def changes(self, partition: int, spans: present.Spans) -> pl.DataFrame:
        """The changes of a partition in some ranges, with the columns of `present.CHANGED`."""
        parts = [
            self.connection.frame(
                _CHANGES,
                f"""(SELECT *, item % {PARTITION} AS item_offset FROM changes
                    WHERE id >= ? AND id < ? ORDER BY id)""",
                (partition * PARTITION + start, partition * PARTITION + stop),
            )
            for start, stop in spans
        ]
        return present.as_numbers(pl.concat([pl.DataFrame(schema=_CHANGES), *parts]))

    def item(self, item_id: str) -> Fields | None:
        """An item that is there now, as the table `items` has it, with its `label_now`."""
        return self._one(
            """SELECT i.*, l.label AS label_now, l.content, l.source FROM items AS i
                LEFT JOIN labels AS l ON l.item_id = i.item_id WHERE i.item_id = ?""",
            (item_id,),
        )

    def corrections(self, correction_id: str) -> list[Fields]:
        """The corrections with this id; ids are unique within a record, but for void ones."""
        return self._all("SELECT * FROM corrections WHERE correction_id = ?", (correction_id,))

    def reviews(self, correction: int) -> list[Fields]:
        """What counted on the correction with this `id`, in order."""
        return self._all("SELECT * FROM reviews WHERE correction = ? ORDER BY id", (correction,))

    def told(self, record_id: str) -> list[Told]:
        """Where everything was said of a record, in order; an event that was refused before its
        record could be known is not among it.
        """
        theirs = "(item_id = ?1 OR (item_id > ?1 || '#' AND item_id < ?1 || '$'))"
        query = f"""SELECT id, 'changes' AS name FROM changes WHERE {theirs}
            UNION SELECT id, 'corrections' FROM corrections WHERE {theirs}
            UNION SELECT id, 'reviews' FROM reviews
                WHERE correction IN (SELECT id FROM corrections WHERE {theirs})
            UNION SELECT id, 'refusals' FROM refusals WHERE record_id = ?1"""
        query = f"SELECT id / {PARTITION}, id % {PARTITION}, name FROM ({query}) ORDER BY id, name"
        return [Told(*row) for row in self.connection.rows(query, (record_id,))]

    def close(self) -> None:
        """Release the file."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all(self, query: str, values: Sequence[Any]) -> list[Fields]:
        return file.browse(self.connection.file, query, values)

    def _one(self, query: str, values: Sequence[Any]) -> Fields | None:
        return next(iter(self._all(query, values)), None)
