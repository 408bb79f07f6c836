"""A whole dataset's history in memory, readable in a test.

    history = History.of_classes("cat", "dog")
    history.item("r", "cat")
    history.correct("r", "cat", "dog")
    assert history.labels() == {"r": "dog"}

Each line appends one event where the log would put it and stamps what an honest writer would: the
contract in force, the label heads as `at`, a new event id. Whatever a test wants otherwise it says.
`at(position)` folds as `ledger.replay` does: governance first, then every partition by its spans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ledger.core import canonical
from ledger.core.contract import Contract, Unresolved
from ledger.core.events import (
    Attributes,
    ClassAdded,
    CorrectionProposed,
    CorrectionWithdrawn,
    Decision,
    Event,
    Geometry,
    ItemRegistered,
    LabelEvent,
    ModelRegistered,
    PatchDecided,
    PatchProposed,
    PolicyChanged,
    ReviewDecided,
    RolledBack,
    SchemaChanged,
    Settlement,
    VersionTagged,
    WaiverGranted,
)
from ledger.core.fold import Item, PartitionFold, Record
from ledger.core.governance import Governance
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of
from ledger.core.position import Position

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ADMIN, APPROVER = "max", "ada"
"""Who governs unless a test says otherwise."""

Place = tuple[str, int, int]
Roles = Mapping[str, tuple[str, ...]]


class Entry(NamedTuple):
    """One event where it stands in the log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    event: Event

    @property
    def place(self) -> Place:
        return self.topic, self.partition, self.offset


@dataclass(frozen=True)
class State:
    """What the log means at one position."""

    position: Position
    governance: Governance
    folds: Sequence[PartitionFold]
    outcomes: Mapping[Place, Outcome]

    def __getitem__(self, entry: Entry) -> Outcome:
        return self.outcomes[entry.place]

    @property
    def contract(self) -> Contract:
        return self.governance.contract

    def record(self, record_id: str) -> Record:
        return next(fold.records[record_id] for fold in self.folds if record_id in fold.records)

    def item(self, item_id: str) -> Item:
        return self.record(record_of(item_id)).items[item_id]

    def items(self) -> list[tuple[Record, Item]]:
        """Every item that exists, by the id's bytes."""
        records = [record for fold in self.folds for record in fold.records.values()]
        items = [(record, item) for record in records for item in record.items.values()]
        return sorted(items, key=lambda pair: pair[1].item_id.encode())

    def label(self, item: Item) -> str | Unresolved | None:
        """The item's label under the contract in force."""
        return self.governance.contracts.forward(
            item.label, item.contract_version, self.contract.version, item.attributes
        )

    def labels(self) -> dict[str, str]:
        """The snapshot: labelled items only."""
        labels = {item.item_id: self.label(item) for _, item in self.items()}
        return {item_id: label for item_id, label in labels.items() if isinstance(label, str)}

    def unresolved(self) -> dict[str, Unresolved]:
        """The items that need a relabel."""
        labels = {item.item_id: self.label(item) for _, item in self.items()}
        return {name: label for name, label in labels.items() if isinstance(label, Unresolved)}

    def canonical(self) -> bytes:
        """The snapshot's bytes."""
        lines = (
            canonical.line(item.item_id, item.record_id, label, item.geometry, record.split)
            for record, item in self.items()
            if isinstance(label := self.label(item), str)
        )
        return b"".join(lines)


