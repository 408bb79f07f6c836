"""Reads the log and folds it: governance first, then each label partition by itself.

This is where the pure core meets a log. Everything here is a function of a prefix of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial

from ledger.codec import Undecodable
from ledger.core.contract import Unresolved
from ledger.core.events import LabelEvent
from ledger.core.fold import Correction, Item, PartitionFold, Record
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.logs.base import Topic
from ledger.snapshot import Row, Snapshot

COLUMNS_FROM = 5_000
"""From how many label events on loading the libraries for columns takes less than they save."""

Observer = Callable[[Entry, Outcome], None]


@dataclass(frozen=True, slots=True)
class State:
    """Everything the fold knows at a closed position."""

    position: Position
    governance: Governance
    partitions: list[PartitionFold]

    def records(self) -> Iterator[tuple[str, Record]]:
        """Every record with its id, by partition."""
        for fold in self.partitions:
            yield from fold.records.items()

    def record(self, record_id: str) -> Record | None:
        """One record, if anything was said of it."""
        home = partition_of(record_id.encode(), len(self.partitions))
        return self.partitions[home].records.get(record_id)

    def items(self) -> Iterator[tuple[Record, Item]]:
        """Every item that exists, labelled or not, with its record."""
        for _, record in self.records():
            for item in record.items.values():
                yield record, item

    def corrections(self) -> Iterator[Correction]:
        """Every live correction, by partition and record."""
        for _, record in self.records():
            yield from record.corrections.values()

    def conflict(self, correction: Correction) -> bool:
        """Whether an open correction's item is no longer what its author saw."""
        proposal = correction.proposal
        key = proposal.record_id.encode()
        fold = self.partitions[partition_of(key, len(self.partitions))]
        return correction.open and fold.agreed(fold.records[proposal.record_id], proposal) is None

    def label(self, item: Item) -> str | Unresolved | None:
        """The item's label under the contract in force here."""
        contracts = self.governance.contracts
        return contracts.forward(
            item.label, item.contract_version, contracts.in_force.version, item.attributes
        )

    def snapshot(self) -> Snapshot:
        """The labelled items, sorted by the id's UTF-8 bytes."""
        rows: list[Row] = []
        for record, item in self.items():
            label = self.label(item)
            if isinstance(label, str):
                rows.append(row(record, item, label))
        rows.sort(key=lambda row: row.item_id.encode())
        return Snapshot(self.position, self.governance.contract, rows)


def row(record: Record, item: Item, label: str) -> Row:
    """The snapshot row of a labelled item; a region without content shows its record's."""
    content = item.content
    if content is None and item.item_id != item.record_id:
        whole = record.items.get(item.record_id)
        content = whole.content if whole else None
    return Row(
        item.item_id, item.record_id, label, item.geometry, record.split, item.attributes, content
    )


def fold_governance(dataset: Dataset, stop: int, observe: Observer | None = None) -> Governance:
    """The governance state at `[0, stop)`."""
    governance = Governance(dataset.partitions, partial(first_use, dataset))
    for entry in dataset.entries(Topic.GOVERNANCE, 0, 0, stop):
        outcome = _apply(governance, entry)
        if observe is not None:
            observe(entry, outcome)
    return governance


