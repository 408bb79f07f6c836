"""Reading a range of one Kafka partition, fast and to its very end."""

from __future__ import annotations

import gc
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import itemgetter
from struct import pack
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as Received

from ledger.errors import LedgerError
from ledger.logs.base import BATCH_MESSAGES_MAX, PADDING, Batch, Packed, PackedCells, Topic
from ledger.logs.kafka_cluster import Cluster

READERS_KEPT_MAX = 4
FILL_S = 0.01  # how long a reader waits for a batch to get full
# A packed batch also ends soon after so many bytes.
_PACKED_BYTES = 16 * 1024 * 1024
# Packed at a time: few enough to be in the processor's cache still when they are freed.
_CHUNK_MESSAGES = 2_000
_MOMENT: Callable[[tuple[int, int]], int] = itemgetter(1)
Made = Callable[[Sequence[Received]], Iterable[Batch]]
"""Makes batches, if enough has come together, of messages of one partition, errors among them."""
Failure = Callable[[KafkaError], LedgerError]
"""Kafka's error as one of ours."""


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
    """A packed batch in the making, some messages at a time.

    Args:
        topic: what the messages are of.
        partition: its partition.
        timed: whether their times are wanted: asking for them takes a tenth of the time.
    """

    def __init__(self, topic: Topic, partition: int, *, timed: bool) -> None:
        self._where = topic, partition
        self._timed = timed
        self._data: tuple[list[bytes], list[bytes]] = ([], [])
        self._sizes: tuple[list[bytes], list[bytes]] = ([], [])
        self._count = 0
        self._timestamps: list[int] = []
        self._offsets: list[Sequence[int]] = []
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, messages: Sequence[Received]) -> bool:
        """Take messages in. False, and none of them is, where one has no key or no value."""
        columns: list[list[Any]] = [
            list(map(cell, messages)) for cell in (Received.key, Received.value)
        ]
        try:
            data = [b"".join(column) for column in columns]
        except TypeError:
            return False
        for i in range(2):
            self._data[i].append(data[i])
            self._sizes[i].append(pack(f"{len(messages)}q", *map(len, columns[i])))
            self.bytes += len(data[i])
        self._count += len(messages)
        if self._timed:
            self._timestamps += map(_MOMENT, map(Received.timestamp, messages))
        self._offsets.append(_offsets(messages))
        return True

    def batch(self) -> Batch:
        """What was taken in."""
        keys, values = map(_packed, self._data, self._sizes)
        offsets: Sequence[int] = range(self._offsets[0][0], self._offsets[-1][-1] + 1)
        if len(offsets) != len(self):
            offsets = list(chain.from_iterable(self._offsets))
        return Batch(*self._where, offsets, self._timestamps, keys, values)


def _packed(data: list[bytes], sizes: list[bytes]) -> PackedCells:
    return PackedCells(Packed(b"".join((*data, bytes(PADDING))), array("q", b"".join(sizes))))


def _sifted(messages: Sequence[Received], failure: Failure) -> Sequence[Received]:
    """The messages without the word that the partition ends; raises any other error."""
    if not any(map(Received.error, messages)):
        return messages
    for message in messages:
        if (error := message.error()) and error.name() != "_PARTITION_EOF":
            raise failure(error)
    return [message for message in messages if message.error() is None]


