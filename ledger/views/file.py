"""The file of a view, and connections to it.

The path of a view is a symbolic link to the file itself, which has a name of its own for as long
as it lives. SQLite finds a write-ahead log by the name of its database, so that a file renamed over
another would be given the other's log, and the connection that closes last removes the log of
whatever has its name then. With a name each, old and new never meet: the link is moved in one step,
who reads the old file reads on, and who opens the path gets the new one.

Writing is in WAL mode with `synchronous=NORMAL`: readers never wait, and a commit waits for no
disk. After a power cut the last transactions may be gone, whole ones, and with each its progress:
the view is what it was a moment earlier, and is written on from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import adbc_driver_manager.dbapi
import polars as pl
from adbc_driver_sqlite import dbapi
from sqlite_utils import Database

from ledger.clock import new_id
from ledger.errors import ConfigurationError, InvalidSetting, ViewsDamaged, ViewsUnavailable

SQLITE_MIN = (3, 51, 3)
APPLICATION_ID = int.from_bytes(b"Erra")
"""What the head of a view's file says: it is one of ours."""
_HEAD, _HEAD_ID = b"SQLite format 3\0", slice(68, 72)
_BUSY_MS = 30_000
_PAGE_BYTES = 8 * 1024
_CACHE_KIB = 64 * 1024
_DAMAGED = (
    "malformed",
    "corrupt",
    "not a database",
    "unsupported file format",
    "no such table",
    "no such column",
    "no column named",
    "constraint failed",
    "mismatch",
    "utf",
)
"""What is said of a file that is not what was written; all else may pass."""
_WRAPPED = re.compile(r"^[A-Z_]+: (\[SQLite\] )?(Failed to \w+ query: )?")
"""What the driver says in front of SQLite's own words."""
_SIDES = ("", "-wal", "-shm", "-journal")
_SAMPLES: Mapping[Any, str] = {pl.String: "''", pl.Float64: "0.5"}


def _plainly(
    act: Callable[..., object], values: Sequence[Any], named: Mapping[str, Any], _: object
) -> object:
    return act(*values, **named)


# During a call the driver manager takes SIGINT for itself, to cancel. SQLite's driver cannot: the
# signal is then told as an error, or lost. So it stays with Python, which acts after the call.
adbc_driver_manager.dbapi._blocking_call = _plainly  # pyright: ignore[reportPrivateUsage]


