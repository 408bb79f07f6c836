"""The reference fold of one label partition: what each event means, one event at a time.

It is the specification: any faster fold must give the same labels, outcomes and state. It never
raises on an event that could be decoded; what breaks a rule gets a refusal as its outcome and
changes nothing. It depends on the earlier events of the event's own record and on the contract
version that the event carries, never on how far governance or another partition has been read.

**Which contract.** Class names in an event are read under its own `contract_version`. What it may
do (roles, approvals, expert classes) is judged under the highest version that any live event of
its record carried so far, itself included, refused ones too; only events refused as
`unknown_contract` or `misplaced`, and late redeliveries of void events, do not count.

**Identity.** Natural keys are scoped by record: item id, correction id, correction id and
reviewer. The first unrefused live event takes one; a second is a `duplicate`, or an `id_conflict`
when its item, labels or geometry differ. A void proposal keeps its correction id taken for later
events, and an event whose id stands in an earlier void range is a late redelivery: `duplicate`.

**Review.** A correction is open (pending, or escalated) until it is settled: applied, stale, kept
or withdrawn. The table of checks is `_review`; `agreed` holds the comparison that tells applied
from stale.

Settled here, where the meaning leaves room:

- A late redelivery of a void event has no effect at all: not even its contract version counts.
- A misplaced event has no effect on its record at all, for whether it shares a partition with the
  record depends on the number of partitions.
- Permission to propose or register is checked before identity, as a vote's is.
- A redelivered event that had been refused is judged again: it left its natural key free.
- A vote or withdrawal that names another item than its correction does is an `id_conflict`.
- An item without a label has the contract under which it came to have none.
- Whether a correction's new class is an expert class is judged with the geometry that the
  correction gives the item, and its old class with the geometry that the item has.
- An expert who escalated has voted, and so may not settle that correction as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.core.contract import Contract, Contracts, Label, Unresolved
from ledger.core.events import (
    Attributes,
    CorrectionProposed,
    CorrectionWithdrawn,
    Decision,
    Geometry,
    ItemRegistered,
    LabelEvent,
    ReviewDecided,
)
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of


@dataclass(slots=True)
class Item:
    """What carries one label: a record, or a region of it."""

    item_id: str
    record_id: str
    label: Label
    contract_version: int
    """The contract that `label` stands under."""
    offset: int
    """Where the event stands that made the item: the registration, or the vote that added it."""
    geometry: Geometry | None = None
    single_attributes: dict[str, float | str] = field(default_factory=dict[str, float | str])
    content: str | None = None
    source: str | None = None
    registered_as: tuple[str | None, Geometry | None] | None = None
    """Label and geometry of the registration that took the item id, if one did."""

    @property
    def attributes(self) -> Attributes:
        """What split rules see: a box's area always comes from its geometry."""
        return attributes_of(self.single_attributes, self.geometry)


@dataclass(slots=True)
class Correction:
    """A proposed correction and what became of it."""

    proposal: CorrectionProposed
    offset: int
    """Where the proposal stands."""
    status: Outcome = Outcome.PROPOSED
    votes: dict[str, Decision] = field(default_factory=dict[str, Decision])

    @property
    def open(self) -> bool:
        """Whether it can still be decided or withdrawn."""
        return self.status in (Outcome.PROPOSED, Outcome.ESCALATED)


@dataclass(slots=True)
class Record:
    """Everything the fold knows of one record."""

    contract_version: int = 0
    """The highest version carried so far."""
    split: str | None = None
    items: dict[str, Item] = field(default_factory=dict[str, Item])
    corrections: dict[str, Correction] = field(default_factory=dict[str, Correction])
    void_event_ids: set[str] = field(default_factory=set[str])
    void_corrections: dict[str, CorrectionProposed] = field(
        default_factory=dict[str, CorrectionProposed]
    )


