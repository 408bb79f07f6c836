"""The embedded log's file, its locks, and killed processes. Each fault is made for real."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import apsw
import pytest

from ledger.errors import ConfigurationError, CorruptLog, LogUnavailable
from ledger.logs.base import BATCH_MESSAGES_MAX, Topic
from ledger.logs.sqlite import SqliteLog
from ledger.logs.sqlite_file import refuse_old_sqlite
from tests.logs.places import (
    LABELS,
    PATIENCE_S,
    alter,
    everything,
    message,
    numbered,
    other_program,
    values,
)

NUMBERS = [b"%d" % n for n in range(20)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    """Two partitions, of which the first holds twenty messages."""
    with SqliteLog(path, "birds", timeout_s=0.2) as log:
        log.create(2)
        log.append(LABELS, numbered(0, 0, 20))
        yield log


# ------------------------------------------------------------------------------ which file


def test_url():
    """The url is three slashes and the path as given."""
    assert SqliteLog(Path("a/log.db"), "birds").url == "sqlite:///a/log.db"
    assert SqliteLog(Path("/a/log.db"), "birds").url == "sqlite:////a/log.db"


def test_looking_makes_no_file(tmp_path: Path):
    """Asking whether a dataset exists makes neither file nor folder; creating it makes both."""
    path = tmp_path / "new" / "folder" / "log.db"
    log = SqliteLog(path, "birds")
    assert not log.exists()
    with pytest.raises(LogUnavailable, match="no log file"):
        log.ends(LABELS)
    assert list(tmp_path.iterdir()) == []
    log.create(1)
    assert log.exists()
    assert path.exists()


def test_folder(tmp_path: Path):
    """A folder in the file's place is refused in words."""
    for ask in (SqliteLog(tmp_path, "birds").exists, lambda: SqliteLog(tmp_path, "b").create(1)):
        with pytest.raises(ConfigurationError, match="folder"):
            ask()


def test_file_in_place_of_folder(tmp_path: Path):
    """A path that leads through a file is refused in words."""
    (tmp_path / "file").write_text("text")
    with pytest.raises(LogUnavailable, match="cannot be opened"):
        SqliteLog(tmp_path / "file" / "log.db", "birds").create(1)


def test_no_database(path: Path):
    """A file that is no database is refused and left as it is."""
    path.write_text("id,label\n" * 1000)
    for ask in (SqliteLog(path, "birds").exists, lambda: SqliteLog(path, "birds").create(1)):
        with pytest.raises(CorruptLog, match=r"log\.db"):
            ask()
    assert path.read_text() == "id,label\n" * 1000


@pytest.mark.parametrize("application_id", [0, 0x42])
def test_other_programs_database(path: Path, application_id: int):
    """Another program's SQLite database is refused and left as it is."""
    alter(path, f"PRAGMA application_id = {application_id}; CREATE TABLE photos(id)")
    before = path.read_bytes()
    for ask in (SqliteLog(path, "birds").exists, lambda: SqliteLog(path, "birds").create(1)):
        with pytest.raises(ConfigurationError, match="another program"):
            ask()
    assert path.read_bytes() == before


def test_newer_format(log: SqliteLog, path: Path):
    """A log of a later format asks for an upgrade."""
    log.close()
    alter(path, "PRAGMA user_version = 2")
    with pytest.raises(ConfigurationError, match="upgrade"):
        log.ends(LABELS)


def test_empty_file(path: Path):
    """An empty file holds no dataset, and one can be created in it."""
    path.touch()
    log = SqliteLog(path, "birds")
    assert not log.exists()
    with pytest.raises(LogUnavailable, match="empty"):
        log.ends(LABELS)
    log.create(1)
    assert log.append(LABELS, numbered(0, 0, 2)) == [0, 1]


@pytest.mark.parametrize("version", ["3.51.2", "3.9.0", "3.46.1"])
def test_old_sqlite(version: str):
    """A SQLite that can corrupt its write-ahead log is refused."""
    with pytest.raises(ConfigurationError, match=version):
        refuse_old_sqlite(version)
    for fixed in ("3.51.3", "3.52.0", "4.0.0", apsw.sqlite_lib_version()):
        refuse_old_sqlite(fixed)


