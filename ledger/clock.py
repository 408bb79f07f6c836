"""The only module that asks the clock or for randomness; everything else is handed the answer."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime


def now() -> datetime:
    """The present moment in UTC, to the microsecond."""
    return datetime.now(UTC)


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970 UTC, rounded down: the unit of a log timestamp."""
    return int(moment.timestamp() * 1_000_000) // 1000


def new_id() -> str:
    """A fresh unique id."""
    return str(uuid.uuid4())
