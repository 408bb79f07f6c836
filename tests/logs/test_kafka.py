"""What the Kafka log promises beyond every log's promises, on a real broker."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (  # pyright: ignore[reportPrivateImportUsage]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)

from ledger.errors import (
    ConfigurationError,
    CorruptLog,
    InvalidRequest,
)
from ledger.logs.base import Message, Topic
from ledger.logs.kafka import KafkaLog
from tests.logs.places import LABELS, NOON, PATIENCE_S, everything, message, numbered, values
from tests.logs.waiting import NOWHERE, until
from tests.services import Broker


@pytest.fixture
def dataset() -> str:
    return f"birds-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def log(broker: Broker, dataset: str) -> Iterator[KafkaLog]:
    """A dataset of three partitions."""
    with KafkaLog(broker.bootstrap, dataset) as opened:
        opened.create(3)
        yield opened


@pytest.fixture
def admin(broker: Broker) -> Any:
    """Somebody else with rights on the cluster."""
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def done(futures: Mapping[Any, Any]) -> None:
    for future in futures.values():
        future.result()


def configure(admin: Any, topic: str, name: str, value: str) -> None:
    """Change a property, and wait until the broker shows it."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource("topic", topic, incremental_configs=[entry])
    done(admin.incremental_alter_configs([resource]))

    def shown() -> bool:
        (future,) = admin.describe_configs([ConfigResource("topic", topic)]).values()
        return future.result()[name].value == value

    until(shown)


# ------------------------------------------------------------------------------ topics


def test_created_topics_keep_everything(log: KafkaLog, admin: Any):
    """A created topic never deletes, never compacts, keeps the appender's timestamps, refuses
    those more than an hour ahead, and never elects a leader that lacks messages.
    """
    resources = [ConfigResource("topic", log.topic_name(topic)) for topic in Topic]
    for future in admin.describe_configs(resources).values():
        found = {name: entry.value for name, entry in future.result().items()}
        assert found["cleanup.policy"] == "delete"
        assert found["retention.ms"] == found["retention.bytes"] == "-1"
        assert found["message.timestamp.type"] == "CreateTime"
        assert found["message.timestamp.after.max.ms"] == "3600000"
        assert found["unclean.leader.election.enable"] == "false"
        assert found["min.insync.replicas"] == "1"  # there is one broker


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("cleanup.policy", "compact", "delete"),
        ("cleanup.policy", "compact,delete", "delete"),
        ("retention.ms", "604800000", "-1"),
        ("retention.bytes", "1073741824", "-1"),
        ("message.timestamp.type", "LogAppendTime", "CreateTime"),
        ("unclean.leader.election.enable", "true", "false"),
    ],
)
def test_configuration_that_loses_events(
    log: KafkaLog, admin: Any, name: str, value: str, wanted: str
):
    """A topic that would drop or restamp events is refused: by name, with the value it has and
    the one it needs, both by `check` and by `create`.
    """
    configure(admin, log.topic_name(Topic.SIGNALS), name, value)
    for ask in (log.check, lambda: log.create(3)):
        with pytest.raises(ConfigurationError) as refused:
            ask()
        assert f"{log.topic_name(Topic.SIGNALS)} has {name}={value}" in str(refused.value)
        assert f"needs {wanted}" in str(refused.value)


def test_topics_of_somebody_else(broker: Broker, admin: Any, dataset: str):
    """Topics made with the broker's defaults, which delete after a week, are refused."""
    with KafkaLog(broker.bootstrap, dataset) as log:
        done(admin.create_topics([NewTopic(log.topic_name(t), 1) for t in Topic]))
        with pytest.raises(ConfigurationError, match=r"retention\.ms=604800000"):
            log.check()


