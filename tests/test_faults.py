"""What stands on a log that should not, and logs that are not what they were, on the real parts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from ledger import ConfigurationError, CorruptLog, InvalidRequest, Ledger, LogUnavailable, Outcome
from ledger.clock import milliseconds, now
from ledger.codec import Undecodable
from ledger.core.events import ItemRegistered, LabelEvent
from ledger.core.partitioner import partition_of
from ledger.dataset import Entry
from ledger.logs.base import Message, Topic
from tests.events import item, schema
from tests.services import Broker, Registry

Address = dict[str, str]


def small(address: Address) -> Ledger:
    book = Ledger.create(**address, partitions=2)
    book.append([schema(1, "cat"), item("a", "cat"), item("b", "cat")])
    return book


def outcomes(book: Ledger) -> dict[tuple[str, int, int], Outcome]:
    found: dict[tuple[str, int, int], Outcome] = {}

    def observe(entry: Entry, outcome: Outcome) -> None:
        found[(entry.topic.value, entry.partition, entry.offset)] = outcome

    book.state(observe=observe)
    return found


def test_foreign_bytes_are_recorded_and_stop_nothing(address: Address) -> None:
    """Truncated, trailing, unknown and missing bytes are undecodable with place and reason."""
    with small(address) as book:
        good = book.dataset.codec.encode(next(_registrations(book)))
        at = milliseconds(now())
        bad = [good[:-1], good + b"x", b"", b"not ours", b"\0\0\0\x7f\x7f", good[:3]]
        book.dataset.log.append(Topic.LABELS, [Message(0, b"a", value, at) for value in bad])
        book.dataset.log.append(Topic.GOVERNANCE, [Message(0, None, b"?", at)])
        book.append([item("c", "cat")])
        assert {row.item_id for row in book.snapshot().rows} == {"a", "b", "c"}
        found = [place for place, outcome in outcomes(book).items() if outcome == "undecodable"]
        assert len(found) == len(bad) + 1
        reasons = [e.event.reason for e in book.events() if isinstance(e.event, Undecodable)]
        assert len(reasons) == len(bad) + 1
        assert all(reasons)


def _registrations(book: Ledger) -> Any:
    return (e.event for e in book.events() if isinstance(e.event, ItemRegistered))


def test_an_event_on_the_wrong_topic_is_undecodable(address: Address) -> None:
    """A registration on the governance topic is no governance event, and says so."""
    with small(address) as book:
        value = book.dataset.codec.encode(next(_registrations(book)))
        book.dataset.log.append(Topic.GOVERNANCE, [Message(0, None, value, milliseconds(now()))])
        assert outcomes(book)[("governance", 0, 1)] is Outcome.UNDECODABLE
        assert len(book.snapshot()) == 2


def test_a_misplaced_event_is_refused(address: Address) -> None:
    """A wrong key, or a partition that is not the key's, changes nothing."""
    with small(address) as book:
        event = next(e for e in _registrations(book) if e.item_id == "a")
        moved = type(event)(**{**_fields(event), "item_id": "z", "record_id": "z"})
        value, at = book.dataset.codec.encode(moved), milliseconds(now())
        home = partition_of(b"z", 2)
        book.dataset.log.append(
            Topic.LABELS,
            [Message(home, b"y", value, at), Message(1 - home, b"z", value, at)],
        )
        counts = list(outcomes(book).values())
        assert counts.count(Outcome.MISPLACED) == 2
        assert len(book.snapshot()) == 2


def _fields(event: LabelEvent) -> dict[str, Any]:
    import dataclasses

    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}


@pytest.fixture
def kafka(broker: Broker, request: pytest.FixtureRequest) -> Address:
    return {
        "log": f"kafka://{broker.bootstrap}",
        "dataset": f"f{abs(hash(request.node.name)) % 10**9}-{time.time_ns() % 10**9}",
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cleanup.policy", "compact", "cleanup.policy"),
        ("retention.ms", "86400000", "retention.ms"),
        ("retention.bytes", "1000000", "retention.bytes"),
        ("message.timestamp.type", "LogAppendTime", "message.timestamp.type"),
    ],
)
def test_a_topic_that_would_lose_events_is_refused(
    broker: Broker, kafka: Address, name: str, value: str, words: str
) -> None:
    """A broker that was reconfigured to drop, compact or restamp events is refused by name."""
    small(kafka).close()
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(
        ResourceType.TOPIC, f"{kafka['dataset']}.labels", incremental_configs=[entry]
    )
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    _settle(admin.incremental_alter_configs([resource]))
    with pytest.raises(ConfigurationError, match=words):
        Ledger.open(**kafka)


