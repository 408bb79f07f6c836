"""The embedded log: one SQLite file, nothing to start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import cast

from ledger.clock import new_id
from ledger.errors import CorruptLog, InvalidRequest, LogUnavailable
from ledger.logs import sqlite_checksum as running
from ledger.logs.base import BATCH_MESSAGES_MAX, Batch, Log, Message, Subscription, Topic
from ledger.logs.sqlite_file import Connection, LogFile, NoLogFile
from ledger.logs.sqlite_group import GroupMember
from ledger.logs.sqlite_read import Part, columns, packed

# Offsets looked at in one transaction of `offset_after`.
_SCAN_ROWS = 500_000
_TIMESTAMP_MAX = 2**62
_RESTORE = "restore the file from a backup, or copy the log anew"


class SqliteLog(Log):
    """One dataset's topics in a SQLite file, which may hold other datasets too.

    Args:
        path: the file; `create` makes it.
        dataset: the dataset's name.
        timeout_s: how long to wait for another writer before `LogUnavailable`.

    Any thread may use it, and any number of processes may have the file open. After an error it
    works again as soon as the cause is gone; after `close` the next use opens the file again.
    """

    def __init__(self, path: Path, dataset: str, *, timeout_s: float = 10) -> None:
        self.dataset = dataset
        self.url = f"sqlite:///{path}"
        self._file = LogFile(path, timeout_s)
        # Threads queue here rather than in SQLite, whose waiting knows no order.
        self._writing = threading.Lock()

    def create(self, partitions: int) -> None:
        """Create the topics in one transaction, and the file and its folder where missing."""
        if partitions < 1:
            raise InvalidRequest(f"a dataset has 1 partition or more, not {partitions}")
        with self._write(create=True) as connection:
            self._file.make_tables(connection)
            for topic in Topic:
                self._create_topic(connection, topic, 1 if topic.single else partitions)

    def _create_topic(self, connection: Connection, topic: Topic, count: int) -> None:
        name = self.topic_name(topic)
        if (parts := self._rows(connection, topic)) and len(parts) != count:
            raise InvalidRequest(
                f"{name} in {self._file.path} has {len(parts)} partitions and not {count}, and a "
                "log keeps its number: ask for that many, or copy the dataset into a new log"
            )
        if not parts:
            connection.execute("INSERT INTO topics VALUES(?, ?, ?)", (name, new_id(), count))
            connection.executemany(
                "INSERT INTO partitions SELECT ?, ?, coalesce(max(partition_id), 0) + 1, 0"
                " FROM partitions",
                [(name, partition) for partition in range(count)],
            )

    def exists(self) -> bool:
        """Whether the topics are there; makes no file."""
        try:
            with self._one_state() as connection:
                missing = [topic for topic in Topic if not self._rows(connection, topic)]
        except NoLogFile:
            return False
        if len(missing) < len(Topic):
            self._refuse_partial(missing)
        return not missing

    def check(self) -> list[int]:
        """Refuse partitions whose last records are gone, or whose first are, but for `labels`."""
        heads: list[int] = []
        with self._one_state() as connection:
            for part in chain.from_iterable(self._parts(connection, topic) for topic in Topic):
                head = self._head(connection, part) if part.end else 0
                if part.topic is Topic.LABELS:
                    heads.append(head)
                elif head:
                    raise self._headless(part, head)
                self._last_checksum(connection, part)
                beyond = "SELECT 1 FROM records WHERE partition_id = ? AND offset >= ? LIMIT 1"
                if connection.execute(beyond, (part.partition_id, part.end)).fetchall():
                    raise self._damaged(part, f"its end, {part.end},")
        return heads

    def topic_ids(self) -> Mapping[Topic, str]:
        """Random ids, given when the topics were created."""
        with self._one_state() as connection:
            for topic in Topic:
                self._parts(connection, topic)
            ids = dict(connection.execute("SELECT name, topic_id FROM topics").fetchall())
        return {topic: ids[self.topic_name(topic)] for topic in Topic}

    def partition_count(self, topic: Topic) -> int:
        """As created."""
        return len(self.ends(topic))

    def starts(self, topic: Topic) -> list[int]:
        """0 for a whole log."""
        with self._file.use() as connection:
            return [self._head(connection, part) for part in self._parts(connection, topic)]

    def ends(self, topic: Topic) -> list[int]:
        """As stored, not as counted: lost records leave a hole that `read` refuses."""
        with self._file.use() as connection:
            return [part.end for part in self._parts(connection, topic)]

    def append(self, topic: Topic, messages: Sequence[Message]) -> list[int]:
        """Append in one transaction: all of the messages or none."""
        if not messages:
            return []
        offsets: list[int] = []
        with self._write() as connection:
            parts = self._parts(connection, topic)
            self._refuse_impossible(topic, messages, len(parts))
            ends = [part.end for part in parts]
            checksums = {
                partition: self._last_checksum(connection, parts[partition])
                for partition in {message.partition for message in messages}
            }

            def rows() -> Iterator[tuple[int, int, int, bytes | None, bytes, int]]:
                for partition, key, value, timestamp_ms in messages:
                    offset = ends[partition]
                    checksum = running.after_message(checksums[partition], key, value, timestamp_ms)
                    ends[partition], checksums[partition] = offset + 1, checksum
                    offsets.append(offset)
                    yield parts[partition][0], offset, timestamp_ms, key, value, checksum

            connection.executemany("INSERT INTO records VALUES(?, ?, ?, ?, ?, ?)", rows())
            connection.executemany(
                "UPDATE partitions SET next_offset = ? WHERE topic = ? AND partition = ?",
                [(ends[partition], self.topic_name(topic), partition) for partition in checksums],
            )
        return offsets

    def read(self, topic: Topic, partition: int, start: int, stop: int) -> Iterator[Batch]:
        """Read in short transactions, proving each batch; the arguments are refused at once."""
        part = self._range(topic, partition, start, stop)
        return self._batches(part, start, stop, 0)

    def read_packed(
        self, topic: Topic, partition: int, start: int, stop: int, rows: int, *, timed: bool = True
    ) -> Iterator[Batch]:
        """As `read`; what is large, or not plain, comes as `read` gives it. Times cost nothing."""
        del timed
        part = self._range(topic, partition, start, stop)
        return self._batches(part, start, stop, rows)

    def _range(self, topic: Topic, partition: int, start: int, stop: int) -> Part:
        with self._file.use() as connection:
            part = self._part(connection, topic, partition)
        if start < 0 or stop > part.end:
            raise InvalidRequest(
                f"{self._place(part)} holds the offsets 0 to {part.end - 1}: "
                f"{start} to {stop - 1} cannot be read"
            )
        return part

    def _batches(self, part: Part, start: int, stop: int, packed: int) -> Iterator[Batch]:
        # A transaction per batch: one that lasts as long as the reader pleases would keep the
        # write-ahead log from ever being emptied.
        while start < stop:
            with self._file.use() as connection:
                batch = self._packed(connection, part, start, min(stop, start + packed))
                if batch is None:
                    end = min(stop, start + BATCH_MESSAGES_MAX)
                    batch = self._batch(connection, part, start, end)
            start += len(batch)
            yield batch

    def _packed(self, connection: Connection, part: Part, start: int, stop: int) -> Batch | None:
        """A packed batch, proved; None where there is none, which `_batch` tells more of."""
        before = self._checksum_before(connection, part, start) if start < stop else None
        if before is None:
            return None
        found = packed(connection, part, start, stop, before)
        if found is None or found[1] != self._checksum_at(connection, part, stop - 1):
            return None
        return found[0]

    def _batch(self, connection: Connection, part: Part, start: int, stop: int) -> Batch:
        """A batch of the records from `start`, proved to be what was appended."""
        before = self._checksum_before(connection, part, start)
        if before is None:  # the first of a log without head: nothing proves it but what follows
            stop = start + 1
        try:
            batch, checksum, full = columns(connection, part, start, stop, before or running.EMPTY)
        except (TypeError, UnicodeDecodeError):  # a cell of another type than was written
            raise self._fault(connection, part, start, stop, before) from None
        end = start + len(batch)
        stored = self._checksum_at(connection, part, end - 1)
        if not (full or end == stop) or (before is not None and checksum != stored):
            raise self._fault(connection, part, start, stop, before)
        return batch

    def offset_after(self, topic: Topic, partition: int, timestamp_ms: int) -> int:
        """Scan from the start: timestamps need not ascend, so no index would help."""
        with self._file.use() as connection:
            part = self._part(connection, topic, partition)
            start = self._head(connection, part)
        while start < part.end:
            with self._file.use() as connection:
                found = connection.execute(
                    "SELECT offset FROM records WHERE partition_id = ? AND offset >= ?"
                    " AND offset < ? AND timestamp_ms > ? ORDER BY offset LIMIT 1",
                    (part.partition_id, start, min(start + _SCAN_ROWS, part.end), timestamp_ms),
                ).fetchall()
            if found:
                return found[0][0]
            start += _SCAN_ROWS
        return part.end

    def subscribe(
        self,
        topics: Sequence[Topic],
        group: str,
        start: Callable[[Topic, int], int],
        on_revoke: Callable[[frozenset[tuple[Topic, int]]], None] | None = None,
    ) -> Subscription:
        """Join `group`; see `Log.subscribe`. One member at a time holds all the partitions."""
        return GroupMember(
            log=self, file=self._file, topics=topics, group=group, start=start, on_revoke=on_revoke
        )

    def close(self) -> None:
        """Close the idle connections; the next use opens the file again."""
        self._file.close()

    @contextmanager
    def _one_state(self) -> Generator[Connection]:
        """For questions whose answers are compared: others append meanwhile."""
        with self._file.use() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def _write(self, *, create: bool = False) -> Generator[Connection]:
        """A transaction that is durable at the end, and undone by any exception."""
        path, timeout_s = self._file.path, self._file.timeout_s
        if not self._writing.acquire(timeout=timeout_s):
            raise LogUnavailable(
                f"{path} is kept busy for longer than {timeout_s:g} s by other appends of this "
                "process; nothing of this call was stored: try again"
            )
        try:
            with self._file.use(create=create) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        finally:
            self._writing.release()

    def _rows(self, connection: Connection, topic: Topic) -> list[Part]:
        """The topic's partitions; none where there is no such topic."""
        name = self.topic_name(topic)
        rows = connection.execute(
            "SELECT partition_id, partition, next_offset, partitions"
            " FROM topics LEFT JOIN partitions ON topic = name WHERE name = ? ORDER BY partition",
            (name,),
        ).fetchall()
        if any(
            [type(cell) for cell in row] != [int] * 4
            or row[1] != partition
            or row[2] < 0
            or row[3] != len(rows)
            for partition, row in enumerate(rows)
        ):
            raise CorruptLog(
                f"{self._file.path}: the partitions of {name} are not those created; {_RESTORE}"
            )
        return [Part(row[0], topic, row[1], row[2]) for row in rows]

    def _parts(self, connection: Connection, topic: Topic) -> list[Part]:
        if parts := self._rows(connection, topic):
            return parts
        missing = [other for other in Topic if not self._rows(connection, other)]
        if len(missing) < len(Topic):
            self._refuse_partial(missing)
        raise InvalidRequest(
            f"{self._file.path} has no topic {self.topic_name(topic)}: create the dataset "
            f"{self.dataset!r} first, or correct its name"
        )

    def _part(self, connection: Connection, topic: Topic, partition: int) -> Part:
        parts = self._parts(connection, topic)
        if 0 <= partition < len(parts):
            return parts[partition]
        raise self._no_partition(topic, partition, len(parts))

    def _no_partition(self, topic: Topic, partition: int, count: int) -> InvalidRequest:
        return InvalidRequest(
            f"{self.topic_name(topic)} has the partitions 0 to {count - 1}, and none {partition}"
        )

    def _refuse_impossible(self, topic: Topic, messages: Sequence[Message], count: int) -> None:
        for partition, _, _, timestamp_ms in messages:
            if not 0 <= partition < count:
                raise self._no_partition(topic, partition, count)
            if not 0 < timestamp_ms < _TIMESTAMP_MAX:
                raise InvalidRequest(
                    f"{timestamp_ms} is no timestamp: give milliseconds since 1970 UTC, above 0"
                )

    def _head(self, connection: Connection, part: Part) -> int:
        first = connection.execute(
            "SELECT min(offset) FROM records WHERE partition_id = ?", (part.partition_id,)
        ).fetchall()[0][0]
        return part.end if first is None else first

    def _checksum_at(self, connection: Connection, part: Part, offset: int) -> int | None:
        rows = connection.execute(
            "SELECT checksum FROM records"
            " WHERE partition_id = ? AND offset = ? AND typeof(checksum) = 'integer'",
            (part.partition_id, offset),
        ).fetchall()
        return rows[0][0] if rows else None

    def _last_checksum(self, connection: Connection, part: Part) -> int:
        if not part.end:
            return running.EMPTY
        checksum = self._checksum_at(connection, part, part.end - 1)
        if checksum is None:
            raise self._fault(connection, part, part.end - 1, part.end, None)
        return checksum

    def _checksum_before(self, connection: Connection, part: Part, offset: int) -> int | None:
        """The checksum that the record at `offset` goes on from; None at a retained head."""
        if not offset:
            return running.EMPTY
        checksum = self._checksum_at(connection, part, offset - 1)
        if checksum is None and offset != self._head(connection, part):
            raise self._fault(connection, part, offset - 1, offset, None)
        return checksum

    # ------------------------------------------------------------------ what is wrong, in words

    def _refuse_partial(self, missing: Sequence[Topic]) -> None:
        if missing:
            names = ", ".join(map(self.topic_name, missing))
            raise CorruptLog(f"{self._file.path} lacks the topics {names}; {_RESTORE}")

    def _fault(
        self, connection: Connection, part: Part, start: int, stop: int, checksum: int | None
    ) -> CorruptLog:
        """The first thing wrong in a range, found record by record."""
        head = self._head(connection, part)
        if start < head:
            return self._headless(part, head)
        expected = start
        for offset, key, value, timestamp_ms, stored, types in connection.execute(
            "SELECT offset, CAST(key AS BLOB), CAST(value AS BLOB), timestamp_ms, checksum,"
            " typeof(key) IN ('blob', 'null') AND typeof(value) = 'blob'"
            " AND typeof(timestamp_ms) = 'integer' AND typeof(checksum) = 'integer'"
            " FROM records WHERE partition_id = ? AND offset >= ? AND offset < ? ORDER BY offset",
            (part.partition_id, start, stop),
        ):
            if not isinstance(offset, int):
                return self._damaged(part, f"offset {expected}")
            if offset != expected:
                return self._missing(part, expected, offset - 1)
            cells = cast(tuple[bytes | None, bytes, int], (key, value, timestamp_ms))
            if not types or (
                checksum is not None and running.after_message(checksum, *cells) != stored
            ):
                return self._damaged(part, f"offset {offset}")
            checksum = cast(int, stored)
            expected += 1
        if expected < stop:
            return self._missing(part, expected, stop - 1)
        return self._damaged(part, f"offsets {start} to {stop - 1}")

    def _place(self, part: Part) -> str:
        return f"{self.topic_name(part.topic)} partition {part.partition} in {self._file.path}"

    def _damaged(self, part: Part, where: str) -> CorruptLog:
        return CorruptLog(f"{self._place(part)}: {where} is not what was appended; {_RESTORE}")

    def _missing(self, part: Part, first: int, last: int) -> CorruptLog:
        return CorruptLog(
            f"{self._place(part)}: the offsets {first} to {last} are missing; {_RESTORE}"
        )

    def _headless(self, part: Part, head: int) -> CorruptLog:
        return CorruptLog(
            f"the head of {self._place(part)} is missing: first retained offset is {head}; "
            f"{_RESTORE}"
        )