def test_missing_head(log: KafkaLog, admin: Any):
    """Of `labels`, check says which first messages were deleted, and reading them is refused; any
    other topic is refused.
    """
    log.append(LABELS, numbered(1, 0, 10))
    done(admin.delete_records([TopicPartition(log.topic_name(LABELS), 1, 4)]))
    assert log.starts(LABELS) == [0, 4, 0]
    words = rf"{log.topic_name(LABELS)} partition 1 .* 4"
    assert log.check() == [0, 4, 0]
    with pytest.raises(CorruptLog, match=words):
        log.read(LABELS, 1, 3, 10)
    assert values(log.read(LABELS, 1, 4, 10)) == [b"%d" % n for n in range(4, 10)]
    log.append(Topic.GOVERNANCE, numbered(0, 0, 3))
    done(admin.delete_records([TopicPartition(log.topic_name(Topic.GOVERNANCE), 0, 2)]))
    with pytest.raises(CorruptLog, match=rf"{log.topic_name(Topic.GOVERNANCE)} partition 0 .* 2"):
        log.check()


def test_head_deleted_while_reading(log: KafkaLog, broker: Broker, admin: Any):
    """A reader that messages are deleted in front of says so, and skips nothing."""
    log.append(LABELS, [message(0, bytes(1000)) for _ in range(30_000)])
    little = {"queued.min.messages": "100", "fetch.message.max.bytes": "10000"}
    with KafkaLog(broker.bootstrap, log.dataset, client=little) as reader:
        batches = reader.read(LABELS, 0, 0, 30_000)
        position = len(next(batches))
        done(admin.delete_records([TopicPartition(log.topic_name(LABELS), 0, 29_000)]))

        def read_on() -> None:
            nonlocal position
            for batch in batches:
                assert batch.offsets[0] == position
                position += len(batch)

        with pytest.raises(CorruptLog, match="messages that were there are gone"):
            read_on()


def test_recreated_topic(log: KafkaLog, admin: Any):
    """A topic deleted and created again has another id; the others keep theirs."""
    before = dict(log.topic_ids())
    done(admin.delete_topics([log.topic_name(LABELS)]))
    with pytest.raises(CorruptLog, match=log.topic_name(LABELS)):
        until(lambda: not log.exists())
    log.create(3)
    after = dict(log.topic_ids())
    assert before.pop(LABELS) != after.pop(LABELS)
    assert before == after


def test_cluster_id(log: KafkaLog, admin: Any):
    """A cluster has an id."""
    assert log.cluster_id() == admin.list_topics(timeout=10).cluster_id


def test_looking_creates_nothing(broker: Broker, admin: Any, dataset: str):
    """Asking for a dataset that is not there makes no topic, though the broker would allow it."""
    with KafkaLog(broker.bootstrap, dataset) as log:
        assert not log.exists()
        for ask in (
            log.check,
            lambda: log.append(LABELS, [message(0, b"x")]),
            lambda: log.subscribe([LABELS], "views", lambda _, __: 0),
        ):
            with pytest.raises(InvalidRequest, match=dataset):
                ask()
    assert not [name for name in admin.list_topics(timeout=10).topics if dataset in name]


@pytest.mark.parametrize("name", ["", "a b", "birds/1", "ü", "x" * 201])
def test_names_that_kafka_lacks(name: str):
    """A name that no topic could have is refused at once."""
    with pytest.raises(InvalidRequest, match="cannot name a dataset"):
        KafkaLog(NOWHERE, name)


# ------------------------------------------------------------------------------ messages


def test_read_by_kafkas_own_consumer(broker: Broker, log: KafkaLog):
    """Kafka's own consumer finds each message in the partition asked for, with its key, value
    and timestamp, at the offset that append returned.
    """
    offsets = log.append(
        LABELS, [Message(2, b"rec-%d" % n, b"\x00\x01\xffv%d" % n, NOON + n) for n in range(3)]
    )
    assert broker.console_consume(log.topic_name(LABELS), 2, count=3) == b"".join(
        b"CreateTime:%d|Partition:2|Offset:%d|rec-%d|\x00\x01\xffv%d\n" % (NOON + n, offset, n, n)
        for n, offset in enumerate(offsets)
    )


def test_too_large(log: KafkaLog):
    """A message over the limit is refused with the limit, and nothing of its append is stored."""
    with pytest.raises(InvalidRequest, match=r"message 1 .* 999901 bytes .* limit of 999900"):
        log.append(LABELS, [message(0, b"small"), message(0, bytes(999_900))])
    assert log.ends(LABELS) == [0, 0, 0]
    assert log.append(LABELS, [message(0, bytes(999_899))]) == [0]