class GovernanceReader:
    """The governance state at the log's end, read on from where it stopped."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.stop = 0
        """The end of what was read."""
        self.state = Governance(dataset.partitions, partial(first_use, dataset))
        self.outcomes: dict[int, Outcome] = {}
        """What became of the event at each offset."""

    def refresh(self) -> Governance:
        """Read what is new, and return the state. If reading fails on the way, the next call goes
        on behind the last event that was folded.
        """
        end = self._dataset.log.ends(Topic.GOVERNANCE)[0]
        if end > self.stop:  # on Kafka, to read nothing takes three requests
            for entry in self._dataset.entries(Topic.GOVERNANCE, 0, self.stop, end):
                self.outcomes[entry.offset] = _apply(self.state, entry)
                self.stop = entry.offset + 1
            self.stop = end
        return self.state


def _apply(governance: Governance, entry: Entry) -> Outcome:
    if isinstance(entry.event, Undecodable):
        return Outcome.UNDECODABLE
    return governance.apply(entry.offset, entry.event)


def fold_partition(
    dataset: Dataset,
    governance: Governance,
    partition: int,
    stop: int,
    observe: Observer | None = None,
) -> PartitionFold:
    """The state of one label partition at `[0, stop)`, under this governance."""
    start, fold = begin(dataset, governance, partition, stop)
    for span in governance.spans(partition, stop):
        first = max(span.start, start)
        entries = dataset.entries(Topic.LABELS, partition, first, span.stop)
        for entry in entries if first < span.stop else ():
            event = entry.event
            if not isinstance(event, LabelEvent):
                outcome = Outcome.UNDECODABLE
            elif span.live:
                outcome = fold.apply(entry.offset, entry.key, event)
            else:
                outcome = fold.void(entry.key, event)
            if observe is not None:
                observe(entry, outcome)
    return fold


def begin(
    dataset: Dataset,
    governance: Governance,
    partition: int,
    stop: int,
    chosen: Set[str] | None = None,
) -> tuple[int, PartitionFold]:
    """Where a fold of `[0, stop)` of a partition begins, and its state there: nothing at 0; or, of
    a log whose head is missing, what stands in for it, of all records or of those chosen.
    """
    fold = PartitionFold(governance.contracts, partition, dataset.partitions)
    if dataset.stand_in is None or not min(stop, dataset.head(partition)):
        return 0, fold
    from ledger.columnar.replay import fetcher

    start, found = dataset.stand_in.begin(governance, partition, stop, chosen)
    known = found.records(fetcher(dataset, partition))
    fold.records = {key: known[key] for key in known if chosen is None or key in chosen}
    return start, fold


def refuse_unseen(dataset: Dataset, since: Sequence[int] | None, position: Position) -> None:
    """Refuse to show every event from `since` (the log's start) up to a position where some are
    gone.
    """
    for partition, stop in enumerate(position.labels):
        start = since[partition] if since else 0
        if start < stop:
            dataset.refuse_lost(partition, start, "what became of every event")


def replay(
    dataset: Dataset,
    position: Position,
    observe: Observer | None = None,
    since: Sequence[int] | None = None,
) -> State:
    """The state at a closed position, from the log alone.

    Args:
        dataset: what to read.
        position: closed, and within the log.
        observe: called with every entry up to the position and what became of it there.
        since: the first offset of each partition that it has to be called with; all by default.
    """
    if observe is not None:
        refuse_unseen(dataset, since, position)
    governance = fold_governance(dataset, position.governance, observe)
    partitions = [
        fold_partition(dataset, governance, partition, stop, observe)
        for partition, stop in enumerate(position.labels)
    ]
    return State(position, governance, partitions)


def rebuild(dataset: Dataset, position: Position) -> Snapshot:
    """The snapshot at a closed position, from the log alone.

    A long log is folded as columns where the extra `frames` is installed, to the same bytes.
    """
    if sum(position.labels) >= COLUMNS_FROM:
        try:
            from ledger.columnar import replay as columnar
        except ImportError:
            pass
        else:
            return columnar.replay(dataset, position).snapshot()
    return replay(dataset, position).snapshot()


def first_use(dataset: Dataset, partition: int, version: int, start: int, stop: int) -> int | None:
    """The first offset in the range whose label event names the contract version."""
    stop = min(stop, dataset.log.ends(Topic.LABELS)[partition])
    head = dataset.head(partition)
    if dataset.stand_in is not None and start < min(stop, head):
        found = dataset.stand_in.first_use(partition, version, start, min(stop, head))
        if found is not None:
            return found
        start = head
    if start < stop:
        for entry in dataset.entries(Topic.LABELS, partition, start, stop):
            if isinstance(entry.event, LabelEvent) and entry.event.contract_version == version:
                return entry.offset
    return None
