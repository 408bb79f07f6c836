"""The worker that says what is undecodable: one event on `quarantine` for each message that is no
event of ours, with its bytes and the reason.

It is a group of its own, so that each partition has one member that does it. How far it came, the
quarantine topic itself says: behind the last message that it names nothing was found, or it is
found again. The id of what it writes is computed from the place, so that twice is once. Of messages
that the log holds no more, checkpoints tell which were no event: they are told without their bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

import numpy as np
import structlog

from consumers.worker import IDLE_S, patiently
from ledger.codec import VALUE_BYTES_MAX, Undecodable
from ledger.columnar.frame import ODD, Reader
from ledger.core.events import EventQuarantined
from ledger.core.position import Position
from ledger.dataset import Dataset, Entry
from ledger.logs.base import Batch, Subscription, Topic

GATE = "decoder"
_KEPT_BYTES_MAX = VALUE_BYTES_MAX - 10_000
_say = structlog.get_logger("errata.quarantine")


class Quarantine:
    """A member of the group that quarantines what no decoder reads, on `labels` and `governance`.

    Args:
        dataset: the log.
        group: the group's name.
    """

    def __init__(self, dataset: Dataset, group: str) -> None:
        self._dataset, self._group = dataset, group
        self._reader = Reader(dataset.codec)
        self._topic_ids = dataset.log.topic_ids()
        self._member: Subscription | None = None
        self._batch: Batch | None = None
        self._offsets: dict[tuple[Topic, int], int] = {}
        """How far each partition is known to be told."""

    def run(self, go_on: Callable[[], bool]) -> None:
        """Look at every message for as long as it is told to go on; it asks between batches."""
        topics = [Topic.LABELS, Topic.GOVERNANCE]
        subscribe = partial(self._dataset.log.subscribe, topics, self._group)
        with subscribe(self._start) as member:
            self._member = member
            patiently(lambda: self._turn(member), go_on, lambda: None)

    def _turn(self, member: Subscription) -> None:
        self._batch = self._batch or member.poll(IDLE_S)
        if self._batch is not None:
            self._quarantine(self._batch)
            self._batch = None

    def reaches(self, position: Position) -> bool:
        """Whether all up to a position is told: by this member, or by who holds the partition."""
        return self._reaches(Topic.GOVERNANCE, 0, position.governance) and all(
            self._reaches(Topic.LABELS, partition, stop)
            for partition, stop in enumerate(position.labels)
        )

    def _reaches(self, topic: Topic, partition: int, stop: int) -> bool:
        place = (topic, partition)
        offset = self._offsets.get(place, 0)
        if offset < stop and not (self._member and place in self._member.assigned):
            offset = self._offsets[place] = self._untold(topic, partition, offset, stop)
        return offset >= stop

    def _untold(self, topic: Topic, partition: int, start: int, stop: int) -> int:
        """The first message in `[start, stop)` that is yet to be quarantined, or `stop`."""
        start = max(start, self._behind(topic, partition))
        for event in self._lost(topic, partition, start, stop):
            return event.source_offset
        start = max(start, self._head(topic, partition))
        if start >= stop:
            return stop
        for batch in self._dataset.log.read(topic, partition, start, stop):
            for event in self._undecodable(batch):
                return event.source_offset
        return stop

    def _start(self, topic: Topic, partition: int) -> int:
        behind, head = self._behind(topic, partition), self._head(topic, partition)
        self._tell(topic, self._lost(topic, partition, behind, head))
        start = self._offsets[topic, partition] = max(behind, head)
        return start

    def _head(self, topic: Topic, partition: int) -> int:
        """The first offset that the log still holds."""
        return self._dataset.head(partition) if topic is Topic.LABELS else 0

    def _behind(self, topic: Topic, partition: int) -> int:
        """Behind the last message of the partition that was quarantined."""
        log, start = self._dataset.log, 0
        for number, stop in enumerate(log.ends(Topic.QUARANTINE)):
            for entry in self._dataset.entries(Topic.QUARANTINE, number, 0, stop):
                event = entry.event
                if (
                    isinstance(event, EventQuarantined)
                    and event.gate == GATE
                    and (event.source_topic, event.source_partition) == (topic, partition)
                ):
                    start = max(start, event.source_offset + 1)
        return start

    def _quarantine(self, batch: Batch) -> None:
        self._tell(batch.topic, self._undecodable(batch))
        self._offsets[batch.topic, batch.partition] = batch.offsets[-1] + 1

    def _tell(self, topic: Topic, events: Iterator[EventQuarantined]) -> None:
        found = map(self._dataset.message, events)
        # Partition by partition in the order of the source: whatever is stored when this dies,
        # all before it is too, so that the last one stored says how far it came.
        for _, run in groupby(found, key=lambda message: message.partition):
            messages = list(run)
            self._dataset.append(Topic.QUARANTINE, messages)
            _say.info("quarantined", topic=topic.value, count=len(messages))

    def _undecodable(self, batch: Batch) -> Iterator[EventQuarantined]:
        if batch.topic is Topic.LABELS:
            batch = self._odd(batch)
        values = dict(zip(batch.offsets, batch.values, strict=True))
        for entry in self._dataset.decoded(batch):
            if isinstance(entry.event, Undecodable):
                value, reason = values[entry.offset], entry.event.reason
                if value is not None and len(value) > _KEPT_BYTES_MAX:
                    reason += f"; its {len(value):,} bytes stay where they are"
                    value = None
                yield self._event(entry, value, reason)

    def _lost(
        self, topic: Topic, partition: int, start: int, stop: int
    ) -> Iterator[EventQuarantined]:
        """Likewise of messages in `[start, stop)` that the log holds no more."""
        stop, known = min(stop, self._head(topic, partition)), self._dataset.stand_in
        if known is None or start >= stop:
            return
        reason = "no event, of which a checkpoint tells: its key and its bytes are gone"
        for offset, timestamp_ms in known.undecodable(partition, start, stop):
            entry = Entry(topic, partition, offset, timestamp_ms, None, Undecodable(reason))
            yield self._event(entry, None, reason)

    def _event(self, entry: Entry, value: bytes | None, reason: str) -> EventQuarantined:
        return EventQuarantined(
            event_id=self._id(entry.topic, entry.partition, entry.offset),
            actor=GATE,
            occurred_at=datetime.fromtimestamp(entry.timestamp_ms / 1000, UTC),
            contract_version=0,
            source_topic=entry.topic.value,
            source_partition=entry.partition,
            source_offset=entry.offset,
            key=entry.key,
            value=value,
            reason=reason,
            gate=GATE,
        )

    def _odd(self, batch: Batch) -> Batch:
        """The messages that are not plainly events."""
        frame = self._reader.frame(batch.offsets, batch.keys, batch.values)
        return batch.rows(np.nonzero(frame.kind == ODD)[0].tolist())

    def _id(self, topic: Topic, partition: int, offset: int) -> str:
        place = f"{self._topic_ids[topic]}/{partition}@{offset}/{GATE}"
        return hashlib.sha256(place.encode()).hexdigest()[:32]


def group_of(dataset: Dataset) -> str:
    """The group whose members quarantine, unless another is named."""
    return f"errata.{dataset.log.dataset}.quarantine"
