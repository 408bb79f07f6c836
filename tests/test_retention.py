"""A log that lost its head, on either backend: checkpoints stand in for it, in words, or it is
refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from structlog.testing import capture_logs

from consumers.rebuild import rebuild
from consumers.sinks import CheckpointSink
from consumers.worker import Worker
from ledger import Ledger
from ledger.checkpoints.files import open_files
from ledger.checkpoints.store import Store, origin_of
from ledger.checkpoints.writer import CheckpointWriter
from ledger.clock import new_id, now
from ledger.contracts import Contracting
from ledger.core.events import CorrectionProposed, ReviewDecided
from ledger.core.outcome import Outcome
from ledger.core.partitioner import partition_of
from ledger.dataset import Dataset, Entry
from ledger.door import Stamps, admit
from ledger.errors import CorruptLog, InvalidRequest
from ledger.gating import Gate
from ledger.lineage import Lineage
from ledger.logs.base import Topic
from ledger.past import Past
from ledger.past.selection import Selection
from ledger.receipts import receipt
from ledger.releases import Releases
from ledger.remap import compare
from ledger.service_levels import moment
from ledger.verifying import stood_in, verify_kept
from ledger.wiring import checkpoints_url
from tests.consumers.keeping import end, kept
from tests.events import item, proposal, vote

PARTITIONS = 2
Lose = Callable[[Ledger, Sequence[int]], None]


@pytest.fixture
def lose(address: dict[str, str], request: pytest.FixtureRequest) -> Lose:
    """Deletes the labels before these offsets, as a retention job would."""

    def from_sqlite(book: Ledger, heads: Sequence[int]) -> None:
        path = address["log"].removeprefix("sqlite:///")
        book.close()
        connection = apsw.Connection(path)
        for partition, head in enumerate(heads):
            connection.execute(
                """DELETE FROM records WHERE offset < ? AND partition_id =
                    (SELECT partition_id FROM partitions WHERE topic = ? AND partition = ?)""",
                (head, f"{address['dataset']}.labels", partition),
            )
        connection.close()

    def from_kafka(book: Ledger, heads: Sequence[int]) -> None:
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import AdminClient

        client: Any = AdminClient({"bootstrap.servers": address["log"].removeprefix("kafka://")})
        name = book.dataset.log.topic_name(Topic.LABELS)
        wanted = [TopicPartition(name, number, head) for number, head in enumerate(heads) if head]
        for done in client.delete_records(wanted).values():
            done.result()
        book.close()

    return from_kafka if "kafka" in address["log"] else from_sqlite


@pytest.fixture
def open_book(address: dict[str, str], tmp_path: Path) -> Callable[[], Ledger]:
    """Opens the ledger, whose checkpoints are in a folder of this test."""
    return lambda: Ledger.open(**address, checkpoints=str(tmp_path / "cp"))


@pytest.fixture
def book(address: dict[str, str], tmp_path: Path) -> Ledger:
    """Items as such, drawn ones, an addition that was registered later, an escalation, an open
    correction, a rename; two versions, and what came between them taken back.
    """
    made = Ledger.create(**address, partitions=PARTITIONS, checkpoints=str(tmp_path / "cp"))
    made.add_classes(["cat", "dog"], actor="ann")
    shape = {"type": "bbox", "coordinates": [1, 2, 30, 40]}
    made.append([item(f"r{i}", "cat", content=f"text {i}") for i in range(12)])
    made.append([item(f"r{i}#1", "dog", geometry=shape) for i in range(6)])
    made.append([proposal(f"c{i}", f"r{i}", "cat", "dog", reason=f"why {i}") for i in range(6)])
    made.append([vote(f"c{i}", f"r{i}") for i in range(4)])
    made.append([proposal("add", "r1#2", None, "cat"), vote("add", "r1#2")])
    made.append([item("r1#2", "dog", content="late", attributes={"k": 1.5})])
    made.append([vote("c5", "r5", decision="escalate")])
    made.tag("v1", actor="ann")
    made.append([proposal(f"d{i}", f"r{i}", "dog", "cat") for i in range(3)])
    made.append([vote(f"d{i}", f"r{i}") for i in range(3)])
    made.rollback("v1", actor="ann", approved_by="bob")
    made.append([item(f"s{i}", "dog", content=f"more {i}") for i in range(8)])
    made.tag("v2", actor="ann")
    made.append([item(f"t{i}", "cat") for i in range(8)])
    return made


def store(dataset: Dataset, book: Ledger) -> CheckpointWriter:
    """Store all there is, as a worker does."""
    place = Store(open_files(checkpoints_url(book.settings)), origin_of(dataset))
    writer = CheckpointWriter(place)
    worker, until = Worker(dataset, [CheckpointSink(writer)], uuid.uuid4().hex), end(dataset)
    worker.run(lambda: not worker.reaches(until))
    return writer


def halves(book: Ledger) -> list[int]:
    """Heads beyond the second version, so that nothing of both is left."""
    return [stop + 1 for stop in book.resolve("v2").labels]


def asked(book: Ledger) -> dict[str, Any]:
    """What a ledger says at several positions."""
    return {
        "snapshots": [book.snapshot(at).sha256 for at in ("v1", "v2", "head")],
        "texts": [list(book.snapshot(at).rows) for at in ("v1", "head")],
        "diff": [list(book.diff(*pair)) for pair in (("v1", "v2"), ("v2", "head"))],
        "proved": [proof.proved for proof in book.verify()],
        "kept": [(each.name, each.wrong) for each in verify_kept(book, Path("none"))],
        "open": sorted(
            (each.proposal.correction_id, each.status, each.proposal.reason)
            for each in book.state().corrections()
        ),
    }


def test_checkpoints_stand_in(book: Ledger, open_book: Callable[[], Ledger], lose: Lose):
    """The same bytes and states as before, said once; and what comes later is judged the same."""
    store(book.dataset, book)
    before, heads = asked(book), halves(book)
    void = [
        entry.event
        for entry in book.events()
        if isinstance(entry.event, CorrectionProposed | ReviewDecided)
        and entry.event.correction_id == "d1"
    ]
    lose(book, heads)
    with capture_logs() as said:
        book = open_book()
    begins = [each["event"] for each in said if "stands in" in each["event"]]
    assert len(begins) == PARTITIONS
    assert f"partition 1 begins at offset {heads[1]}; the checkpoint at " in begins[1]
    assert asked(book) == before
    assert all(before["proved"])
    assert all(proof.stood_in for proof in book.verify())
    assert len(list(stood_in(book))) == PARTITIONS

    late = book.append_all(void)  # late redeliveries, which a rollback made void
    assert {book.outcome(*place) for place in late.places} == {Outcome.DUPLICATE}
    assert book.review("c4", "accept", actor="bob") is Outcome.SELF_REVIEW
    assert book.review("c4", "accept", actor="ann") is Outcome.APPLIED
    correction, outcome = book.correct("r0", to="cat", actor="bob", reason="no")
    assert outcome is Outcome.PROPOSED
    assert book.review(correction, "accept", actor="ann") is Outcome.APPLIED
    assert {r.item_id: r.label for r in book.snapshot().rows}["r4"] == "dog"
    book.tag("v3", actor="ann")
    store(book.dataset, book)
    assert [proof.proved for proof in open_book().verify()] == [True, True, True]
    book.close()


def nothing(entry: Entry, outcome: Outcome) -> None:
    """Observe."""


def test_what_asks_for_lost_events_is_refused(
    book: Ledger, open_book: Callable[[], Ledger], lose: Lose
):
    store(book.dataset, book)
    heads, v1 = halves(book), book.resolve("v1")
    lose(book, heads)
    book = open_book()
    home = partition_of(b"r1", PARTITIONS)
    for ask in (
        lambda: book.history("r1"),
        lambda: list(book.events()),
        lambda: book.state(observe=nothing),
        lambda: book.outcome(Topic.LABELS, home, 0),
        lambda: book.rollback(v1, actor="ann", approved_by="bob"),
    ):
        with pytest.raises(CorruptLog, match=r"begins at offset|first retained offset is"):
            ask()

    # A rollback that somebody appends past the door: what came before it is read as before, and
    # behind it nothing goes on.
    end = book.resolve()
    labels = book.snapshot().sha256
    fields = {"to": v1.as_dict(), "at": end.as_dict(), "actor": "ann", "approved_by": "bob"}
    event = admit({"type": "RolledBack", **fields}, Stamps(new_id(), now(), 1, end))
    book.dataset.append(Topic.GOVERNANCE, [book.dataset.message(event, admitted=True)])
    assert book.snapshot(end).sha256 == labels
    with pytest.raises(CorruptLog, match="which ids the events of partition 0 took"):
        book.state()
    book.close()


@pytest.mark.parametrize("fault", ["none", "deleted", "flipped", "older"])
def test_nothing_stands_in(
    book: Ledger, open_book: Callable[[], Ledger], lose: Lose, tmp_path: Path, fault: str
):
    """No checkpoint, one that was deleted or damaged, one that ends before the head: refused."""
    words = {
        "none": "there is none",
        "deleted": "is missing",
        "flipped": "is damaged",
        "older": "ends at",
    }
    heads = halves(book)
    if fault != "none":
        store(book.dataset, book)
    if fault == "older":
        book.append([item(f"u{i}", "cat") for i in range(12)])
        heads = [stop - 1 for stop in book.resolve().labels]
    for path in sorted((tmp_path / "cp").glob("labels-0000/changes/*.parquet")):
        if fault == "deleted":
            path.unlink()
        elif fault == "flipped":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    lose(book, heads)
    with pytest.raises(CorruptLog, match=rf"labels partition 0 .* begins at .*{words[fault]}"):
        open_book()


def test_views_and_checkpoints_go_on(
    book: Ledger, open_book: Callable[[], Ledger], lose: Lose, tmp_path: Path
):
    """A worker makes a view from what stands in, and so does a rebuild: the same as before. The
    checkpoints themselves are not made anew.
    """
    store(book.dataset, book)
    before = kept(book.dataset, tmp_path / "whole.db")
    lose(book, halves(book))
    book = open_book()
    assert kept(book.dataset, tmp_path / "left.db") == before
    assert kept(book.dataset, tmp_path / "whole.db") == before
    rebuild(book.dataset, tmp_path / "bulk.db", None)
    assert kept(book.dataset, tmp_path / "bulk.db") == before
    with pytest.raises(InvalidRequest, match="cannot be made anew"):
        rebuild(book.dataset, None, store(book.dataset, book))
    book.append([item(f"w{i}", "cat") for i in range(5)])
    after = kept(book.dataset, tmp_path / "left.db")
    assert kept(book.dataset, tmp_path / "whole.db") == after
    book.close()


QUESTIONS: dict[str, Callable[[Ledger], Any]] = {
    "what-if": lambda book: list(Past(book).what_if(Selection(author="bob")).difference),
    "preview": lambda book: list(Past(book).preview().difference),
    "undo": lambda book: Past(book).undo_plan(Selection(author="bob")).undone,
    "rollback": lambda book: Past(book).rollback_preview("v2"),
    "blast": lambda book: Lineage(book).blast_of_item("r1").as_dict(),
    "retrain": lambda book: Lineage(book).retraining("m1").as_dict(),
    "changes": lambda book: list(Lineage(book).changes("m1").items()),
    "quality": lambda book: Lineage(book).quality("m1"),
    "gate": lambda book: Gate(book).judge("v2").as_dict(),
    "facts": lambda book: Releases(book).facts("v2"),
    "check": lambda book: Releases(book).check(),
    "changelog": lambda book: Releases(book).changelog(),
    "remap": lambda book: compare(book, "v1", "v2").verdict,
    "unresolved": lambda book: Contracting(book).unresolved(),
    "receipt": lambda book: receipt(book, "c4"),
    "blame": lambda book: book.history("r1").steps,
    "log": lambda book: list(book.events()),
    "state": lambda book: len(list(book.state("v1").records())),
    "correction": lambda book: book.find_correction("c4").proposal.reason,
    "governance": lambda book: book.governance.contract,
    "time": lambda book: book.resolve(book.version("v1").occurred_at).labels,
    "long ago": lambda book: book.resolve(moment(1)).labels,
}
REFUSED = {"what-if", "undo", "rollback", "blast", "receipt", "blame", "log"}


def test_every_question(book: Ledger, open_book: Callable[[], Ledger], lose: Lose):
    """Whatever is asked is answered as before, or refused: nothing is left out in silence."""
    lineage = Lineage(book)
    lineage.register("m1", labels="v1", metrics={"f1": 0.5}, actor="ann")
    store(book.dataset, book)
    before = {name: ask(book) for name, ask in QUESTIONS.items()}
    lose(book, halves(book))
    book = open_book()
    refused: set[str] = set()
    for name, ask in QUESTIONS.items():
        try:
            assert ask(book) == before[name], name
        except CorruptLog:
            refused.add(name)
    assert refused == REFUSED
    book.close()
