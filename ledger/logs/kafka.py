"""The log on Kafka: a dataset's topics on any cluster that speaks its protocol (3.6 or later).

Three things make it safe. Topics are set up so that nothing is ever dropped, and `check` refuses
those that somebody set up otherwise. `append` rests on librdkafka's idempotent producer, made
gapless. Readers read committed messages only, up to the last stable offset, and never jump: an
offset out of range is an error. Nothing is committed to Kafka. `kafka_settings` has the details.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import structlog
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import Message as Received
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

from ledger.errors import (
    ConfigurationError,
    CorruptLog,
    InvalidRequest,
    LedgerError,
    LogUnavailable,
)
from ledger.logs.base import BATCH_MESSAGES_MAX, Batch, Log, Message, Subscription, Topic
from ledger.logs.kafka_settings import (
    ABSENT,
    DENIED,
    MESSAGE_BYTES_MAX,
    PROMISES,
    SILENT,
    TOPIC_CONFIG,
    TUNING,
    explained,
    guarded_fault,
)

READERS_KEPT_MAX = 4
SETTLE_S = 5  # what is in flight when an append fails has this long to be acknowledged
FILL_S = 0.01  # a reader waits this long for a batch to become a full one

Partition = tuple[Topic, int]
_C = TypeVar("_C")
_diagnostics: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Cluster:
    """How to reach a cluster, and what its clients complained of while we waited for them."""

    def __init__(self, bootstrap: str, properties: Mapping[str, str], timeout_s: float) -> None:
        self.bootstrap = bootstrap
        self.properties = properties
        self.timeout_s = timeout_s
        self.complaint: KafkaError | None = None
        self.down_since: float | None = None

    def client(self, make: Callable[..., _C], kind: str, **own: object) -> _C:
        """A client of librdkafka; it connects in the background."""
        settings = {
            **TUNING[kind],
            **self.properties,
            **PROMISES[kind],
            **{name.replace("_", "."): value for name, value in own.items()},
            "allow.auto.create.topics": False,
            "bootstrap.servers": self.bootstrap,
            "error_cb": self._complain,
        }
        try:
            return make(settings, logger=self)
        except KafkaException as e:
            raise ConfigurationError(
                f"Kafka's client library refuses the settings for {self.bootstrap}: "
                f"{e.args[0].str()}; correct them"
            ) from e

    def log(self, _level: int, template: str, *values: object) -> None:
        """Take librdkafka's own log lines, which it would print; what matters is raised."""
        _diagnostics.debug("librdkafka", line=template % values)

    def _complain(self, error: KafkaError) -> None:
        if error.name() == "_ALL_BROKERS_DOWN":
            self.down_since = self.down_since or time.monotonic()
            _diagnostics.warning("no Kafka broker answers", bootstrap=self.bootstrap)
        else:
            self.complaint = error

    def raise_if_refused(self, doing: str) -> None:
        """Do not wait for a time-out when a broker has said that it won't let this client in."""
        error = self.complaint
        if error is not None and (error.name() in DENIED or "certificate" in error.str()):
            raise self.failure(error, doing)

    def failure(self, error: KafkaError, doing: str, acknowledged: int = 0) -> LedgerError:
        """Kafka's error as one of ours, where `doing` says what could not be done."""
        reason = error.str()
        if self.complaint is not None and error.name() in SILENT:
            error = self.complaint
            reason = f"{reason} ({error.str()})"
        refused = f"cannot {doing} on Kafka at {self.bootstrap}: {reason}"
        return explained(error.name(), refused, acknowledged)

    def silent(self) -> KafkaError:
        """The error of a broker that said nothing for the whole time-out."""
        return KafkaError(KafkaError.REQUEST_TIMED_OUT, f"no answer for {self.timeout_s:g} s")


def _batch(topic: Topic, partition: int, messages: Sequence[Received]) -> Batch:
    return Batch(
        topic,
        partition,
        [message.offset() or 0 for message in messages],
        [message.timestamp()[1] for message in messages],
        [message.key() for message in messages],
        [message.value() for message in messages],
    )


class _Reports:
    """What the delivery reports of one append say."""

    def __init__(self, count: int) -> None:
        self.offsets = [-1] * count
        self.sent = 0
        self.answered = 0
        self.error: KafkaError | None = None
        self.failed = 0  # which message, where there is an error

    def take(self, index: int, error: KafkaError | None, message: Received) -> None:
        self.answered += 1
        if error is None:
            self.offsets[index] = message.offset() or 0
        else:
            self.fail(index, error)

    def fail(self, index: int, error: KafkaError) -> None:
        if self.error is None:  # the next ones only follow from the first
            self.failed, self.error = index, error


class KafkaLog(Log):
    """A dataset on a Kafka cluster.

    Args:
        bootstrap: brokers to begin with, as `host:port,host:port`.
        dataset: the dataset's name: letters, digits, `.`, `_` and `-`.
        client: properties passed on to librdkafka, such as `security.protocol`, `sasl.*`, `ssl.*`.
        replication_factor: copies of each partition; 3 by default, or as many as there are brokers.
        timeout_s: how long a broker may be silent before a call gives up.
    """

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
        self._cluster = _Cluster(bootstrap, properties, timeout_s)
        self._bytes_max = int(properties.get("message.max.bytes", MESSAGE_BYTES_MAX))
        self._replication_factor = replication_factor
        self._appending = threading.Lock()
        self._producer: Producer | None = None
        self._readers: list[Consumer] = []
        self._admin_client: Any = None  # Any: the types of its methods are partial
        self._counts: dict[Topic, int] = {}

    # ------------------------------------------------------------------------------ topics

    @property
    def _admin(self) -> Any:
        if self._admin_client is None:
            self._admin_client = self._cluster.client(AdminClient, "admin")
        return self._admin_client

    def _ask(self, request: str, *arguments: object, doing: str, **options: object) -> Any:
        """Ask the cluster; a dictionary of answers comes with errors in place of failed ones."""
        self._cluster.complaint = None
        ask = getattr(self._admin, request)
        asked = ask(*arguments, request_timeout=self._cluster.timeout_s, **options)
        if isinstance(asked, Future):
            return self._answer(asked, doing)
        return {of: self._answer(future, doing) for of, future in asked.items()}
