"""Appending to Kafka: all of it in order, or up to some message of each partition and no further.

`kafka_settings.PROMISES` says why nothing is ever stored behind a message that was not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Delivered

from ledger.logs.base import Message
from ledger.logs.kafka_cluster import Cluster
from ledger.logs.kafka_settings import SILENT

SETTLE_S = 5  # how long messages in flight are waited for once another one has failed


class _Reports:
    """What the delivery reports of one append say."""

    def __init__(self, count: int) -> None:
        self.offsets = [-1] * count
        self.sent = 0
        self.answered = 0
        self.error: KafkaError | None = None
        self.failed = 0  # the message that the error is about

    def take(self, index: int, error: KafkaError | None, message: Delivered) -> None:
        """A delivery report."""
        self.answered += 1
        offset = message.offset()
        if error is not None:
            self.fail(index, error)
        elif offset is None or offset < 0:  # a repetition that the broker recognised too late
            reason = "it is stored, but its offset is unknown"
            self.fail(index, KafkaError(KafkaError.DUPLICATE_SEQUENCE_NUMBER, reason))
        else:
            self.offsets[index] = offset

    def fail(self, index: int, error: KafkaError) -> None:
        """Keep the first error: those of later messages only follow from it."""
        if self.error is None:
            self.failed, self.error = index, error


class Appender:
    """The one producer of a log, replaced after a failure. Its queue bounds what is in memory."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def append(self, topic: str, messages: Sequence[Message]) -> list[int]:
        """The offset of each message, once all are acknowledged by all in-sync replicas."""
        reports = _Reports(len(messages))
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
            return reports.offsets
        stored = sum(offset >= 0 for offset in reports.offsets)
        raise self._cluster.failure(
            reports.error,
            f"append to {topic} partition {messages[reports.failed].partition} "
            f"({stored} of {len(messages)} messages are known to be stored; appending all again "
            "is harmless, as they keep their event ids)",
            stored,
        )

    def close(self) -> None:
        """Let the producer go; nothing is waiting in it."""
        self._producer = None

    def _send(
        self, producer: Producer, topic: str, messages: Sequence[Message], reports: _Reports
    ) -> None:
        self._cluster.complaint = None
        for index, (partition, key, value, timestamp_ms) in enumerate(messages):
            report = partial(reports.take, index)
            while reports.error is None and reports.sent == index:
                try:
                    producer.produce(
                        topic, value, key, partition, on_delivery=report, timestamp=timestamp_ms
                    )
                    reports.sent += 1
                except BufferError:
                    self._serve(producer, reports, (reports.sent - reports.answered) // 2)
                except KafkaException as e:
                    reports.fail(index, e.args[0])
        self._serve(producer, reports, 0)

    def _serve(self, producer: Producer, reports: _Reports, outstanding_max: int) -> None:
        """Take delivery reports until that many are outstanding, or something is wrong."""
        answered, deadline_s = -1, 0.0
        while reports.sent - reports.answered > outstanding_max and reports.error is None:
            now_s = time.monotonic()
            if reports.answered > answered:
                answered, deadline_s = reports.answered, now_s + self._cluster.timeout_s
            error = self._cluster.refusal
            if error is None and now_s > deadline_s:
                error = self._cluster.silence()
            if error is not None:
                reports.fail(reports.offsets.index(-1), error)
            else:
                producer.poll(0.1)


def _abandon(producer: Producer, reports: _Reports) -> None:
    """Send no more, and learn what became of the messages in flight if the broker answers."""
    if reports.error is not None and reports.error.name() not in SILENT:
        producer.purge(in_flight=False)
        producer.flush(SETTLE_S)
    producer.purge()
    producer.flush(1)
