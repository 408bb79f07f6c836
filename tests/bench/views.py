"""How fast views are kept and rebuilt, and how soon an event is seen in them.

    python -m tests.bench.views --items 1000000 --log sqlite

The log is that of `tests.bench.replay`: a registration, a correction and a decision for each item.
- `plain`: the obvious loop over the log, which keeps nothing.
- `worker`: a worker brings an empty view to the log's end, batch by batch, as it would live.
- `rebuild`: views and checkpoints from nothing.
- `seen`: single events, appended one after the other, until each is in the view.

One run prints all of it, for only ratios mean something on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from consumers.rebuild import rebuild
from consumers.sinks import ViewSink
from consumers.worker import Worker
from ledger.checkpoints.files import open_files
from ledger.checkpoints.store import Store, origin_of
from ledger.checkpoints.writer import CheckpointWriter
from ledger.core.events import ItemRegistered, VersionTagged
from ledger.dataset import Dataset
from ledger.logs.base import Log, Message, Topic
from ledger.positions import ends
from tests.bench import replay

EVENTS, TAGS = 300, 20
PAUSE_S = 0.02
PATIENCE_S = 10.0


def plain(dataset: Dataset, folder: Path) -> None:
    """The obvious loop, for comparison."""
    del folder
    replay.plain(dataset)


def worker(dataset: Dataset, folder: Path) -> None:
    """A worker, from nothing to the log's end."""
    sink, until = ViewSink(folder / "worker.db", dataset), ends(dataset)
    work = Worker(dataset, [sink], f"bench-{folder.name}", sink.restore)
    work.run(lambda: not work.reaches(until))
    sink.close()


def rebuilt(dataset: Dataset, folder: Path) -> None:
    """Views and checkpoints, from nothing."""
    store = Store(open_files(str(folder / "checkpoints")), origin_of(dataset))
    rebuild(dataset, folder / "rebuilt.db", CheckpointWriter(store))


WAYS: dict[str, Callable[[Dataset, Path], None]] = {
    "plain": plain,
    "worker": worker,
    "rebuild": rebuilt,
}


def run(way: str, given: argparse.Namespace) -> None:
    """One way, in this process."""
    log = replay.open_log(given.log, given.items, given.bootstrap)
    dataset = Dataset.open(log)
    folder = Path(tempfile.mkdtemp(prefix="errata-bench-"))
    try:
        started, cpu = time.perf_counter(), time.process_time()
        WAYS[way](dataset, folder)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"s": seconds, "cpu": cpu}))


@contextmanager
def working(log: Log, views: Path) -> Generator[sqlite3.Connection]:
    """A worker as a process of its own, and the view it keeps, open for reading."""
    command = [str(Path(sys.executable).with_name("errata")), "worker", "--no-checkpoints"]
    named = {"ERRATA_LOG": log.url, "ERRATA_DATASET": log.dataset, "ERRATA_VIEWS": str(views)}
    process = subprocess.Popen(command, env={**os.environ, **named})
    try:
        while not views.exists():
            time.sleep(0.01)
        with closing(sqlite3.connect(f"file:{views}?mode=ro", uri=True)) as connection:
            yield connection
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def seen(given: argparse.Namespace) -> None:
    """Append events, then tags, one by one; how long after the acknowledgement each is seen."""
    folder = Path(tempfile.mkdtemp(prefix="errata-bench-"))
    try:
        if given.log == "sqlite":
            from ledger.logs.sqlite import SqliteLog

            log: Log = SqliteLog(folder / "log.db", "seen")
        else:
            from ledger.logs.kafka import KafkaLog

            log = KafkaLog(given.bootstrap, folder.name)
        dataset = Dataset.create(log, replay.PARTITIONS)
        with working(log, folder / "seen.db") as view:
            for name, topic, make, count in (
                ("event", Topic.LABELS, _event, EVENTS),
                ("tag", Topic.GOVERNANCE, _tag, TAGS),
            ):
                _seen_s(dataset, view, topic, make(dataset, -1))  # the first one warms up
                times = [_seen_s(dataset, view, topic, make(dataset, i)) for i in range(count)]
                _print_seen(name, sorted(times))
    finally:
        shutil.rmtree(folder)


def _event(dataset: Dataset, number: int) -> Message:
    name = f"item{number}"
    return dataset.message(ItemRegistered(**_common(f"e{number}"), item_id=name, record_id=name))


def _tag(dataset: Dataset, number: int) -> Message:
    return dataset.message(
        VersionTagged(**_common(f"t{number}"), name=f"v{number}", position=ends(dataset))
    )


def _common(event_id: str) -> dict[str, Any]:
    moment = replay.EPOCH
    return {"event_id": event_id, "actor": "ann", "occurred_at": moment, "contract_version": 0}


def _seen_s(dataset: Dataset, view: sqlite3.Connection, topic: Topic, message: Message) -> float:
    (offset,) = dataset.log.append(topic, [message])
    started = time.perf_counter()
    query = "SELECT offset FROM progress WHERE topic = ? AND partition = ?"
    place = (topic.value, message.partition)
    while view.execute(query, place).fetchone()[0] <= offset:
        assert time.perf_counter() - started < PATIENCE_S
        time.sleep(0.0003)
    taken = time.perf_counter() - started
    time.sleep(PAUSE_S)
    return taken


def _print_seen(name: str, times_s: list[float]) -> None:
    middle, late = times_s[len(times_s) // 2], times_s[int(len(times_s) * 0.99)]
    print(f"{name:8} seen after {middle * 1e3:6.1f} ms p50  {late * 1e3:6.1f} ms p99")


def compare(given: argparse.Namespace) -> None:
    """Each way in a process of its own, and its rate beside the plain loop's."""
    found: dict[str, dict[str, float]] = {}
    for way in WAYS:
        command = [sys.executable, "-m", "tests.bench.views", "--one", way, "--log", given.log]
        command += ["--items", str(given.items), "--bootstrap", given.bootstrap]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[way] = json.loads(done.stdout.splitlines()[-1])
    for way, result in found.items():
        rate = 3 * given.items / result["s"]
        ratio = found["plain"]["s"] / result["s"]
        print(
            f"{way:8} {result['s']:7.2f} s (cpu {result['cpu']:6.2f}) {rate:9,.0f} events/s "
            f"{ratio:5.2f} x plain"
        )


def main() -> None:
    """Make the log, run each way, then look how soon an event is seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--log", choices=["sqlite", "kafka"], default="sqlite")
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run(given.one, given)
        return
    broker = None
    if given.log == "kafka" and not given.bootstrap:
        from tests.services import start_broker

        broker = start_broker()
        given.bootstrap = broker.bootstrap
    try:
        replay.prepare(given.log, given.items, given.bootstrap)
        compare(given)
        seen(given)
    finally:
        if broker is not None:
            broker.stop()


if __name__ == "__main__":
    main()
