"""Consumer groups of the embedded log: one member at a time holds every partition.

Membership is an OS lock on a file beside the log, which the kernel frees when its holder dies,
however it dies. The lock file stays when the last member leaves: deleting it would let one member
lock a file that another can no longer find.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ledger.errors import CorruptLog, InvalidRequest
from ledger.logs.base import BATCH_MESSAGES_MAX, Batch, Log, Subscription, Topic

if TYPE_CHECKING:
    from ledger.logs.sqlite_file import Connection, LogFile

# How often a member looks for new messages (3 % of a processor), and whether its group is free.
_LOOK_S = 0.002
_TAKE_OVER_S = 0.01


class GroupMember(Subscription):
    """A member of a consumer group on a SQLite log. For one thread at a time."""

    def __init__(
        self,
        *,
        log: Log,
        file: LogFile,
        topics: Sequence[Topic],
        group: str,
        start: Callable[[Topic, int], int],
        on_revoke: Callable[[frozenset[tuple[Topic, int]]], None] | None,
    ) -> None:
        self._log = log
        self._file = file
        self._topics = tuple(dict.fromkeys(topics))
        self._start = start
        self._on_revoke = on_revoke
        self._group = group
        self._lock: int | None = None
        self._positions: dict[tuple[Topic, int], int] = {}  # the next to be delivered comes first
        self._ends: dict[tuple[Topic, int], int] = {}
        self._watch: Connection | None = None
        self._identity = (0, 0)
        self._version: int | None = None
        self._closed = False
        for topic in self._topics:
            log.partition_count(topic)  # an unknown dataset is refused now

    @property
    def assigned(self) -> frozenset[tuple[Topic, int]]:
        """All partitions of the topics, or none while another member has them."""
        return frozenset(self._positions)

    def poll(self, timeout_s: float) -> Batch | None:
        """Look every few milliseconds; partitions take turns. Whatever else is appended to the file
        ends the wait.
        """
        deadline, seen = time.monotonic() + timeout_s, self._version
        while True:
            if self._closed:
                raise InvalidRequest(f"the subscription of {self._group!r} is closed: subscribe")
            active = self._lock is not None or self._join()
            if active and (batch := self._next()) is not None:
                return batch
            appended = active and seen not in (None, self._version)
            if (left := deadline - time.monotonic()) <= 0 or appended:
                return None
            time.sleep(min(left, _LOOK_S if active else _TAKE_OVER_S))

    def close(self) -> None:
        """Leave the group; `on_revoke` is called before another member can join."""
        self._closed = True
        revoked, self._positions = self.assigned, {}
        try:
            if revoked and self._on_revoke is not None:
                self._on_revoke(revoked)
        finally:
            self._unwatch()
            self._leave()

    def _join(self) -> bool:
        """Take all the partitions if no other member has them."""
        with self._file.words():
            descriptor = os.open(
                _lock_path(self._file.path, self._log.dataset, self._group),
                os.O_RDWR | os.O_CREAT,
                0o666,
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._lock = descriptor
        try:
            self._positions = {
                (topic, partition): self._start(topic, partition)
                for topic in self._topics
                for partition in range(self._log.partition_count(topic))
            }
        except BaseException:
            self._leave()
            raise
        return True

    def _leave(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _next(self) -> Batch | None:
        """A batch of the partition that has waited longest, of those that have something new."""
        self._look()
        for place, position in self._positions.items():
            end = self._ends[place]
            if position > end:
                name = f"{self._log.topic_name(place[0])} partition {place[1]}"
                raise CorruptLog(
                    f"group {self._group!r} is at offset {position} of {name} in {self._file.path}"
                    f", which ends at {end}: the log was replaced, or `start` knew another one; "
                    "put the right file back, or start anew"
                )
            if position == end:
                continue
            stop = min(end, position + BATCH_MESSAGES_MAX)
            batch = next(self._log.read(*place, position, stop))
            del self._positions[place]
            self._positions[place] = batch.offsets[-1] + 1
            return batch
        return None

    def _look(self) -> None:
        """Read the ends again if another connection has committed since the last look."""
        try:
            with self._file.words():
                if self._watch is None or self._identity != self._file.identity():
                    self._unwatch()
                    self._watch = self._file.open()
                    self._identity = self._file.identity()
                version = self._watch.pragma("data_version")
        except BaseException:
            self._unwatch()
            raise
        if version != self._version:
            self._ends = {
                (topic, partition): end
                for topic in self._topics
                for partition, end in enumerate(self._log.ends(topic))
            }
            self._version = version

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close(True)
        self._watch = self._version = None


def _lock_path(path: Path, dataset: str, group: str) -> Path:
    """A file name for any group: readable at its start, different for each by its digest."""
    digest = hashlib.sha256(f"{dataset}\0{group}".encode("utf-8", "surrogatepass")).hexdigest()
    readable = quote(group, safe="", errors="replace")[:60]
    return path.with_name(f"{path.name}.{readable}.{digest[:16]}.lock")
