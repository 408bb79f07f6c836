"""Errata's ledger: the log, its fold, and snapshots at any position.

`Ledger` is the way in. `core` holds what the events mean and does no input or output; `logs` the
backends; `dataset`, `replay` and `snapshot` bring them together.
"""

from ledger.core.events import Event, Geometry
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.errors import (
    ConfigurationError,
    CorruptLog,
    InvalidRequest,
    LedgerError,
    LogUnavailable,
)
from ledger.history import History
from ledger.ledger import Ledger
from ledger.snapshot import Change, Row, Snapshot

__all__ = [
    "Change",
    "ConfigurationError",
    "CorruptLog",
    "Event",
    "Geometry",
    "History",
    "InvalidRequest",
    "Ledger",
    "LedgerError",
    "LogUnavailable",
    "Outcome",
    "Position",
    "Row",
    "Snapshot",
]
