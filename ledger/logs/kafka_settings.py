"""How the Kafka log sets things up, and what it says when Kafka refuses: tables, no client."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.errors import (
    ConfigurationError,
    CorruptLog,
    InvalidRequest,
    LedgerError,
    LogUnavailable,
)

TOPIC_CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "CreateTime",
    "unclean.leader.election.enable": "false",
    "message.timestamp.after.max.ms": "3600000",  # one hour ahead of the broker's clock
    "message.timestamp.before.max.ms": str(2**63 - 1),  # a copied log keeps its old timestamps
    "max.message.bytes": "1048588",  # Kafka's default, pinned: it must exceed the producer's
}
# Those whose other values lose or restamp events: an existing topic is refused for them.
GUARDED = (
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "message.timestamp.type",
    "unclean.leader.election.enable",
)
MESSAGE_BYTES_MAX = 1_000_000  # librdkafka's default for `message.max.bytes`
MESSAGE_OVERHEAD_BYTES = 100  # of that, what is not for key and value

# What makes it fast, and may be changed by the user's own properties. By default a reader whose
# queue once held 100,000 messages fetches no more for a second: on small messages, a factor of 4.
# A client for requests asks one broker, which it took for the controller; when that one dies it
# learns of another only with fresh metadata, by default after five minutes.
TUNING: Mapping[str, Mapping[str, object]] = {
    "admin": {"topic.metadata.refresh.interval.ms": 1_000},
    "producer": {
        "linger.ms": 0,
        "compression.type": "lz4",
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 65_536,
    },
    "consumer": {
        "queued.min.messages": 1_000_000,
        "queued.max.messages.kbytes": 65_536,
        "fetch.queue.backoff.ms": 10,
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 1_000,
    },
}
# What the promises of `Log` rest on, and nobody may change.
#
# No message may be stored behind one that was not. A refusal by the broker is made fatal by
# `enable.gapless.guarantee`: the producer sends nothing more. Time-outs are exempt from that
# guarantee (librdkafka, INTRODUCTION.md, "Message timeout considerations"), so messages have
# none: `append` keeps the deadline and purges all that is left at once. Either way the producer
# is thrown away, and what it had in flight is stored up to some message and not beyond.
#
# Cooperative: a member keeps the partitions, and the state it holds for them, that stay with it.
PROMISES: Mapping[str, Mapping[str, object]] = {
    "admin": {},
    "producer": {
        "enable.idempotence": True,
        "acks": "all",
        "enable.gapless.guarantee": True,
        "message.timeout.ms": 0,
    },
    "consumer": {
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "check.crcs": True,
        "partition.assignment.strategy": "cooperative-sticky",
    },
}

# Errors by the names that librdkafka gives them; those with an underscore are its own.
ABSENT = frozenset({"UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "_UNKNOWN_TOPIC"})
SILENT = frozenset({"_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN", "REQUEST_TIMED_OUT"})
DENIED = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM"})
FORBIDDEN = frozenset(f"{of}_AUTHORIZATION_FAILED" for of in ("TOPIC", "GROUP", "CLUSTER"))
# A leader is moving, or the brokers do not all know of it yet: a request is made again.
MOVING = frozenset(
    {
        "NOT_LEADER_FOR_PARTITION",
        "LEADER_NOT_AVAILABLE",
        "UNKNOWN_LEADER_EPOCH",
        "FENCED_LEADER_EPOCH",
        "OFFSET_NOT_AVAILABLE",
        "REPLICA_NOT_AVAILABLE",
        "NOT_CONTROLLER",
        "_TRANSPORT",
    }
)
# Whose fault each is, and what to do; any other means that the log is unavailable now.
_REMEDIES: tuple[tuple[frozenset[str], type[LedgerError], str], ...] = (
    (
        DENIED | FORBIDDEN | {"_SSL"},
        ConfigurationError,
        "check this client's user name, password, certificates and permissions "
        "(security.protocol, sasl.*, ssl.*)",
    ),
    (
        frozenset({"INVALID_CONFIG", "POLICY_VIOLATION", "INVALID_REPLICATION_FACTOR"}),
        ConfigurationError,
        "change what the cluster does not allow, or have its administrator create the topics",
    ),
    (
        ABSENT,
        CorruptLog,
        "the topic was deleted while it was in use: restore it, or copy the dataset anew",
    ),
    (
        frozenset({"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"}),
        CorruptLog,
        "messages that were there are gone: copy the dataset anew from where they still are",
    ),
    (
        frozenset({"_BAD_MSG", "_BAD_COMPRESSION", "INVALID_MSG"}),
        CorruptLog,
        "a stored message is damaged: copy the dataset anew from where it is whole",
    ),
    (
        frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"}),
        InvalidRequest,
        "shorten the message, or raise the topic's max.message.bytes",
    ),
    (
        frozenset({"INVALID_TIMESTAMP", "INVALID_RECORD"}),
        InvalidRequest,
        "correct its timestamp: the topic's message.timestamp.after.max.ms says how far ahead of "
        "the broker's clock it may be",
    ),
)


def explained(name: str, refused: str, acknowledged: int = 0) -> LedgerError:
    """Kafka's error `name` as one of ours; `refused` says what could not be done, and why."""
    for names, kind, remedy in _REMEDIES:
        if name in names:
            return kind(f"{refused}; {remedy}")
    return LogUnavailable(
        f"{refused}; make sure that the brokers run and can be reached, then try again",
        acknowledged=acknowledged,
    )


def guarded_fault(topic: str, found: Mapping[str, str | None]) -> str | None:
    """What in a topic's configuration would lose or restamp events, in words."""
    for name in GUARDED:
        value, wanted = found.get(name), TOPIC_CONFIG[name]
        # Nothing is deleted where retention is infinite, so no policy at all is as good.
        fine = "compact" not in (value or "") if name == "cleanup.policy" else value == wanted
        if not fine:
            return (
                f"topic {topic} has {name}={value} where the ledger needs {wanted}, or events "
                f"would be lost or changed: set it (kafka-configs.sh --alter --entity-type topics "
                f"--entity-name {topic} --add-config {name}={wanted}) before anything is lost"
            )
    return None