def test_file_deleted_while_open(log: SqliteLog, path: Path):
    """Nothing is appended to a deleted file; a file put in its place is used from then on."""
    saved = path.with_name("saved.db")
    alter(path, f"VACUUM INTO '{saved}'")
    for file in path.parent.glob("log.db*"):
        file.unlink()
    with pytest.raises(LogUnavailable, match="no log file"):
        log.append(LABELS, numbered(0, 20, 21))
    assert not log.exists()
    saved.rename(path)
    assert log.append(LABELS, numbered(0, 20, 21)) == [20]
    with SqliteLog(path, "birds") as other:
        assert everything(other, LABELS, 0) == [*NUMBERS, b"20"]


# ------------------------------------------------------------------------------ permissions


@contextmanager
def powerless() -> Generator[None]:
    """Give up the root user's rights for a while, which no permission would stop."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_not_permitted():
    """A file or folder that this user may not use is named, and works once it is permitted."""
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "log.db"
        log = SqliteLog(path, "birds")
        log.create(1)
        log.close()
        folder.chmod(0o555)
        for mode, words in ((0o000, "cannot be opened"), (0o444, "cannot be opened or written")):
            path.chmod(mode)
            with powerless():
                for ask in (log.exists, lambda: log.append(LABELS, numbered(0, 0, 1))):
                    with pytest.raises(LogUnavailable, match=words):
                        ask()
                with pytest.raises(LogUnavailable, match="cannot be opened"):
                    SqliteLog(folder / "new" / "log.db", "birds").create(1)
        folder.chmod(0o777)
        path.chmod(0o666)
        with powerless():
            assert log.append(LABELS, numbered(0, 0, 1)) == [0]
            log.close()


# ------------------------------------------------------------------------------ locks and threads


def test_locked(log: SqliteLog, path: Path):
    """While another program writes, appending is refused and reading works; then both work."""
    with other_program(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogUnavailable, match="locked") as refusal:
            log.append(LABELS, numbered(0, 20, 22))
        assert refusal.value.acknowledged == 0
        assert everything(log, LABELS, 0) == NUMBERS
    assert log.append(LABELS, numbered(0, 20, 22)) == [20, 21]


def test_threads(log: SqliteLog, path: Path):
    """Threads share a log: every append is whole, and readers see prefixes."""
    with SqliteLog(path, "birds") as patient, ThreadPoolExecutor(8) as pool:

        def append(n: int) -> list[int]:
            return patient.append(LABELS, [message(1, b"%d" % n)] * 3)

        def read(_: int) -> int:
            end = patient.ends(LABELS)[1]
            return len(values(patient.read(LABELS, 1, 0, end))) - end

        appends = [pool.submit(append, n) for n in range(100)]
        assert not any(pool.map(read, range(100)))
        told = [future.result() for future in appends]
        assert sorted(chain.from_iterable(told)) == list(range(300))
        assert all(offsets == list(range(offsets[0], offsets[0] + 3)) for offsets in told)


def test_checked_while_another_appends(log: SqliteLog, path: Path):
    """A whole log is never taken for a damaged one because it grows meanwhile."""
    stopped = threading.Event()

    def append() -> None:
        with SqliteLog(path, log.dataset) as other:
            while not stopped.is_set():
                other.append(LABELS, [message(0, b"x"), message(1, b"x")])

    with ThreadPoolExecutor(1) as pool:
        appending = pool.submit(append)
        try:
            for _ in range(500):
                log.check()
                assert log.exists()
        finally:
            stopped.set()
        appending.result()


def test_created_at_once(path: Path):
    """Several threads and handles may create the same dataset at the same moment."""
    with ThreadPoolExecutor(8) as pool:
        logs = [SqliteLog(path, "birds") for _ in range(8)]
        for created in [pool.submit(log.create, 3) for log in logs]:
            created.result()
        ids = [log.topic_ids() for log in logs]
        assert all(other == ids[0] for other in ids)
        for log in logs:
            log.close()


def test_slow_reader_holds_no_transaction(log: SqliteLog, path: Path):
    """Between two batches a reader holds nothing, so that the write-ahead log can be emptied."""
    log.append(LABELS, numbered(1, 0, BATCH_MESSAGES_MAX + 1))
    batches = log.read(LABELS, 1, 0, BATCH_MESSAGES_MAX + 1)
    next(batches)
    with other_program(path) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall() == [(0, 0, 0)]
    assert len(next(batches)) == 1


def test_batches_are_bounded_in_bytes(log: SqliteLog):
    """Big messages come in smaller batches, and completely."""
    big = bytes(100_000)
    log.append(LABELS, [message(1, big)] * 700)
    batches = list(log.read(LABELS, 1, 0, 700))
    assert len(batches) > 1
    assert values(iter(batches)) == [big] * 700


# ------------------------------------------------------------------------------ killed processes

APPENDER = """
import sys
from pathlib import Path
from ledger.logs.base import Message, Topic
from ledger.logs.sqlite import SqliteLog

