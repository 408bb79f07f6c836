"""The Python API, end to end, on both logs."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars
import pyarrow.parquet as pq
import pytest

from ledger import InvalidRequest, Ledger, Outcome, Position
from ledger.core.events import RolledBack
from tests.events import item, proposal, schema, vote

Address = dict[str, str]
BOX = {"type": "bbox", "coordinates": [1.0, 2.0, 30.0, 40.0]}


def reviews(address: Address, partitions: int = 3) -> Ledger:
    """A ledger with a handful of items, one applied correction and one open one."""
    book = Ledger.create(**address, partitions=partitions)
    book.append([schema(1, "cat", "dog")])
    book.append(
        [
            item("a", "cat", content="a cat", split="train"),
            item("b", "cat", content="a dog, really", attributes={"area": 10.0}),
            item("b#1", "dog", geometry=BOX),
            item("c", None),
            proposal("1", "b", "cat", "dog"),
            vote("1", "b"),
            proposal("2", "a", "cat", "dog"),
        ]
    )
    return book


def test_same_bytes_on_either_log_with_any_number_of_partitions(
    address: Address, tmp_path: Path
) -> None:
    """The same events give the same canonical bytes on both logs, in 1, 3 and 5 partitions."""
    expected = (
        b'{"id":"a","label":"cat","split":"train"}\n'
        b'{"id":"b","label":"dog"}\n'
        b'{"id":"b#1","record":"b","label":"dog","geometry":'
        b'{"type":"bbox","coordinates":[1.0,2.0,30.0,40.0]}}\n'
    )
    for partitions in (1, 3, 5):
        named = {**address, "dataset": f"{address['dataset']}-{partitions}"}
        with reviews(named, partitions) as book:
            snapshot = book.snapshot()
            assert b"".join(snapshot.lines()) == expected
            assert snapshot.sha256 == hashlib.sha256(expected).hexdigest()
            file = tmp_path / "out.jsonl"
            snapshot.save(file)
            assert file.read_bytes() == expected


def test_every_kind_of_position_names_the_same_snapshot(address: Address) -> None:
    """Offsets, a version name, a timestamp and head all give a position."""
    with reviews(address) as book:
        position = book.resolve()
        tag = book.tag("v1", actor="ann")
        assert tag.content_hash == book.snapshot().sha256
        book.append([vote("2", "a")])
        before = book.snapshot("v1")
        assert book.snapshot(position.text()).sha256 == before.sha256
        assert book.snapshot(position).sha256 == before.sha256
        assert book.snapshot().sha256 != before.sha256
        last = max(entry.timestamp_ms for entry in book.events())
        assert book.resolve(f"{_iso(last)}") == book.resolve()
        assert book.snapshot("2000-01-01").rows == []


def _iso(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("labels-v9", "is no version"),
        ("labels=1,1,1", "governance is missing"),
        ("labels=1,1;governance=1", "names 2 label partitions"),
        ("labels=999,0,0;governance=1", "beyond the end of labels partition 0"),
        ("labels=0,0,0;governance=9", "beyond the end of governance"),
        ("labels=0,-1,0;governance=1", "is not TOPIC=OFFSET"),
        ("2026-13-45", "is no version"),
    ],
)
def test_a_position_that_cannot_be_is_refused_in_words(
    address: Address, where: str, words: str
) -> None:
    """An unknown name, a wrong number of partitions and an offset beyond the end are named."""
    with reviews(address) as book, pytest.raises(InvalidRequest, match=words):
        book.resolve(where)


def test_a_position_that_is_not_closed_names_its_floor(address: Address) -> None:
    """A label event may not be read without the contract that it was written under."""
    with reviews(address) as book:
        position = book.resolve()
        with pytest.raises(InvalidRequest, match="greatest closed position below is labels=0,0,0;"):
            book.resolve(Position(position.labels, 0))


def test_rollback_restores_the_bytes_and_can_be_undone(address: Address) -> None:
    """A rollback gives the bytes of its target; rolling it back gives those before it."""
    with reviews(address) as book:
        book.tag("v1", actor="ann")
        book.append([vote("2", "a"), schema(2, rename={"dog": "hound"}), item("d", "hound")])
        changed = book.snapshot()
        after = book.resolve()
        book.rollback("v1", actor="ann", approved_by="bob", reason="too fast")
        assert book.snapshot().sha256 == book.snapshot("v1").sha256
        assert book.snapshot(after).sha256 == changed.sha256
        book.rollback(after, actor="ann", approved_by="bob", reason="it was right after all")
        assert book.snapshot().sha256 == changed.sha256


def test_a_refused_act_appends_nothing(address: Address) -> None:
    """What the fold would refuse is refused before it is appended, with the outcome's name."""
    with reviews(address) as book:
        before = book.resolve()
        with pytest.raises(InvalidRequest, match="takes two people"):
            book.rollback("2000-01-01", actor="ann", approved_by="ann")
        assert book.review("2", "accept", actor="bob") is Outcome.SELF_REVIEW
        assert book.correct("c", to="bird", actor="bob")[1] is Outcome.CLASS_NOT_IN_CONTRACT
        with pytest.raises(InvalidRequest, match="'nowhere' does not exist"):
            book.correct("nowhere", to="cat", actor="bob")
        with pytest.raises(InvalidRequest, match="no correction 'x'"):
            book.review("x", "accept", actor="ann")
        assert book.resolve() == before


