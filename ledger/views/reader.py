"""What can be asked of a view: how far it goes, and the labels at a position.

An answer about the present is as fresh as its rows: `position` says how far they go. Answers about
the past take governance from the log, for a view may not have come to all of it; what it holds is
enough for every covered position below its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import polars as pl

from ledger.columnar.now import READ, labels_now
from ledger.columnar.snapshot import COLUMNS
from ledger.core.epochs import Epochs, live
from ledger.core.governance import Governance
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import InvalidRequest, ViewsDamaged, ViewsUnavailable
from ledger.views import file, present, tables
from ledger.views.file import Connection
from ledger.views.schema import PARTITION
from ledger.views.tables import Place

_CHANGES = {**present.CHANGED, "coordinates": pl.String}


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
        return tables.places(self.connection, partition)[0]

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

    def close(self) -> None:
        """Release the file."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
