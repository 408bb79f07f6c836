"""What becomes of the Kafka log and its readers when brokers, settings or members fail."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from ledger.errors import ConfigurationError, CorruptLog, LedgerError, LogUnavailable
from ledger.logs.base import Topic
from ledger.logs.kafka import KafkaLog
from tests.logs.places import LABELS, everything, message, numbered
from tests.logs.waiting import NOWHERE, receive, until
from tests.services import Broker, JavaBroker


@pytest.fixture
def dataset() -> str:
    return f"birds-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def log(broker: Broker, dataset: str) -> Iterator[KafkaLog]:
    """A dataset of three partitions."""
    with KafkaLog(broker.bootstrap, dataset) as opened:
        opened.create(3)
        yield opened


# ------------------------------------------------------------------------------ failures


def test_broker_away(dataset: str):
    """Without a broker every call ends after its time-out, and names the address."""
    with KafkaLog(NOWHERE, dataset, timeout_s=1) as log:
        for ask in (
            lambda: log.create(1),
            log.exists,
            lambda: log.append(LABELS, [message(0, b"x")]),
            lambda: log.read(LABELS, 0, 0, 1),
            lambda: log.subscribe([LABELS], "views", lambda _, __: 0),
        ):
            with pytest.raises(LogUnavailable, match=f"{NOWHERE}.*brokers run") as away:
                ask()
            assert away.value.acknowledged == 0


def test_broker_killed_in_mid_append(own_broker: JavaBroker, dataset: str):
    """When the broker dies in the middle of an append, the error counts what was acknowledged;
    after its return all of that is there, in order and without a gap, and the log goes on.
    """
    total = 400_000
    with KafkaLog(own_broker.bootstrap, dataset, timeout_s=2) as log:
        log.create(2)
        log.append(LABELS, numbered(0, 0, 1))

        def kill_in_the_middle() -> None:
            with KafkaLog(own_broker.bootstrap, dataset) as watcher:
                until(lambda: sum(watcher.ends(LABELS)) > total // 20)
                own_broker.kill()

        killer = threading.Thread(target=kill_in_the_middle)
        killer.start()
        with pytest.raises(LogUnavailable, match=own_broker.bootstrap) as stopped:
            log.append(LABELS, [message(n % 2, b"%d" % n) for n in range(total)])
        killer.join()
        with pytest.raises(LogUnavailable):
            log.append(LABELS, [message(0, b"nobody takes this")])
        own_broker.restart()
        until(log.exists)
        ends = log.ends(LABELS)
        assert 0 < stopped.value.acknowledged <= sum(ends) - 1 < total
        first = everything(log, LABELS, 0)
        assert first[1:] == [b"%d" % n for n in range(0, 2 * (ends[0] - 1), 2)]
        assert everything(log, LABELS, 1) == [b"%d" % n for n in range(1, 2 * ends[1], 2)]
        assert log.append(LABELS, [message(0, b"on")]) == [ends[0]]


def test_broker_back_in_time(own_broker: JavaBroker, dataset: str):
    """An append outlives a broker that dies and returns within the time-out: every message is
    stored in order, and once, as long as its timestamp is not older than a day.
    """
    total, now_ms = 200_000, int(time.time() * 1000)
    sent = [message(0, b"%d" % n, at=now_ms) for n in range(total)]
    with KafkaLog(own_broker.bootstrap, dataset) as log:
        log.create(1)

        def restart_in_the_middle() -> None:
            with KafkaLog(own_broker.bootstrap, dataset) as watcher:
                until(lambda: watcher.ends(LABELS)[0] > total // 20)
                own_broker.kill()
                own_broker.restart()

        restarter = threading.Thread(target=restart_in_the_middle)
        restarter.start()
        assert log.append(LABELS, sent) == list(range(total))
        restarter.join()
        assert everything(log, LABELS, 0) == [each.value for each in sent]


def test_member_without_a_broker(own_broker: JavaBroker, dataset: str):
    """A member of a group waits for a dead broker as long as the time-out says, then tells; it
    goes on where it was once the broker is back.
    """
    with (
        KafkaLog(own_broker.bootstrap, dataset, timeout_s=1) as log,
        KafkaLog(own_broker.bootstrap, dataset) as patient,
    ):
        patient.create(1)
        patient.append(LABELS, numbered(0, 0, 3))
        with log.subscribe([LABELS], "views", lambda _, __: 0) as member:
            assert receive(member, 3) == [b"0", b"1", b"2"]
            own_broker.kill()
            with pytest.raises(LogUnavailable, match=own_broker.bootstrap):
                until(lambda: member.poll(0.1) is not None)
            own_broker.restart()
            patient.append(LABELS, numbered(0, 3, 4))
            assert receive(member, 1) == [b"3"]


def test_sasl_and_tls(broker: Broker, dataset: str):
    """Properties of TLS and SASL reach every client: with them an encrypted, authenticated
    listener serves all calls; with a wrong password or an unknown certificate authority it is
    the settings that are refused, at once.
    """
    if broker.sasl_ssl is None:
        pytest.skip("this broker has no SASL_SSL listener that we know of")
    bootstrap, client = broker.sasl_ssl
    with KafkaLog(bootstrap, dataset, client=client) as log:
        log.create(1)
        log.append(LABELS, numbered(0, 0, 2))
        assert everything(log, LABELS, 0) == [b"0", b"1"]
        with log.subscribe([LABELS], "views", lambda _, __: 0) as member:
            assert receive(member, 2) == [b"0", b"1"]
    wrong = {**client, "sasl.password": "wrong"}
    unknown = {name: value for name, value in client.items() if name != "ssl.ca.location"}
    for refused, words in ((wrong, "(?i)authentication failed"), (unknown, "certificate")):
        with (
            KafkaLog(bootstrap, dataset, client=refused) as log,
            pytest.raises(ConfigurationError, match=f"{words}.*password") as said,
        ):
            log.exists()
        assert bootstrap in str(said.value)


def test_unknown_property(dataset: str):
    """A property that librdkafka does not know is refused by name."""
    with (
        KafkaLog(NOWHERE, dataset, client={"sasl.pasword": "x"}) as log,
        pytest.raises(ConfigurationError, match=r"sasl\.pasword"),
    ):
        log.exists()


def test_promises_cannot_be_bought_off(broker: Broker, dataset: str):
    """The client's properties cannot turn durability or strictness off."""
    client = {"acks": "0", "enable.idempotence": "false", "auto.offset.reset": "earliest"}
    with KafkaLog(broker.bootstrap, dataset, client=client) as log:
        log.create(1)
        assert log.append(LABELS, numbered(0, 0, 3)) == [0, 1, 2]
        with (
            log.subscribe([LABELS], "views", lambda _, __: 99) as member,
            pytest.raises(CorruptLog),
        ):
            until(lambda: member.poll(0.1) is not None)


