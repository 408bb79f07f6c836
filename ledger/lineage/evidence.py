"""What the live events up to a position did, as columns: who set which item, and what is open.

The rows are those of `ledger.columnar.delta`. Where checkpoints answer the position they come from
there; what they do not reach is folded, by columns too. So questions about a million items take
seconds. It needs the extra `frames`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import structlog
from numpy.typing import NDArray

from ledger.columnar.delta import CHANGES, CORRECTIONS, REFUSALS, REVIEWS, Delta, delta
from ledger.columnar.now import READ, labels_now
from ledger.columnar.replay import begin, frames
from ledger.columnar.restore import restore
from ledger.core.epochs import Epochs, live
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.errors import CheckpointDamaged, CheckpointsUnavailable
from ledger.logs.base import Topic
from ledger.reading import Reading
from ledger.views import present

if TYPE_CHECKING:
    from ledger.checkpoints.store import Partition

OPEN = (Outcome.PROPOSED.value, Outcome.ESCALATED.value)
"""The states in which a correction waits."""
_PLACE = ("partition", "offset", "timestamp_ms")
_READ = {
    "changes": (
        *(*_PLACE, "outcome", "actor", "source", "item_offset", "item_id", "label", "unresolved"),
        *("contract", "geometry_type", "coordinates", "attributes", "correction_offset"),
    ),
    "corrections": (
        *(*_PLACE, "actor", "correction_id", "item_id", "reason", "source", "patch_id"),
    ),
    "reviews": (*_PLACE, "correction_offset", "outcome"),
    "refusals": _PLACE,
}
_SCHEMAS = dict(zip(Delta._fields, (CHANGES, CORRECTIONS, REVIEWS, REFUSALS), strict=True))
_say = structlog.get_logger("errata.checkpoints")


class Waiting(NamedTuple):
    """A state in which open corrections wait: how many, and since when each (milliseconds)."""

    state: str
    since_ms: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """The rows of every live event below a closed position.

    `rows` have the columns that are asked here, in the order of partition and offset.
    """

    position: Position
    governance: Governance
    rows: Delta
    latest_ms: int
    """The highest timestamp of any message below the position; 0 where there is none."""

    @cached_property
    def items(self) -> pl.DataFrame:
        """Every item that exists: partition, item_id, `row` (that of its last change), `label`
        under the contract in force, and `unresolved`: whether a split left it without one.
        """
        changes = self.rows.changes
        last, brought = self._last_rows()
        said = changes[last].with_columns(changes[brought]["attributes"])
        contracts = self.governance.contracts
        now = labels_now(said.select(READ), contracts, contracts.in_force.version)
        given = pl.col("label").is_not_null() | pl.col("unresolved").is_not_null()
        return said.select(
            "partition",
            "item_id",
            row=pl.Series(last),
            label=now,
            unresolved=given & now.is_null(),
        )

    def _last_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """By item: the row of its last change, and of the one that brought its attributes."""
        last, brought = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        first = 0
        for part in self.rows.changes.partition_by("partition", maintain_order=True):
            made = part["item_offset"].to_numpy()
            rows = np.full(made.max() + 1, -1)
            rows[made] = np.arange(first, first + len(made))  # of several the last one stays
            own = rows.copy()
            registered = np.nonzero((part["outcome"] != Outcome.APPLIED.value).to_numpy())[0]
            own[made[registered]] = registered + first
            there = rows >= 0
            last.append(rows[there])
            brought.append(own[there])
            first += len(part)
        return np.concatenate(last), np.concatenate(brought)

    @cached_property
    def labels(self) -> dict[str, int]:
        """How many items have each label, by label."""
        return dict(sorted(self.items["label"].drop_nulls().value_counts().rows()))

    @cached_property
    def open(self) -> pl.DataFrame:
        """The corrections that wait: item_id, state, and `since_ms`, from when on it is in it."""
        key = ("partition", "correction_offset")
        last = (
            self.rows.reviews.filter(pl.col("outcome") != Outcome.VOTED.value)
            .unique(key, keep="last", maintain_order=True)
            .select("partition", "outcome", "timestamp_ms", offset="correction_offset")
        )
        joined = self.rows.corrections.join(last, on=("partition", "offset"), how="left")
        return joined.select(
            "item_id",
            state=pl.col("outcome").fill_null(OPEN[0]),
            since_ms=pl.coalesce("timestamp_ms_right", "timestamp_ms"),
        ).filter(pl.col("state").is_in(OPEN))

    def waiting(self) -> Iterator[Waiting]:
        """The corrections that wait, by state."""
        for state in OPEN:
            since = self.open.filter(pl.col("state") == state)["since_ms"].sort()
            yield Waiting(state, tuple(since.to_list()))

    def beside(self, other: Governance, position: Position) -> Delta:
        """The rows here that do not lie in what is live below another position.

        Args:
            other: governance there.
            position: closed.
        """
        inside = pl.lit(value=False)
        for partition, stop in enumerate(position.labels):
            spans = live(other, partition, stop)
            inside |= (pl.col("partition") == partition) & present.live(spans)
        return Delta(*(frame.filter(~inside) for frame in self.rows))

    def corrected_since(self, other: Governance, position: Position) -> int:
        """How many items were corrected here since another position."""
        applied = self.beside(other, position).changes.filter(
            pl.col("outcome") == Outcome.APPLIED.value
        )
        return applied.select("partition", "item_offset").n_unique()


def evidence(book: Reading, position: Position) -> Evidence:
    """What the live events below a closed position did."""
    now = book.governance.prefix(book.reader.stop)
    governance, known = now.prefix(position.governance), Epochs(now)
    parts: list[Delta] = []
    for partition, stop in enumerate(position.labels):
        part = _Part(book.dataset, governance, known, partition, stop)
        parts += _stored(book, part) or part.rows(None)
    rows = Delta(
        *(
            pl.concat([_no_rows(table), *(getattr(part, table) for part in parts)])
            for table in Delta._fields
        )
    )
    return Evidence(position, governance, rows, _latest(book, governance, position, rows))


def _stored(book: Reading, part: _Part) -> list[Delta] | None:
    """The rows by way of checkpoints; None where there are none that help."""
    tried: Partition | None = None
    try:
        while book.checkpoints is not None:
            stored = book.checkpoints.store.partition(part.partition)
            if stored is None:
                break
            try:
                return part.rows(stored)
            except CheckpointDamaged:  # or a writer has put something further in its place
                if stored == tried:
                    raise
                tried = stored
    except (CheckpointDamaged, CheckpointsUnavailable) as error:
        _say.warning("the log is replayed", why=str(error))
    return None


class _Part(NamedTuple):
    """`[0, stop)` of a partition under a governance, and what the epochs are by now."""

    dataset: Dataset
    governance: Governance
    known: Epochs
    partition: int
    stop: int

    def rows(self, stored: Partition | None) -> list[Delta]:
        """The rows of the live events: stored ones, then folded ones."""
        dataset, governance, partition = self.dataset, self.governance, self.partition
        if stored is not None and self._answers(stored):
            return [_chosen(stored.delta(live(governance, partition, self.stop), _READ))]
        rows = list[Delta]()
        found = stored.restore(governance, self.stop) if stored is not None else None
        if stored is not None and found is not None and found.stop > dataset.head(partition):
            done = found.stop
            fold = restore(dataset, governance, partition, done, found.delta)
            rows.append(_chosen(stored.delta(live(governance, partition, done), _READ)))
        else:
            done, fold = begin(dataset, governance, partition, self.stop)
            if done and dataset.stand_in is not None:
                rows.append(_chosen(dataset.stand_in.rows(governance, partition, done)))
        for batch, frame, alive in frames(dataset, governance, partition, done, self.stop):
            if alive:
                rows.append(_chosen(delta(batch, frame, fold.judge(frame), fold, 0)))
            else:
                fold.void(frame)
        return rows

    def _answers(self, stored: Partition) -> bool:
        """Whether the stored rows are those up to `stop`."""
        reaches = stored.valid(self.known) >= self.stop
        return reaches and self.known.stands(self.governance, self.partition, self.stop)


def _chosen(rows: Delta) -> Delta:
    return Delta(*(getattr(rows, table).select(_READ[table]) for table in Delta._fields))


def _latest(book: Reading, governance: Governance, position: Position, rows: Delta) -> int:
    """The highest timestamp below the position; void messages have no rows and are looked at."""
    highest: list[Any] = [frame["timestamp_ms"].max() for frame in rows]
    dataset, read = book.dataset, book.dataset.log.read
    ranges = [(Topic.GOVERNANCE, 0, 0, position.governance)]
    for partition, stop in enumerate(position.labels):
        void = [span for span in governance.spans(partition, stop) if not span.live]
        head = dataset.head(partition)
        if dataset.stand_in is not None and void and void[0].start < head:
            highest.append(dataset.stand_in.latest(partition, min(stop, head)))
        starts = ((max(s.start, head), s.stop) for s in void)
        ranges += [(Topic.LABELS, partition, *each) for each in starts if each[0] < each[1]]
    highest += [max(batch.timestamps_ms, default=0) for each in ranges for batch in read(*each)]
    return max((each for each in highest if each is not None), default=0)


def _no_rows(table: str) -> pl.DataFrame:
    schema = _SCHEMAS[table]
    return pl.DataFrame(schema={name: schema[name] for name in _READ[table]})