@contextmanager
def uncollected() -> Generator[None]:
    """Without the garbage collector: messages hold no cycles, and it would look at each of them
    again and again while many are received, for half of the time. They are to be gone before it
    comes back: it looks at all that were made meanwhile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(frozen=True, slots=True)
class _Reading:
    """A reader on its way through a range of one partition."""

    cluster: Cluster
    reader: Consumer
    failure: Failure
    count_max: int
    made: Made

    def receive(self, within: range) -> tuple[list[Batch], int]:
        """What is made of the next messages, and the position behind them.

        Kafka gives a reader neither the control records of transactions nor what was aborted, so
        a range may end in offsets without messages. The word that the partition ends, which
        comes as an error with the position, leads over those.
        """
        self.cluster.complaint = None
        deadline_s = time.monotonic() + self.cluster.timeout_s
        while (refusal := self.cluster.refusal) is None and time.monotonic() < deadline_s:
            if (first := self.reader.poll(0.1)) is None:
                continue
            batches, position = self._take(first, within)
            if position > within.start:  # else a new leader does not know the end yet
                return batches, position
        raise self.failure(refusal or self.cluster.silence())

    @uncollected()
    def _take(self, first: Received, within: range) -> tuple[list[Batch], int]:
        more = min(len(within), self.count_max) - 1
        messages: Sequence[Received] = [first, *(self.reader.consume(more, FILL_S) if more else ())]
        last = messages[-1]
        position = (last.offset() or 0) + (1 if last.error() is None else 0)
        if position > within.stop:  # the messages before it are fewer than its offsets
            messages = _sifted(messages, self.failure)
            messages = messages[: bisect_left(_offsets(messages), within.stop)]
        return list(self.made(messages)) if messages else [], position


class Readers:
    """Consumers outside of any group. They are kept and used again: connecting takes a while."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._idle: list[tuple[Consumer, str]] = []  # each with the topic that it read last

    def read(self, topic: Topic, name: str, partition: int, within: range) -> Iterator[Batch]:
        """The messages of a range that is known to be there; the topic's full name is `name`."""
        failure = self._failure(name, partition)

        def made(messages: Sequence[Received]) -> Iterator[Batch]:
            if messages := _sifted(messages, failure):
                yield batch_of(topic, partition, messages)

        return self._read(name, partition, within, BATCH_MESSAGES_MAX, made)

    def read_packed(
        self, topic: Topic, name: str, partition: int, within: range, rows: int, *, timed: bool
    ) -> Iterator[Batch]:
        """As `read`, packed, in batches of about so many rows."""
        packing = Packing(topic, partition, timed=timed)
        failure = self._failure(name, partition)

        def made(messages: Sequence[Received]) -> Iterator[Batch]:
            nonlocal packing
            # An error is a message without a key: nobody has to look for one before that.
            if not (packed := packing.add(messages)):
                messages = _sifted(messages, failure)
                packed = not messages or packing.add(messages)
            full = len(packing) >= rows or packing.bytes >= _PACKED_BYTES
            if len(packing) and (full or not packed):
                yield packing.batch()
                packing = Packing(topic, partition, timed=timed)
            if not packed:
                yield batch_of(topic, partition, messages)

        yield from self._read(name, partition, within, min(rows, _CHUNK_MESSAGES), made)
        if len(packing):
            yield packing.batch()

    def _read(
        self, name: str, partition: int, within: range, count_max: int, made: Made
    ) -> Iterator[Batch]:
        """What is made of the messages of a range, at most so many at a time and never none."""
        if not within:
            return
        start, stop = within.start, within.stop
        reader, met = self._idle.pop() if self._idle else (self._new(), "")
        try:
            if name != met:
                self._meet(reader, name)
            reader.assign([TopicPartition(name, partition, start)])
            failure = self._failure(name, partition)
            reading = _Reading(self._cluster, reader, failure, count_max, made)
            while start < stop:
                batches, start = reading.receive(range(start, stop))
                yield from batches
            reader.unassign()
        except BaseException:  # also when the caller stops early: it may be prefetching
            reader.close()
            raise
        if len(self._idle) < READERS_KEPT_MAX:
            self._idle.append((reader, name))
        else:
            reader.close()

    def close(self) -> None:
        """Close the readers that are idle."""
        while self._idle:
            self._idle.pop()[0].close()

    def _failure(self, name: str, partition: int) -> Failure:
        return partial(self._cluster.failure, doing=f"read {name} partition {partition}")

    def _new(self) -> Consumer:
        # All that is asked for is there, so waiting on the broker only delays the word that a
        # partition ends in offsets without messages. A new client finds the broker connected only
        # after half of the time that it backs off at first: by default 50 ms.
        own = {
            "group.id": "errata-reader",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "reconnect.backoff.ms": 20,
        }
        return self._cluster.client(Consumer, "consumer", own)

    def _meet(self, reader: Consumer, name: str) -> None:
        """Ask for the topic by name: else a client that has not met it looks it up at its next
        tick, up to a second away.
        """
        try:
            reader.list_topics(name, self._cluster.timeout_s)
        except KafkaException as error:
            raise self._cluster.failure(error.args[0], f"look up {name}") from error
