"""Reading a range of one Kafka partition, fast and to its very end."""

from __future__ import annotations

import gc
import time
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import Message as Received

from ledger.logs.base import BATCH_MESSAGES_MAX, Batch, Topic
from ledger.logs.kafka_cluster import Cluster

READERS_KEPT_MAX = 4
FILL_S = 0.01  # how long a reader waits for a batch to get full
_MOMENT: Callable[[tuple[int, int]], int] = itemgetter(1)


def batch_of(topic: Topic, partition: int, messages: Sequence[Received]) -> Batch:
    """Messages of one partition as columns."""
    offsets: Sequence[int] = ()
    if messages:
        first, last = messages[0].offset() or 0, messages[-1].offset() or 0
        offsets = range(first, last + 1)
        if len(offsets) != len(messages):  # they ascend, so some are skipped
            offsets = [message.offset() or 0 for message in messages]
    return Batch(
        topic,
        partition,
        offsets,
        list(map(_MOMENT, map(Received.timestamp, messages))),
        list(map(Received.key, messages)),
        list(map(Received.value, messages)),
    )


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

    def read(
        self, topic: Topic, name: str, partition: int, start: int, stop: int
    ) -> Iterator[Batch]:
        """The messages of a range that is known to be there; the topic's full name is `name`."""
        reader = self._idle.pop() if self._idle else self._new()
        try:
            self._meet(reader, name)
            reader.assign([TopicPartition(name, partition, start)])
            doing = f"read {name} partition {partition}"
            while start < stop:
                count = min(stop - start, BATCH_MESSAGES_MAX)
                messages, start = self._receive(reader, count, stop, doing)
                batch = batch_of(topic, partition, messages)
                if start > stop:  # the messages before `stop` are fewer than its offsets
                    kept = bisect_left(batch.offsets, stop)
                    batch = batch_of(topic, partition, messages[:kept])
                if len(batch) > 0:
                    yield batch
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
