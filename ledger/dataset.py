"""One dataset on one log: set up, recognised again, and read and written as events.

A message of the `meta` topic is the dataset's card: its number of partitions, the id of the
cluster and of each topic, and where its schema ids come from. A log is only read if it still is
what its card says, so that a recreated topic, another number of partitions or the wrong registry
halts instead of changing what a position means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ValidationError

from ledger.clock import milliseconds, now
from ledger.codec import Codec, Undecodable
from ledger.core.events import (
    GOVERNANCE_EVENTS,
    LABEL_EVENTS,
    QUARANTINE_EVENTS,
    Event,
    EventQuarantined,
    LabelEvent,
)
from ledger.core.partitioner import partition_of
from ledger.errors import ConfigurationError, CorruptLog, EventsLost, InvalidRequest
from ledger.logs.base import Batch, Log, Message, Topic
from ledger.registry import ConfluentRegistry, EmbeddedRegistry, meta_message
from ledger.stand_in import StandIn, headless

PARTITIONS_MAX = 1_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
_BELONG: dict[Topic, tuple[type[Event], ...]] = {
    Topic.LABELS: LABEL_EVENTS,
    Topic.GOVERNANCE: GOVERNANCE_EVENTS,
    Topic.QUARANTINE: QUARANTINE_EVENTS,
}


class Card(BaseModel):
    """What a dataset was when it was set up. `probe_*` is a schema by which a registry is known."""

    kind: Literal["dataset"] = "dataset"
    partitions: int
    cluster: str
    topics: dict[Topic, str]
    registry: Literal["embedded", "confluent"]
    probe_id: int
    probe_fingerprint: str


class Entry(NamedTuple):
    """One message of the log: where it stands, when it was appended, and the event it holds."""

    topic: Topic
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    event: Event | Undecodable


Finding = Callable[["Dataset", Sequence[int]], StandIn]
"""Given a dataset and the first retained offset of each label partition: what stands in for what
was before; or it raises `CorruptLog`."""


class Dataset:
    """A checked log with its codec. Use `create` or `open`.

    Attributes:
        log: the backend.
        codec: events to bytes and back.
        partitions: the number of partitions of every topic but `governance` and `meta`.
        stand_in: answers for label events that the log holds no more; None of a whole log.
    """

    stand_in: StandIn | None = None

    def __init__(self, log: Log, codec: Codec, partitions: int) -> None:
        self.log = log
        self.codec = codec
        self.partitions = partitions

    def head(self, partition: int) -> int:
        """The first offset of a label partition that the log holds: 0, unless checkpoints stand in
        for what was before.
        """
        return 0 if self.stand_in is None else self.stand_in.heads[partition]

    def refuse_lost(self, partition: int, start: int, what: str) -> None:
        """Refuse what asks for the label events themselves from `start` on, where they are gone.

        Raises:
            EventsLost: says so of `what`.
        """
        if start < (head := self.head(partition)):
            name = self.log.topic_name(Topic.LABELS)
            raise EventsLost(
                f"{what} cannot be told: {name} partition {partition} begins at offset {head}, and "
                "a checkpoint that stands in for what was before holds what became of the events, "
                "and not the events themselves"
            )

    @classmethod
    def create(
        cls,
        log: Log,
        partitions: int,
        registry: ConfluentRegistry | None = None,
        stand_in: Finding | None = None,
    ) -> Dataset:
        """Set the dataset up; one that is there already with this many partitions is opened.

        Raises:
            InvalidRequest: the name or the number of partitions is not possible, or it exists
                with another number.
        """
        if not _NAME.fullmatch(log.dataset):
            raise InvalidRequest(
                f"dataset {log.dataset!r}: a name has 1 to 100 letters, digits, '_' or '-'"
            )
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidRequest(f"{partitions} partitions: between 1 and {PARTITIONS_MAX}")
        log.create(partitions)
        if _card(log) is None:
            probe_id, probe_fingerprint = Codec(registry or EmbeddedRegistry(log)).register_all()
            card = Card(
                partitions=partitions,
                cluster=log.cluster_id(),
                topics=dict(log.topic_ids()),
                registry="confluent" if registry else "embedded",
                probe_id=probe_id,
                probe_fingerprint=probe_fingerprint,
            )
            value = card.model_dump_json().encode()
            log.append(Topic.META, [Message(0, None, value, milliseconds(now()))])
        return cls.open(log, registry, stand_in)

    @classmethod
    def open(
        cls,
        log: Log,
        registry: ConfluentRegistry | None = None,
        stand_in: Finding | None = None,
    ) -> Dataset:
        """Open a dataset that was set up before.

        Args:
            log: the backend.
            registry: where its schema ids come from, if not from the log.
            stand_in: finds what stands in for a missing head, which is refused otherwise.

        Raises:
            InvalidRequest: there is none.
            ConfigurationError: the log would lose events, or another registry is needed.
            CorruptLog: the log is not the one that the card describes.
        """
        if not log.exists():
            raise InvalidRequest(
                f"there is no dataset {log.dataset!r} at {log.url}; `errata init` sets one up"
            )
        card = _card(log)
        if card is None:
            raise CorruptLog(
                f"dataset {log.dataset!r} at {log.url} has no card: its set-up was interrupted, or "
                "its meta topic was deleted. If nothing was appended yet, run `errata init` again"
            )
        _recognise(log, card)
        heads = log.check()
        found = cls(log, _codec(log, card, registry), card.partitions)
        if any(heads):
            if stand_in is None:
                partition = next(number for number, head in enumerate(heads) if head)
                raise headless(log, partition, heads[partition], "none was asked for")
            found.stand_in = stand_in(found, heads)
        return found

    def entries(self, topic: Topic, partition: int, start: int, stop: int) -> Iterator[Entry]:
        """The messages at offsets `start <= offset < stop` of one partition, decoded."""
        for batch in self.log.read(topic, partition, start, stop):
            yield from self.decoded(batch)

    def decoded(self, batch: Batch) -> Iterator[Entry]:
        """The messages of a batch, decoded."""
        belong = _BELONG.get(batch.topic, ())
        rows = zip(batch.offsets, batch.timestamps_ms, batch.keys, batch.values, strict=True)
        for offset, timestamp_ms, key, value in rows:
            event = self.codec.decode(value)
            if not isinstance(event, (Undecodable, *belong)):
                reason = f"{type(event).__name__} does not belong on {batch.topic.value}"
                event = Undecodable(reason)
            yield Entry(batch.topic, batch.partition, offset, timestamp_ms, key, event)

    def message(self, event: Event, *, admitted: bool = False) -> Message:
        """The event as a message, stamped with the present moment (see `Codec.encode`).

        Raises:
            InvalidRequest: the event breaks a rule, or is too large for a broker.
        """
        key = _key(event)
        partition = 0 if key is None else partition_of(key, self.partitions)
        value = self.codec.encode(event, admitted=admitted)
        return Message(partition, key, value, milliseconds(now()))

    def append(self, topic: Topic, messages: Sequence[Message]) -> list[tuple[int, int]]:
        """Append messages, durably; the partition and offset of each, in order."""
        offsets = self.log.append(topic, messages)
        return [
            (message.partition, offset) for message, offset in zip(messages, offsets, strict=True)
        ]


def topic_of(event: Event | type[Event]) -> Topic:
    """The topic that an event belongs on."""
    event_type = event if isinstance(event, type) else type(event)
    return next(topic for topic, types in _BELONG.items() if event_type in types)


def _key(event: Event) -> bytes | None:
    """The key that picks an event's partition: its record, or what it comes from."""
    if isinstance(event, LabelEvent):
        return event.record_id.encode()
    if isinstance(event, EventQuarantined):
        return event.key or f"{event.source_topic}/{event.source_partition}".encode()
    return None


