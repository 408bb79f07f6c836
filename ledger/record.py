"""One record, found by its key.

Records never touch each other, so what became of one follows from its own events alone. The rest
of its partition is read over, without being decoded: several times as fast as folding it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.codec import Undecodable
from ledger.core.events import CorrectionProposed, LabelEvent
from ledger.core.fold import PartitionFold
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.logs.base import Topic
from ledger.replay import Observer, State, fold_governance


def home_of(record_id: str, dataset: Dataset) -> int:
    """The label partition that holds the record."""
    return partition_of(record_id.encode(), dataset.partitions)


def fold_record(
    dataset: Dataset,
    governance: Governance,
    record_id: str,
    stop: int,
    observe: Observer | None = None,
) -> PartitionFold:
    """The fold of one record's events below `stop` in its partition, under this governance.

    `observe` gets every entry with the record's key, and what became of it.
    """
    partition = home_of(record_id, dataset)
    fold = PartitionFold(governance.contracts, partition, dataset.partitions)
    for span in governance.spans(partition, stop):
        for entry in entries(dataset, record_id, span.start, span.stop):
            if not isinstance(entry.event, LabelEvent):
                outcome = Outcome.UNDECODABLE
            elif span.live:
                outcome = fold.apply(entry.offset, entry.key, entry.event)
            else:
                outcome = fold.void(entry.key, entry.event)
            if observe is not None:
                observe(entry, outcome)
    return fold


def state_of(dataset: Dataset, record_id: str, position: Position) -> State:
    """The state at a closed position, of one record only."""
    governance = fold_governance(dataset, position.governance)
    home = home_of(record_id, dataset)
    folds = [
        PartitionFold(governance.contracts, partition, dataset.partitions)
        for partition in range(dataset.partitions)
    ]
    folds[home] = fold_record(dataset, governance, record_id, position.labels[home])
    return State(position, governance, folds)


def entries(dataset: Dataset, record_id: str, start: int, stop: int) -> Iterator[Entry]:
    """The messages with the record's key at offsets `start <= offset < stop` of its partition."""
    key, partition = record_id.encode(), home_of(record_id, dataset)
    for batch in dataset.log.read(Topic.LABELS, partition, start, stop):
        for row in _rows(batch.keys, key):
            event = dataset.codec.decode(batch.values[row])
            if not isinstance(event, (Undecodable, LabelEvent)):
                event = Undecodable(f"{type(event).__name__} does not belong on labels")
            place = (Topic.LABELS, partition, batch.offsets[row], batch.timestamps_ms[row])
            yield Entry(*place, key, event)


def proposed_in(dataset: Dataset, correction_id: str, position: Position) -> list[str]:
    """The records, sorted, of which some proposal below the position has this correction id.

    Values that do not hold the id's bytes are not decoded.
    """
    needle, found = correction_id.encode(), set[str]()
    for partition, stop in enumerate(position.labels):
        for batch in dataset.log.read(Topic.LABELS, partition, 0, stop):
            for value in batch.values:
                if value is None or needle not in value:
                    continue
                event = dataset.codec.decode(value)
                if isinstance(event, CorrectionProposed) and event.correction_id == correction_id:
                    found.add(event.record_id)
    return sorted(found)


def _rows(keys: Sequence[bytes | None], key: bytes) -> Iterator[int]:
    """Where the key stands. `index` compares in C, which a loop here would not."""
    row = -1
    for _ in range(keys.count(key)):
        row = keys.index(key, row + 1)
        yield row
