"""Damaged files and failing disks under the embedded log. Each fault is made for real."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import CorruptLog, LedgerError, LogUnavailable
from ledger.logs.base import Topic
from ledger.logs.sqlite import SqliteLog
from tests.logs.places import (
    LABELS,
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


def refused(log: SqliteLog, error: type[LedgerError], *words: str) -> None:
    """Whatever reads the whole partition refuses, in these words and with the file's name."""
    with pytest.raises(error) as refusal:
        everything(log, LABELS, 0)
    for word in (*words, "log.db"):
        assert word in str(refusal.value)


# ------------------------------------------------------------------------------ lost and altered


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("offset < 5", "first retained offset is 5"),
        ("offset >= 0", "first retained offset is 20"),
        ("offset >= 18", "offsets 18 to 19 are missing"),
        ("offset IN (7, 8)", "offsets 7 to 8 are missing"),
    ],
)
def test_missing_messages(log: SqliteLog, path: Path, loss: str, words: str):
    """A missing head, tail or middle is named, and never read over."""
    alter(path, f"DELETE FROM records WHERE {loss}")
    refused(log, CorruptLog, words, "birds.labels partition 0")


def test_missing_head(log: SqliteLog, path: Path):
    """Without the head of its labels a log says so, and what is retained can be read; without that
    of another topic it is refused.
    """
    alter(path, "DELETE FROM records WHERE offset < 5")
    assert log.check() == [5, 0]
    log.append(Topic.GOVERNANCE, numbered(0, 0, 2))
    governance = "SELECT partition_id FROM partitions WHERE topic = 'birds.governance'"
    alter(path, f"DELETE FROM records WHERE offset < 1 AND partition_id = ({governance})")
    with pytest.raises(CorruptLog, match=r"head of birds\.governance .* retained offset is 1"):
        log.check()
    assert log.starts(LABELS) == [5, 0]
    assert values(log.read(LABELS, 0, 5, 20)) == NUMBERS[5:]
    with pytest.raises(CorruptLog, match="head"):
        list(log.read(LABELS, 0, 4, 20))


def test_missing_tail(log: SqliteLog, path: Path):
    """Without its tail a log takes no append, for its offsets would be given twice."""
    alter(path, "DELETE FROM records WHERE offset >= 18")
    for ask in (log.check, lambda: log.append(LABELS, numbered(0, 20, 21))):
        with pytest.raises(CorruptLog, match="missing"):
            ask()
    assert log.ends(LABELS) == [20, 0]


def test_end_set_back(log: SqliteLog, path: Path):
    """When the stored end is before the last message, nothing is written over it."""
    alter(path, "UPDATE partitions SET next_offset = 10")
    for ask in (log.check, lambda: log.append(LABELS, numbered(0, 20, 21))):
        with pytest.raises(CorruptLog, match=r"log\.db"):
            ask()


@pytest.mark.parametrize(
    "loss", ["topics WHERE name = 'birds.meta'", "partitions WHERE topic = 'birds.meta'"]
)
def test_missing_topic(log: SqliteLog, path: Path, loss: str):
    """Some topics or partitions but not all are no dataset."""
    alter(path, f"DELETE FROM {loss}")
    for ask in (log.exists, log.topic_ids):
        with pytest.raises(CorruptLog, match=r"birds\.meta"):
            ask()


@pytest.mark.parametrize(
    "change",
    [
        "value = 'seven'",
        "value = x'37ff'",
        "key = NULL",
        "key = 'key 7'",
        "timestamp_ms = timestamp_ms + 1",
        "timestamp_ms = timestamp_ms + (1 << 31)",
        "key = value, value = key",
    ],
)
def test_altered_message(log: SqliteLog, path: Path, change: str):
    """A message whose value, key or time was altered is named by its offset."""
    alter(
        path,
        "CREATE TABLE loose AS SELECT * FROM records; DROP TABLE records;"
        f"UPDATE loose SET {change} WHERE offset = 7;"
        "ALTER TABLE loose RENAME TO records",  # without the types, which would not let it in
    )
    refused(log, CorruptLog, "birds.labels partition 0", "offset 7 ")