def test_a_recreated_topic_halts(broker: Broker, kafka: Address) -> None:
    """A topic that was deleted and created again is recognised, though its name is the same."""
    small(kafka).close()
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topic = f"{kafka['dataset']}.labels"
    settings = {"retention.ms": "-1", "cleanup.policy": "delete"}
    _settle(admin.delete_topics([topic]))
    _until_gone(admin, topic)
    _settle(admin.create_topics([NewTopic(topic, 2, 1, config=settings)]))
    with pytest.raises(CorruptLog, match="deleted and created again"):
        Ledger.open(**kafka)


def _settle(futures: Any) -> None:
    """Wait for an admin request, raising what went wrong."""
    for future in futures.values():
        future.result()


def _until_gone(admin: AdminClient, topic: str) -> None:
    for _ in range(100):
        if topic not in admin.list_topics(timeout=10).topics:
            return
        time.sleep(0.1)
    raise AssertionError(f"{topic} is still there")


def test_a_missing_head_halts(broker: Broker, kafka: Address) -> None:
    """A log whose first events were deleted is refused, never read from where it begins now."""
    with small(kafka) as book:
        partition = partition_of(b"a", 2)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    place = TopicPartition(f"{kafka['dataset']}.labels", partition, 1)
    _settle(admin.delete_records([place]))
    with pytest.raises(CorruptLog, match="head"):
        Ledger.open(**kafka)
    book.close()


def test_a_broker_that_is_away_is_named() -> None:
    """Without a broker the answer is a sentence with its address, within the time-out."""
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1"):
        Ledger.open("kafka://127.0.0.1:1", "x", timeout_s=2)


def test_kafkas_own_consumer_reads_the_frame(broker: Broker, kafka: Address) -> None:
    """Kafka's console consumer sees the record id as key and a Confluent frame as value."""
    with small(kafka) as book:
        expected = {
            entry.key: book.dataset.codec.encode(entry.event)
            for entry in book.events()
            if isinstance(entry.event, ItemRegistered)
        }
    shown = broker.console_consume(f"{kafka['dataset']}.labels", count=2)
    for key, value in expected.items():
        assert key is not None
        # The console replaces what is no UTF-8 by itself; ids and labels are.
        assert b"|" + key + b"|\x00\x00\x00\x00" in shown, shown
        assert value[5:].split(b"\x00")[0][:20] in shown


def test_confluents_deserializer_reads_the_values(
    broker: Broker, registry: Registry, kafka: Address
) -> None:
    """With a real registry, confluent-kafka's AvroDeserializer reads every value of our topics."""
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    with Ledger.create(**kafka, partitions=2, registry=registry.url) as book:
        book.append([schema(1, "cat"), item("a", "cat", content="eine Katze"), item("b")])
    client = SchemaRegistryClient({"url": registry.url})
    deserialize = cast("Any", AvroDeserializer)(client)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "independent"})
    topic = f"{kafka['dataset']}.labels"
    consumer.assign([TopicPartition(topic, number, 0) for number in range(2)])
    seen: dict[str, dict[str, Any]] = {}
    for _ in range(300):  # a client may first hear that a new topic is not known yet
        message = consumer.poll(0.1)
        if message is None or message.error():
            continue
        context = SerializationContext(topic, MessageField.VALUE)
        fields = deserialize(message.value(), context)
        assert message.key() == fields["record_id"].encode()
        seen[fields["item_id"]] = fields
        if len(seen) == 2:
            break
    consumer.close()
    assert seen["a"]["label"] == "cat"
    assert seen["a"]["content"] == "eine Katze"
    assert seen["b"]["label"] is None
    level = client.get_compatibility("errata.ItemRegistered")
    assert level == "BACKWARD_TRANSITIVE"


