"""What every log's consumer groups promise, proved on each backend."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ledger.logs.base import Batch, Log, Subscription, Topic
from tests.logs.places import LABELS, PATIENCE_S, OpenLog, message, numbered


def from_start(_topic: Topic, _partition: int) -> int:
    return 0


def until(subscription: Subscription, done: Callable[[], bool]) -> list[Batch]:
    """Poll until `done`, and give what came."""
    batches: list[Batch] = []
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s; came: {batches}"
        if (batch := subscription.poll(0.1)) is not None:
            batches.append(batch)
    return batches


def receive(subscription: Subscription, count: int) -> list[tuple[Topic, int, int, bytes | None]]:
    """Poll until `count` messages came: their topics, partitions, offsets and values."""
    received: list[tuple[Topic, int, int, bytes | None]] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(received) < count:
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s; came: {received}"
        if (batch := subscription.poll(0.1)) is not None:
            assert len(batch) > 0
            received += [
                (batch.topic, batch.partition, offset, value)
                for offset, value in zip(batch.offsets, batch.values, strict=True)
            ]
    return received


def test_subscription_delivers_all_in_order(log: Log):
    """A lone member holds every partition, and gets each one's messages in order, once."""
    log.append(LABELS, [m for p in range(3) for m in numbered(p, 0, 50)])
    log.append(Topic.GOVERNANCE, numbered(0, 0, 5))
    with log.subscribe([LABELS, Topic.GOVERNANCE], "views", from_start) as subscription:
        received = receive(subscription, 155)
        assert subscription.assigned == {(Topic.GOVERNANCE, 0), *((LABELS, p) for p in range(3))}
        assert subscription.poll(0.2) is None
    for topic, partition, count in [(LABELS, p, 50) for p in range(3)] + [(Topic.GOVERNANCE, 0, 5)]:
        assert [r[2:] for r in received if r[:2] == (topic, partition)] == [
            (n, b"%d" % n) for n in range(count)
        ]


def test_subscription_starts_where_told(log: Log):
    """Each partition begins at the offset that `start` gives, the end included."""
    log.append(LABELS, [m for p in range(3) for m in numbered(p, 0, 10)])
    starts = {0: 0, 1: 7, 2: 10}
    with log.subscribe([LABELS], "views", lambda _, partition: starts[partition]) as subscription:
        received = receive(subscription, 13)
        assert subscription.poll(0.2) is None
        log.append(LABELS, numbered(2, 10, 11))
        received += receive(subscription, 1)
    assert sorted(r[1:3] for r in received) == [
        *((0, n) for n in range(10)),
        *((1, n) for n in range(7, 10)),
        (2, 10),
    ]


@pytest.mark.parametrize("who", ["another handle", "its own log"])
def test_subscription_follows(log: Log, open_log: OpenLog, who: str):
    """What is appended while a member waits reaches it, whoever appends."""
    writer = open_log() if who == "another handle" else log
    with log.subscribe([LABELS], "views", from_start) as subscription:
        until(subscription, lambda: len(subscription.assigned) == 3)
        for n in range(10):
            writer.append(LABELS, [message(n % 3, b"%d" % n)])
            assert receive(subscription, 1) == [(LABELS, n % 3, n // 3, b"%d" % n)]


def test_groups_apart(log: Log):
    """Every group gets every message; a group may have any name."""
    log.append(LABELS, numbered(0, 0, 3))
    for group in ("views", "alerts", "../a b/ü:*" + "x" * 100):
        with log.subscribe([LABELS], group, from_start) as subscription:
            assert [r[3] for r in receive(subscription, 3)] == [b"0", b"1", b"2"]


def test_next_member_takes_over(log: Log, open_log: OpenLog):
    """When a member leaves, it is told what it held, and the next one gets all the partitions
    from where its own `start` says.
    """
    log.append(LABELS, [m for p in range(3) for m in numbered(p, 0, 2)])
    held = frozenset((LABELS, p) for p in range(3))
    revoked: list[frozenset[tuple[Topic, int]]] = []
    first = log.subscribe([LABELS], "views", from_start, revoked.append)
    until(first, lambda: first.assigned == held)
    with open_log().subscribe([LABELS], "views", lambda _, __: 1) as second:
        assert second.assigned == frozenset()
        first.close()
        assert frozenset().union(*revoked) == held
        assert first.assigned == frozenset()
        received = receive(second, 3)
        assert second.assigned == held
    assert sorted(r[1:3] for r in received) == [(0, 1), (1, 1), (2, 1)]


def test_no_partition_held_twice(log: Log, open_log: OpenLog):
    """At no moment do two members of a group hold the same partition."""
    with (
        log.subscribe([LABELS], "views", from_start) as first,
        open_log().subscribe([LABELS], "views", from_start) as second,
    ):
        deadline = time.monotonic() + PATIENCE_S
        while len(first.assigned) + len(second.assigned) < 3:
            assert time.monotonic() < deadline
            first.poll(0.05)
            second.poll(0.05)
            assert not first.assigned & second.assigned
