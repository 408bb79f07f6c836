"""Reading a range of one Kafka partition, fast and to its very end."""

from __future__ import annotations

import gc
import sys
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as Received

from ledger.logs.base import BATCH_MESSAGES_MAX, PADDING, Batch, Packed, PackedCells, Topic
from ledger.logs.kafka_cluster import Cluster

READERS_KEPT_MAX = 4
FILL_S = 0.01  # how long a reader waits for a batch to get full
# A packed batch also ends soon after so many bytes.
_PACKED_BYTES = 16 * 1024 * 1024
# Packed at a time: few enough to be in the processor's cache still when they are freed.
_CHUNK_MESSAGES = 2_000
_MOMENT: Callable[[tuple[int, int]], int] = itemgetter(1)


def batch_of(topic: Topic, partition: int, messages: Sequence[Received]) -> Batch:
    """Messages of one partition as columns."""
    return Batch(
        topic,
        partition,
        _offsets(messages),
        list(map(_MOMENT, map(Received.timestamp, messages))),
        list(map(Received.key, messages)),
        list(map(Received.value, messages)),
    )


def _offsets(messages: Sequence[Received]) -> Sequence[int]:
    if not messages:
        return ()
    first, last = messages[0].offset() or 0, messages[-1].offset() or 0
    if last - first + 1 == len(messages):
        return range(first, last + 1)
    return [message.offset() or 0 for message in messages]  # they ascend, so some are skipped


class Packing:
    """A packed batch in the making, some messages at a time."""

    def __init__(self, topic: Topic, partition: int) -> None:
        self._where = topic, partition
        self._data: list[bytes] = []
        self._sizes = array("q")
        self._timestamps: list[int] = []
        self._offsets: list[Sequence[int]] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, messages: Sequence[Received]) -> bool:
        """Take messages in. False, and none of them is, where one has no value."""
        keys, values = (list(map(cell, messages)) for cell in (Received.key, Received.value))
        cells: list[Any] = [None] * (2 * len(messages))
        cells[0::2], cells[1::2] = keys, values
        try:
            lengths = array("i", map(len, cells))
        except TypeError:
            if None in values:
                return False
            cells[0::2] = [key or b"" for key in keys]
            lengths = array("i", map(len, cells))
            lengths[0::2] = array("i", [-1 if key is None else len(key) for key in keys])
        if sys.byteorder == "little":  # the value's length is the lower half of a size
            lengths[0::2], lengths[1::2] = lengths[1::2], lengths[0::2]
        data = b"".join(cells)
        self._data.append(data)
        self._sizes.frombytes(lengths.tobytes())
        self._timestamps += map(_MOMENT, map(Received.timestamp, messages))
        self._offsets.append(_offsets(messages))
        self.bytes += len(data)
        return True

    def batch(self) -> Batch:
        """What was taken in."""
        both = Packed(b"".join((*self._data, bytes(PADDING))), self._sizes)
        keys, values = PackedCells(both, key=True), PackedCells(both)
        offsets: Sequence[int] = range(self._offsets[0][0], self._offsets[-1][-1] + 1)
        if len(offsets) != len(self):
            offsets = list(chain.from_iterable(self._offsets))
        return Batch(*self._where, offsets, self._timestamps, keys, values)


@contextmanager
def uncollected() -> Generator[None]:
    """Without the garbage collector: messages hold no cycles, and it would look at each of them
    again and again while many are received, for half of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Readers:
    """Consumers outside of any group. They are kept and used again: connecting takes a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._idle: list[Consumer] = []

    def read(self, topic: Topic, name: str, partition: int, within: range) -> Iterator[Batch]:
        """The messages of a range that is known to be there; the topic's full name is `name`."""
        for messages in self._messages(name, partition, within, BATCH_MESSAGES_MAX):
            yield batch_of(topic, partition, messages)

    def read_packed(
        self, topic: Topic, name: str, partition: int, within: range, rows: int
    ) -> Iterator[Batch]:
        """As `read`, packed, in batches of about so many rows."""
        packing, count = Packing(topic, partition), min(rows, _CHUNK_MESSAGES)
        for messages in self._messages(name, partition, within, count):
            packed = packing.add(messages)
            full = len(packing) >= rows or packing.bytes >= _PACKED_BYTES
            if len(packing) and (full or not packed):
                yield packing.batch()
                packing = Packing(topic, partition)
            if not packed:
                yield batch_of(topic, partition, messages)
        if len(packing):
            yield packing.batch()

    def _messages(
        self, name: str, partition: int, within: range, count_max: int
    ) -> Iterator[list[Received]]:
        """The messages of a range, at most so many at a time and never none."""
        if not within:
            return
        start, stop = within.start, within.stop
        reader = self._idle.pop() if self._idle else self._new()
        try:
            self._meet(reader, name)
            reader.assign([TopicPartition(name, partition, start)])
            doing = f"read {name} partition {partition}"
            while start < stop:
                count = min(stop - start, count_max)
                messages, start = self._receive(reader, count, stop, doing)
                if start > stop:  # the messages before `stop` are fewer than its offsets
                    messages = messages[: bisect_left(_offsets(messages), stop)]
                if messages:
                    yield messages
            reader.unassign()
        except BaseException:  # also when the caller stops early: it may be prefetching
            reader.close()
            raise
        if len(self._idle) < READERS_KEPT_MAX:
            self._idle.append(reader)
        else:
            reader.close()

    def close(self) -> None:
        """Close the readers that are idle."""
        while self._idle:
            self._idle.pop().close()

    def _new(self) -> Consumer:
        # All that is asked for is there, so waiting on the broker only delays the word that a
        # partition ends in offsets without messages.
        own = {"group.id": "errata-reader", "enable.partition.eof": True, "fetch.wait.max.ms": 20}
        return self._cluster.client(Consumer, "consumer", own)

    def _meet(self, reader: Consumer, name: str) -> None:
        """Ask for the topic by name: else a client that has not met it looks it up at its next
        tick, up to a second away.
        """
        try:
            reader.list_topics(name, self._cluster.timeout_s)
        except KafkaException as error:
            raise self._cluster.failure(error.args[0], f"look up {name}") from error

    def _receive(
        self, reader: Consumer, count: int, stop: int, doing: str
    ) -> tuple[list[Received], int]:
        """At most `count` next messages, and the position behind them.

        Kafka gives a reader neither the control records of transactions nor what was aborted, so
        a range may end in offsets without messages. The word that the partition ends, which
        comes as an error with the position, leads over those.
        """
        self._cluster.complaint = None
        deadline_s = time.monotonic() + self._cluster.timeout_s
        while (refusal := self._cluster.refusal) is None and time.monotonic() < deadline_s:
            if (first := reader.poll(0.1)) is None:
                continue
            with uncollected():
                messages = [first, *(reader.consume(count - 1, FILL_S) if count > 1 else ())]
            last = messages[-1]
            position = (last.offset() or 0) + (1 if last.error() is None else 0)
            if any(map(Received.error, messages)):
                for message in messages:
                    if (error := message.error()) and error.name() != "_PARTITION_EOF":
                        raise self._cluster.failure(error, doing)
                messages = [message for message in messages if message.error() is None]
            if messages or position >= stop:  # else a new leader does not know the end yet
                return messages, position
        raise self._cluster.failure(refusal or self._cluster.silence(), doing)
