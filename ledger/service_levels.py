"""Service levels: by when an open correction is to be decided, and whether that has passed.

A contract sets them in seconds for each state, `proposed` (or `pending`) and `escalated`; the time
runs from when a correction came into its state. "Now" is the highest timestamp of the log at the
position, so that the answer is the same whenever it is asked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ledger.core.contract import Contract
from ledger.core.events import CorrectionProposed, ReviewDecided
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.logs.base import Topic
from ledger.record import state_of
from ledger.replay import State

_NAMES = {Outcome.PROPOSED: ("proposed", "pending"), Outcome.ESCALATED: ("escalated",)}


class Deadline(NamedTuple):
    """By when a correction is to be decided."""

    due_at: datetime
    overdue: bool


def due(contract: Contract, status: Outcome, since: datetime) -> datetime | None:
    """By when a correction that came into this state then is to be decided; None where it is
    closed, or the contract promises nothing.
    """
    for name in _NAMES.get(status, ()):
        if name in contract.service_levels:
            return since + timedelta(seconds=contract.service_levels[name])
    return None


def deadlines(dataset: Dataset, state: State) -> dict[tuple[str, str], Deadline]:
    """The deadlines of all open corrections, by record and correction id; one pass over the log."""
    contract = state.governance.contract
    if not contract.service_levels:
        return {}
    waiting = {
        (each.proposal.record_id, each.proposal.correction_id): each.status
        for each in state.corrections()
        if each.open
    }
    since: dict[tuple[str, str], datetime] = {}

    def observe(entry: Entry, outcome: Outcome) -> None:
        event = entry.event
        if isinstance(event, (CorrectionProposed, ReviewDecided)):
            key = event.record_id, event.correction_id
            if waiting.get(key) is outcome:
                since.setdefault(key, moment(entry.timestamp_ms))

    state_of(dataset, {record for record, _ in waiting}, state.position, observe)
    now = latest(dataset, state.position)
    found = {key: due(contract, waiting[key], then) for key, then in since.items()}
    return {key: Deadline(at, at < now) for key, at in found.items() if at is not None}


def latest(dataset: Dataset, position: Position) -> datetime:
    """The highest timestamp of the log below a position."""
    stops = [(Topic.LABELS, i, stop) for i, stop in enumerate(position.labels)]
    stops.append((Topic.GOVERNANCE, 0, position.governance))
    times = [
        entry.timestamp_ms
        for topic, partition, stop in stops
        for entry in dataset.entries(topic, partition, max(0, stop - 1), stop)
    ]
    return moment(max(times, default=0))


def moment(timestamp_ms: int) -> datetime:
    """A log timestamp as a moment, UTC."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
