"""Receipts: whoever sent a correction can ask what became of it.

A receipt says where the log holds the correction, what was decided and by whom, and the first
version that the correction is applied in; or why it is refused. Nobody is thanked for something
that was not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ledger.core.events import (
    CorrectionProposed,
    CorrectionWithdrawn,
    LabelEvent,
    ReviewDecided,
)
from ledger.core.fold import PartitionFold
from ledger.core.outcome import Outcome
from ledger.dataset import Dataset, Entry
from ledger.errors import InvalidRequest
from ledger.reading import Reading
from ledger.record import fold_record, home_of, record_proposed_in, state_of
from ledger.service_levels import due, moment

Status = Literal[
    "in_review", "escalated", "applied", "stale", "kept", "withdrawn", "rolled_back", "refused"
]
_STATUS: dict[Outcome, Status] = {
    Outcome.PROPOSED: "in_review",
    Outcome.ESCALATED: "escalated",
    Outcome.APPLIED: "applied",
    Outcome.STALE: "stale",
    Outcome.KEPT: "kept",
    Outcome.WITHDRAWN: "withdrawn",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one correction, as of the log's end.

    Attributes:
        proposal: what was sent.
        place: partition and offset on the label topic at which it was received.
        received_at: when the log received it.
        status: where it stands.
        since: when it came to stand there.
        votes: every vote that counts, by reviewer.
        approvals_required: how many reviewers have to agree, as long as it is in review.
        due_at: by when the contract promises a decision, as long as it is open.
        version: the first version in which it is applied.
        reason: why it is refused, withdrawn or kept, or what being stale means.
    """

    proposal: CorrectionProposed
    place: tuple[int, int]
    received_at: datetime
    status: Status
    since: datetime
    votes: dict[str, str]
    approvals_required: int | None = None
    due_at: datetime | None = None
    version: str | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        sent = self.proposal
        return {
            "correction_id": sent.correction_id,
            "item_id": sent.item_id,
            "record_id": sent.record_id,
            "from": sent.from_label,
            "to": sent.to_label,
            "by": sent.actor,
            "partition": self.place[0],
            "offset": self.place[1],
            "received_at": self.received_at.isoformat(),
            "status": self.status,
            "since": self.since.isoformat(),
            "votes": self.votes,
            "approvals_required": self.approvals_required,
            "due_at": self.due_at.isoformat() if self.due_at else None,
            "version": self.version,
            "reason": self.reason,
        }


class _Said(NamedTuple):
    """One event about the correction, and what became of it."""

    entry: Entry
    event: CorrectionProposed | ReviewDecided | CorrectionWithdrawn
    outcome: Outcome


def receipt(book: Reading, correction_id: str, record_id: str | None = None) -> Receipt:
    """What became of a correction.

    Args:
        book: the ledger.
        correction_id: the id it was sent with.
        record_id: its record, where several have a correction of this id.

    Raises:
        InvalidRequest: the log holds none of this id, or several records do.
    """
    head = book.resolve()
    record = record_proposed_in(book.dataset, correction_id, head, record_id)
    said: list[_Said] = []

    def observe(entry: Entry, outcome: Outcome) -> None:
        event = entry.event
        about = (CorrectionProposed, ReviewDecided, CorrectionWithdrawn)
        if isinstance(event, about) and event.correction_id == correction_id:
            said.append(_Said(entry, event, outcome))

    if record is not None:
        home = home_of(record, book.dataset)
        since = _since(book.dataset, home, correction_id, record)
        stop = head.labels[home]
        fold = fold_record(book.dataset, book.governance, record, stop, observe, since=since)
        sent = _sent(said)
        if sent is not None:
            return _receipt(book, fold, said, *sent)
        book.dataset.refuse_lost(home, 0, f"whether correction {correction_id!r} was received")
    raise InvalidRequest(
        f"there is no correction {correction_id!r} on the log: it was not received; send it again"
    )


def _since(dataset: Dataset, home: int, correction_id: str, record: str) -> int:
    """From where on all that was said of a correction has to be read: what refers to it comes
    after it.
    """
    head = dataset.head(home)
    if dataset.stand_in is None or not head:
        return 0
    return 0 if record in dataset.stand_in.proposed_in(home, correction_id, head) else head


def _sent(said: list[_Said]) -> tuple[_Said, CorrectionProposed] | None:
    """The proposal that counts, else the one that a rollback voided, else the last refused one."""
    found = [(each, each.event) for each in said if isinstance(each.event, CorrectionProposed)]
    order = {Outcome.PROPOSED: 2, Outcome.VOID: 1}
    return max(
        found, key=lambda pair: (order.get(pair[0].outcome, 0), pair[0].entry.offset), default=None
    )


def _receipt(
    book: Reading,
    fold: PartitionFold,
    said: list[_Said],
    sent: _Said,
    proposal: CorrectionProposed,
) -> Receipt:
    entry, outcome = sent.entry, sent.outcome
    received, place = moment(entry.timestamp_ms), (entry.partition, entry.offset)
    if outcome is Outcome.VOID:
        version = _first_version(book, proposal, entry.offset)
        why = "a rollback took it back; send it again under another id if it still holds"
        return Receipt(
            proposal, place, received, "rolled_back", received, {}, version=version, reason=why
        )
    if outcome is not Outcome.PROPOSED:
        return Receipt(proposal, place, received, "refused", received, {}, reason=outcome.reason)
    record = fold.records[proposal.record_id]
    correction = record.corrections[proposal.correction_id]
    status = _STATUS[correction.status]
    last = next(each for each in said if each.outcome is correction.status)
    contract = fold.contracts.at(record.contract_version)
    since = moment(last.entry.timestamp_ms)
    return Receipt(
        proposal,
        place,
        received,
        status,
        since,
        dict(correction.votes),
        approvals_required=contract.approvals_required if status == "in_review" else None,
        due_at=due(book.governance.contract, correction.status, since),
        version=_first_version(book, proposal, last.entry.offset) if status == "applied" else None,
        reason=_why(status, last.event),
    )


def _why(status: Status, event: LabelEvent) -> str | None:
    if status == "stale":
        return "it was accepted, but the item no longer was what it corrects: nothing changed"
    if isinstance(event, ReviewDecided):
        return event.rationale
    return event.reason if isinstance(event, CorrectionWithdrawn) else None


def _first_version(book: Reading, proposal: CorrectionProposed, offset: int) -> str | None:
    """The first version beyond an offset of its partition in which the correction is applied."""
    home = home_of(proposal.record_id, book.dataset)
    tags = [tag.event for tag in book.governance.tags.values()]
    for tag in sorted(tags, key=lambda t: (sum(t.position.labels), t.position.governance)):
        if tag.position.labels[home] <= offset:
            continue
        state = state_of(book.dataset, [proposal.record_id], tag.position)
        record = state.record(proposal.record_id)
        found = record.corrections.get(proposal.correction_id) if record else None
        if found is not None and found.status is Outcome.APPLIED:
            return tag.name
    return None
