"""How fast the log is replayed, beside what the log gives at best and beside the obvious loop.

    python -m tests.bench.replay --items 1000000 --log sqlite

One run prints all rates, for only their ratios mean something on a shared machine. What the log
gives at best is `raw`: the client library alone, each value, key and offset touched. The log holds
one registration, one correction and one decision for each item, under one contract of 20 classes,
in 4 partitions; it is made once and kept under .cache/bench. With `--boxes` every item is one of
five boxes of its record. Each way runs in a process of its own, which says its peak memory.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import fastavro

from ledger.clock import milliseconds, now
from ledger.codec import Codec, shipped_schemas
from ledger.core.events import (
    ClassAdded,
    CorrectionProposed,
    Event,
    Geometry,
    ItemRegistered,
    LabelEvent,
    ReviewDecided,
    SchemaChanged,
)
from ledger.core.partitioner import partition_of
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.logs.base import Log, Message, Topic
from ledger.logs.sqlite import SqliteLog
from ledger.registry import EmbeddedRegistry

CACHE = Path(".cache/bench")
PARTITIONS = 4
CLASSES = [f"class{i:02}" for i in range(20)]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 5_000
BOXES = 5
"""So many boxes has a record that has any."""


def events(items: int, *, boxes: bool = False) -> Iterator[Event]:
    """Everything is registered; then each item is corrected and the correction decided."""
    for i in range(items):
        yield ItemRegistered(
            **_common(f"r{i:09}", "importer", i),
            **about(i, boxes=boxes),
            label=CLASSES[i % 20],
            geometry=Geometry("bbox", _corners(i)) if boxes else None,
            split="train",
            content=None if boxes else f"the text of item {i}, some forty characters",
        )
    for i in range(items):
        before, after = CLASSES[i % 20], CLASSES[(i + 1 + i % 3) % 20]
        yield CorrectionProposed(
            **_common(f"p{i:09}", f"annotator-{i % 50}", i),
            **about(i, boxes=boxes),
            correction_id=f"correction-{i:09}",
            from_label=before if i % 10 else after,
            to_label=after if i % 10 else before,
            source="feedback",
        )
        yield ReviewDecided(
            **_common(f"d{i:09}", f"reviewer-{i % 20}", i),
            **about(i, boxes=boxes),
            correction_id=f"correction-{i:09}",
            decision="accept" if i % 7 else "keep",
        )


def _common(event_id: str, actor: str, i: int) -> dict[str, Any]:
    moment = EPOCH + timedelta(seconds=i)
    whole = f"{event_id}-0123456789abcdef"
    return {"event_id": whole, "actor": actor, "occurred_at": moment, "contract_version": 1}


def about(i: int, *, boxes: bool) -> dict[str, Any]:
    """The ids of an item and of its record."""
    record = f"image-{i // BOXES:09}" if boxes else f"item-{i:09}"
    return {"item_id": f"{record}#{i % BOXES}" if boxes else record, "record_id": record}


def _corners(i: int) -> tuple[float, ...]:
    return (i % 640 + 0.5, i % 480 / 3, 8.0 + i % 97, 5 + i % 89 / 7)


def path_of(items: int, *, boxes: bool = False) -> Path:
    """Where the embedded log is kept."""
    return CACHE / f"{'boxes' if boxes else 'replay'}-{items}.db"


def open_log(kind: str, items: int, bootstrap: str, *, boxes: bool = False) -> Log:
    """The log, made if it is not there."""
    if kind == "sqlite":
        log: Log = SqliteLog(path_of(items, boxes=boxes), "bench")
    else:
        from ledger.logs.kafka import KafkaLog

        log = KafkaLog(bootstrap, "boxes" if boxes else "bench")
    return log


def prepare(kind: str, items: int, bootstrap: str, *, boxes: bool = False) -> None:
    """The log, made if it is not there: a file gets its name when it is whole."""
    log = open_log(kind, items, bootstrap, boxes=boxes)
    if isinstance(log, SqliteLog):
        path = path_of(items, boxes=boxes)
        if path.exists():
            return
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        for each in CACHE.glob(f"{partial.name}*"):
            each.unlink()
        with SqliteLog(partial, "bench") as made:
            generate(made, items, boxes=boxes)
        with closing(apsw.Connection(str(partial))) as connection:  # nothing is left beside it
            connection.pragma("wal_checkpoint(TRUNCATE)")
        partial.rename(path)
    elif not log.exists():
        generate(log, items, boxes=boxes)
    held = sum(log.ends(Topic.LABELS))
    assert held == 3 * items, f"the log at {log.url} has {held} events: remove it"


def generate(log: Log, items: int, *, boxes: bool = False) -> None:
    """Append the events."""
    dataset = Dataset.create(log, PARTITIONS)
    schema = SchemaChanged(
        event_id="schema",
        actor="admin",
        occurred_at=EPOCH,
        contract_version=0,
        version=1,
        at=(0,) * PARTITIONS,
        add=tuple(ClassAdded(name) for name in CLASSES),
    )
    log.append(Topic.GOVERNANCE, [message(dataset, schema)])
    chunk: list[Message] = []
    for event in events(items, boxes=boxes):
        chunk.append(message(dataset, event))
        if len(chunk) == CHUNK:
            log.append(Topic.LABELS, chunk)
            chunk.clear()
    log.append(Topic.LABELS, chunk)


def message(dataset: Dataset, event: Event) -> Message:
    """The event as the log takes it."""
    key, partition = None, 0
    if isinstance(event, LabelEvent):
        key = event.record_id.encode()
        partition = partition_of(key, dataset.partitions)
    return Message(partition, key, dataset.codec.encode(event), milliseconds(now()))


def head(dataset: Dataset) -> Position:
    """The end of the log."""
    log = dataset.log
    return Position(tuple(log.ends(Topic.LABELS)), log.ends(Topic.GOVERNANCE)[0])


def raw(dataset: Dataset) -> int:
    """Every value, key and offset, by the client library alone: nothing can be faster."""
    log = dataset.log
    if isinstance(log, SqliteLog):
        path = log.url.removeprefix("sqlite:///")
        with closing(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            rows = connection.execute("SELECT value, key, offset FROM records")
            return sum(1 for _, _, _ in rows)
    from confluent_kafka import Consumer, TopicPartition

    from ledger.logs.kafka_settings import TUNING

    group = {"group.id": "bench", "isolation.level": "read_committed"}
    address = {"bootstrap.servers": log.url.removeprefix("kafka://")}
    consumer = Consumer({**address, **group, **TUNING["consumer"]})
    count, name = 0, log.topic_name(Topic.LABELS)
    consumer.list_topics(name)  # else it would learn of the topic up to a second later
    for partition, end in enumerate(log.ends(Topic.LABELS)):
        consumer.assign([TopicPartition(name, partition, 0)])
        position = 0
        while position < end:
            for message in consumer.consume(min(10_000, end - position), 0.1):
                message.value()
                message.key()
                position = (message.offset() or 0) + 1
                count += 1
    consumer.close()
    return count


def scan(dataset: Dataset) -> int:
    """Read every message, as the log gives it."""
    count = 0
    for partition, end in enumerate(dataset.log.ends(Topic.LABELS)):
        for batch in dataset.log.read(Topic.LABELS, partition, 0, end):
            count += len(batch.keys)
    return count


def ours(dataset: Dataset) -> int:
    """The columnar fold."""
    from ledger.columnar.replay import replay

    state = replay(dataset, head(dataset))
    return sum(int(each.columns.things.exists.sum()) for each in state.partitions)


def ours_hashed(dataset: Dataset) -> int:
    """The columnar fold, then the sorted canonical bytes and their hash."""
    from ledger.columnar.replay import replay

    snapshot = replay(dataset, head(dataset)).snapshot()
    print(snapshot.sha256, file=sys.stderr)
    return len(snapshot)


def reference(dataset: Dataset) -> int:
    """The reference fold."""
    from ledger.replay import replay

    return sum(1 for _ in replay(dataset, head(dataset)).items())


def plain(dataset: Dataset) -> int:
    """The same fold written the obvious way, for histories as simple as this one: one approval,
    no roles, no rollback. Dictionaries hold what is open and what is true.
    """
    by_id: dict[int, tuple[str, Any]] = {}
    for schema in shipped_schemas().all:
        by_id[dataset.codec.registry.id_of(schema.subject, schema.text)] = (
            schema.event,
            schema.parsed,
        )
    labels: dict[str, str | None] = {}
    open_: dict[tuple[str, str], dict[str, Any]] = {}
    status: dict[tuple[str, str], str] = {}
    for partition, end in enumerate(dataset.log.ends(Topic.LABELS)):
        for batch in dataset.log.read(Topic.LABELS, partition, 0, end):
            for value in batch.values:
                assert value is not None
                name, schema = by_id[int.from_bytes(value[1:5], "big")]
                event: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
                item = event["item_id"]
                if name == "ItemRegistered":
                    if item not in labels and event["label"] in CLASSES:
                        labels[item] = event["label"]
                    continue
                key = (event["record_id"], event["correction_id"])
                if name == "CorrectionProposed":
                    if item in labels and key not in status and event["to_label"] in CLASSES:
                        open_[key], status[key] = event, "proposed"
                elif key in open_ and open_[key]["actor"] != event["actor"]:
                    proposal = open_.pop(key)
                    if event["decision"] == "keep":
                        status[key] = "kept"
                    elif labels[item] == proposal["from_label"]:
                        labels[item], status[key] = proposal["to_label"], "applied"
                    else:
                        status[key] = "stale"
    return len(labels)


WAYS: dict[str, Callable[[Dataset], int]] = {
    "raw": raw,
    "scan": scan,
    "ours": ours,
    "ours_hashed": ours_hashed,
    "plain": plain,
    "reference": reference,
}
_ITEMS = ("ours", "ours_hashed", "plain", "reference")
"""The ways that say how many items there are; the others count messages."""


def run(way: str, kind: str, items: int, bootstrap: str, *, boxes: bool) -> None:
    """One way, in this process."""
    log = open_log(kind, items, bootstrap, boxes=boxes)
    dataset = Dataset(log, Codec(EmbeddedRegistry(log)), PARTITIONS)
    if way.startswith("ours"):
        importlib.import_module("ledger.columnar.replay")  # loading it is no part of a rate
    started, cpu = time.perf_counter(), time.process_time()
    count = WAYS[way](dataset)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"way": way, "s": seconds, "cpu": cpu, "count": count, "peak_mib": peak}))


def main() -> None:
    """Make the log, run each way in a process of its own, print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--ways", default="raw,scan,ours,ours_hashed,plain")
    parser.add_argument("--boxes", action="store_true")
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run(given.one, given.log, given.items, given.bootstrap, boxes=given.boxes)
        return
    broker = None
    if given.log == "kafka" and not given.bootstrap:
        from tests.services import start_broker

        broker = start_broker()
        given.bootstrap = broker.bootstrap
    try:
        started = time.perf_counter()
        prepare(given.log, given.items, given.bootstrap, boxes=given.boxes)
        print(f"log ready after {time.perf_counter() - started:.1f} s")
        compare(given)
    finally:
        if broker is not None:
            broker.stop()