class Connection:
    """A connection to a view's file: SQL with values, and SQL with whole frames.

    Args:
        file: the file itself, no link.
        readonly: it has to be there, and is not written.
    """

    def __init__(self, file: Path, *, readonly: bool = False) -> None:
        self.file = file
        with self._words():
            uri = f"file:{quote(str(file))}?mode={'ro' if readonly else 'rwc'}"
            self._connection = dbapi.connect(uri, autocommit=True)
            self._cursor = self._connection.cursor()
        self.rows(f"PRAGMA busy_timeout = {_BUSY_MS}")
        self.rows(f"PRAGMA page_size = {_PAGE_BYTES}")
        self.rows(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if not readonly:
            self._refuse_old_library()

    def _refuse_old_library(self) -> None:
        found = cast("str", self.rows("SELECT sqlite_version()")[0][0])
        if tuple(map(int, found.split("."))) < SQLITE_MIN:
            wanted = ".".join(map(str, SQLITE_MIN))
            raise ConfigurationError(
                f"the SQLite {found} of adbc-driver-sqlite may damage a database in WAL mode; "
                f"{wanted} and later do not: upgrade adbc-driver-sqlite"
            )

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; its rows."""
        with self._words():
            self._cursor.execute(query, tuple(values) or None)
            return cast("Any", self._cursor.fetchall() if self._cursor.description else [])

    def many(self, statement: str, frame: pl.DataFrame) -> int:
        """Run a statement for each row of a frame, whose columns are its values in order; how many
        rows it changed.
        """
        if not len(frame):
            return 0
        with self._words():
            self._cursor.executemany(statement, frame)
            return self._cursor.rowcount

    def insert(self, table: str, frame: pl.DataFrame, more: str = "") -> None:
        """Insert the rows of a frame. Columns without any value are left out, for time."""
        there = filled(frame)
        marks = ", ".join("?" * len(there))
        self.many(f"INSERT INTO {table} ({', '.join(there)}) VALUES ({marks}) {more}", frame[there])

    def frame(
        self, schema: Mapping[str, Any], source: str, values: Sequence[Any] = ()
    ) -> pl.DataFrame:
        """Columns, by name and type, of what follows FROM."""
        # The driver takes each column's type from its first rows, null or not: so one row leads.
        first = ", ".join(f"{_SAMPLES.get(kind, '0')} AS {name}" for name, kind in schema.items())
        query = f"SELECT {first} UNION ALL SELECT * FROM (SELECT {', '.join(schema)} FROM {source})"
        with self._words():
            self._cursor.execute(query, tuple(values) or None)
            table = self._cursor.fetch_arrow_table()
            table.validate(full=True)  # damaged text may be no UTF-8, which Polars takes unseen
            found: Any = pl.from_arrow(table)
        return found[1:].cast(dict(schema))

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All of it or nothing. It waits for its turn to write at the start, never in between."""
        self.rows("BEGIN IMMEDIATE")
        try:
            yield
            self.rows("COMMIT")
        except BaseException:
            with contextlib.suppress(ViewsDamaged, ViewsUnavailable):  # it may have ended itself
                self.rows("ROLLBACK")
            raise

    def close(self) -> None:
        """Release the file."""
        self._cursor.close()
        self._connection.close()

    @contextmanager
    def _words(self) -> Generator[None]:
        try:
            yield
        except (adbc_driver_manager.Error, OSError, ValueError) as error:  # or text that is none
            raise told(self.file, str(error).partition("\n")[0]) from error


def filled(frame: pl.DataFrame) -> list[str]:
    """The columns that hold anything."""
    if not len(frame):
        return []
    empty = zip(frame.columns, frame.null_count().row(0), strict=True)
    return [name for name, nulls in empty if nulls < len(frame)]


def database(file: Path) -> Database:
    """The tables for anybody to read, as sqlite-utils gives them; nothing can be written."""
    uri = f"file:{quote(str(file))}?mode=ro"
    try:
        return Database(sqlite3.connect(uri, uri=True, timeout=_BUSY_MS / 1000))
    except sqlite3.Error as error:
        raise told(file, str(error)) from error


def told(path: Path, said: str) -> ViewsDamaged | ViewsUnavailable:
    """What SQLite said, in words that tell what to do."""
    said = _WRAPPED.sub("", said)
    if not any(each in said.lower() for each in _DAMAGED):
        return ViewsUnavailable(f"the views at {path} cannot be read or written now: {said}")
    return ViewsDamaged(
        f"the views at {path} are damaged, or none of ours: {said}. Views are disposable: "
        "`errata rebuild` makes them anew"
    )


def current(path: Path) -> Path | None:
    """The file behind a view's path; None where there is none."""
    return path.resolve() if path.exists() else None


def fresh(path: Path) -> Path:
    """A name beside the path for a new file."""
    return path.parent.resolve() / f"{path.name}.{new_id()[:8]}"


def refuse_other(path: Path) -> None:
    """Refuse a path where something stands that is no view, and so is not replaced. A link to a
    name of ours is a view however damaged its file is, or if that is gone.

    Raises:
        InvalidSetting: what stands there is not ours.
    """
    if path.is_symlink() and _names(path).fullmatch(os.readlink(path)):
        return
    if os.path.lexists(path) and not _is_view(path):
        raise InvalidSetting(
            f"what stands at {path} is no view, and only a view is replaced by one: name another "
            "file with ERRATA_VIEWS"
        )


def _names(path: Path) -> re.Pattern[str]:
    """The names that `fresh` gives."""
    return re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}")


def _is_view(path: Path) -> bool:
    """Whether a file's head says that it is a view. It is read without SQLite, which might write
    where a log of changes stands beside the file.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as opened:
            head = opened.read(_HEAD_ID.stop)
    except OSError:
        return False
    return head.startswith(_HEAD) and head[_HEAD_ID] == APPLICATION_ID.to_bytes(4)


def install(path: Path, file: Path, *, over: bool) -> bool:
    """Let the path lead to the file, in one step; whether it does now.

    Args:
        path: a view's path.
        file: a name that `fresh` gave.
        over: replace what the path leads to; else a path that leads anywhere stays as it is.
    """
    if not over and not path.is_symlink():
        try:
            os.symlink(file.name, path)  # which never takes the place of anything
        except FileExistsError:
            return False
        return True
    if not over and path.exists():
        return False
    link = path.with_name(f"{file.name}.link")
    os.symlink(file.name, link)
    os.replace(link, path)
    return True


def replace(path: Path, file: Path) -> None:
    """Let the path lead to the file, and remove the one that it led to."""
    before = current(path)
    install(path, file, over=True)
    if before is None:
        return
    if before == path.parent.resolve() / path.name:  # it was no link: its name is the link's now
        for side in _SIDES[1:]:
            _unlink(f"{before}{side}")
    else:
        remove(before)


def remove(file: Path) -> None:
    """Remove a file with what stands beside it. Who has it open can go on reading it."""
    for side in _SIDES:
        _unlink(f"{file}{side}")


def _unlink(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)


def remove_leftovers(path: Path) -> None:
    """Remove files of this path that it does not lead to, as a rebuild that was killed leaves."""
    left = _names(path)
    for each in path.parent.resolve().iterdir():
        name = each.name.removesuffix(".link")
        for side in _SIDES:
            name = name.removesuffix(side)
        if left.fullmatch(name) and ((kept := current(path)) is None or name != kept.name):
            _unlink(str(each))


@contextmanager
def only_one(path: Path) -> Generator[bool]:
    """Whether nobody else is in here for this path; the kernel frees the place of who dies."""
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise ViewsUnavailable(f"the views at {path} cannot be made: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
