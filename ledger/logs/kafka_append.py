"""Appending to Kafka: all of it in order, or up to some message of each partition and no further.

`kafka_settings.PROMISES` says why nothing is ever stored behind a message that was not. A broker
that comes back knows what it has stored already, unless the messages' timestamps are older than
its `producer.id.expiration.ms` (a day): then what was in flight may be stored twice, which readers
take for one, by its event ids.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Delivered

from ledger.logs.base import Message
from ledger.logs.kafka_cluster import Cluster
from ledger.logs.kafka_settings import SILENT

CONSEQUENCES = frozenset(
    {"_PURGE_QUEUE", "_PURGE_INFLIGHT", "_FATAL", "_GAPLESS_GUARANTEE", "_STATE"}
    | {"OUT_OF_ORDER_SEQUENCE_NUMBER"}
)
SETTLE_S = 5  # how long messages in flight are waited for once another one has failed


class _Reports:
    """What the delivery reports of one append say."""

    def __init__(self) -> None:
        self.offsets: defaultdict[int, list[int]] = defaultdict(list)  # by partition
        self.answered = 0
        self.error: KafkaError | None = None
        self.partition: int | None = None  # where that error was

    def take(self, error: KafkaError | None, message: Delivered) -> None:
        """A delivery report."""
        self.answered += 1
        offset, partition = message.offset(), message.partition()
        if error is not None:
            self.fail(error, partition)
        elif partition is None or offset is None or offset < 0:
            reason = "a message was stored, but its offset was not told"
            self.fail(KafkaError(KafkaError.DUPLICATE_SEQUENCE_NUMBER, reason), partition)
        else:
            self.offsets[partition].append(offset)

    def fail(self, error: KafkaError, partition: int | None) -> None:
        """Keep the first error, but an error that only follows from another gives way to that."""
        if self.error is None or (
            self.error.name() in CONSEQUENCES and error.name() not in CONSEQUENCES
        ):
            self.error, self.partition = error, partition


class Appender:
    """The one producer of a log, replaced after a failure. Its queue bounds what is in memory."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def append(self, topic: str, messages: Sequence[Message]) -> list[int]:
        """The offset of each message, once all in-sync replicas have all messages."""
        reports = _Reports()
        with self._lock:
            producer = self._producer or self._cluster.client(Producer, "producer")
            self._producer = None  # to be kept only if all goes well
            try:
                self._send(producer, topic, messages, reports)
            finally:
                if reports.answered < len(messages) or reports.error is not None:
                    _abandon(producer, reports)
                else:
                    self._producer = producer
        if reports.error is None:
            # A partition's offsets are in the order of its messages, whatever that of the reports.
            told = {number: iter(sorted(offsets)) for number, offsets in reports.offsets.items()}
            return [next(told[message.partition]) for message in messages]
        stored = sum(map(len, reports.offsets.values()))
        where = topic if reports.partition is None else f"{topic} partition {reports.partition}"
        raise self._cluster.failure(
            reports.error,
            f"append to {where} ({stored} of {len(messages)} messages are known to be stored; "
            "to append all of them again is harmless, as they keep their event ids)",
            stored,
        )

    def close(self) -> None:
        """Let the producer go; nothing is waiting in it."""
        with self._lock:
            self._producer = None

    def _send(
        self, producer: Producer, topic: str, messages: Sequence[Message], reports: _Reports
    ) -> None:
        self._cluster.complaint = None
        produce, take = producer.produce, reports.take
        for partition, key, value, timestamp_ms in messages:
            while reports.error is None:
                try:
                    produce(topic, value, key, partition, take, timestamp=timestamp_ms)
                    break
                except BufferError:
                    self._serve(producer, reports, len(producer) // 2)
                except KafkaException as e:
                    _poll(producer)
                    reports.fail(e.args[0], partition)
        self._serve(producer, reports, 0)

    def _serve(self, producer: Producer, reports: _Reports, waiting_max: int) -> None:
        """Take delivery reports until that many are awaited, or something is wrong."""
        answered, deadline_s = -1, 0.0
        while len(producer) > waiting_max and reports.error is None:
            now_s = time.monotonic()
            if reports.answered > answered:
                answered, deadline_s = reports.answered, now_s + self._cluster.timeout_s
            if (refusal := self._cluster.refusal) is not None:
                reports.fail(refusal, None)
            elif now_s > deadline_s:
                reports.fail(self._cluster.silence(), None)
            else:
                _poll(producer)


def _poll(producer: Producer) -> None:
    """Wait a moment for delivery reports, and take those that are there.

    With 0.2 s or more, confluent-kafka would wait all of it. A fatal error is raised here, while
    the report that tells its reason is still to come.
    """
    with contextlib.suppress(KafkaException):
        producer.poll(0.1)


def _abandon(producer: Producer, reports: _Reports) -> None:
    """Send no more, and learn what became of the messages in flight if the broker answers."""
    deadline_s = time.monotonic()
    if reports.error is not None and reports.error.name() not in SILENT:
        producer.purge(in_flight=False)
        deadline_s += SETTLE_S
    while len(producer) > 0 and time.monotonic() < deadline_s:
        _poll(producer)
    producer.purge()
    while len(producer) > 0 and time.monotonic() < deadline_s + 1:
        _poll(producer)
