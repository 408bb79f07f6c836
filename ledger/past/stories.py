"""Records as they are, and as they would be without some events.

Records never touch each other. So what would be different is found in the records that the events
in question are about: their *stories* are read in one pass over the log, and folded by the
reference fold as often as there are worlds to compare. The rest of the log is read over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ledger.core.contract import Label
from ledger.core.events import LabelEvent, ReviewDecided
from ledger.core.fold import Correction, Item, PartitionFold, Record
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.record import entries
from ledger.replay import State, fold_governance
from ledger.snapshot import Change, Snapshot


@dataclass(frozen=True, slots=True)
class World:
    """One record, as some of its events make it.

    Attributes:
        applied: the ids of the corrections that were applied, in the order of their application.
        outcomes: what became of the event at each offset that was folded.
    """

    position: Position
    governance: Governance
    fold: PartitionFold
    record: Record
    applied: dict[str, Correction]
    outcomes: dict[int, Outcome]

    def label(self, item: Item | None) -> Label:
        """An item's label under the contract in force; None where it is none, or does not exist."""
        contracts = self.governance.contracts
        return item and contracts.forward(
            item.label, item.contract_version, contracts.in_force.version, item.attributes
        )

    def snapshot(self) -> Snapshot:
        """The record's labelled items."""
        return State(self.position, self.governance, [self.fold]).snapshot()

    def changes(self, after: World) -> list[Change]:
        """The record's items that differ in another world."""
        return list(self.snapshot().diff(after.snapshot()))


@dataclass(frozen=True, slots=True)
class Story:
    """Every message with one record's key below a position, and whether each is live there."""

    position: Position
    governance: Governance
    partition: int
    record_id: str
    entries: list[tuple[Entry, bool]]

    def told(self, leave_out: Callable[[Entry], bool] | None = None) -> World:
        """The record as its events make it, some passed over as if they had never been appended."""
        contracts = self.governance.contracts
        fold = PartitionFold(contracts, self.partition, len(self.position.labels))
        applied: dict[str, Correction] = {}
        outcomes: dict[int, Outcome] = {}
        for entry, live in self.entries:
            event = entry.event
            if not isinstance(event, LabelEvent) or (leave_out is not None and leave_out(entry)):
                continue
            if not live:
                outcomes[entry.offset] = fold.void(entry.key, event)
                continue
            outcome = outcomes[entry.offset] = fold.apply(entry.offset, entry.key, event)
            if outcome is Outcome.APPLIED and isinstance(event, ReviewDecided):
                applied[event.correction_id] = fold.records[event.record_id].corrections[
                    event.correction_id
                ]
        record = fold.records.get(self.record_id) or Record()
        return World(self.position, self.governance, fold, record, applied, outcomes)


def stories(dataset: Dataset, position: Position, keys: Iterable[bytes | None]) -> Iterator[Story]:
    """The stories of the records with these keys up to a closed position, by partition and id.

    One partition's stories are in memory at a time.
    """
    governance = fold_governance(dataset, position.governance)
    homes: dict[int, set[bytes]] = {}
    for key in set(keys):
        if key is not None:
            homes.setdefault(partition_of(key, dataset.partitions), set()).add(key)
    for partition, wanted in sorted(homes.items()):
        told: dict[bytes, list[tuple[Entry, bool]]] = {key: [] for key in sorted(wanted)}
        chosen = frozenset(wanted)
        for span in governance.spans(partition, position.labels[partition]):
            for entry in entries(dataset, partition, chosen, span.start, span.stop):
                told[entry.key or b""].append((entry, span.live))
        for key, found in told.items():
            yield Story(position, governance, partition, key.decode(errors="replace"), found)
