"""How fast events are appended durably, beside the raw store that takes them.

    python -m tests.bench.appends --log sqlite
    python -m tests.bench.appends --log kafka

Ready messages of about 125 bytes in 4 partitions, alone (each durable before the next) and in
batches. Raw SQLite is one INSERT and COMMIT in the same mode and durability; a raw producer is
idempotent with acks=all as ours is, told of each delivery as ours is. One run prints the rates and
their ratios, for only those mean something on a shared machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
from confluent_kafka import Producer

from ledger.core.partitioner import partition_of
from ledger.logs.base import Log, Message, Topic
from ledger.logs.kafka import KafkaLog
from ledger.logs.sqlite import SqliteLog

PARTITIONS = 4
BATCH = 10_000
VALUE = b"v" * 110
Append = Callable[[Sequence[Message]], object]


def messages(count: int) -> list[Message]:
    """As many messages as a frontend's events would be."""
    keys = [b"item-%09d" % i for i in range(count)]
    return [
        Message(partition_of(key, PARTITIONS), key, VALUE, 1_700_000_000_000 + i)
        for i, key in enumerate(keys)
    ]


def raw_sqlite(path: Path) -> Append:
    """Rows into one table, committed as durably as the log's."""
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.execute(
        "CREATE TABLE log(partition INTEGER, offset INTEGER, at INTEGER, key BLOB, value BLOB, "
        "PRIMARY KEY(partition, offset)) WITHOUT ROWID"
    )
    ends = [0] * PARTITIONS

    def append(batch: Sequence[Message]) -> None:
        rows: list[tuple[int, int, int, bytes | None, bytes]] = []
        for each in batch:
            offset = ends[each.partition]
            ends[each.partition] = offset + 1
            rows.append((each.partition, offset, each.timestamp_ms, each.key, each.value))
        with db:
            db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)

    return append


def raw_kafka(bootstrap: str, topic: str) -> Append:
    """`produce` with a delivery callback for each message."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "compression.type": "lz4",
        }
    )

    def append(batch: Sequence[Message]) -> None:
        delivered: list[object] = []
        for each in batch:
            producer.produce(
                topic,
                each.value,
                each.key,
                each.partition,
                timestamp=each.timestamp_ms,
                on_delivery=lambda error, _: delivered.append(error),
            )
        while len(delivered) < len(batch):
            producer.poll(1)
        assert not any(delivered)

    return append


def rates(append: Append, alone: int, batched: int) -> tuple[float, float]:
    """Events per second one by one, and in batches."""
    given = messages(alone + batched)
    append(given[:1])  # whatever is set up at the first append is set up now
    started = time.perf_counter()
    for each in given[1:alone]:
        append([each])
    between = time.perf_counter()
    for start in range(alone, len(given), BATCH):
        append(given[start : start + BATCH])
    ended = time.perf_counter()
    return (alone - 1) / (between - started), batched / (ended - between)


def compare(log: Log, raw: Append, alone: int, batched: int) -> None:
    """Ours and the raw store in turns, the better of two each."""
    log.create(PARTITIONS)
    ours = [0.0, 0.0]
    theirs = [0.0, 0.0]
    for _ in range(2):
        for best, append in ((ours, partial(log.append, Topic.LABELS)), (theirs, raw)):
            best[:] = map(max, best, rates(append, alone, batched))
    for name, mine, other in zip(("alone", "batched"), ours, theirs, strict=True):
        print(f"{name:8} {mine:10,.0f}/s  raw {other:10,.0f}/s  {mine / other:5.2f} x raw")


def main() -> None:
    """Print the rates and ratios of one log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--alone", type=int, default=2_000)
    parser.add_argument("--batched", type=int, default=500_000)
    parser.add_argument("--bootstrap", default="")
    given = parser.parse_args()
    if given.log == "sqlite":
        with tempfile.TemporaryDirectory(dir=".") as folder:  # /tmp may be memory
            raw = raw_sqlite(Path(folder, "raw.db"))
            with closing(SqliteLog(Path(folder, "ours.db"), "bench")) as log:
                compare(log, raw, given.alone, given.batched)
        return
    from tests.services import Broker, start_broker

    broker = Broker(given.bootstrap) if given.bootstrap else start_broker()
    try:
        with closing(KafkaLog(broker.bootstrap, f"bench-{uuid.uuid4().hex[:8]}")) as log:
            log.create(PARTITIONS)
            raw = raw_kafka(broker.bootstrap, log.topic_name(Topic.SIGNALS))
            compare(log, raw, given.alone, given.batched)
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
