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

_STATES = {Outcome.PROPOSED: ("proposed", "pending"), Outcome.ESCALATED: ("escalated",)}
NAMES = tuple(name for names in _STATES.values() for name in names)
"""What a service level may be named after: the states that a correction waits in."""


class Deadline(NamedTuple):
    """By when a correction is to be decided."""

    due_at: datetime
    overdue: bool


def level(contract: Contract, status: Outcome) -> float | None:
    """For how many seconds a correction may be in a state; None where it is closed by it, or the
    contract promises nothing.
    """
    named = (contract.service_levels.get(name) for name in _STATES.get(status, ()))
    return next((seconds for seconds in named if seconds is not None), None)


def due(contract: Contract, status: Outcome, since: datetime) -> datetime | None:
    """By when a correction that came into this state then is to be decided, if it is promised."""
    seconds = level(contract, status)
    return None if seconds is None else since + timedelta(seconds=seconds)


def deadlines(dataset: Dataset, state: State) -> dict[tuple[str, str], Deadline]:
    """The deadlines of all open corrections, by record and correction id; two passes over the log,
    where the contract promises anything.
    """
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
    lost = [min(stop, dataset.head(number)) for number, stop in enumerate(position.labels)]
    ranges = [
        (Topic.LABELS, partition, lost[partition], stop)
        for partition, stop in enumerate(position.labels)
    ]
    ranges.append((Topic.GOVERNANCE, 0, 0, position.governance))
    read = dataset.log.read
    times = [max(batch.timestamps_ms, default=0) for each in ranges for batch in read(*each)]
    if dataset.stand_in is not None:
        times += [dataset.stand_in.latest(*each) for each in enumerate(lost) if each[1]]
    return moment(max(times, default=0))


def moment(timestamp_ms: int) -> datetime:
    """A log timestamp as a moment, UTC."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