log = SqliteLog(Path(sys.argv[1]), "birds")
sent = log.ends(Topic.LABELS)[1]
while True:
    stop = sent + 1 + sent % 7
    log.append(Topic.LABELS, [Message(1, b"k", b"%d" % n, 1 + n) for n in range(sent, stop)])
    sent = stop
    print(sent, flush=True)
"""


def test_killed_while_appending(log: SqliteLog, path: Path):
    """Twenty appending processes are killed at any moment: all that append returned from is
    there, in order and without a gap.
    """
    rng = random.Random(20)
    acknowledged = 0
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            for _ in range(rng.randint(1, 40)):
                acknowledged = int(child.stdout.readline())
            threading.Event().wait(rng.random() / 500)
            child.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
        log.check()
        end = log.ends(LABELS)[1]
        assert end >= acknowledged
        assert everything(log, LABELS, 1) == [b"%d" % n for n in range(end)]


MEMBER = """
import sys
from pathlib import Path
from ledger.logs.base import Topic
from ledger.logs.sqlite import SqliteLog

member = SqliteLog(Path(sys.argv[1]), "birds").subscribe([Topic.LABELS], "views", lambda t, p: 0)
while member.poll(1) is None:
    pass
print("holding", flush=True)
while True:
    member.poll(1)
"""


def test_killed_member(log: SqliteLog, path: Path):
    """The partitions of a killed member go to the next one, which waited for them."""
    with subprocess.Popen(
        [sys.executable, "-c", MEMBER, str(path)], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"holding\n"
        with log.subscribe([LABELS], "views", lambda _, __: 0) as member:
            assert member.poll(0.1) is None
            assert member.assigned == frozenset()
            child.kill()
            batch = member.poll(PATIENCE_S)
            assert batch is not None
            assert list(batch.values) == NUMBERS


def test_partitions_take_turns(log: SqliteLog):
    """A long partition does not keep a short one waiting."""
    log.append(LABELS, numbered(0, 20, 3 * BATCH_MESSAGES_MAX))
    log.append(LABELS, numbered(1, 0, 1))
    with log.subscribe([LABELS], "views", lambda _, __: 0) as member:
        batches = [member.poll(1) for _ in range(4)]
    assert [batch and batch.partition for batch in batches] == [0, 1, 0, 0]


def test_member_notices_another_file(log: SqliteLog, path: Path):
    """A member does not go on in a log that was put in the place of its own and is shorter."""
    with SqliteLog(path.with_name("other.db"), "birds") as other:
        other.create(2)
    with log.subscribe([LABELS], "views", lambda _, __: 0) as member:
        assert member.poll(1) is not None
        log.close()
        alter(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        path.with_name("other.db").replace(path)
        with pytest.raises(CorruptLog, match=r"at offset 20 of birds\.labels .* ends at 0"):
            member.poll(1)


def test_member_outlives_a_fault(log: SqliteLog, path: Path):
    """A member whose file is away for a while says so, and goes on where it was."""
    with log.subscribe([LABELS], "views", lambda _, __: 0) as member:
        assert member.poll(1) is not None
        log.close()
        away = path.rename(path.with_name("away.db"))
        with pytest.raises(LogUnavailable):
            member.poll(0.01)
        away.rename(path)
        log.append(LABELS, numbered(0, 20, 21))
        batch = member.poll(1)
        assert batch is not None
        assert list(batch.values) == [b"20"]


def test_other_topics_end_the_wait(log: SqliteLog):
    """Whatever else is appended is told at once: a worker reads governance then."""
    with log.subscribe([LABELS], "views", lambda _, __: 0) as member:
        assert member.poll(1) is not None
        told: list[object] = []
        waiting = threading.Thread(target=lambda: told.append(member.poll(3600)), daemon=True)
        waiting.start()
        log.append(Topic.GOVERNANCE, [message(0, b"a tag")])
        waiting.join(PATIENCE_S)
        assert told == [None]