def test_correct_review_and_history(address: Address) -> None:
    """A correction proposed and accepted changes the label, and the history says by whom."""
    with reviews(address) as book:
        name, outcome = book.correct("a", to="dog", actor="bob", reason="it barks")
        assert outcome is Outcome.PROPOSED
        assert book.review(name, "accept", actor="ann") is Outcome.APPLIED
        history = book.history("a")
        assert history.label == "dog"
        assert [step.outcome for step in history.steps if step.stands] == [Outcome.APPLIED]
        assert [change.item_id for change in book.diff(history.position)] == []


def test_diff_names_what_was_added_removed_and_changed(address: Address) -> None:
    """Two snapshots differ by item, each with its row before and after."""
    with reviews(address) as book:
        start = book.resolve()
        book.append(
            [
                item("new", "cat"),
                vote("2", "a"),
                proposal("3", "b#1", "dog", None),
                vote("3", "b#1"),
            ]
        )
        changes = {change.item_id: change.kind for change in book.diff(start)}
        assert changes == {"a": "changed", "b#1": "removed", "new": "added"}


def test_frames_and_files_hold_the_same_rows(address: Address, tmp_path: Path) -> None:
    """Arrow, Polars, Parquet and CSV hold the rows of the canonical lines; content on demand."""
    with reviews(address) as book:
        snapshot = book.snapshot()
        frame = snapshot.to_polars(content=True)
        assert frame["label"].to_list() == ["cat", "dog", "dog"]
        assert frame["content"].to_list() == ["a cat", "a dog, really", "a dog, really"]
        assert json.loads(frame["attributes"][2]) == {"area": 1200.0}
        snapshot.save(tmp_path / "s.parquet", "parquet")
        assert pq.read_table(tmp_path / "s.parquet").equals(snapshot.to_arrow())
        labels: Any = snapshot.to_arrow().column("label").combine_chunks()
        assert labels.dictionary.to_pylist() == list(book.governance.contract.classes)
        assert labels.indices.to_pylist() == [0, 1, 1]
        assert frame["label"].dtype == polars.Categorical
        snapshot.save(tmp_path / "s.csv", "csv")
        assert polars.read_csv(tmp_path / "s.csv")["id"].to_list() == ["a", "b", "b#1"]
        snapshot.save(tmp_path / "s.jsonl", "jsonl", content=True)
        lines = [json.loads(line) for line in (tmp_path / "s.jsonl").open()]
        assert [line["content"] for line in lines] == ["a cat", "a dog, really", "a dog, really"]


