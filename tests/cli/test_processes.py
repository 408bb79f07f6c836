"""The command as a process among others: pipes, signals, full disks, locks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.cli.command import Errata
from tests.events import item

WAIT_S_MAX = 20


def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code and standard error."""
    _, told = process.communicate(timeout=WAIT_S_MAX)
    assert b"Traceback" not in told, told.decode()
    return process.returncode, told.decode()


def line_of(stream: IO[bytes] | None) -> bytes:
    assert stream is not None
    return stream.readline()


@pytest.fixture
def long(book: Errata) -> Errata:
    """More events than a pipe holds."""
    lines = [item(f"n{i}", "cat", content="x" * 100) for i in range(2_000)]
    book("append", book.write("long.jsonl", lines))
    return book


@pytest.mark.parametrize("command", ["log", "log --json", "snapshot", "snapshot --format csv"])
def test_a_reader_that_has_had_enough(long: Errata, command: str) -> None:
    """`| head -1` ends the command in silence."""
    done = long.shell(f"errata {command} | head -1")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "command", ["log", "snapshot", "snapshot --format parquet", "status --json", "--help"]
)
def test_output_that_cannot_be_written(book: Errata, command: str) -> None:
    """A full disk under the output is one sentence and exit code 1."""
    done = book.shell(f"errata {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "errata: standard output: No space left on device\n"


def test_closed_streams(book: Errata) -> None:
    """A stream that is closed is named where it is needed."""
    done = book.shell("errata snapshot >&-")
    assert (done.returncode, "standard output is closed" in done.stderr) == (1, True)
    done = book.shell("errata append - <&-")
    assert (done.returncode, "standard input is closed" in done.stderr) == (1, True)


def test_any_encoding(book: Errata) -> None:
    """What a terminal cannot show is escaped, and JSON is UTF-8 all the same."""
    done = book.shell(
        "export PYTHONIOENCODING=latin-1; errata init --partitions 3 --class Жук && "
        "errata log && errata log --json; errata show Жук"
    )
    assert "Traceback" not in done.stderr
    assert r"\u0416\u0443\u043a" in done.stdout
    assert '"Жук"' in done.stdout
    assert r"item '\u0416\u0443\u043a' does not exist" in done.stderr


def test_follow(book: Errata) -> None:
    """New events appear as they are appended, until Ctrl-C, which is exit code 130."""
    following = book.start("log", "--json", "--follow")
    shown = [json.loads(line_of(following.stdout)) for _ in range(6)]
    assert shown == book("log", "--json").lines
    book("append", "-", stdin=json.dumps(item("later", "cat")))
    assert json.loads(line_of(following.stdout))["item_id"] == "later"
    following.send_signal(signal.SIGINT)
    assert ended(following) == (130, "")


def test_follow_only_what_is_new(book: Errata) -> None:
    """With -n 0 nothing old is shown; filters hold for what is new."""
    following = book.start("log", "--json", "--follow", "-n", "0", "--type", "VersionTagged")
    time.sleep(1.5)
    book("append", "-", stdin=json.dumps(item("later", "cat")))
    book("tag", "v1")
    assert json.loads(line_of(following.stdout))["name"] == "v1"
    following.send_signal(signal.SIGINT)
    assert ended(following) == (130, "")


def test_a_stream_is_durable_as_it_comes(book: Errata) -> None:
    """Whole lines are stored while the pipe stays open; Ctrl-C says how far it came."""
    appending = book.start("append", "-", stdin=subprocess.PIPE)
    assert appending.stdin is not None
    appending.stdin.write(json.dumps(item("first", "cat")).encode() + b'\n{"type":"Item')
    appending.stdin.flush()
    until(lambda: "first" in book.labels())
    appending.send_signal(signal.SIGINT)
    assert appending.wait(WAIT_S_MAX) == 130
    assert appending.stderr is not None
    told = appending.stderr.read().decode()
    assert told == (
        "interrupted; of standard input all up to line 1; append it again from line 2 on\n"
    )


def test_a_locked_file(book: Errata, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers go on; a writer waits for its time-out, then says who is in the way."""
    monkeypatch.setenv("ERRATA_TIMEOUT_S", "0.3")
    before = book.position()
    book.write("x.jsonl", [item("late", "cat")])
    holder = (
        "import sqlite3; held = sqlite3.connect('errata.db', isolation_level=None); "
        "held.execute('BEGIN IMMEDIATE'); print('held', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holder],
        cwd=book.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert line_of(other.stdout) == b"held\n"
    assert book.labels()["a"] == "dog"
    locked = "errata.db is locked by another program for longer than 0.3 s"
    assert locked in book.refused("tag", "v1")
    assert locked in book.refused("correct", "b", "--to", "dog")
    told = book.refused("append", "x.jsonl")
    assert locked in told
    assert "0 events are stored, all up to line 0; append it again from line 1 on" in told
    other.communicate(b"\n", timeout=WAIT_S_MAX)
    assert book.position() == before
    book("append", "x.jsonl")
    assert "late" in book.labels()


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


def test_a_full_disk(errata: Errata, small_disk: Path) -> None:
    """The sentence names the line up to which all is stored; going on from there loses nothing."""
    full = errata.on("--log", f"sqlite:///{small_disk}/log.db")
    full("init", "--partitions", "1")
    lines = [item(f"n{i}", content="x" * 1_000) for i in range(4_000)]
    file = full.write("big.jsonl", lines)
    told = full.refused("append", file)
    assert "no room on the disk of" in told
    reached = int(told.partition("all up to line ")[2].partition(";")[0])
    stored = full("log", "--json").lines
    assert [each["item_id"] for each in stored] == [f"n{i}" for i in range(reached)]
    assert 0 < reached < 4_000
    told = full.refused("import", full.write("i.jsonl", [{"id": "m", "content": "x" * 900_000}]))
    assert "0 items of" in told


def test_a_snapshot_on_a_full_disk(long: Errata, small_disk: Path) -> None:
    """Nothing is left of it, and an older file of that name stays as it was."""
    (small_disk / "rest").write_bytes(bytes(1_900_000))
    target = small_disk / "x.csv"
    target.write_text("precious")
    told = long.refused("snapshot", "-o", target, "--content")
    assert told == f"{target}: No space left on device; the snapshot was not saved"
    assert target.read_text() == "precious"
    assert sorted(each.name for each in small_disk.iterdir()) == ["rest", "x.csv"]
