"""Checkpoints that stand in for the head of a log: for label events that are gone.

Rows are what the fold made of those events, so the labels at a position, and the state to fold on
from, are the same bytes as before. What needs an event itself is refused. Nothing else can answer
for what is lost, so here damage is no reason to replay: it is raised as `CorruptLog`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, TypeVar

import polars as pl
import structlog

from ledger.checkpoints.files import open_files
from ledger.checkpoints.kept import apart, batches_of, joined
from ledger.checkpoints.manifest import FORMAT, REMEDY
from ledger.checkpoints.segments import KEPT, TABLES
from ledger.checkpoints.store import Partition, Store, origin_of
from ledger.columnar.delta import Delta
from ledger.columnar.dormant import geometry_of
from ledger.columnar.fold import ColumnarPartition
from ledger.columnar.replay import ROWS
from ledger.columnar.restore import NEEDED, restore
from ledger.columnar.state import registration_stub, stub
from ledger.core.epochs import Epochs, live
from ledger.core.events import Event, Geometry, record_of
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.dataset import Dataset
from ledger.errors import CheckpointDamaged, CorruptLog, EventsLost
from ledger.logs.base import Batch, Topic
from ledger.replay import GovernanceReader
from ledger.stand_in import LOST, headless

Answer = TypeVar("Answer")
_TRIES = 5
_say = structlog.get_logger("errata.checkpoints")


class Standing:
    """What checkpoints know of a log's lost events; see `ledger.stand_in.StandIn`.

    Args:
        dataset: the log.
        heads: the first retained offset of each label partition.
        url: where the checkpoints are.
    """

    def __init__(self, dataset: Dataset, heads: Sequence[int], url: str) -> None:
        self.heads = heads
        self._dataset = dataset
        self._store = Store(open_files(url), origin_of(dataset))
        self._reader = GovernanceReader(dataset)
        self._known: tuple[int, Epochs] | None = None
        self._parts: dict[int, Partition] = {}

    def check(self) -> None:
        """Refuse a log for the head of which nothing stands in, and say what does.

        Raises:
            CorruptLog: nothing is stored, or it is damaged, or ends before the head, or is of other
                events than the log holds.
        """
        for partition, head in enumerate(self.heads):
            if not head:
                continue
            part = self._part(partition)
            if (damage := next(part.damage(), None)) is not None:
                raise self._lost(partition, damage)
            if part.manifest.format < FORMAT:
                raise self._lost(partition, "the newest is of an older release, which kept less")
            reach = part.valid(self._epochs())
            if reach < head:
                raise self._lost(
                    partition,
                    f"the newest, at {self._store.files.url}, ends at offset "
                    f"{part.manifest.stop}, and what agrees with the log ends at {reach}",
                )
            tied = any(cut.tie and cut.offset > head for cut in part.manifest.cuts)
            _say.warning(
                f"{self._dataset.log.topic_name(Topic.LABELS)} partition {partition} begins at "
                f"offset {head}; the checkpoint at {reach} stands in for what is before"
                + ("" if tied else ", and no event that it was tied to is left to hold it against")
            )

    def reach(self, partition: int) -> int:
        """Up to where the checkpoint of a partition is right."""
        return self._ask(partition, lambda part: part.valid(self._epochs()))

    def begin(
        self, governance: Governance, partition: int, stop: int, chosen: Set[str] | None = None
    ) -> tuple[int, ColumnarPartition]:
        """See `StandIn`."""
        at, epochs = min(stop, self.heads[partition]), self._epochs()
        if not epochs.stands(governance, partition, at):
            raise self._gone(
                f"the state at offset {at} of partition {partition} under earlier governance"
            )

        def ask(part: Partition) -> ColumnarPartition:
            self._refuse_beyond(part, epochs, at)
            rows = part.delta(live(governance, partition, at), NEEDED)
            if chosen is not None:
                rows = _of(rows, chosen)
            return restore(self._dataset, governance, partition, at, rows)

        return at, self._ask(partition, ask)

    def rows(self, governance: Governance, partition: int, stop: int) -> Delta:
        """See `StandIn`."""

        def ask(part: Partition) -> Delta:
            self._refuse_beyond(part, self._epochs(), stop)
            return part.delta(live(governance, partition, stop))

        return self._ask(partition, ask)

    def pieces(
        self, epochs: Epochs, partition: int, start: int, stop: int
    ) -> Iterator[tuple[int, Delta, frozenset[int]]]:
        """See `StandIn`; a piece for each segment."""
        while start < stop:

            def ask(part: Partition, start: int = start) -> tuple[int, Delta, frozenset[int]]:
                self._refuse_beyond(part, epochs, stop)
                end = next(each.stop for each in part.manifest.segments if each.stop > start)
                end = min(end, stop)
                return end, part.delta([(start, end)]), frozenset(part.manifest.cuts[-1].met)

            piece = self._ask(partition, ask)
            start = piece[0]
            yield piece

    def recall(self, partition: int, start: int, stop: int) -> Iterator[Batch]:
        """See `StandIn`."""

        def ask(part: Partition) -> pl.DataFrame:
            kept = joined((each for segment in part.manifest.segments for each in segment.kept), 0)
            if lost := apart([(start, stop)], kept):
                raise self._gone(
                    f"which ids the events of partition {partition} took that a rollback made "
                    f"void, from offset {lost[0][0]} to {lost[-1][1] - 1},"
                )
            return part.rows(KEPT, [(start, stop)])

        yield from batches_of(self._ask(partition, ask), partition, ROWS)

    def events(self, partition: int, offsets: Sequence[int]) -> Iterator[tuple[int, Event]]:
        """See `StandIn`."""
        if not offsets:
            return
        between = [(offsets[0], offsets[-1] + 1)]
        chosen = pl.col("offset").is_in(list(offsets))
        tables = (KEPT, "changes", "corrections")
        kept, changes, corrections = self._ask(
            partition, lambda part: [part.rows(each, between).filter(chosen) for each in tables]
        )
        found: dict[int, Event] = {}
        found |= {row["offset"]: _registered(row) for row in changes.iter_rows(named=True)}
        found |= {row["offset"]: _proposed(row) for row in corrections.iter_rows(named=True)}
        for offset, value in kept.select("offset", "value").iter_rows():
            event = self._dataset.codec.decode(value)
            assert isinstance(event, Event)
            found[offset] = event
        yield from ((offset, found[offset]) for offset in offsets)

    def first_use(self, partition: int, version: int, start: int, stop: int) -> int | None:
        """See `StandIn`."""

        def ask(part: Partition) -> int | None:
            met = (cut.met for cut in part.manifest.cuts if cut.offset >= stop)
            if version not in next(met, (version,)):
                return None
            names = ("offset", "said_under")
            frames = [part.rows(table, [(start, stop)], names) for table in TABLES]
            used = pl.concat(frames).filter(pl.col("said_under") == version)["offset"]
            first: Any = used.min()
            end = stop if first is None else first
            more = ("offset", "event", "said_under")
            refused = part.rows("refusals", [(start, end)], more)
            untold = pl.col("said_under").is_null() & pl.col("event").is_not_null()
            if len(refused.filter(untold)):
                raise self._gone(
                    f"which event of partition {partition} named contract version {version} first"
                )
            return first

        return self._ask(partition, ask)

    def undecodable(self, partition: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """See `StandIn`."""
        names = ("offset", "timestamp_ms", "outcome")
        rows = self._ask(partition, lambda part: part.rows("refusals", [(start, stop)], names))
        alien = rows.filter(pl.col("outcome") == Outcome.UNDECODABLE.value)
        yield from alien.select("offset", "timestamp_ms").iter_rows()

    def offset_after(self, partition: int, timestamp_ms: int) -> int | None:
        """See `StandIn`."""
        times = self._times(partition, self.heads[partition])
        first: Any = times.filter(pl.col("timestamp_ms") > timestamp_ms)["offset"].min()
        return first

    def proposed_in(self, partition: int, correction_id: str, stop: int) -> set[str]:
        """See `StandIn`."""
        names = ("offset", "correction_id", "item_id")
        rows = self._ask(partition, lambda part: part.rows("corrections", [(0, stop)], names))
        items = rows.filter(pl.col("correction_id") == correction_id)["item_id"]
        return {record_of(item) for item in items}

    def latest(self, partition: int, stop: int) -> int:
        """See `StandIn`."""
        last: Any = self._times(partition, stop)["timestamp_ms"].max()
        return last or 0

    def _times(self, partition: int, stop: int) -> pl.DataFrame:
        names = ("offset", "timestamp_ms")
        return self._ask(
            partition,
            lambda part: pl.concat([part.rows(table, [(0, stop)], names) for table in TABLES]),
        )

    def _epochs(self) -> Epochs:
        """Those of all governance there is now."""
        governance = self._reader.refresh()
        stop = self._reader.stop
        if self._known is None or self._known[0] != stop:
            self._known = stop, Epochs(governance.prefix(stop))
        return self._known[1]

    def _refuse_beyond(self, part: Partition, epochs: Epochs, stop: int) -> None:
        if (reach := part.valid(epochs)) < stop:
            partition = part.manifest.partition
            raise self._lost(partition, f"the newest is right up to offset {reach} only")

    def _part(self, partition: int) -> Partition:
        if partition not in self._parts:
            try:
                found = self._store.partition(partition)
            except CheckpointDamaged as error:
                raise self._lost(partition, str(error)) from error
            if found is None:
                raise self._lost(partition, f"there is none at {self._store.files.url}")
            self._parts[partition] = found
        return self._parts[partition]

    def _ask(self, partition: int, ask: Callable[[Partition], Answer]) -> Answer:
        """Ask what is stored; a writer may put something further in its place meanwhile."""
        for _ in range(_TRIES):
            part = self._part(partition)
            try:
                return ask(part)
            except CheckpointDamaged as error:
                del self._parts[partition]
                if self._part(partition) == part:
                    raise self._lost(partition, str(error)) from error
        raise self._lost(partition, "it is replaced again and again while it is read")

    def _lost(self, partition: int, why: str) -> CorruptLog:
        why = why.replace(REMEDY, "").rstrip(". ")  # what they would be made of is gone
        return headless(self._dataset.log, partition, self.heads[partition], why)

    def _gone(self, what: str) -> EventsLost:
        return EventsLost(
            f"{what} cannot be told: those events of {self._dataset.log.topic_name(Topic.LABELS)} "
            "are gone, and the checkpoint that stands in for them does not say it"
        )


def stand_in(dataset: Dataset, heads: Sequence[int], url: str) -> Standing:
    """The checkpoints at `url`, if they stand in for what the log lacks before `heads`.

    Raises:
        CorruptLog: they do not.
    """
    found = dataset.stand_in = Standing(dataset, heads, url)  # to fold governance may ask for it
    found.check()
    return found


def _of(rows: Delta, records: Set[str]) -> Delta:
    """The rows about some records."""
    mine = pl.col("record_id").is_in(list(records))
    corrections = rows.corrections.filter(mine)
    told = pl.col("correction_offset").is_in(corrections["offset"].to_list())
    return Delta(
        rows.changes.filter(mine),
        corrections,
        rows.reviews.filter(told),
        rows.refusals.filter(mine),
    )


def _registered(row: dict[str, Any]) -> Event:
    kind = row["geometry_type"]
    names = ("actor", "item_id", "label", "split", "content", "source")
    return registration_stub(
        event_id=LOST,
        contract_version=row["said_under"],
        record_id=record_of(row["item_id"]),
        geometry=Geometry(kind, tuple(row["coordinates"])) if kind else None,
        attributes=json.loads(row["attributes"] or "{}"),
        **{name: row[name] for name in names},
    )


def _proposed(row: dict[str, Any]) -> Event:
    names = ("actor", "correction_id", "item_id", "from_label", "to_label", "reason", "source")
    more = ("confidence", "model_version", "audit_run_id", "patch_id", "segment")
    return stub(
        event_id=LOST,
        contract_version=row["said_under"],
        record_id=record_of(row["item_id"]),
        from_geometry=geometry_of(row["from_geometry"]),
        to_geometry=geometry_of(row["to_geometry"]),
        **{name: row[name] for name in (*names, *more)},
    )