def _card(log: Log) -> Card | None:
    end = log.ends(Topic.META)[0]
    for batch in log.read(Topic.META, 0, 0, end):
        for value in batch.values:
            message = meta_message(value)
            if message.get("kind") == "dataset":
                try:
                    return Card.model_validate(message)
                except ValidationError as error:
                    raise CorruptLog(
                        f"the card of dataset {log.dataset!r} at {log.url} is none of this "
                        f"release: {error.errors()[0]['loc']} {error.errors()[0]['msg']}"
                    ) from error
    return None


def _codec(log: Log, card: Card, registry: ConfluentRegistry | None) -> Codec:
    """The codec, from where the card says that its schema ids come from."""
    if card.registry == "confluent" and registry is None:
        raise ConfigurationError(
            f"dataset {log.dataset!r} takes its schema ids from a schema registry: give its "
            "address with ERRATA_REGISTRY or --registry"
        )
    if card.registry == "embedded" and registry is not None:
        raise ConfigurationError(
            f"dataset {log.dataset!r} keeps its schemas in its own log: leave ERRATA_REGISTRY "
            "and --registry out"
        )
    codec = Codec(registry or EmbeddedRegistry(log))
    if not codec.knows(card.probe_id, card.probe_fingerprint):
        raise ConfigurationError(
            f"dataset {log.dataset!r} was written with another schema registry: in this one "
            f"schema id {card.probe_id} is something else. Give that one's address"
        )
    return codec


def _recognise(log: Log, card: Card) -> None:
    """Refuse a log that is not the one its card describes."""
    if card.cluster != log.cluster_id():
        raise CorruptLog(
            f"the log at {log.url} is on cluster {log.cluster_id()}, and dataset {log.dataset!r} "
            f"was set up on {card.cluster}: offsets may differ there. Copy the dataset instead"
        )
    for topic, topic_id in log.topic_ids().items():
        if card.topics.get(topic) != topic_id:
            raise CorruptLog(
                f"topic {log.topic_name(topic)} at {log.url} was deleted and created again since "
                f"the dataset was set up (its id was {card.topics.get(topic)}, now it is "
                f"{topic_id}): its events are gone. Restore the topic, or set up a new dataset"
            )
        wanted = 1 if topic.single else card.partitions
        found = log.partition_count(topic)
        if found != wanted:
            raise CorruptLog(
                f"topic {log.topic_name(topic)} has {found} partitions and was set up with "
                f"{wanted}: records no longer are where their key says. Copy the log into a new "
                "dataset with the number you want"
            )
