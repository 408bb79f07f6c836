"""The file of the embedded log: how it is opened, made, recognised, and what its faults are called.

An append is durable when it returns: write-ahead log, `synchronous=FULL`, one transaction per
append. SQLite before 3.51.3 can corrupt a database when the write-ahead log is reset under two
connections (https://sqlite.org/wal.html#walresetbug), hence `apsw`, which brings its own.

Never `open()` this file elsewhere in a process that has it open here: closing any descriptor of
a file drops all of the process's POSIX locks on it, SQLite's included.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import apsw

from ledger.errors import (
    ConfigurationError,
    CorruptLog,
    InvalidRequest,
    LedgerError,
    LogUnavailable,
)

APPLICATION_ID = int.from_bytes(b"ERRA", "big")
FORMAT_VERSION = 1

# Without a rowid a scan of one partition reads consecutive pages, an insert touches one tree, and
# there is no index that could point at the wrong row. Such a table moves rows of more than a
# quarter of a page to pages of their own: with SQLite's usual 4 kB an event of 1.5 kB takes 3.1
# times its size, with 16 kB 1.2 times.
_PAGE_BYTES = 16384
Cell = int | str | bytes | None
_TABLES = """
CREATE TABLE IF NOT EXISTS topics(
    name TEXT PRIMARY KEY,          -- <dataset>.<topic>
    topic_id TEXT NOT NULL,         -- a topic made again gets another
    partitions INTEGER NOT NULL     -- how many, so that a lost one is noticed
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS partitions(
    topic TEXT NOT NULL REFERENCES topics(name),
    partition INTEGER NOT NULL,
    partition_id INTEGER NOT NULL UNIQUE,
    next_offset INTEGER NOT NULL,   -- stored, so that records lost at the end are noticed
    PRIMARY KEY(topic, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records(
    partition_id INTEGER NOT NULL REFERENCES partitions(partition_id),
    offset INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL,  -- milliseconds since 1970 UTC, the appender's
    key BLOB,
    value BLOB NOT NULL,
    checksum INTEGER NOT NULL,      -- over this record and all before it in its partition
    PRIMARY KEY(partition_id, offset)
) STRICT, WITHOUT ROWID;
"""

# I/O errors that are the file's fault and not the disk's.
_WRONG_BYTES = (
    apsw.SQLITE_IOERR_SHORT_READ,
    apsw.SQLITE_IOERR_DATA,
    apsw.SQLITE_IOERR_CORRUPTFS,
)


class NoLogFile(LogUnavailable):
    """The file is not there, or is empty."""


class Cursor(Protocol):
    """What we use of `apsw.Cursor`, whose own types need Python 3.12."""

    def fetchall(self) -> list[tuple[Any, ...]]: ...  # noqa: D102
    def __iter__(self) -> Iterator[tuple[Any, ...]]: ...
    def close(self) -> None: ...  # noqa: D102


class Connection(Protocol):
    """What we use of `apsw.Connection`, likewise."""

    def execute(self, sql: str, cells: Sequence[Cell] = (), /) -> Cursor: ...  # noqa: D102
    def executemany(self, sql: str, rows: Iterable[Sequence[Cell]], /) -> Cursor: ...  # noqa: D102
    def pragma(self, name: str, value: int | str | None = None) -> Any: ...  # noqa: D102
    def readonly(self, name: str, /) -> bool: ...  # noqa: D102
    def set_busy_timeout(self, milliseconds: int, /) -> None: ...  # noqa: D102
    def close(self, force: bool = False, /) -> None: ...  # noqa: D102


class _Idle(NamedTuple):
    connection: Connection
    identity: tuple[int, int]


def refuse_old_sqlite(version: str) -> None:
    """Raise `ConfigurationError` for a SQLite that has the WAL-reset bug."""
    if tuple(int(part) for part in version.split(".")[:3]) < (3, 51, 3):
        raise ConfigurationError(
            f"this apsw was built with SQLite {version}, and SQLite before 3.51.3 can corrupt a "
            "write-ahead log: install apsw's own wheel (pip install --force-reinstall apsw)"
        )


class LogFile:
    """Connections to one file, kept between uses. Any thread may use it."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        refuse_old_sqlite(apsw.sqlite_lib_version())
        self.path = path
        self.timeout_s = timeout_s
        self._idle: deque[_Idle] = deque()

    @contextmanager
    def use(self, *, create: bool = False) -> Generator[Connection]:
        """Lend a connection, and put SQLite's faults in the ledger's words.

        After any exception the connection is closed, which rolls back what it had begun; the
        next use opens another, so that a fault is over when its cause is.
        """
        with self.words():
            connection, identity = self._take(create)
            try:
                yield connection
            except BaseException:
                connection.close(True)
                raise
            self._idle.append(_Idle(connection, identity))

    @contextmanager
    def words(self) -> Generator[None]:
        """Raise SQLite's exceptions as the ledger's."""
        try:
            yield
        except (apsw.Error, OSError, UnicodeDecodeError) as error:
            raise self._in_words(error) from error

    def open(self, *, create: bool = False) -> Connection:
        """A connection of the caller's own. Raises SQLite's exceptions (see `words`)."""
        if self.path.is_dir():
            raise ConfigurationError(f"{self.path} is a folder: name a file in it for the log")
        if create:
            _make_folder(self.path.parent)
        elif not os.path.lexists(self.path):
            raise NoLogFile(
                f"there is no log file {self.path}: create the dataset first, or correct the path"
            )
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        connection = cast(Connection, apsw.Connection(str(self.path), flags=flags))
        try:
            connection.set_busy_timeout(max(0, round(self.timeout_s * 1000)))
            self._recognise(connection, create)
            self._prepare(connection)
        except BaseException:
            connection.close(True)
            raise
        return connection

    def close(self) -> None:
        """Close the connections that are not in use now."""
        while self._idle:
            with self.words():
                self._idle.pop().connection.close()

    def identity(self) -> tuple[int, int]:
        """What tells the file from another one put in its place."""
        status = self.path.stat()
        return status.st_dev, status.st_ino

    def _take(self, create: bool) -> _Idle:
        # A connection to a file that was deleted or replaced would go on in silence, appending
        # to what nobody will ever find.
        try:
            idle = self._idle.pop()
        except IndexError:
            connection = self.open(create=create)
            return _Idle(connection, self.identity())
        if os.path.lexists(self.path) and idle.identity == self.identity():
            return idle
        idle.connection.close(True)
        return self._take(create)

    def _recognise(self, connection: Connection, create: bool) -> None:
        # One statement, one state of the file: another process may be making the tables.
        application, version, tables = connection.execute(
            "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
            " FROM pragma_application_id, pragma_user_version"
        ).fetchall()[0]
        if application == APPLICATION_ID:
            if version != FORMAT_VERSION:
                raise ConfigurationError(
                    f"{self.path} has log format {version} and this Errata reads format "
                    f"{FORMAT_VERSION}: upgrade Errata"
                )
        elif application or tables:
            raise ConfigurationError(
                f"{self.path} is another program's SQLite database (application id {application}): "
                "name another file for the log"
            )
        elif not create:
            raise NoLogFile(f"{self.path} is empty: create the dataset first, or correct the path")
        else:
            connection.pragma("page_size", _PAGE_BYTES)

    def _prepare(self, connection: Connection) -> None:
        if not connection.readonly("main"):
            self._write_ahead(connection)
        connection.pragma("synchronous", "FULL")
        connection.pragma("fullfsync", True)  # macOS: an fsync that reaches the medium

    def _write_ahead(self, connection: Connection) -> None:
        # A backup made with VACUUM INTO is in another mode. SQLite does not wait for the lock
        # when it changes the mode, so we do.
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                mode = connection.pragma("journal_mode", "wal")
            except apsw.BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                break
        if mode != "wal":
            raise ConfigurationError(
                f"{self.path} cannot have a write-ahead log (journal mode {mode}): "
                "put it on a local disk"
            )

    def make_tables(self, connection: Connection) -> None:
        """Make the tables where they are missing. Call it inside a transaction."""
        self._recognise(connection, create=True)  # another process may have been faster
        connection.execute(_TABLES)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", FORMAT_VERSION)

    def _in_words(self, error: apsw.Error | OSError | UnicodeDecodeError) -> LedgerError:
        path = self.path
        match error:
            case apsw.BusyError() | apsw.LockedError() | apsw.ProtocolError():
                return LogUnavailable(
                    f"{path} is locked by another program for longer than {self.timeout_s:g} s; "
                    "nothing of this call was stored: try again, or find who holds it (fuser)"
                )
            case apsw.FullError() | apsw.IOError(extendedresult=apsw.SQLITE_IOERR_SHMSIZE):
                return LogUnavailable(
                    f"no room on the disk of {path}; nothing of this call was stored, what was "
                    "stored before is intact: make room and try again"
                )
            case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError() | OSError():
                return LogUnavailable(
                    f"{path} cannot be opened or written ({error}): this user must be able "
                    f"to write it and in {path.parent}, where SQLite keeps {path.name}-wal"
                )
            case apsw.IOError() if getattr(error, "extendedresult", 0) not in _WRONG_BYTES:
                return LogUnavailable(
                    f"the disk failed under {path} ({error}); nothing of this call was stored: "
                    "check the disk and try again"
                )
            case apsw.TooBigError():
                return InvalidRequest(f"a message is too big for {path}: keep it below 1 GB")
            case _:
                return CorruptLog(
                    f"{path} is not what the ledger wrote ({type(error).__name__}: {error}): if "
                    "the path is right, restore the file from a backup or copy the log anew"
                )


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents so that a power cut does not take them away again."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
