"""What a log is: topics of partitions of messages, each with an offset, and nothing more.

Backends store and return bytes. They know no event, no schema and no fold, so that one contract
suite (`tests/logs/test_contract.py`) says what both must do.

Words: an *offset* is the number of a message inside its partition; the *end* of a partition is
the next offset to be written; the *start* is the first one still retained. Timestamps are
milliseconds since 1970 UTC, 1 or more, and are the appender's (CreateTime).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import ClassVar, NamedTuple, Self, overload


class Topic(StrEnum):
    """The topics of one dataset. A topic's full name is `<dataset>.<topic>`."""

    FEEDBACK = "feedback"
    LABELS = "labels"
    ANNOTATIONS = "annotations"
    SIGNALS = "signals"
    GOVERNANCE = "governance"
    QUARANTINE = "quarantine"
    META = "meta"

    @property
    def single(self) -> bool:
        """Whether the topic has one partition whatever the dataset's number of partitions is."""
        return self in (Topic.GOVERNANCE, Topic.META)


class Message(NamedTuple):
    """One message to append. The partition is the caller's choice, never the backend's."""

    partition: int
    key: bytes | None
    value: bytes
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one partition, as parallel columns of equal length.

    `offsets` ascend; a log may skip some (Kafka's control records), never repeat one.
    A `value` of None is a message without a value (a tombstone, which no writer of ours makes).
    Only where nobody asked for them (`Log.read_packed`), `timestamps_ms` may be empty.
    """

    topic: Topic
    partition: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]

    def __len__(self) -> int:
        return len(self.offsets)

    def rows(self, rows: Sequence[int]) -> Batch:
        """Some of the messages, by their row numbers, which ascend."""
        return Batch(
            self.topic,
            self.partition,
            [self.offsets[row] for row in rows],
            [self.timestamps_ms[row] for row in rows],
            [self.keys[row] for row in rows],
            [self.values[row] for row in rows],
        )


BATCH_MESSAGES_MAX = 10_000
PADDING = 64
"""Zero bytes behind packed messages, so that words may be loaded across their end."""


class Packed(NamedTuple):
    """Keys and values of consecutive messages, or one of both, one behind the other."""

    data: bytes
    """Each key and its value; then `PADDING` zero bytes."""
    sizes: array[int]
    """Of each message, in 64 bits: the key's length above (-1: none), the value's below. Where
    keys, or values, have a buffer of their own, this is just their length.
    """


class PackedCells(Sequence[bytes | None]):
    """The keys, or the values, of packed messages; a `bytes` is made only of what is asked for."""

    def __init__(self, packed: Packed, *, key: bool = False) -> None:
        self.packed = packed
        self.key = key
        self._starts: list[int] | None = None

    def __len__(self) -> int:
        return len(self.packed.sizes)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes | None]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes | None] | None:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        size = self.packed.sizes[index]
        key, value = size >> 32, size & 0xFFFFFFFF
        start = self._start(index)
        if not self.key:
            start += max(key, 0)
            return self.packed.data[start : start + value]
        return None if key < 0 else self.packed.data[start : start + key]

    def _start(self, index: int) -> int:
        if self._starts is None:
            each = (max(size >> 32, 0) + (size & 0xFFFFFFFF) for size in self.packed.sizes)
            self._starts = list(accumulate(each, initial=0))[:-1]
        return self._starts[index]


class Subscription(ABC):
    """A member of a consumer group: the partitions it holds, and their messages as they come."""

    @property
    @abstractmethod
    def assigned(self) -> frozenset[tuple[Topic, int]]:
        """The partitions that this member holds at this moment."""

    @abstractmethod
    def poll(self, timeout_s: float) -> Batch | None:
        """The next batch of one assigned partition. None when none came within `timeout_s`; sooner
        where the log tells at once that something else was appended.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave the group; its partitions go to the other members."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Log(ABC):
    """One dataset's topics on one backend.

    All methods raise `LogUnavailable` when the backend cannot answer now, `CorruptLog` when what
    it holds is not what was written, `ConfigurationError` when it is set up so that it would lose
    events. Constructing a log touches no network and creates nothing.
    """

    dataset: str
    url: str
    prefetches: ClassVar[bool] = False
    """Whether what will be read next is fetched meanwhile, so that it needs no thread to read it
    ahead."""

    @abstractmethod
    def create(self, partitions: int) -> None:
        """Create every topic of the dataset, durably.

        Topics that exist already with the right number of partitions and the right configuration
        are left as they are, so that an interrupted set-up can be run again. Raises
        `InvalidRequest` where one exists with another number of partitions.
        """

    @abstractmethod
    def exists(self) -> bool:
        """Whether the dataset's topics are there (all of them; some but not all: `CorruptLog`)."""

    @abstractmethod
    def check(self) -> list[int]:
        """Refuse a log that loses events: retention, compaction, timestamps, a missing head.

        Returns:
            The first retained offset of each partition of `labels`, for whose missing head a
            checkpoint may stand in: whoever opens the log refuses one above 0 otherwise.
        """

    @abstractmethod
    def topic_ids(self) -> Mapping[Topic, str]:
        """An id per topic that a topic deleted and created again does not keep."""

    def cluster_id(self) -> str:
        """The id of the cluster that holds the log; empty where topic ids say it all."""
        return ""

    @abstractmethod
    def partition_count(self, topic: Topic) -> int:
        """How many partitions the topic has."""

    @abstractmethod
    def starts(self, topic: Topic) -> list[int]:
        """The first retained offset of each partition (its end where nothing is retained)."""

    @abstractmethod
    def ends(self, topic: Topic) -> list[int]:
        """The end of each partition, up to the last stable offset."""

    @abstractmethod
    def append(self, topic: Topic, messages: Sequence[Message]) -> list[int]:
        """Append in order and return the offset of each message once all are durable.

        Order is kept inside a partition. Raises `LogUnavailable` with the number acknowledged;
        in no partition is a message stored behind one that was not.
        """

    @abstractmethod
    def read(self, topic: Topic, partition: int, start: int, stop: int) -> Iterator[Batch]:
        """The messages at offsets `start <= offset < stop`, in batches of at most
        `BATCH_MESSAGES_MAX`. Raises `InvalidRequest` when `stop` is beyond the end and
        `CorruptLog` when `start` is before the retained head or messages are missing.
        """

    def read_packed(
        self, topic: Topic, partition: int, start: int, stop: int, rows: int, *, timed: bool = True
    ) -> Iterator[Batch] | None:
        """As `read`, in batches of about so many rows, whose keys and values may be `PackedCells`,
        and whose times may be missing unless `timed`; None from a log that has no faster way.
        """
        del topic, partition, start, stop, rows, timed
        return None

    @abstractmethod
    def offset_after(self, topic: Topic, partition: int, timestamp_ms: int) -> int:
        """The first offset whose message is later than `timestamp_ms`, or the end."""

    @abstractmethod
    def subscribe(
        self,
        topics: Sequence[Topic],
        group: str,
        start: Callable[[Topic, int], int],
        on_revoke: Callable[[frozenset[tuple[Topic, int]]], None] | None = None,
    ) -> Subscription:
        """Join the consumer group `group` on `topics`.

        Args:
            topics: what to consume.
            group: members of one group share the partitions among them.
            start: called for each partition this member is assigned: the offset to begin at.
                The member's own store is the only notion of progress; nothing is committed.
            on_revoke: called with the partitions that this member holds no more, before another
                member gets them wherever the backend allows it.
        """

    @abstractmethod
    def close(self) -> None:
        """Release files and connections. Appends are durable without it."""

    def topic_name(self, topic: Topic) -> str:
        """The topic's full name, as other programs see it."""
        return f"{self.dataset}.{topic.value}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
