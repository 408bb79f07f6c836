"""`errata snapshot -o FILE`: formats, and files that are never half written or lost."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.command import Errata
from tests.events import item

TEXT = 'one,\r"two"\r\nthree\n\r'


@pytest.fixture
def full(book: Errata) -> Errata:
    """With a region, text and attributes that are hard to quote."""
    box = {"type": "bbox", "coordinates": [0.1, 2, 3, 4.5]}
    more: dict[str, Any] = {"content": TEXT, "attributes": {"n": 1.5, "s": "ä"}, "split": "test"}
    lines = [item("=1+1", "dog", **more), item("r#ü", "dog", geometry=box), item('q"', "cat")]
    book("append", book.write("full.jsonl", lines))
    return book


def test_jsonl(full: Errata) -> None:
    """The file is what is printed, and its SHA-256 the content hash."""
    said = full("snapshot", "-o", "x.jsonl", "--json").json
    written = (full.folder / "x.jsonl").read_bytes()
    assert written.decode() == full("snapshot").out == full("snapshot", "-o", "-").out
    assert hashlib.sha256(written).hexdigest() == said["sha256"]
    assert said == full("snapshot", "--json").json
    assert said["items"] == 6
    assert said["labels"] == {"cat": 3, "dog": 3}
    assert said["position_text"] == full.position()


def test_csv_and_parquet(full: Errata) -> None:
    """The same rows by the file's ending or by --format."""
    full("snapshot", "-o", "x.CSV", "--content")
    full("snapshot", "-o", "x.bin", "--format", "parquet", "--content")
    text = (full.folder / "x.CSV").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    frame = pl.read_parquet(full.folder / "x.bin")
    assert [row["id"] for row in rows] == frame["id"].to_list() == sorted(full.labels())
    row = next(row for row in rows if row["id"] == "=1+1")
    assert (row["content"], json.loads(row["attributes"])) == (TEXT, {"n": 1.5, "s": "ä"})
    region = frame.row(by_predicate=pl.col("id") == "r#ü", named=True)
    assert (region["record"], region["geometry_type"]) == ("r", "bbox")
    assert region["coordinates"] == [0.1, 2.0, 3.0, 4.5]
    assert full("snapshot", "--format", "csv", "--content").out == text


@pytest.mark.parametrize("content", [True, False], ids=["content", "labels"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
def test_an_exported_snapshot_imported(full: Errata, name: str, content: bool) -> None:
    """Another dataset, with another number of partitions, gets the same content hash."""
    flags = ["--content"] if content else []
    full("snapshot", "-o", name, *flags)
    copy = full.on("--dataset", "copy")
    copy("init", "--partitions", "2")
    assert copy("import", name, "--add-classes").err == "6 registered\n"
    assert copy("snapshot").out == full("snapshot").out
    if content:
        assert copy("show", "=1+1", "--json").json["content"] == TEXT
        assert copy("show", "=1+1", "--json").json["attributes"] == {"n": 1.5, "s": "ä"}


def test_a_file_that_cannot_be_written(full: Errata) -> None:
    """The file and the reason are named, and an older file stays as it was."""
    older = full.write("older.jsonl", "precious")
    told = full.refused("snapshot", "-o", "no/such/x.jsonl")
    assert told == "no/such/x.jsonl: No such file or directory; the snapshot was not saved"
    full("snapshot", "-o", ".", code=2)
    full("snapshot", "-o", "", code=1)
    full("snapshot", "-o", "x" * 300, code=1)
    if Path("/dev/full").exists():
        assert "/dev/full: No space left on device" in full.refused("snapshot", "-o", "/dev/full")
    assert older.read_text() == "precious"
    assert not list(full.folder.glob(".*partial"))


def test_a_link_stays_a_link_and_a_mode_a_mode(full: Errata) -> None:
    """What is replaced is the file that the link names; its permissions stay."""
    (full.folder / "sub").mkdir()
    target = full.write("sub/target.jsonl", "old")
    target.chmod(0o640)
    link = full.folder / "link.jsonl"
    link.symlink_to(target)
    full("snapshot", "-o", link)
    assert link.is_symlink()
    assert target.read_text() == full("snapshot").out
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_pipe_is_written_into(full: Errata) -> None:
    """A pipe (and so a device) is never replaced by a file."""
    pipe = full.folder / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    full("snapshot", "-o", pipe)
    reader.join()
    assert pipe.is_fifo()
    assert read == [full("snapshot").out]