def test_the_registry_refuses_an_incompatible_schema(registry: Registry) -> None:
    """The real registry holds our subjects to BACKWARD_TRANSITIVE."""
    from ledger.codec import Codec
    from ledger.registry import ConfluentRegistry

    ours = ConfluentRegistry(registry.url)
    Codec(ours).register_all()
    broken = '{"type":"record","namespace":"errata","name":"ReviewDecided","fields":[%s]}'
    needs = '{"name":"weight","type":"double"}'
    with pytest.raises(ConfigurationError, match="incompatible"):
        ConfluentRegistry(registry.url).id_of("errata.ReviewDecided", broken % needs)


def test_the_right_registry_is_needed(broker: Broker, registry: Registry, kafka: Address) -> None:
    """A dataset is not opened without the registry its ids come from, nor when it is away."""
    del broker
    Ledger.create(kafka["log"], kafka["dataset"], registry=registry.url).close()
    with pytest.raises(ConfigurationError, match="ERRATA_REGISTRY"):
        Ledger.open(**kafka)
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1"):
        Ledger.open(**kafka, registry="http://127.0.0.1:1")
    with Ledger.open(**kafka, registry=registry.url) as book:
        book.append([schema(1, "cat")])
    own = {**kafka, "dataset": kafka["dataset"] + "x"}
    Ledger.create(own["log"], own["dataset"]).close()
    with pytest.raises(ConfigurationError, match="own log"):
        Ledger.open(**own, registry=registry.url)


def test_a_dataset_whose_setup_was_interrupted_can_be_set_up_again(address: Address) -> None:
    """Topics without a card say so, and `init` completes them."""
    from ledger.settings import load
    from ledger.wiring import build_log

    log = build_log(load(**address))
    log.create(4)
    log.close()
    with pytest.raises(CorruptLog, match="errata init"):
        Ledger.open(**address)
    with Ledger.create(address["log"], address["dataset"]) as book:
        book.append([schema(1, "cat")])


def test_a_foreign_producer_is_read_like_ours(broker: Broker, kafka: Address) -> None:
    """An event that another client wrote with the right frame and key counts."""
    with small(kafka) as book:
        event = next(e for e in _registrations(book) if e.item_id == "a")
        moved = type(event)(**{**_fields(event), "event_id": "x", "item_id": "z", "record_id": "z"})
        value = book.dataset.codec.encode(moved)
        foreign = Producer({"bootstrap.servers": broker.bootstrap, "partitioner": "murmur2_random"})
        foreign.produce(f"{kafka['dataset']}.labels", value, "z")
        assert foreign.flush(20) == 0
        assert {row.item_id for row in book.snapshot().rows} == {"a", "b", "z"}


def test_an_unknown_contract_version_is_refused_and_harmless(address: Address) -> None:
    """An event under a contract that is never made is refused at every position."""
    with small(address) as book:
        book.append([item("later", "cat", contract_version=9)])
        assert len(book.snapshot()) == 2
        assert Outcome.UNKNOWN_CONTRACT in outcomes(book).values()
        with pytest.raises(InvalidRequest, match="unknown type"):
            book.append([{"type": "ItemRegistred"}])


def test_sasl_and_tls_pass_through_the_settings(
    broker: Broker, kafka: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Client properties from a file, as TOML writes dotted names, reach the brokers."""
    if broker.sasl_ssl is None:
        pytest.skip("the broker that was given has no listener with SASL and TLS")
    address, properties = broker.sasl_ssl
    lines = [f'{name} = "{value}"' for name, value in properties.items()]
    text = "[kafka]\nsocket.timeout.ms = 9000\n" + "\n".join(lines)
    (tmp_path / "errata.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with Ledger.create(f"kafka://{address}", kafka["dataset"]) as book:
        book.append([schema(1, "cat"), item("a", "cat")])
        assert len(book.snapshot()) == 1
    monkeypatch.setenv("ERRATA_KAFKA", '{"sasl.password": "wrong"}')
    with pytest.raises(ConfigurationError, match="user name, password"):
        Ledger.open(f"kafka://{address}", kafka["dataset"], timeout_s=5)
