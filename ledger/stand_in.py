"""What answers for label events that a log holds no more.

A log whose head is missing is refused, unless checkpoints stand in for it. Then every fold begins
at the first retained offset, from the state that they hold there; and what asks for the lost
events themselves is refused by the log, which cannot read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Protocol

from ledger.core.events import Event
from ledger.errors import CorruptLog
from ledger.logs.base import Batch, Log, Topic

LOST = "(lost)"
"""The id of an event of which only rows tell: that, `occurred_at` and `based_on` are lost."""
if TYPE_CHECKING:
    from ledger.columnar.delta import Delta
    from ledger.columnar.fold import ColumnarPartition
    from ledger.core.epochs import Epochs
    from ledger.core.governance import Governance


class StandIn(Protocol):
    """What checkpoints know of label events that the log holds no more: below `heads`."""

    heads: Sequence[int]
    """The first retained offset of each label partition."""

    def begin(
        self, governance: Governance, partition: int, stop: int, chosen: Set[str] | None = None
    ) -> tuple[int, ColumnarPartition]:
        """The state of `[0, offset)` of a partition and that offset, the head or `stop`, whichever
        is less: a fold under this governance goes on from there. Where records are chosen, what is
        said of others may be left out.
        """
        ...

    def rows(self, governance: Governance, partition: int, stop: int) -> Delta:
        """What the lost events below `stop`, where `begin` begins, changed that are live."""
        ...

    def pieces(
        self, epochs: Epochs, partition: int, start: int, stop: int
    ) -> Iterator[tuple[int, Delta, frozenset[int]]]:
        """What the lost events at `start <= offset < stop`, all of one epoch, changed: up to which
        offset, the rows, and the contract versions that may be named there.
        """
        ...

    def recall(self, partition: int, start: int, stop: int) -> Iterator[Batch]:
        """The lost messages of these offsets, if they are among those kept."""
        ...

    def events(self, partition: int, offsets: Sequence[int]) -> Iterator[tuple[int, Event]]:
        """The lost registrations and proposals at these offsets, as far as rows tell of them
        (see `LOST`).
        """
        ...

    def first_use(self, partition: int, version: int, start: int, stop: int) -> int | None:
        """See `ledger.replay.first_use`, among lost events."""
        ...

    def undecodable(self, partition: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Offset and timestamp, in milliseconds, of each lost message in this range that was no
        event.
        """
        ...

    def offset_after(self, partition: int, timestamp_ms: int) -> int | None:
        """The first lost event that is later; None where none is."""
        ...

    def proposed_in(self, partition: int, correction_id: str, stop: int) -> set[str]:
        """The records of which a lost proposal below `stop` has this correction id and stands, or
        once stood.
        """
        ...

    def latest(self, partition: int, stop: int) -> int:
        """The highest timestamp, in milliseconds, of lost events below `stop`; 0 of none."""
        ...


def headless(log: Log, partition: int, head: int, why: str) -> CorruptLog:
    """What is said of a log whose head is missing where no checkpoint stands in for it."""
    return CorruptLog(
        f"{log.topic_name(Topic.LABELS)} partition {partition} at {log.url} begins at offset "
        f"{head}: its head is missing, and no checkpoint stands in for it: {why}. Restore the "
        "log, or name the place of its checkpoints with ERRATA_CHECKPOINTS"
    )