class PartitionFold:
    """The state of one label partition after a prefix of it.

    Args:
        contracts: the contract at every live version.
        partition: this partition's number.
        partitions: how many label partitions there are.
    """

    def __init__(self, contracts: Contracts, partition: int, partitions: int) -> None:
        self.contracts = contracts
        self.partition = partition
        self.partitions = partitions
        self.records: dict[str, Record] = {}

    def apply(self, offset: int, key: bytes | None, event: LabelEvent) -> Outcome:
        """Fold one live event; offsets ascend over calls of `apply` and `void`."""
        if self.misplaced(key, event):
            return Outcome.MISPLACED
        if not self.contracts.admits(event.contract_version, self.partition, offset):
            return Outcome.UNKNOWN_CONTRACT
        record = self.records.setdefault(event.record_id, Record())
        if event.event_id in record.void_event_ids:
            return Outcome.DUPLICATE
        record.contract_version = max(record.contract_version, event.contract_version)
        contract = self.contracts.at(record.contract_version)
        return HANDLERS[type(event)](self, offset, record, contract, event)

    def void(self, key: bytes | None, event: LabelEvent) -> Outcome:
        """Note one event of a void range: its id, and the correction id that it keeps taken."""
        if not self.misplaced(key, event):
            record = self.records.setdefault(event.record_id, Record())
            record.void_event_ids.add(event.event_id)
            if isinstance(event, CorrectionProposed):
                record.void_corrections.setdefault(event.correction_id, event)
        return Outcome.VOID

    def misplaced(self, key: bytes | None, event: LabelEvent) -> bool:
        """The key is not the record id, or the partition not the key's."""
        record_key = event.record_id.encode()
        return key != record_key or partition_of(record_key, self.partitions) != self.partition

    def _item_registered(
        self, offset: int, record: Record, contract: Contract, event: Any
    ) -> Outcome:
        registration: ItemRegistered = event
        if not contract.may_propose(registration.actor):
            return Outcome.NOT_PERMITTED
        item = record.items.get(registration.item_id)
        if item is not None and item.registered_as is not None:
            same = item.registered_as == (registration.label, registration.geometry)
            return Outcome.DUPLICATE if same else Outcome.ID_CONFLICT
        if not self._takes(registration.contract_version, registration.label):
            return Outcome.CLASS_NOT_IN_CONTRACT
        outcome = Outcome.REGISTERED if item is None else Outcome.FILLED
        if item is None:
            item = Item(
                registration.item_id,
                registration.record_id,
                registration.label,
                registration.contract_version,
                offset,
                registration.geometry,
            )
            record.items[item.item_id] = item
        item.registered_as = (registration.label, registration.geometry)
        item.single_attributes = {**registration.attributes, **item.single_attributes}
        item.content = registration.content if item.content is None else item.content
        item.source = registration.source if item.source is None else item.source
        record.split = registration.split if record.split is None else record.split
        return outcome

    def _correction_proposed(
        self, offset: int, record: Record, contract: Contract, event: Any
    ) -> Outcome:
        proposal: CorrectionProposed = event
        if not contract.may_propose(proposal.actor):
            return Outcome.NOT_PERMITTED
        live = record.corrections.get(proposal.correction_id)
        void = record.void_corrections.get(proposal.correction_id)
        taken = live.proposal if live is not None else void
        if taken is not None:
            same = _what_it_says(taken) == _what_it_says(proposal)
            return Outcome.DUPLICATE if same else Outcome.ID_CONFLICT
        if proposal.from_label is not None and proposal.item_id not in record.items:
            return Outcome.UNKNOWN_ITEM
        if not self._takes(proposal.contract_version, proposal.to_label):
            return Outcome.CLASS_NOT_IN_CONTRACT
        record.corrections[proposal.correction_id] = Correction(proposal, offset)
        return Outcome.PROPOSED

    def _review(self, offset: int, record: Record, contract: Contract, event: Any) -> Outcome:
        vote: ReviewDecided = event
        correction = record.corrections.get(vote.correction_id)
        if correction is None:
            return Outcome.UNKNOWN_CORRECTION
        if not correction.open:
            return Outcome.ALREADY_DECIDED
        if vote.actor == correction.proposal.actor:
            return Outcome.SELF_REVIEW
        if not contract.may_review(vote.actor):
            return Outcome.NOT_PERMITTED
        if vote.item_id != correction.proposal.item_id:
            return Outcome.ID_CONFLICT
        if vote.actor in correction.votes:
            return Outcome.DUPLICATE
        escalated = correction.status is Outcome.ESCALATED
        if escalated and not contract.may_settle_escalated(vote.actor):
            return Outcome.NOT_PERMITTED
        correction.votes[vote.actor] = vote.decision
        if vote.decision == "escalate":
            correction.status = Outcome.ESCALATED
            return Outcome.VOTED if escalated else Outcome.ESCALATED
        if not escalated and not contract.is_expert(vote.actor):
            open_outcome = self._count(record, contract, correction, vote.decision)
            if open_outcome is not None:
                correction.status = (
                    Outcome.ESCALATED if open_outcome is Outcome.ESCALATED else correction.status
                )
                return open_outcome
        kept = vote.decision == "keep"
        correction.status = (
            Outcome.KEPT if kept else self.settle(offset, record, correction.proposal)
        )
        return correction.status

    def _count(
        self, record: Record, contract: Contract, correction: Correction, decision: Decision
    ) -> Outcome | None:
        """What a reviewer's vote leaves open: escalated, voted, or None when it settles."""
        if decision == "accept" and self._touches_expert_class(record, contract, correction):
            return Outcome.ESCALATED
        cast = list(correction.votes.values())
        if "accept" in cast and "keep" in cast:
            return Outcome.ESCALATED
        if cast.count(decision) < contract.approvals_required:
            return Outcome.VOTED
        return None

    def _touches_expert_class(
        self, record: Record, contract: Contract, correction: Correction
    ) -> bool:
        proposal = correction.proposal
        item = record.items.get(proposal.item_id)
        before = item.attributes if item else attributes_of({}, proposal.to_geometry)
        after = _attributes_after(item, proposal)
        since, until = proposal.contract_version, contract.version
        return contract.expert(
            self.contracts.forward(proposal.from_label, since, until, before)
        ) or contract.expert(self.contracts.forward(proposal.to_label, since, until, after))

    def settle(self, offset: int, record: Record, proposal: CorrectionProposed) -> Outcome:
        """Apply an accepted correction, or find it stale; its last vote stands at `offset`."""
        version = self.agreed(record, proposal)
        if version is None:
            return Outcome.STALE
        item = record.items.get(proposal.item_id)
        after = _attributes_after(item, proposal)
        if item is None:
            item = Item(proposal.item_id, proposal.record_id, None, version, offset)
            record.items[item.item_id] = item
        item.geometry = proposal.to_geometry or item.geometry
        item.label = self.contracts.forward(
            proposal.to_label, proposal.contract_version, version, after
        )
        item.contract_version = version
        return Outcome.APPLIED

    def agreed(self, record: Record, proposal: CorrectionProposed) -> int | None:
        """The contract version under which the item is what the proposal says it is: the later of
        the two contracts; None when it is something else (a conflict, or stale once accepted).
        """
        item = record.items.get(proposal.item_id)
        geometry = item.geometry if item else None
        if proposal.to_geometry is not None and geometry != proposal.from_geometry:
            return None
        if item is None:
            return proposal.contract_version if proposal.from_label is None else None
        version = max(proposal.contract_version, item.contract_version)
        present = self.contracts.forward(
            item.label, item.contract_version, version, item.attributes
        )
        expected = self.contracts.forward(
            proposal.from_label, proposal.contract_version, version, item.attributes
        )
        unlabelled = present is None or isinstance(present, Unresolved)
        return version if (unlabelled if expected is None else present == expected) else None

    def _withdrawn(self, offset: int, record: Record, contract: Contract, event: Any) -> Outcome:
        del offset, contract  # withdrawing is the proposer's right under every contract
        withdrawal: CorrectionWithdrawn = event
        correction = record.corrections.get(withdrawal.correction_id)
        if correction is None:
            return Outcome.UNKNOWN_CORRECTION
        if not correction.open:
            return Outcome.ALREADY_DECIDED
        if withdrawal.actor != correction.proposal.actor:
            return Outcome.NOT_PERMITTED
        if withdrawal.item_id != correction.proposal.item_id:
            return Outcome.ID_CONFLICT
        correction.status = Outcome.WITHDRAWN
        return Outcome.WITHDRAWN

    def _takes(self, version: int, label: str | None) -> bool:
        return label is None or self.contracts.at(version).takes(label)


