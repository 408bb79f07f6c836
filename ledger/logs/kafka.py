"""The log on Kafka: a dataset's topics on any cluster that speaks its protocol (3.6 or later).

Three things make it safe. Topics are set up so that nothing is ever dropped, and `check` refuses
those that somebody set up otherwise. Appends go through librdkafka's idempotent producer, made
gapless (`kafka_append`). Readers read committed messages only, up to the last stable offset, and
never jump: an offset out of range is an error. Nothing is ever committed to Kafka.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, IsolationLevel, TopicCollection, TopicPartition
from confluent_kafka.admin import ConfigResource, NewTopic, OffsetSpec  # pyright: ignore[reportPrivateImportUsage]

from ledger.errors import ConfigurationError, CorruptLog, InvalidRequest
from ledger.logs.base import Batch, Log, Message, Subscription, Topic
from ledger.logs.kafka_append import Appender
from ledger.logs.kafka_cluster import Cluster
from ledger.logs.kafka_group import KafkaSubscription, Partition
from ledger.logs.kafka_read import Readers
from ledger.logs.kafka_settings import (
    ABSENT,
    MESSAGE_BYTES_MAX,
    MESSAGE_OVERHEAD_BYTES,
    TOPIC_CONFIG,
    guarded_fault,
)

_LEADER_S_MAX = 3  # a leader that is silent for so long may be dead: another is looked for


class KafkaLog(Log):
    """A dataset on a Kafka cluster.

    Args:
        bootstrap: brokers to begin with, as `host:port,host:port`.
        dataset: the dataset's name: letters, digits, `.`, `_` and `-`.
        client: properties passed on to librdkafka, such as `security.protocol`, `sasl.*`, `ssl.*`.
        replication_factor: copies of each partition; 3 by default, or as many as there are brokers.
        timeout_s: how long the brokers may be silent before a call gives up.
    """

    prefetches = True

    def __init__(
        self,
        bootstrap: str,
        dataset: str,
        *,
        client: Mapping[str, str] | None = None,
        replication_factor: int | None = None,
        timeout_s: float = 30,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", dataset):
            raise InvalidRequest(
                f"{dataset!r} cannot name a dataset on Kafka: use at most 200 letters, digits, "
                "'.', '_' and '-'"
            )
        properties = dict(client or {})
        self.dataset = dataset
        self.url = f"kafka://{bootstrap}"
        self._cluster = Cluster(bootstrap, properties, timeout_s)
        self._appender = Appender(self._cluster)
        bytes_max = _whole(properties, "message.max.bytes", MESSAGE_BYTES_MAX)
        self._message_bytes_max = bytes_max - MESSAGE_OVERHEAD_BYTES
        self._replication_factor = replication_factor
        self._readers = Readers(self._cluster)
        self._counts: dict[Topic, int] = {}

    # ------------------------------------------------------------------------------ topics

    def create(self, partitions: int) -> None:
        """Create what is missing of the topics, and return once every partition has a leader."""
        if partitions < 1:
            raise InvalidRequest(f"a dataset has 1 partition or more, not {partitions}")
        counts = {topic: 1 if topic.single else partitions for topic in Topic}
        found = self._describe()
        self._refuse_other_counts(found, counts)
        if missing := [topic for topic in Topic if found[topic] is None]:
            self._create(missing, counts)
            self._refuse_other_counts(self._settled(), counts)
        self._check_configuration()

    def _create(self, topics: Sequence[Topic], counts: Mapping[Topic, int]) -> None:
        doing = f"create the topics of {self.dataset!r}"
        brokers = len(self._cluster.ask("describe_cluster", doing=doing).nodes)
        copies = self._replication_factor or min(3, brokers)
        config = {**TOPIC_CONFIG, "min.insync.replicas": "2" if copies >= 3 else "1"}
        new = [NewTopic(self.topic_name(t), counts[t], copies, config=config) for t in topics]
        # Another process may have created one just now; what it made of it is checked next.
        self._cluster.ask("create_topics", new, doing=doing, passing=["TOPIC_ALREADY_EXISTS"])

    def _refuse_other_counts(self, found: Mapping[Topic, Any], counts: Mapping[Topic, int]) -> None:
        for topic, description in found.items():
            if description is not None and len(description.partitions) != counts[topic]:
                raise InvalidRequest(
                    f"{self.topic_name(topic)} has {len(description.partitions)} partitions and "
                    f"not {counts[topic]}, and a log keeps its number: ask for that many, or copy "
                    "the dataset into a new log"
                )

    def _settled(self) -> dict[Topic, Any]:
        """All topics, once the cluster shows each, with a leader for every partition."""
        deadline_s = time.monotonic() + self._cluster.timeout_s
        while True:
            found = self._describe()
            if all(d is not None and all(p.leader for p in d.partitions) for d in found.values()):
                return found
            if time.monotonic() > deadline_s:
                doing = f"see the new topics of {self.dataset!r} ready"
                raise self._cluster.failure(self._cluster.silence(), doing)
            time.sleep(0.05)

    def exists(self) -> bool:
        """Whether the cluster shows all the dataset's topics."""
        missing = [self.topic_name(t) for t, found in self._describe().items() if found is None]
        if missing and len(missing) < len(Topic):
            raise CorruptLog(
                f"Kafka at {self._cluster.bootstrap} lacks the topics {', '.join(missing)}: create "
                "the dataset again if it is new, else restore them or copy the dataset anew"
            )
        return not missing

    def check(self) -> list[int]:
        """Refuse what would lose events, in three round trips whatever the number of partitions."""
        counts = {t: len(found.partitions) for t, found in self._present(*Topic).items()}
        self._check_configuration()
        everywhere = [(topic, number) for topic in Topic for number in range(counts[topic])]
        found = self._offsets(everywhere, OffsetSpec.earliest())
        for (topic, partition), first in found.items():
            if first > 0 and topic is not Topic.LABELS:
                raise self._headless(topic, partition, first)
        return [found[Topic.LABELS, number] for number in range(counts[Topic.LABELS])]

    def _check_configuration(self) -> None:
        resources = [ConfigResource("topic", self.topic_name(topic)) for topic in Topic]
        doing = f"read the configuration of {self.dataset!r}"
        found = self._cluster.ask("describe_configs", resources, doing=doing)
        for resource, entries in found.items():
            values = {name: entry.value for name, entry in entries.items()}
            if (fault := guarded_fault(resource.name, values)) is not None:
                raise ConfigurationError(fault)

    def _headless(self, topic: Topic, partition: int, first: int) -> CorruptLog:
        return CorruptLog(
            f"{self.topic_name(topic)} partition {partition} has lost its head: its first retained "
            f"offset is {first}; copy the dataset anew from where its beginning still is"
        )

    def cluster_id(self) -> str:
        """The cluster's own id, which another cluster at the same address does not share."""
        doing = "ask for the cluster's id"
        return str(self._cluster.ask("describe_cluster", doing=doing).cluster_id)

    def topic_ids(self) -> Mapping[Topic, str]:
        """The ids that Kafka gave the topics."""
        return {topic: str(found.topic_id) for topic, found in self._present(*Topic).items()}

    def partition_count(self, topic: Topic) -> int:
        """How many partitions the topic has now."""
        self._counts[topic] = len(self._present(topic)[topic].partitions)
        return self._counts[topic]

    def _describe(self, *topics: Topic) -> dict[Topic, Any]:
        """What the cluster says of these topics (of all); None of one that is not there."""
        names = {self.topic_name(topic): topic for topic in topics or Topic}
        asked = TopicCollection(list(names))
        doing = f"look up the topics of {self.dataset!r}"
        found = self._cluster.ask("describe_topics", asked, doing=doing, passing=ABSENT)
        return {names[name]: description for name, description in found.items()}

    def _present(self, *topics: Topic) -> dict[Topic, Any]:
        found = self._describe(*topics)
        for topic, description in found.items():
            if description is None:
                raise InvalidRequest(
                    f"Kafka at {self._cluster.bootstrap} has no topic {self.topic_name(topic)}: "
                    f"create the dataset {self.dataset!r} first, or correct its name"
                )
        return found

    # ------------------------------------------------------------------------------ offsets

    def starts(self, topic: Topic) -> list[int]:
        """The first retained offsets."""
        return self._all_offsets(topic, OffsetSpec.earliest())

    def ends(self, topic: Topic) -> list[int]:
        """The last stable offsets."""
        return self._all_offsets(topic, OffsetSpec.latest())

    def offset_after(self, topic: Topic, partition: int, timestamp_ms: int) -> int:
        """The first offset whose message is later, by Kafka's time index."""
        self._refuse_partition(topic, partition, self.partition_count(topic))
        where = (topic, partition)
        # The end first: a message appended between the two questions is not jumped over.
        end = self._offsets([where], OffsetSpec.latest())[where]
        later = OffsetSpec.for_timestamp(max(0, timestamp_ms + 1))
        found = self._offsets([where], later)[where]
        return end if found < 0 else min(found, end)

    def _all_offsets(self, topic: Topic, spec: object) -> list[int]:
        # A topic of one partition, once met, is not asked for their number at every look.
        known = self._counts.get(topic) if topic.single else None
        everywhere = [(topic, number) for number in range(known or self.partition_count(topic))]
        return list(self._offsets(everywhere, spec).values())

    def _offsets(self, partitions: Sequence[Partition], spec: object) -> dict[Partition, int]:
        asked = {TopicPartition(self.topic_name(t), n): (t, n) for t, n in partitions}
        doing = f"look up offsets of {self.dataset!r}"
        deadline_s = time.monotonic() + self._cluster.timeout_s
        while True:
            found = self._cluster.ask(
                "list_offsets",
                dict.fromkeys(asked, spec),
                doing=doing,
                attempt_s=_LEADER_S_MAX,
                isolation_level=IsolationLevel.READ_COMMITTED,
            )
            offsets = {asked[where]: result.offset for where, result in found.items()}
            if OFFSET_INVALID not in offsets.values():
                return {where: offsets[where] for where in partitions}
            # Beside the others' answers, librdkafka gives this for a leader that gave none.
            if time.monotonic() > deadline_s:
                raise self._cluster.failure(self._cluster.silence(), doing)

    def _refuse_partition(self, topic: Topic, partition: int, count: int) -> None:
        if not 0 <= partition < count:
            raise InvalidRequest(
                f"{self.topic_name(topic)} has the partitions 0 to {count - 1}, and none "
                f"{partition}"
            )

    # ------------------------------------------------------------------------------ messages

    def append(self, topic: Topic, messages: Sequence[Message]) -> list[int]:
        """Append in order, and wait until all in-sync replicas have acknowledged all of it."""
        self._refuse_unfit(topic, messages)
        return self._appender.append(self.topic_name(topic), messages)

    def _refuse_unfit(self, topic: Topic, messages: Sequence[Message]) -> None:
        """Refuse before anything is stored what would be refused half-way."""
        count = self._counts.get(topic) or self.partition_count(topic)
        for index, (partition, key, value, timestamp_ms) in enumerate(messages):
            if not 0 <= partition < count:
                count = self.partition_count(topic)
                self._refuse_partition(topic, partition, count)
            if timestamp_ms < 1:  # 0 means "now" to librdkafka, -1 means "none" to Kafka
                raise InvalidRequest(
                    f"{timestamp_ms} is no timestamp: give milliseconds since 1970 UTC, above 0"
                )
            size = len(value) + len(key or b"")
            if size > self._message_bytes_max:
                raise InvalidRequest(
                    f"message {index} for {self.topic_name(topic)} has {size} bytes with its key, "
                    f"over the limit of {self._message_bytes_max} (message.max.bytes less "
                    f"{MESSAGE_OVERHEAD_BYTES}): shorten it"
                )

    def read(self, topic: Topic, partition: int, start: int, stop: int) -> Iterator[Batch]:
        """Read a range; what is wrong with it is raised by this call, not by the iterator."""
        self._refuse_range(topic, partition, start, stop)
        return self._readers.read(topic, self.topic_name(topic), partition, range(start, stop))

    def read_packed(
        self, topic: Topic, partition: int, start: int, stop: int, rows: int, *, timed: bool = True
    ) -> Iterator[Batch]:
        """As `read`; what is near a message without a key or a value comes as `read` gives it."""
        self._refuse_range(topic, partition, start, stop)
        name = self.topic_name(topic)
        within = range(start, stop)
        return self._readers.read_packed(topic, name, partition, within, rows, timed=timed)

    def _refuse_range(self, topic: Topic, partition: int, start: int, stop: int) -> None:
        self._refuse_partition(topic, partition, self.partition_count(topic))
        where = (topic, partition)
        first = self._offsets([where], OffsetSpec.earliest())[where]
        end = self._offsets([where], OffsetSpec.latest())[where]
        if not 0 <= start <= stop <= end:
            raise InvalidRequest(
                f"{self.topic_name(topic)} partition {partition} ends at offset {end}: offsets "
                f"{start} to {stop - 1} cannot be read"
            )
        if start < first:
            raise self._headless(topic, partition, first)

    def subscribe(
        self,
        topics: Sequence[Topic],
        group: str,
        start: Callable[[Topic, int], int],
        on_revoke: Callable[[frozenset[Partition]], None] | None = None,
    ) -> Subscription:
        """Join the consumer group; its name is the group's id on the cluster, as it is.

        Leaving and revoking call `on_revoke` before another member gets the partitions. A member
        that was silent for too long has lost them already when it is told.
        """
        self._present(*topics)
        names = {self.topic_name(topic): topic for topic in topics}
        return KafkaSubscription(self._cluster.again(), names, group, start, on_revoke)

    def close(self) -> None:
        """Disconnect; a call made later connects again."""
        self._appender.close()
        self._readers.close()
        self._cluster.close()


def _whole(properties: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(properties.get(name, default))
    except ValueError as error:
        raise ConfigurationError(
            f"the Kafka property {name} is {properties[name]!r}; it is a whole number"
        ) from error
