"""What the tests of logs share: where a dataset is, and messages to put there."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import apsw

from ledger.logs.base import Batch, Log, Message, Topic

LABELS = Topic.LABELS
NOON = 1_700_000_000_000
PATIENCE_S = 60  # a consumer group on Kafka takes seconds to settle


@dataclass(frozen=True)
class Place:
    """Where a test's datasets are, in a form that another process can be told."""

    backend: str
    where: str
    suffix: str

    def open(self, dataset: str) -> Log:
        name = f"{dataset}-{self.suffix}"
        if self.backend == "sqlite":
            from ledger.logs.sqlite import SqliteLog

            return SqliteLog(Path(self.where), name)
        from ledger.logs.kafka import KafkaLog

        return KafkaLog(self.where, name)


@dataclass
class OpenLog:
    """Opens the same dataset as often as a test likes, and closes every handle at the end."""

    place: Place
    handles: list[Log] = field(default_factory=list[Log])

    def __call__(self, dataset: str = "birds") -> Log:
        self.handles.append(self.place.open(dataset))
        return self.handles[-1]


def message(partition: int, value: bytes, key: bytes | None = b"k", *, at: int = NOON) -> Message:
    return Message(partition, key, value, at)


def numbered(partition: int, first: int, stop: int) -> list[Message]:
    return [message(partition, b"%d" % n, b"key %d" % n, at=NOON + n) for n in range(first, stop)]


def values(batches: Iterator[Batch]) -> list[bytes | None]:
    return list(chain.from_iterable(batch.values for batch in batches))


def everything(log: Log, topic: Topic, partition: int) -> list[bytes | None]:
    return values(log.read(topic, partition, 0, log.ends(topic)[partition]))


@contextmanager
def other_program(path: Path) -> Generator[apsw.Connection]:
    """The file, open in a program that is not ours."""
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close(True)


def alter(path: Path, statement: str) -> None:
    with other_program(path) as connection:
        connection.execute(statement)
