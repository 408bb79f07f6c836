"""Workers in this process: histories on a log, and what their views hold in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from consumers.sinks import ViewSink
from consumers.worker import Worker
from ledger import Ledger
from ledger.clock import milliseconds, now
from ledger.core.position import Position
from ledger.dataset import Dataset
from ledger.logs.base import Message, Topic
from tests.core.history import Entry, History
from tests.views.material import Content, content

PATIENCE_S = 90


def opened(address: dict[str, str], partitions: int) -> Dataset:
    """A dataset at the address, made if it is not there."""
    return Ledger.create(**address, partitions=partitions).dataset


def put(dataset: Dataset, entry: Entry) -> None:
    """Append an entry of a history where the history has it."""
    value = dataset.codec.encode(entry.event)
    message = Message(entry.partition, entry.key, value, milliseconds(now()))
    assert dataset.log.append(Topic(entry.topic), [message]) == [entry.offset]


def end(dataset: Dataset) -> Position:
    """The end of the log."""
    log = dataset.log
    return Position(tuple(log.ends(Topic.LABELS)), log.ends(Topic.GOVERNANCE)[0])


def kept(dataset: Dataset, path: Path, group: str = "once") -> Content:
    """What a view holds that a worker brings up to the log's end."""
    sink, until = ViewSink(path, dataset), end(dataset)
    worker = Worker(dataset, [sink], group, sink.restore)
    worker.run(lambda: not worker.reaches(until))
    sink.close()
    return content(path)


@contextmanager
def working(address: dict[str, str], path: Path, group: str) -> Generator[None]:
    """A worker in a thread, with connections of its own, for as long as the block lasts."""
    stop, failed = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            dataset = Ledger.open(**address).dataset
            sink = ViewSink(path, dataset)
            Worker(dataset, [sink], group, sink.restore).run(lambda: not stop.is_set())
            sink.close()
            dataset.log.close()
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not failed


def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s"
        time.sleep(0.01)


def story(partitions: int) -> History:
    """A history with a bit of everything, that begins with a contract."""
    history = History.of_classes("cat", "dog", "owl", partitions=partitions)
    for i in range(12):
        history.item(f"r{i}", "cat", split="train" if i % 2 else None, content=f"text {i}")
    tagged = history.head()
    history.tag("v1")
    for i in range(8):
        history.correct(f"r{i}", "cat" if i % 3 else "owl", "dog")
    history.schema(rename={"dog": "hound"})
    for i in range(4):
        history.propose(f"r{i + 8}", "cat", "owl")
    history.rollback(tagged)
    for i in range(6):
        history.correct(f"r{i}", "cat", "owl")
    return history
