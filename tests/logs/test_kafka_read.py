"""Ranges of a Kafka partition that hold fewer messages than offsets, and errors among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError
from confluent_kafka import Message as Received
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.errors import LedgerError, LogUnavailable
from ledger.logs.kafka_read import Readers
from tests.logs.places import LABELS

END, AWAY = KafkaError(KafkaError._PARTITION_EOF), KafkaError(KafkaError._ALL_BROKERS_DOWN)  # pyright: ignore[reportPrivateUsage]


class Partition:
    """A reader of a partition whose messages have these offsets, as Kafka's client behaves."""

    def __init__(self, offsets: Sequence[int], end: int, given: int, keyless: set[int]) -> None:
        self.at, self.end, self.given = 0, end, given
        self.fails = False
        self.messages = [
            Received("t", offset=o, key=None if o in keyless else b"k", value=b"%d" % o)
            for o in offsets
        ]

    def client(self, *_: object) -> Partition:
        return self

    def list_topics(self, *_: object) -> None: ...

    def assign(self, places: Sequence[Any]) -> None:
        self.at = places[0].offset

    def unassign(self) -> None: ...

    def close(self) -> None: ...

    def consume(self, count: int, _: float) -> list[Received]:
        found = [each for each in self.messages if cast("int", each.offset()) >= self.at]
        found = found[: min(count, self.given)]
        if found:
            self.at = cast("int", found[-1].offset()) + 1
        elif self.at <= self.end:
            self.at = self.end + 1  # it says so once
            found = [Received("t", offset=self.end, error=END, value=b"the end")]
        if self.fails:
            found = [*found, Received("t", error=AWAY, value=b"away")]
        return found

    def poll(self, _: float) -> Received | None:
        return next(iter(self.consume(1, 0)), None)

    # What a reader asks of its cluster.
    timeout_s, complaint, refusal = 1.0, None, None

    def silence(self) -> KafkaError:
        return AWAY

    def failure(self, error: KafkaError, doing: str) -> LedgerError:
        return LogUnavailable(f"{doing}: {error}")


def read(partition: Partition, within: range, packed: int | None) -> list[tuple[int, bytes | None]]:
    readers = Readers(cast("Any", partition))
    if packed is None:
        found = readers.read(LABELS, "t", 0, within)
    else:
        found = readers.read_packed(LABELS, "t", 0, within, packed, timed=False)
    return [cell for each in found for cell in zip(each.offsets, each.keys, strict=True)]


@given(
    st.sets(st.integers(0, 12)),
    st.sets(st.integers(0, 12)),
    st.builds(range, st.integers(0, 13), st.integers(0, 13)),
    st.integers(1, 4),
    st.none() | st.integers(1, 5),
)
@example({4}, set(), range(2, 3), 4, 5)
@example({0, 1, 4}, set(), range(3), 1, 5)
def test_offsets_without_messages(
    offsets: set[int], keyless: set[int], within: range, given: int, packed: int | None
):
    """What stands in the range is read, each message once, and nothing beyond it."""
    there = sorted(offsets)
    found = read(Partition(there, 13, given, keyless), within, packed)
    expected = [each for each in there if each in within]
    assert found == [(each, None if each in keyless else b"k") for each in expected]


@pytest.mark.parametrize("packed", [None, 5])
@pytest.mark.parametrize("keyless", [set[int](), {1}])
@pytest.mark.parametrize("stop", [2, 4])
def test_an_error_among_messages(packed: int | None, keyless: set[int], stop: int):
    """It is raised, whatever came with it."""
    partition = Partition([0, 1, 2, 3], 4, 4, keyless)
    partition.fails = True
    with pytest.raises(LogUnavailable, match="read t partition 0"):
        read(partition, range(stop), packed)