def attributes_of(single: Attributes, geometry: Geometry | None) -> Attributes:
    """The attributes that split rules see for an item with these attributes and this geometry."""
    if geometry is None or geometry.type != "bbox":
        return single
    _, _, width, height = geometry.coordinates
    return {**single, "area": width * height}


def _attributes_after(item: Item | None, proposal: CorrectionProposed) -> Attributes:
    """The item's attributes as they are once the correction's geometry stands."""
    if item is None:
        return attributes_of({}, proposal.to_geometry)
    return attributes_of(item.single_attributes, proposal.to_geometry or item.geometry)


def _what_it_says(proposal: CorrectionProposed) -> tuple[object, ...]:
    """What two proposals under one correction id must share to be the same correction."""
    return (
        proposal.item_id,
        proposal.from_label,
        proposal.to_label,
        proposal.from_geometry,
        proposal.to_geometry,
    )


HANDLERS: Mapping[
    type[LabelEvent], Callable[[PartitionFold, int, Record, Contract, Any], Outcome]
] = {
    ItemRegistered: PartitionFold._item_registered,  # pyright: ignore[reportPrivateUsage]
    CorrectionProposed: PartitionFold._correction_proposed,  # pyright: ignore[reportPrivateUsage]
    ReviewDecided: PartitionFold._review,  # pyright: ignore[reportPrivateUsage]
    CorrectionWithdrawn: PartitionFold._withdrawn,  # pyright: ignore[reportPrivateUsage]
}