@dataclass
class History:
    """One governance partition and some label partitions, appended to line by line."""

    partitions: int = 1
    governance: list[Entry] = field(default_factory=list[Entry])
    label_logs: list[list[Entry]] = field(default_factory=list[list[Entry]])
    checkpoints: list[Position] = field(default_factory=list[Position])
    """The head before the first line and after each line that is no redelivery."""

    def __post_init__(self) -> None:
        self.label_logs = [[] for _ in range(self.partitions)]
        self.checkpoints = [self.head()]
        self.log: list[Entry] = []
        self._door = Governance(self.partitions, self.first_use)

    @classmethod
    def of_classes(cls, *names: str, partitions: int = 1) -> History:
        """A history whose contract 1 has these classes."""
        history = cls(partitions)
        history.schema(add=names)
        return history

    # Reading

    def head(self) -> Position:
        return Position(tuple(len(log) for log in self.label_logs), len(self.governance))

    def in_force(self) -> int:
        """The contract version that an honest writer stamps now."""
        return self._door.contract.version

    def first_use(self, partition: int, version: int, start: int, stop: int) -> int | None:
        """As `ledger.replay.first_use`."""
        for entry in self.label_logs[partition][start:stop]:
            if entry.event.contract_version == version:
                return entry.offset
        return None

    def governed(self, stop: int | None = None) -> Governance:
        """Governance folded over `[0, stop)`."""
        governance = Governance(self.partitions, self.first_use)
        for entry in self.governance[:stop]:
            governance.apply(entry.offset, entry.event)
        return governance

    def at(self, position: Position | None = None) -> State:
        """The state at a position; at the head if none is given."""
        position = position or self.head()
        governance = Governance(self.partitions, self.first_use)
        outcomes = {
            entry.place: governance.apply(entry.offset, entry.event)
            for entry in self.governance[: position.governance]
        }
        folds: list[PartitionFold] = []
        for partition, stop in enumerate(position.labels):
            fold = PartitionFold(governance.contracts, partition, self.partitions)
            for entry, live in self.spans(governance, partition, stop):
                outcomes[entry.place] = step(fold, entry, live=live)
            folds.append(fold)
        return State(position, governance, folds, outcomes)

    def spans(self, governance: Governance, partition: int, stop: int) -> list[tuple[Entry, bool]]:
        """The entries of a label partition, each with whether it is live."""
        return [
            (entry, span.live)
            for span in governance.spans(partition, stop)
            for entry in self.label_logs[partition][span.start : span.stop]
        ]

    def labels(self, position: Position | None = None) -> dict[str, str]:
        return self.at(position).labels()

    def outcome(self, entry: Entry, position: Position | None = None) -> Outcome:
        return self.at(position)[entry]

    # Writing

    def append(
        self, event: Event, *, partition: int | None = None, key: bytes | None = None
    ) -> Entry:
        """Append any event, by default where it belongs."""
        entry = self._put(event, partition, key)
        self.checkpoints.append(self.head())
        return entry

    def again(self, entry: Entry) -> Entry:
        """A redelivery: the same event once more."""
        return self._put(entry.event, None, None)

    def _put(self, event: Event, partition: int | None, key: bytes | None) -> Entry:
        if isinstance(event, LabelEvent):
            key = event.record_id.encode() if key is None else key
            if partition is None:
                partition = partition_of(key, self.partitions)
            log = self.label_logs[partition]
            entry = Entry("labels", partition, len(log), key, event)
            log.append(entry)
        else:
            entry = Entry("governance", 0, len(self.governance), None, event)
            self.governance.append(entry)
            self._door.apply(entry.offset, event)
        self.log.append(entry)
        return entry

    def _stamp(
        self, by: str, version: int | None, event_id: str | None
    ) -> tuple[str, str, datetime, int]:
        count = len(self.checkpoints)
        return (
            event_id or f"e{count}",
            by,
            EPOCH + timedelta(seconds=count),
            self.in_force() if version is None else version,
        )

    def item(
        self,
        item_id: str,
        label: str | None = None,
        geometry: Geometry | None = None,
        *,
        split: str | None = None,
        attributes: Attributes | None = None,
        content: str | None = None,
        by: str = "importer",
        version: int | None = None,
        event_id: str | None = None,
    ) -> Entry:
        """Register an item."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, version, event_id)
        return self.append(
            ItemRegistered(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                item_id=item_id,
                record_id=record_of(item_id),
                label=label,
                geometry=geometry,
                split=split,
                attributes=attributes or {},
                content=content,
            )
        )

    def propose(
        self,
        item_id: str,
        from_label: str | None,
        to_label: str | None,
        from_geometry: Geometry | None = None,
        to_geometry: Geometry | None = None,
        *,
        correction_id: str | None = None,
        by: str = "ann",
        version: int | None = None,
        event_id: str | None = None,
    ) -> Entry:
        """Propose a correction."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, version, event_id)
        return self.append(
            CorrectionProposed(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                item_id=item_id,
                record_id=record_of(item_id),
                correction_id=correction_id or f"c{len(self.checkpoints)}",
                from_label=from_label,
                to_label=to_label,
                from_geometry=from_geometry,
                to_geometry=to_geometry,
            )
        )

    def vote(
        self,
        proposal: Entry,
        decision: Decision = "accept",
        *,
        by: str = "bob",
        item_id: str | None = None,
        version: int | None = None,
        event_id: str | None = None,
    ) -> Entry:
        """Decide on a correction."""
        proposed = proposal.event
        assert isinstance(proposed, CorrectionProposed)
        event_id, actor, occurred_at, contract_version = self._stamp(by, version, event_id)
        item_id = item_id or proposed.item_id
        return self.append(
            ReviewDecided(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                item_id=item_id,
                record_id=record_of(item_id),
                correction_id=proposed.correction_id,
                decision=decision,
            )
        )

    def withdraw(
        self,
        proposal: Entry,
        *,
        by: str | None = None,
        item_id: str | None = None,
        version: int | None = None,
    ) -> Entry:
        """Take a correction back, as its proposer unless told."""
        proposed = proposal.event
        assert isinstance(proposed, CorrectionProposed)
        event_id, actor, occurred_at, contract_version = self._stamp(
            by or proposed.actor, version, None
        )
        item_id = item_id or proposed.item_id
        return self.append(
            CorrectionWithdrawn(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                item_id=item_id,
                record_id=record_of(item_id),
                correction_id=proposed.correction_id,
            )
        )

    def correct(
        self,
        item_id: str,
        from_label: str | None,
        to_label: str | None,
        from_geometry: Geometry | None = None,
        to_geometry: Geometry | None = None,
        *,
        by: str = "ann",
        reviewer: str = "bob",
        version: int | None = None,
    ) -> Entry:
        """Propose and accept; the vote."""
        proposal = self.propose(
            item_id, from_label, to_label, from_geometry, to_geometry, by=by, version=version
        )
        return self.vote(proposal, by=reviewer, version=version)

    def schema(
        self,
        *,
        add: Sequence[str | ClassAdded] = (),
        deprecate: Sequence[str] = (),
        rename: Mapping[str, str] | None = None,
        merge: Mapping[str, str] | None = None,
        split: Mapping[str, Mapping[str, str]] | None = None,
        makes: int | None = None,
        at: tuple[int, ...] | None = None,
        by: str = ADMIN,
        approved_by: str | None = APPROVER,
        version: int | None = None,
    ) -> Entry:
        """Change the classes."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, version, None)
        return self.append(
            SchemaChanged(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                version=self._door.highest_version + 1 if makes is None else makes,
                at=self.head().labels if at is None else at,
                approved_by=approved_by,
                add=tuple(ClassAdded(each) if isinstance(each, str) else each for each in add),
                deprecate=tuple(deprecate),
                rename=rename or {},
                merge=merge or {},
                split=split or {},
            )
        )

    def policy(
        self,
        *,
        approvals: int | None = None,
        roles: Roles | None = None,
        expert_classes: tuple[str, ...] | None = None,
        thresholds: Mapping[str, float] | None = None,
        makes: int | None = None,
        at: tuple[int, ...] | None = None,
        by: str = ADMIN,
        approved_by: str | None = APPROVER,
        version: int | None = None,
    ) -> Entry:
        """Change the review policy."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, version, None)
        return self.append(
            PolicyChanged(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                version=self._door.highest_version + 1 if makes is None else makes,
                at=self.head().labels if at is None else at,
                approved_by=approved_by,
                approvals_required=approvals,
                roles=roles,
                expert_classes=expert_classes,
                thresholds=thresholds,
            )
        )

    def tag(
        self,
        name: str,
        position: Position | None = None,
        *,
        content_hash: str | None = None,
        by: str = ADMIN,
        reviewer: str | None = APPROVER,
        version: int | None = None,
    ) -> Entry:
        """Name a position, by default the head."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, version, None)
        return self.append(
            VersionTagged(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                name=name,
                position=position or self.head(),
                reviewer=reviewer,
                content_hash=content_hash,
            )
        )

    def rollback(
        self,
        to: Position,
        *,
        at: Position | None = None,
        by: str = ADMIN,
        approved_by: str | None = APPROVER,
        version: int | None = None,
    ) -> Entry:
        """Go back to `to`, as of the head."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, version, None)
        return self.append(
            RolledBack(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                to=to,
                at=at or self.head(),
                approved_by=approved_by,
            )
        )

    def patch(
        self,
        patch_id: str,
        *,
        count: int = 1,
        sha256: str = "ab" * 32,
        at: tuple[int, ...] | None = None,
        by: str = "ann",
    ) -> Entry:
        """Open a bulk change."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, None, None)
        return self.append(
            PatchProposed(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                patch_id=patch_id,
                sha256=sha256,
                count=count,
                at=self.head().labels if at is None else at,
            )
        )

    def settle(
        self,
        patch_id: str,
        decision: Settlement = "accept",
        *,
        start: tuple[int, ...] | None = None,
        at: tuple[int, ...] | None = None,
        by: str = "bob",
    ) -> Entry:
        """Settle a bulk change, as of the head."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, None, None)
        return self.append(
            PatchDecided(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                patch_id=patch_id,
                decision=decision,
                start=self.head().labels if start is None else start,
                at=self.head().labels if at is None else at,
            )
        )

    def model(
        self,
        name: str,
        label_version: str,
        *,
        metrics: Mapping[str, float] | None = None,
        by: str = "ann",
    ) -> Entry:
        """Register a model."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, None, None)
        return self.append(
            ModelRegistered(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                name=name,
                label_version=label_version,
                metrics=metrics or {},
            )
        )

    def waive(
        self, release: str, check: str, *, by: str = ADMIN, approved_by: str | None = APPROVER
    ) -> Entry:
        """Grant a waiver."""
        event_id, actor, occurred_at, contract_version = self._stamp(by, None, None)
        return self.append(
            WaiverGranted(
                event_id=event_id,
                actor=actor,
                occurred_at=occurred_at,
                contract_version=contract_version,
                version=release,
                check=check,
                reason="known",
                approved_by=approved_by,
            )
        )


def step(fold: PartitionFold, entry: Entry, *, live: bool) -> Outcome:
    """Fold one label entry."""
    assert isinstance(entry.event, LabelEvent)
    if live:
        return fold.apply(entry.offset, entry.key, entry.event)
    return fold.void(entry.key, entry.event)


def record_of(item_id: str) -> str:
    return item_id.partition("#")[0]


def record_in(partition: int, partitions: int) -> str:
    """A record id that belongs to the partition."""
    names = (f"r{i}" for i in range(1000))
    return next(name for name in names if partition_of(name.encode(), partitions) == partition)


def box(width: float, height: float, x: float = 0.0, y: float = 0.0) -> Geometry:
    return Geometry("bbox", (x, y, width, height))


def right_after(entry: Entry) -> Position:
    """The position right after a rollback."""
    assert isinstance(entry.event, RolledBack)
    return replace(entry.event.at, governance=entry.offset + 1)
