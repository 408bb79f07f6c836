"""A member of a Kafka consumer group."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as Received

from ledger.errors import LedgerError
from ledger.logs.base import BATCH_MESSAGES_MAX, Batch, Subscription, Topic
from ledger.logs.kafka_cluster import Cluster
from ledger.logs.kafka_read import batch_of

HARMLESS = frozenset({"_MAX_POLL_EXCEEDED"})  # the member was slow, and joins again by polling
PROBE_S = 1

Partition = tuple[Topic, int]
Start = Callable[[Topic, int], int]
OnRevoke = Callable[[frozenset[Partition]], None]


class KafkaSubscription(Subscription):
    """A member of `group`, with the topics it consumes by their full names."""

    def __init__(
        self,
        cluster: Cluster,
        topics: Mapping[str, Topic],
        group: str,
        start: Start,
        on_revoke: OnRevoke | None,
    ) -> None:
        self._cluster = cluster
        self._topics = topics
        self._start = start
        self._on_revoke = on_revoke
        self._doing = f"consume {', '.join(topics)} as a member of group {group!r}"
        self._assigned: frozenset[Partition] = frozenset()
        self._waiting: deque[Batch] = deque()
        self._failure: LedgerError | None = None
        self._consumer: Consumer | None = cluster.client(Consumer, "consumer", {"group.id": group})
        self._consumer.subscribe(
            list(topics), on_assign=self._gain, on_revoke=self._lose, on_lost=self._lose
        )

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions held; it changes inside `poll` and `close` only."""
        return self._assigned

    def poll(self, timeout_s: float) -> Batch | None:
        """The next batch; call it often, as a member that does not poll is taken for dead."""
        if not self._waiting and self._failure is None and self._consumer is not None:
            self._receive(self._consumer, timeout_s)
        if self._waiting:
            return self._waiting.popleft()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return None

    def close(self) -> None:
        """Leave the group at once, telling what is given up."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            consumer.close()  # which calls `_lose`

    def _gain(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gained = self._named(partitions)
        for where, (topic, partition) in zip(partitions, gained, strict=True):
            where.offset = self._start(topic, partition)
        consumer.incremental_assign(partitions)
        self._assigned |= frozenset(gained)

    def _lose(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lost = frozenset(self._named(partitions))
        self._assigned -= lost
        self._waiting = deque(b for b in self._waiting if (b.topic, b.partition) not in lost)
        if lost and self._on_revoke is not None:
            self._on_revoke(lost)
        consumer.incremental_unassign(partitions)

    def _named(self, partitions: list[TopicPartition]) -> list[Partition]:
        return [(self._topics[where.topic], where.partition) for where in partitions]

    def _receive(self, consumer: Consumer, timeout_s: float) -> None:
        """Wait for one message, and take along what is there: `consume` would wait its time out."""
        if (first := consumer.poll(timeout_s)) is None:
            self._refuse_silence(consumer)
            return
        self._cluster.down_since_s = self._cluster.complaint = None
        by_partition: dict[tuple[str, int], list[Received]] = {}
        for message in (first, *consumer.consume(BATCH_MESSAGES_MAX - 1, 0)):
            topic, partition, error = message.topic(), message.partition(), message.error()
            if error is not None:
                self._fail(error)
            elif topic is not None and partition is not None:
                by_partition.setdefault((topic, partition), []).append(message)
        for (name, partition), messages in by_partition.items():
            if (topic := self._topics[name], partition) in self._assigned:
                self._waiting.append(batch_of(topic, partition, messages))

    def _fail(self, error: KafkaError) -> None:
        if error.name() not in HARMLESS:
            self._failure = self._cluster.failure(error, self._doing)

    def _refuse_silence(self, consumer: Consumer) -> None:
        """No message is no news, unless a broker refuses us or none has answered for long."""
        if (refusal := self._cluster.refusal) is not None:
            raise self._cluster.failure(refusal, self._doing)
        since_s = self._cluster.down_since_s
        if since_s is None or time.monotonic() - since_s < self._cluster.timeout_s:
            return
        try:
            consumer.list_topics(next(iter(self._topics)), timeout=PROBE_S)
        except KafkaException as e:
            raise self._cluster.failure(e.args[0], self._doing) from e
        self._cluster.down_since_s = None
