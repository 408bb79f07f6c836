"""Some records, found by their keys.

Records never touch each other, so what became of one follows from its own events alone. The rest
of its partition is read over, without being decoded: several times as fast as folding it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ledger.codec import Undecodable
from ledger.core.contract import Label
from ledger.core.events import CorrectionProposed, LabelEvent, record_of
from ledger.core.fold import Item, PartitionFold
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.errors import InvalidRequest
from ledger.logs.base import Topic
from ledger.replay import Observer, State, begin, fold_governance


def home_of(record_id: str, dataset: Dataset) -> int:
    """The label partition that holds the record."""
    return partition_of(record_id.encode(), dataset.partitions)


def fold_record(
    dataset: Dataset,
    governance: Governance,
    record_id: str,
    stop: int,
    observe: Observer | None = None,
    *,
    since: int = 0,
) -> PartitionFold:
    """The fold of one record's events below `stop` in its partition, under this governance.

    `observe` gets every entry with the record's key, those from `since` on at least, and what
    became of it.
    """
    chosen = _Chosen(dataset, governance, observe, (since,) * dataset.partitions)
    return chosen.fold(home_of(record_id, dataset), frozenset((record_id.encode(),)), stop)


def state_of(
    dataset: Dataset,
    records: Iterable[str],
    position: Position,
    observe: Observer | None = None,
    since: Sequence[int] | None = None,
) -> State:
    """The state at a closed position, of some records only, in one pass over the log.

    Args:
        dataset: what to read.
        records: their ids.
        position: closed, and within the log.
        observe: called with every entry of theirs and what became of it.
        since: the first offset of each partition that it has to be called with; all by default.
    """
    governance = fold_governance(dataset, position.governance)
    keys: list[set[bytes]] = [set() for _ in range(dataset.partitions)]
    for record_id in records:
        keys[home_of(record_id, dataset)].add(record_id.encode())
    chosen = _Chosen(dataset, governance, observe, since)
    folds = [
        chosen.fold(home, frozenset(keys[home]), stop) for home, stop in enumerate(position.labels)
    ]
    return State(position, governance, folds)


def item_at(dataset: Dataset, item_id: str, position: Position) -> tuple[Item | None, Label]:
    """An item at a closed position, if it exists there, and its label under the contract there."""
    state = state_of(dataset, [record_of(item_id)], position)
    record = state.record(record_of(item_id))
    item = record.items.get(item_id) if record else None
    return item, state.label(item) if item else None


class _Chosen(NamedTuple):
    """How chosen records are folded."""

    dataset: Dataset
    governance: Governance
    observe: Observer | None
    since: Sequence[int] | None
    """The first offset of each partition that has to be observed; all by default."""

    def fold(self, partition: int, keys: frozenset[bytes], stop: int) -> PartitionFold:
        """The fold of the events with these keys below `stop` of the partition."""
        if not keys:
            return PartitionFold(self.governance.contracts, partition, self.dataset.partitions)
        if self.observe is not None and stop:
            since = self.since[partition] if self.since else 0
            self.dataset.refuse_lost(partition, since, "everything that was said of a record")
        names = frozenset(key.decode() for key in keys)
        start, fold = begin(self.dataset, self.governance, partition, stop, names)
        for span in self.governance.spans(partition, stop):
            first = max(span.start, start)
            if first >= span.stop:
                continue
            for entry in entries(self.dataset, partition, keys, first, span.stop):
                if not isinstance(entry.event, LabelEvent):
                    outcome = Outcome.UNDECODABLE
                elif span.live:
                    outcome = fold.apply(entry.offset, entry.key, entry.event)
                else:
                    outcome = fold.void(entry.key, entry.event)
                if self.observe is not None:
                    self.observe(entry, outcome)
        return fold


def entries(
    dataset: Dataset, partition: int, keys: frozenset[bytes], start: int, stop: int
) -> Iterator[Entry]:
    """The messages with these keys at offsets `start <= offset < stop` of a label partition."""
    for batch in dataset.log.read(Topic.LABELS, partition, start, stop):
        for row in _rows(batch.keys, keys):
            event = dataset.codec.decode(batch.values[row])
            if not isinstance(event, (Undecodable, LabelEvent)):
                event = Undecodable(f"{type(event).__name__} does not belong on labels")
            place = (Topic.LABELS, partition, batch.offsets[row], batch.timestamps_ms[row])
            yield Entry(*place, batch.keys[row], event)


def record_proposed_in(
    dataset: Dataset, correction_id: str, position: Position, record_id: str | None
) -> str | None:
    """The record of which a proposal below the position has this correction id: the one that is
    given, or the only one; None where there is none.

    Raises:
        InvalidRequest: several have one, and none is given.
        CorruptLog: none is found, and some label events are gone.
    """
    records = [record_id] if record_id else proposed_in(dataset, correction_id, position)
    if len(records) > 1:
        raise InvalidRequest(
            f"correction {correction_id!r} is in several records, {', '.join(records)}: "
            "give --record"
        )
    if not records:  # of a refused one no checkpoint has the id
        for partition, stop in enumerate(position.labels):
            if stop:
                what = f"whether correction {correction_id!r} was received"
                dataset.refuse_lost(partition, 0, what)
    return records[0] if records else None


def proposed_in(dataset: Dataset, correction_id: str, position: Position) -> list[str]:
    """The records, sorted, of which some proposal below the position has this correction id.

    Values that do not hold the id's bytes are not decoded.
    """
    needle, found = correction_id.encode(), set[str]()
    for partition, stop in enumerate(position.labels):
        lost = min(stop, dataset.head(partition))
        if dataset.stand_in is not None and lost:
            found |= dataset.stand_in.proposed_in(partition, correction_id, lost)
        for batch in dataset.log.read(Topic.LABELS, partition, lost, stop):
            for value in batch.values:
                if value is None or needle not in value:
                    continue
                event = dataset.codec.decode(value)
                if isinstance(event, CorrectionProposed) and event.correction_id == correction_id:
                    found.add(event.record_id)
    return sorted(found)


def _rows(keys: Sequence[bytes | None], wanted: frozenset[bytes]) -> Iterator[int]:
    """Where the keys stand. For a single one, `index` compares in C, which a loop would not."""
    if len(wanted) > 1:
        yield from (row for row, key in enumerate(keys) if key in wanted)
        return
    (key,) = wanted
    row = -1
    for _ in range(keys.count(key)):
        row = keys.index(key, row + 1)
        yield row