def test_too_large_for_the_topic(log: KafkaLog, admin: Any):
    """What the broker refuses ends the append: nothing is stored behind it in its partition, and
    the log takes the next append.
    """
    configure(admin, log.topic_name(LABELS), "max.message.bytes", "10000")
    before = numbered(0, 0, 5)
    log.append(LABELS, before)
    large = message(0, random.randbytes(20_000))
    with pytest.raises(InvalidRequest, match=r"partition 0 .* max\.message\.bytes"):
        log.append(LABELS, [large, *numbered(0, 5, 3000)])
    assert everything(log, LABELS, 0) == [b"%d" % n for n in range(5)]
    assert log.append(LABELS, numbered(0, 5, 6)) == [5]


def test_timestamps_that_kafka_lacks(log: KafkaLog):
    """A timestamp more than an hour ahead is refused, and so are 0 and less, which Kafka's
    clients replace by the present.
    """
    for timestamp_ms in (0, -1):
        with pytest.raises(InvalidRequest, match=f"{timestamp_ms} is no timestamp"):
            log.append(LABELS, [message(0, b"x", at=timestamp_ms)])
    ahead = int(time.time() * 1000) + 2 * 3_600_000
    with pytest.raises(InvalidRequest, match="timestamp"):
        log.append(LABELS, [message(0, b"x", at=ahead)])
    assert log.ends(LABELS) == [0, 0, 0]


@pytest.fixture
def transactions(broker: Broker) -> Producer:
    """A foreign program that writes transactions."""
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap, "transactional.id": uuid.uuid4().hex}
    )
    producer.init_transactions(PATIENCE_S)
    return producer


def test_aborted_messages_are_not_read(log: KafkaLog, transactions: Producer):
    """A foreign transaction that was aborted is not read; a range still ends at its end, be it
    in aborted messages or in the records that end transactions.
    """
    name = log.topic_name(LABELS)
    log.append(LABELS, numbered(0, 0, 2))
    for kept in (True, False):
        transactions.begin_transaction()
        for n in range(3):
            transactions.produce(name, b"%s %d" % (b"kept" if kept else b"lost", n), partition=0)
        transactions.flush()
        if kept:
            transactions.commit_transaction(PATIENCE_S)
        else:
            transactions.abort_transaction(PATIENCE_S)
    until(lambda: log.ends(LABELS)[0] == 10)  # 2, and twice: 3 and the transaction's end
    kept_values = [b"0", b"1", b"kept 0", b"kept 1", b"kept 2"]
    assert everything(log, LABELS, 0) == kept_values
    for stop in range(5, 11):
        assert values(log.read(LABELS, 0, 1, stop)) == kept_values[1:stop]
        assert values(log.read_packed(LABELS, 0, 1, stop, 2)) == kept_values[1:stop]
        assert values(log.read(LABELS, 0, 5, stop)) == []
    log.append(LABELS, numbered(0, 2, 3))
    for stop in range(5, 11):
        assert values(log.read(LABELS, 0, 1, stop)) == kept_values[1:stop]
    assert everything(log, LABELS, 0) == [*kept_values, b"2"]


def test_open_transaction_is_beyond_the_end(log: KafkaLog, transactions: Producer):
    """The end is the last stable offset: an open transaction and what follows come after it."""
    log.append(LABELS, numbered(0, 0, 2))
    transactions.begin_transaction()
    transactions.produce(log.topic_name(LABELS), b"open", partition=0)
    transactions.flush()
    assert log.append(LABELS, [message(0, b"2")]) == [3]
    assert log.ends(LABELS)[0] == 2
    with pytest.raises(InvalidRequest, match="2"):
        log.read(LABELS, 0, 0, 3)
    transactions.abort_transaction(PATIENCE_S)
    until(lambda: log.ends(LABELS)[0] == 5)
    assert everything(log, LABELS, 0) == [b"0", b"1", b"2"]