def compare(given: argparse.Namespace) -> None:
    """Each way in its own process, and its rate beside the others'."""
    found: dict[str, dict[str, Any]] = {}
    for way in given.ways.split(","):
        command = [sys.executable, "-m", "tests.bench.replay", "--one", way, "--log", given.log]
        command += ["--items", str(given.items), "--bootstrap", given.bootstrap]
        command += ["--boxes"] if given.boxes else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    counts = {way: found[way]["count"] for way in _ITEMS if way in found}
    assert len(set(counts.values())) <= 1, f"they do not count the same items: {counts}"
    count = 3 * given.items
    for way, result in found.items():
        line = f"{way:12} {result['s']:7.2f} s (cpu {result['cpu']:6.2f})"
        line += f" {count / result['s'] / 1e6:6.3f} M/s  peak {result['peak_mib']:6.0f} MiB"
        for other in ("raw", "scan", "plain"):
            if other in found and other != way:
                line += f"  {found[other]['s'] / result['s']:5.2f} x {other}"
        print(line)
    if {"raw", "ours", "plain"} <= found.keys():
        mine, peak = found["ours"]["s"], found["ours"]["peak_mib"]
        print(
            f"replay of {count:,} events from {given.log}: {found['raw']['s'] / mine:.2f} of the "
            f"raw rate, {found['plain']['s'] / mine:.1f} x the plain loop, peak {peak:.0f} MiB"
        )


if __name__ == "__main__":
    main()
