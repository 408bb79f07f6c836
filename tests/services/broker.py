"""A Kafka broker: one that is given, one in Docker, or one run from Maven's jars.

`ERRATA_TEST_BOOTSTRAP` names a broker that runs already; its topics are left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.services.java import Process, Unavailable, free_ports, java, kafka_jars

HOST = "127.0.0.1"
CLUSTER_ID = "RXJyYXRhVGVzdENsdXN0ZQ"
USER, PASSWORD = "errata", "correct horse"
START_S_MAX = 90
STARTUP = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")


class Broker:
    """A broker that somebody else runs."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.sasl_ssl: tuple[str, Mapping[str, str]] | None = None

    def stop(self) -> None:
        """Stop what this object started."""

    def console_consume(self, topic: str, partition: int | None = None, *, count: int) -> bytes:
        """What Kafka's own console consumer prints of the first `count` messages, in lines of
        `CreateTime:<ms>|Partition:<n>|Offset:<n>|<key>|<value>`.
        """
        where = [] if partition is None else ["--partition", str(partition), "--offset", "earliest"]
        shown = ("timestamp", "partition", "offset", "key", "value")
        properties = [f"--property=print.{name}=true" for name in shown]
        command = [
            *(str(java()), "-Xmx128m", *STARTUP, "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"),
            *("-cp", f"{kafka_jars()}/*", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
            *("--bootstrap-server", self.bootstrap, "--topic", topic, "--max-messages", str(count)),
            *("--timeout-ms", "20000", "--property", "key.separator=|", *properties),
            *(where or ["--from-beginning"]),
        ]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if done.returncode != 0:
            raise AssertionError(f"the console consumer failed:\n{done.stderr.decode()[-2000:]}")
        return done.stdout


@dataclass(frozen=True)
class Node:
    """Where one node of a cluster listens: three ports of the loopback interface."""

    id: int
    plain: int
    sasl_ssl: int
    controller: int


def node_config(
    node: Node, cluster: Sequence[Node], data: Path, keystore: Path
) -> Mapping[str, str]:
    """The server properties of one node, which is broker and controller, of a KRaft cluster."""
    replicas = str(min(3, len(cluster)))
    listeners = (
        f"PLAINTEXT://{HOST}:{node.plain},SASL_SSL://{HOST}:{node.sasl_ssl},"
        f"CONTROLLER://{HOST}:{node.controller}"
    )
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.id),
        "controller.quorum.voters": ",".join(f"{n.id}@{HOST}:{n.controller}" for n in cluster),
        "controller.listener.names": "CONTROLLER",
        "listeners": listeners,
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{USER}="{PASSWORD}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "log.dirs": str(data),
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker may come back once the controller has missed it: soon, for the tests.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
    }