def test_flipped_bit_in_a_value(log: SqliteLog, path: Path):
    """One bit of a value flipped on the disk is found, and its message named."""
    needle = b"somewhere on the disk"
    log.append(LABELS, [message(0, b"before"), message(0, needle), message(0, b"after")])
    log.close()
    content = bytearray(path.read_bytes())
    assert content.count(needle) == 1
    content[content.index(needle) + 5] ^= 0x10
    path.write_bytes(content)
    refused(log, CorruptLog, "birds.labels partition 0", "offset 21 ")
    assert values(log.read(LABELS, 0, 0, 21)) == [*NUMBERS, b"before"]


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_truncated_file(log: SqliteLog, path: Path, kept: float):
    """A file cut short is refused in words."""
    log.append(LABELS, numbered(1, 0, 5000))
    log.close()
    os.truncate(path, int(path.stat().st_size * kept))
    refused(log, CorruptLog, "restore")


@pytest.mark.parametrize("seed", range(4))
def test_any_flipped_bits(log: SqliteLog, path: Path, seed: int):
    """Whatever bit flips anywhere in the file, a log that passes its check either gives what was
    appended or refuses in words.
    """
    log.append(LABELS, numbered(1, 0, 300))
    expected = [NUMBERS, [b"%d" % n for n in range(300)]]
    log.close()
    whole = path.read_bytes()
    used = [n for n, byte in enumerate(whole) if byte]  # the rest is mostly empty space
    rng = random.Random(seed)
    refusals = 0
    for _ in range(150):
        place, bit = rng.choice(used), 1 << rng.randrange(8)
        damaged = bytearray(whole)
        damaged[place] ^= bit
        path.write_bytes(damaged)
        try:
            log.check()
            read = [everything(log, LABELS, partition) for partition in range(2)]
        except LedgerError:
            refusals += 1
        else:
            assert read == expected, f"seed {seed}: byte {place} ^ {bit}"
        log.close()
    assert refusals > 0


def test_overwritten_pages(log: SqliteLog, path: Path):
    """Pages overwritten with noise are refused in words."""
    log.append(LABELS, numbered(1, 0, 3000))
    log.close()
    noise = random.Random(1).randbytes
    with path.open("r+b") as file:
        file.seek(16384)
        file.write(noise(path.stat().st_size - 16384))
    refused(log, CorruptLog, "restore")


# ------------------------------------------------------------------------------ disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "errata-test", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def append_until_refused(log: SqliteLog) -> LogUnavailable:
    for _ in range(1000):
        try:
            log.append(LABELS, [message(0, bytes(20_000)), message(1, b"small")])
        except LogUnavailable as refusal:
            return refusal
    raise AssertionError("no append was refused")


def test_full_disk(small_disk: Path):
    """A full disk is named; what was stored stays, nothing is half stored, and once there is
    room the same log goes on.
    """
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    with SqliteLog(small_disk / "log.db", "birds") as log:
        log.create(2)
        refusal = append_until_refused(log)
        assert "no room" in str(refusal)
        assert refusal.acknowledged == 0
        stored, others = log.ends(LABELS)
        assert stored == others > 5
        assert everything(log, LABELS, 0) == [bytes(20_000)] * stored
        ballast.unlink()
        assert log.append(LABELS, [message(0, b"more")]) == [stored]
        log.check()
        assert everything(log, LABELS, 0)[-1] == b"more"


def test_read_only_disk(small_disk: Path):
    """A disk that cannot be written is named, for appends and for a log not in use."""
    with SqliteLog(small_disk / "log.db", "birds") as log:
        log.create(1)
        log.close()
        remount = ["mount", "-o", "remount,ro", str(small_disk)]
        subprocess.run(remount, check=True)
        for ask in (log.exists, lambda: log.append(LABELS, numbered(0, 0, 1))):
            with pytest.raises(LogUnavailable, match="cannot be opened or written"):
                ask()


def test_failing_writes(log: SqliteLog, path: Path):
    """A disk that refuses to write is named; what was stored stays, and afterwards the same log
    goes on. (The refusal is the kernel's, at a limit on the size of files.)
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        refusal = append_until_refused(log)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "the disk failed" in str(refusal)
    stored = log.ends(LABELS)
    assert everything(log, LABELS, 0)[:20] == NUMBERS
    assert log.append(LABELS, [message(0, b"more")]) == [stored[0]]
    log.check()


def test_backup(log: SqliteLog, path: Path):
    """A copy that SQLite itself makes is a log, with the same ids, and durable as the first."""
    copy = path.with_name("copy of log.db")
    alter(path, f"VACUUM INTO '{copy}'")
    with SqliteLog(copy, "birds") as backup:
        assert backup.topic_ids() == log.topic_ids()
        assert backup.append(LABELS, numbered(0, 20, 21)) == [20]
        assert backup.partition_count(Topic.META) == 1
        with other_program(copy) as connection:
            assert connection.pragma("journal_mode") == "wal"
