"""Commands on a log whose head is gone, where checkpoints stand in for it."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

pytest.importorskip("polars")
pytest.importorskip("pyarrow")
pytest.importorskip("adbc_driver_sqlite")

from ledger import Ledger
from ledger.core.partitioner import partition_of
from ledger.logs.base import Message, Topic
from tests.cli.command import Errata
from tests.events import item, proposal


def behead(book: Errata, head: int, partition: int | None = None) -> None:
    """Delete the label events of a partition, or of each, before this offset."""
    log = book.folder / "errata.db"
    with contextlib.closing(sqlite3.connect(log)) as connection, connection:
        connection.execute(
            """DELETE FROM records WHERE offset < ? AND partition_id IN
                (SELECT partition_id FROM partitions
                 WHERE topic LIKE '%.labels' AND partition = coalesce(?, partition))""",
            (head, partition),
        )


def more(book: Errata, name: str) -> None:
    """Append some items to each partition."""
    events = [item(f"{name}{i}", "dog") for i in range(30)]
    book("append", book.write(f"{name}.jsonl", events))


def test_a_log_without_its_head(book: Errata) -> None:
    """Commands go on with what stands in for it, and say so; what needs lost events is refused."""
    early = [item(f"e{i}", "dog") for i in range(9)]
    book(
        "append", book.write("a.jsonl", [proposal("c2", "b", "cat", "dog", reason="loud"), *early])
    )
    book("tag", "v1")
    book("rebuild")
    book("append", book.write("b.jsonl", [item(f"d{i}", "dog") for i in range(9)]))
    whole, labels = book("snapshot").out, book("status", "--json").json["labels"]
    v1 = book("snapshot", "--at", "v1").out
    behead(book, 1)
    said = book("snapshot")
    assert said.out == whole
    assert "partition 0 begins at offset 1; the checkpoint at" in said.err
    assert book("snapshot", "--at", "v1").out == v1
    status = book("status", "--json").json
    assert (status["labels"], status["outcomes"]) == (labels, None)
    assert set(status["checkpoints_stand_in_below"]) == {1}
    assert {line["correction_id"]: line["reason"] for line in book("review", "--json").lines} == {
        "c2": "loud"
    }
    said = book("verify")
    assert "proved, by checkpoint" in said.out
    assert "partition 0 begins at offset 1: what is before is taken from a checkpoint" in said.err
    book("import", book.write("new.csv", "id,label\nf1,cat\n"))
    book("review", "c2", "accept")
    book("tag", "v2")
    book("worker", "--once")
    assert book("status", "--json").json["labels"]["dog"] == labels["dog"] + 1
    assert book("verify").out.count("proved") == 4
    assert "cannot be told" in book.refused("blame", "a")
    assert "cannot be made anew" in book.refused("rebuild")
    book("rebuild", "--no-checkpoints")
    for folder in book.folder.glob("*.checkpoints"):
        folder.rename(book.folder / "gone")
    assert "no checkpoint stands in for it" in book.refused("snapshot")


def test_attributes_are_printed_in_one_order(book: Errata) -> None:
    """By name, whatever the order in which an event says them, and whoever tells of them."""
    attributes = {"width": 3.0, "Depth": "ä", "height": 2.0}
    told = item("w", "cat", content="text", attributes=attributes)
    book("append", book.write("w.jsonl", [told]))
    whole, shown = book("snapshot", "--content").out, book("show", "w").out
    ordered = '"attributes":{"Depth":"ä","height":2.0,"width":3.0}'
    assert ordered in whole
    assert '{"Depth": "ä", "height": 2.0, "width": 3.0}' in shown
    assert list(book("show", "w", "--json").json["attributes"]) == sorted(attributes)
    more(book, "e")
    book("rebuild")
    more(book, "f")
    full = book("snapshot", "--content").out
    behead(book, 3)
    assert book("snapshot", "--content").out == full
    assert book("show", "w").out.splitlines()[:5] == shown.splitlines()[:5]


def test_a_copy_is_refused_before_it_is_begun(book: Errata) -> None:
    """No empty dataset is left behind, which would answer as if that were all there is."""
    more(book, "e")
    book("rebuild")
    behead(book, 1)
    said = book.refused("copy", "--to-dataset", "other", "--partitions", "2")
    assert "what a copy begins with cannot be told" in said
    assert "there is no dataset 'other'" in book.refused("status", "--dataset", "other")


def alien(name: str) -> tuple[int, int]:
    """Append bytes that are no event, and return their place."""
    with Ledger.open() as ledger:
        home = partition_of(name.encode(), ledger.dataset.partitions)
        message = Message(home, name.encode(), b"no event", 1_000)
        return home, ledger.dataset.log.append(Topic.LABELS, [message])[0]


def test_quarantine_goes_on(book: Errata) -> None:
    """What was no event is told though it is gone, rolled back or not, without its bytes and once;
    what follows is told as ever.
    """
    kept = [alien("a")]
    book("worker", "--quarantine", "--once")
    book("tag", "v1")
    lost = [alien("b")]
    book("rollback", "--to", "v1", "--approved-by", "bob", "--reason", "no")
    lost.append(alien("c"))
    more(book, "e")
    book("rebuild")
    head = max(offset for _, offset in lost) + 1
    more(book, "f")
    behead(book, head)
    kept.append(alien("d"))
    for _ in range(2):
        book("worker", "--quarantine", "--once")
    said = book("log", "--quarantine", "--json").lines
    found = [
        ((each["source_partition"], each["source_offset"]), each["value"] is None) for each in said
    ]
    assert sorted(found) == sorted([*((p, False) for p in kept), *((p, True) for p in lost)])
    assert sum("its bytes are gone" in each["reason"] for each in said) == 2


def test_what_no_log_makes_again_is_not_to_be_made_again(book: Errata) -> None:
    """Where views or checkpoints are wrong, it is said how each comes back."""
    more(book, "e")
    book("rebuild")
    behead(book, 1, 0)
    (views,) = book.folder.glob("*.views.db")
    with contextlib.closing(sqlite3.connect(views)) as connection, connection:
        assert connection.execute("UPDATE changes SET label = 'cat' WHERE item_id = 'e0'").rowcount
    assert book.refused("verify").endswith(
        "views. `errata rebuild --no-checkpoints` makes views again"
    )
    file = next(book.folder.glob("*.checkpoints/labels-0001/changes/*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    said = book("verify", code=1).err
    assert "is damaged: its bytes are not those written. No log makes again" in said
    assert "restore the checkpoints from a backup. `errata rebuild --no-checkpoints`" in said
    assert "Make them again" not in said


def test_what_cannot_be_replayed_is_not_called_wrong(book: Errata) -> None:
    """Of a rollback that no worker has seen before the head was lost, no replay can be had."""
    book("tag", "v1")
    more(book, "e")
    book("rebuild")
    book("rollback", "--to", "v1", "--approved-by", "bob", "--reason", "no")
    behead(book, 4)
    book("rebuild", "--no-checkpoints")
    said = book("verify")
    assert said.out.count("not checked") == 2
    assert "views: not checked: which ids" in said.err


LISTED = (
    ("--last", "5"),
    ("--last", "0"),
    ("--last", "3", "--outcomes"),
    ("--type", "VersionTagged"),
    ("--type", "VersionTagged", "--last", "1", "--outcomes"),
    ("--since", "v1", "--outcomes"),
)
LOST = (
    (),
    ("--last", "50"),
    ("--last", "60"),
    ("--type", "ItemRegistered"),
    ("--until", "v1"),
    ("--outcomes",),
)


def test_what_is_left_of_the_log_is_listed(book: Errata) -> None:
    """Events are listed where it is certain that none that is gone is among them."""
    more(book, "e")
    book("rebuild")
    book("tag", "v1")
    more(book, "f")
    whole = [book("log", "--json", *each).out for each in LISTED]
    assert [text.count("\n") for text in whole] == [5, 0, 3, 1, 1, 31]
    behead(book, 4)
    assert [book("log", "--json", *each).out for each in LISTED] == whole
    for each in LOST:
        assert "cannot be told" in book.refused("log", *each)
    assert "--since passes it by" in book.refused("log")