# ------------------------------------------------------------------------------ groups


def test_members_share_and_take_over(log: KafkaLog, broker: Broker):
    """Two members share the partitions; the first keeps what it need not give up, without a new
    start; when one leaves, the other goes on with its partitions.
    """
    revoked: list[frozenset[tuple[Topic, int]]] = []
    started: list[int] = []

    def start(_topic: Topic, partition: int) -> int:
        started.append(partition)
        return log.ends(LABELS)[partition]

    with (
        KafkaLog(broker.bootstrap, log.dataset) as elsewhere,
        elsewhere.subscribe([LABELS], "views", lambda _, __: 0) as second,
    ):
        first = log.subscribe([LABELS], "views", start, revoked.append)

        def settled() -> bool:
            first.poll(0.05)
            second.poll(0.05)
            return len(first.assigned) + len(second.assigned) == 3 and bool(first.assigned)

        until(settled)
        assert second.assigned
        assert sorted(set(started)) == sorted(started)
        held = first.assigned
        log.append(LABELS, [message(partition, b"%d" % partition) for partition in range(3)])
        assert set(receive(first, len(held))) == {b"%d" % partition for _, partition in held}
        first.close()
        assert revoked[-1] == held
        assert set(receive(second, 3)) == {b"0", b"1", b"2"}
        assert second.assigned == frozenset((LABELS, p) for p in range(3))


def test_failing_start(log: KafkaLog):
    """An error in the member's own `start` comes out of `poll`, and nothing is delivered."""

    def start(_topic: Topic, _partition: int) -> int:
        raise LedgerError("no checkpoint")

    log.append(LABELS, numbered(0, 0, 3))
    with (
        log.subscribe([LABELS], "views", start) as member,
        pytest.raises(LedgerError, match="no checkpoint"),
    ):
        until(lambda: member.poll(0.1) is not None)


def test_a_waiting_member_gets_each_message_as_it_comes(log: KafkaLog):
    """A member that waits is handed every message by itself, not once a batch is full."""
    with log.subscribe([LABELS], "views", lambda _, __: 0) as member:
        until(lambda: member.poll(0.05) is None and len(member.assigned) == 3)
        for n in range(50):
            offsets = log.append(LABELS, [message(n % 3, b"x")])
            batch = member.poll(5)
            assert batch is not None
            assert list(batch.offsets) == offsets
