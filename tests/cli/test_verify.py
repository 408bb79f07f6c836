"""`errata verify` and `copy`."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ledger import Ledger
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


def test_a_view_without_the_extra(book: Errata, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read here is said not to be checked, and nothing fails."""
    pytest.importorskip("adbc_driver_sqlite")
    book("rebuild", "--no-checkpoints")
    monkeypatch.setitem(sys.modules, "ledger.views.reader", None)
    said = book("verify")
    assert re.search(r"views +not checked", said.out)
    assert "needs the extra `views`" in said.err
    (kept,) = book("verify", "--json").lines
    assert not kept["proved"]


def test_a_rollback_that_one_partition_has_not_met(book: Errata) -> None:
    """What a worker is still about to do is no damage, and what can be compared is."""
    pytest.importorskip("adbc_driver_sqlite")
    from consumers.follower import Follower
    from consumers.sinks import ViewSink
    from ledger.logs.base import Topic
    from ledger.views.contract import Known
    from ledger.wiring import views_path

    book("tag", "v1")
    book("append", book.write("more.jsonl", [item(f"d{i}", "dog") for i in range(9)]))
    book("rebuild", "--no-checkpoints")
    book("rollback", "--to", "v1", "--reason", "a test", "--approved-by", "bob")
    book("append", book.write("again.jsonl", [item(f"e{i}", "dog") for i in range(9)]))
    with Ledger.open() as ledger:
        governance = ledger.governance
        known = Known(ledger.reader.stop, governance.prefix(ledger.reader.stop))
        sink = ViewSink(views_path(ledger.settings), ledger.dataset)
        offset = sink.take_up(0, known)
        assert "proved" in book("verify").out.splitlines()[-1]
        end = ledger.dataset.log.ends(Topic.LABELS)[0]
        assert end > offset
        for said in Follower(ledger.dataset, 0, offset, known.governance).advance(governance, end):
            sink.take(said, known)
        sink.close()
    assert "behind" in book("verify").out.splitlines()[-1]
    book("worker", "--once", "--no-checkpoints")
    assert "proved" in book("verify").out.splitlines()[-1]


@pytest.mark.parametrize("moment", ["store.checked", "recounting.Follower"])
def test_checkpoints_that_are_replaced_meanwhile(
    book: Errata, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A file that a worker has joined with others is not missing."""
    pytest.importorskip("adbc_driver_sqlite")
    from consumers import recounting
    from consumers.rebuild import rebuild
    from ledger.checkpoints import files, store, writer
    from ledger.wiring import checkpoints_url

    book("rebuild", "--no-views")
    module, name = {
        "store.checked": (store, "checked"),
        "recounting.Follower": (recounting, "Follower"),
    }[moment]
    real: Callable[..., Any] = getattr(module, name)
    ledger, calls = Ledger.open(), list[str]()

    def replaced(*arguments: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            ledger.append(item(f"d{i}", "dog") for i in range(9))
            place = files.open_files(checkpoints_url(ledger.settings))
            here = store.Store(place, store.origin_of(ledger.dataset))
            rebuild(ledger.dataset, None, writer.CheckpointWriter(here))
        return real(*arguments)

    monkeypatch.setattr(module, name, replaced)
    with ledger:
        assert re.search("checkpoints .*proved", book("verify").out)
    assert calls


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
