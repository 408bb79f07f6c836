"""`errata verify` and `copy`."""

from __future__ import annotations

import contextlib
import re
import sqlite3

import pytest

from tests.cli.command import Errata
from tests.events import item


def test_every_version_is_proved(book: Errata) -> None:
    """Each version is rebuilt from the log and has the hash of its tag."""
    book("tag", "v1")
    book("append", book.write("more.jsonl", [item("d", "dog")]))
    book("tag", "v2")
    assert book("verify").out.count("proved") == 2
    (line,) = book("verify", "v1", "--json").lines
    assert line["proved"] is True
    assert line["rebuilt_sha256"] == line["tagged_sha256"]


def test_a_version_with_another_hash_is_found(book: Errata) -> None:
    """A tag that says something else than the log fails the check, with its name."""
    position = book("status", "--json").json["position"]
    wrong = {"type": "VersionTagged", "actor": "ann", "position": position}
    tags = [{**wrong, "name": "lie", "content_hash": "0" * 64}, {**wrong, "name": "bare"}]
    book("append", book.write("tags.jsonl", tags))
    said = book("verify", code=1)
    assert "DIFFERS" in said.out
    assert "no hash" in said.out
    assert "not proved: lie, bare" in said.err


def test_an_unknown_version_is_named(book: Errata) -> None:
    """A name that is no version is refused with those there are."""
    book("tag", "v1")
    assert "there is no version 'v9'; there are: v1" in book.refused("verify", "v9")


def test_what_is_kept_is_held_against_the_log(book: Errata) -> None:
    """Views and checkpoints are proved as of where they stand, which may be behind the log."""
    pytest.importorskip("adbc_driver_sqlite")
    book("rebuild")
    stood = book("status", "--json").json["position"]
    book("append", book.write("more.jsonl", [item("d", "dog")]))
    book("tag", "v1")
    assert "kept" not in book("verify", "v1").out
    version, *kept = book("verify", "--json").lines
    assert version["version"] == "v1"
    assert [(each["kept"], each["proved"], each["differ"]) for each in kept] == [
        ("checkpoints", True, 0),
        ("views", True, 0),
    ]
    assert all(each["position"]["labels"] == stood["labels"] for each in kept)


def test_a_view_that_says_something_else_is_named(book: Errata) -> None:
    """The item that differs is named, wherever in the view it is."""
    pytest.importorskip("adbc_driver_sqlite")
    book("rebuild", "--no-checkpoints")
    (path,) = book.folder.glob("*.views.db")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        lie = "UPDATE changes SET label = 'dog' WHERE item_id = 'b'"
        assert connection.execute(lie).rowcount == 1
    said = book("verify", code=1)
    assert re.search(r"views: .*(item b is|\(b\))", said.err)
    assert "not as the log says: views" in said.err


def test_a_damaged_checkpoint_fails_the_check(book: Errata) -> None:
    """The file is named, and what to do."""
    pytest.importorskip("adbc_driver_sqlite")
    book("rebuild", "--no-views")
    file = next(book.folder.glob("*.checkpoints/*/changes/*.parquet"))
    file.write_bytes(file.read_bytes()[:-1])
    said = book("verify", code=1)
    assert "DAMAGED" in said.out
    assert f"{file.name} at " in said.err
    assert "errata rebuild --no-views" in said.err
    book("rebuild", "--no-views")
    assert "proved" in book("verify").out


def test_a_copy_keeps_versions_and_labels(book: Errata) -> None:
    """A copy under another name, in another number of partitions, proves its versions."""
    book("tag", "v1")
    said = book("copy", "--to-dataset", "wide", "--partitions", "7", "--json")
    assert said.json["versions"] == 1
    assert len(said.json["position"]["labels"]) == 7
    assert book("snapshot", "--dataset", "wide").out == book("snapshot").out
    assert "holds events" in book.refused("copy", "--to-dataset", "wide", "--partitions", "7")


def test_a_copy_needs_another_place(book: Errata) -> None:
    """Copying a dataset onto itself is refused."""
    assert "another log (--to) or another name" in book.refused("copy")