def test_unresolved_items_are_left_out_and_listed(address: Address) -> None:
    """An item that no rule of a split matches leaves the snapshot until it is relabelled."""
    with reviews(address) as book:
        rules = {"small": "area < 100", "large": "area >= 100"}
        book.append([schema(2, split={"dog": rules})])
        labels = {row.item_id: row.label for row in book.snapshot().rows}
        assert labels == {"a": "cat", "b": "small", "b#1": "large"}
        book.append([vote("2", "a")])  # a becomes a dog without an area
        assert "a" not in {row.item_id for row in book.snapshot().rows}
        state = book.state()
        (unresolved,) = [item for _, item in state.items() if item.item_id == "a"]
        assert state.label(unresolved) == ("dog", 2)


def test_a_list_with_a_bad_event_appends_nothing(address: Address) -> None:
    """A list is checked whole; a generator is appended up to the bad event, which is numbered."""
    with reviews(address) as book:
        start = book.resolve()
        bad = [item("x", "cat"), {"type": "ItemRegistered", "item_id": "y"}]
        with pytest.raises(
            InvalidRequest, match=r"event 2: ItemRegistered: .*record_id is missing"
        ):
            book.append(bad)
        assert book.resolve() == start
        with pytest.raises(InvalidRequest, match="event 2"):
            book.append(each for each in bad)
        assert sum(book.resolve().labels) == sum(start.labels) + 1


def test_another_number_of_partitions_is_refused(address: Address) -> None:
    """Setting up again is harmless with the same number of partitions and refused with another."""
    reviews(address).close()
    Ledger.create(**address, partitions=3).close()
    with pytest.raises(InvalidRequest, match="partitions"):
        Ledger.create(**address, partitions=4)


def test_a_missing_dataset_is_named(address: Address) -> None:
    """Opening what is not there says how to set it up."""
    with pytest.raises(InvalidRequest, match="errata init"):
        Ledger.open(**address)


def test_positions_beyond_the_end_are_refused(address: Address) -> None:
    """A tag or a rollback that names what is not there yet would mean another thing every day."""
    with reviews(address) as book:
        before = book.resolve()
        far = {"labels": [99, 99, 99], "governance": 1}
        tag = {"type": "VersionTagged", "name": "far", "position": far, "actor": "ann"}
        back = {"type": "RolledBack", "to": before.as_dict(), "at": far, "actor": "ann"}
        for event in (tag, back):
            with pytest.raises(InvalidRequest, match="beyond the end of the log"):
                book.append([event])
        rollback = RolledBack(
            event_id="x",
            actor="ann",
            occurred_at=datetime.now(UTC),
            contract_version=1,
            to=before,
            at=Position((99, 99, 99), 1),
        )
        with pytest.raises(InvalidRequest, match="beyond the end of the log"):
            book.append([rollback])
        assert book.resolve() == before


def test_append_tells_what_the_fold_refuses(address: Address) -> None:
    """A contract change that does not count is on the log, and is not passed over in silence."""
    with reviews(address) as book:
        with pytest.raises(InvalidRequest, match=r"event 1: the SchemaChanged .*version_conflict"):
            book.append([schema(7, "bird"), item("z", "cat")])
        assert "z" in {row.item_id for row in book.snapshot().rows}


def test_every_version_is_proved(address: Address) -> None:
    """Each version rebuilt from the log has the hash of its tag."""
    with reviews(address) as book:
        book.tag("v1", actor="ann")
        book.append([vote("2", "a")])
        book.tag("v2", actor="ann")
        assert [(proof.name, proof.proved) for proof in book.verify()] == [
            ("v1", True),
            ("v2", True),
        ]
        with pytest.raises(InvalidRequest, match="no version 'v9'"):
            list(book.verify(["v9"]))