class JavaNode:
    """One node of a cluster, run from Maven's jars: it can be killed, and started again on the same
    ports and the same data.
    """

    def __init__(self, config: Mapping[str, str], folder: Path, heap: str = "320m") -> None:
        self._heap = heap
        self._log = folder / f"kafka-{config['node.id']}.log"
        self._process: Process | None = None
        self._properties = folder / f"server-{config['node.id']}.properties"
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in config.items()))
        format_log = self._command("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c")
        done = subprocess.run(format_log, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"Kafka's storage could not be formatted: {done.stderr[-2000:]}")

    def _command(self, main_class: str, *arguments: str) -> list[str]:
        jvm = [f"-Xmx{self._heap}", *STARTUP, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        main = ["-cp", f"{kafka_jars()}/*", main_class]
        return [str(java()), *jvm, *main, *arguments, str(self._properties)]

    def start(self) -> None:
        """Start it, without waiting."""
        self._process = Process(self._command("kafka.Kafka"), self._log)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Return once `ready()`; raises `Unavailable` when the node has ended or takes too long."""
        assert self._process is not None
        self._process.wait_until(ready, START_S_MAX)

    def kill(self) -> None:
        """End it without a word, as a power cut would."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self._process is not None:
            self._process.stop()


class JavaBroker(Broker):
    """A cluster of one broker, run from Maven's jars, with a plain and a SASL_SSL listener.

    Killed or stopped, it can be started again on the same ports and the same data.
    """

    def __init__(self, heap: str = "320m") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="errata-kafka-"))
        try:
            plain, sasl_ssl, controller = free_ports(3)
            super().__init__(f"{HOST}:{plain}")
            keystore, ca = certificates(self._folder)
            settings = {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "PLAIN",
                "sasl.username": USER,
                "sasl.password": PASSWORD,
                "ssl.ca.location": str(ca),
            }
            self.sasl_ssl = (f"{HOST}:{sasl_ssl}", settings)
            node = Node(1, plain, sasl_ssl, controller)
            config = node_config(node, [node], self._folder / "data", keystore)
            self._node = JavaNode(config, self._folder, heap)
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._node.start()
        self._node.wait_until(lambda: brokers_at(self.bootstrap) == 1)

    def kill(self) -> None:
        """End it without a word, as a power cut would."""
        self._node.kill()

    def restart(self) -> None:
        """Start it again after `kill`, or stop it first."""
        self._node.stop()
        self.start()

    def stop(self) -> None:
        """Stop it and delete its data."""
        if hasattr(self, "_node"):
            self._node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class JavaCluster(Broker):
    """Three brokers, each a controller too, of which one may be killed and started again."""

    SIZE = 3

    def __init__(self, heap: str = "256m") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="errata-kafka-cluster-"))
        self._nodes: dict[int, JavaNode] = {}
        try:
            ports = iter(free_ports(3 * self.SIZE))
            nodes = [Node(i + 1, next(ports), next(ports), next(ports)) for i in range(self.SIZE)]
            super().__init__(",".join(f"{HOST}:{node.plain}" for node in nodes))
            keystore, _ = certificates(self._folder)
            for node in nodes:
                data = self._folder / f"data-{node.id}"
                config = node_config(node, nodes, data, keystore)
                self._nodes[node.id] = JavaNode(config, self._folder, heap)
            for node in self._nodes.values():
                node.start()
            self._nodes[1].wait_until(self.whole)
        except BaseException:
            self.stop()
            raise

    def whole(self) -> bool:
        """Whether every broker takes part."""
        return brokers_at(self.bootstrap) == self.SIZE

    def leader(self, topic: str, partition: int) -> int:
        """The node that leads a partition; -1 while there is none."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        found = admin.list_topics(topic, timeout=10).topics[topic].partitions[partition]
        return found.leader

    def kill(self, node: int) -> None:
        """End a node without a word."""
        self._nodes[node].kill()

    def start(self, node: int) -> None:
        """Start a node again, and wait until every broker takes part."""
        self._nodes[node].start()
        self._nodes[node].wait_until(self.whole)

    def stop(self) -> None:
        """Stop all and delete their data."""
        for node in self._nodes.values():
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def brokers_at(bootstrap: str) -> int:
    """How many brokers take part at this moment; 0 where none answers."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return len(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return 0


def certificates(folder: Path) -> tuple[Path, Path]:
    """A broker's key store, and the authority that clients are to trust, as files in the folder."""
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "localhost")
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    keystore, ca = folder / "keystore.pem", folder / "ca.pem"
    keystore.write_bytes(_pkcs8(certificate.private_key_pem.bytes()) + chain)
    authority.cert_pem.write_to_path(str(ca))
    return keystore, ca


def _pkcs8(key: bytes) -> bytes:
    """The private key in the only form that Kafka reads from a PEM key store."""
    loaded = load_pem_private_key(key, None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class DockerBroker(Broker):
    """A broker in a container of testcontainers."""

    def __init__(self) -> None:
        from testcontainers.community.kafka import KafkaContainer

        self._container = KafkaContainer().with_kraft()
        for name in ("REPLICATION_FACTOR", "MIN_ISR"):
            self._container.with_env(f"KAFKA_TRANSACTION_STATE_LOG_{name}", "1")
        self._container.start(timeout=START_S_MAX)
        super().__init__(self._container.get_bootstrap_server())

    def stop(self) -> None:
        """Stop the container."""
        self._container.stop()


def docker_answers() -> bool:
    """Whether a Docker engine can be reached."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        info = subprocess.run([docker, "info"], capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return info.returncode == 0


def start_broker() -> Broker:
    """A broker for the whole session; raises `Unavailable` where none can be had."""
    if given := os.environ.get("ERRATA_TEST_BOOTSTRAP"):
        return Broker(given)
    if docker_answers():
        return DockerBroker()
    return JavaBroker()
