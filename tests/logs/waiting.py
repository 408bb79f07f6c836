"""What the tests of the Kafka log share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from ledger.errors import LogUnavailable
from ledger.logs.base import Subscription
from tests.logs.places import PATIENCE_S

NOWHERE = "127.0.0.1:1"  # where nothing listens


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s"
        time.sleep(0.02)


def receive(member: Subscription, count: int) -> list[bytes | None]:
    received: list[bytes | None] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(received) < count:
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s; came: {received}"
        with contextlib.suppress(LogUnavailable):
            if (batch := member.poll(0.1)) is not None:
                received += batch.values
    return received
