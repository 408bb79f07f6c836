"""Copies: another log, another number of partitions, the same versions."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from pathlib import Path

import pytest

from ledger import InvalidRequest, Ledger, Outcome
from ledger.clock import milliseconds, now
from ledger.copying import copy
from ledger.core.partitioner import partition_of
from ledger.dataset import Entry
from ledger.logs.base import Message, Topic
from tests.events import item, proposal, schema, vote

Address = dict[str, str]
PARTITIONS = 3


def eventful(address: Address) -> Ledger:
    """A ledger with versions, a rename, a split, nested rollbacks, and much that is refused."""
    chance = random.Random(7)
    book = Ledger.create(**address, partitions=PARTITIONS)
    names = [f"r{n}" for n in range(40)]
    book.append([item("early", "cat", contract_version=1)])  # before the contract was made
    book.append([schema(1, "cat", "dog"), *(item(name, "cat") for name in names)])
    book.append([{"type": "PolicyChanged", "actor": "ann", "version": 2, "approvals_required": 2}])
    book.tag("v1", actor="ann")
    for round_ in range(4):
        for name in chance.sample(names, 15):
            key = f"{round_}-{name}"
            book.append(
                [
                    proposal(key, name, "cat", "dog", based_on=book.resolve().as_dict()),
                    vote(key, name, actor="ann"),
                    vote(key, name, chance.choice(["accept", "keep"]), actor="eve"),
                ]
            )
        _spoil(book, names[round_])
        book.tag(f"v2.{round_}", actor="ann")
    split = {"cat": {"young": "age < 3", "old": "age >= 3"}}
    book.append([schema(3, rename={"dog": "hound"}), schema(4, split=split)])
    book.append_all([schema(4, rename={"hound": "x"})])  # refused: a version conflict
    book.append([item("kitten", "young", attributes={"age": 1})])
    waiver = {
        "type": "WaiverGranted",
        "version": "v3",
        "check": "unresolved",
        "reason": "they wait",
    }
    book.append([{**waiver, "actor": "ann", "approved_by": "bob"}])
    after = book.tag("v3", actor="ann").position
    book.rollback("v2.1", actor="ann", approved_by="bob")
    book.append([proposal("late", names[0], "cat", "dog"), item("new", "dog")])
    book.tag("v4", actor="ann")
    book.rollback(after.prefix(), actor="ann", approved_by="bob")
    book.append([item("last", "hound")])
    return book


def _spoil(book: Ledger, name: str) -> None:
    """Bytes that are no event, and an event in the wrong partition."""
    right = partition_of(name.encode(), PARTITIONS)
    event = next(e.event for e in book.events() if getattr(e.event, "item_id", None) == name)
    at = milliseconds(now())
    wrong = (right + 1) % PARTITIONS
    value = book.dataset.codec.encode(event)  # pyright: ignore[reportArgumentType]
    book.dataset.log.append(
        Topic.LABELS,
        [Message(right, b"?", b"no event", at), Message(wrong, name.encode(), value, at)],
    )
    book.dataset.log.append(Topic.GOVERNANCE, [Message(0, None, b"\0\0\0\0\x63?", at)])


def outcomes(book: Ledger) -> Counter[Outcome]:
    found: Counter[Outcome] = Counter()

    def observe(entry: Entry, outcome: Outcome) -> None:
        found[outcome] += entry.offset >= 0

    book.state(observe=observe)
    return found


def ids(book: Ledger) -> Counter[tuple[str, int]]:
    """Every event id with its timestamp; bytes that are no event as such."""
    return Counter((getattr(e.event, "event_id", "?"), e.timestamp_ms) for e in book.events())


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    return eventful({"log": f"sqlite:///{tmp_path}/source.db", "dataset": "source"})


@pytest.mark.parametrize("partitions", [1, 2, 3, 7])
def test_every_version_keeps_its_hash(book: Ledger, address: Address, partitions: int) -> None:
    """On either log, in any number of partitions: labels, outcomes, event ids and times stay."""
    with Ledger.create(**address, partitions=partitions) as other:
        copy(book.dataset, other.dataset)
        assert other.governance.tags.keys() == book.governance.tags.keys()
        for name, tag in book.governance.tags.items():
            assert other.snapshot(name).sha256 == tag.event.content_hash
        assert other.snapshot().sha256 == book.snapshot().sha256
        assert outcomes(other) == outcomes(book)
        assert ids(other) == ids(book)


def test_the_history_is_eventful(book: Ledger) -> None:
    """What is copied holds applied and stale corrections, void ranges and every spoiled message."""
    found = outcomes(book)
    for outcome in ("applied", "stale", "escalated", "void", "undecodable", "misplaced"):
        assert found[Outcome(outcome)], outcome
    assert found[Outcome.UNKNOWN_CONTRACT]
    assert found[Outcome.VERSION_CONFLICT]
    assert len({tag.event.content_hash for tag in book.governance.tags.values()}) > 4


def test_a_copy_into_as_many_partitions_keeps_every_position(book: Ledger, tmp_path: Path) -> None:
    """With the same number of partitions no position changes, and a copy of a copy is the same."""
    log = f"sqlite:///{tmp_path}/other.db"
    with (
        Ledger.create(log, "far", partitions=5) as far,
        Ledger.create(log, "back", partitions=PARTITIONS) as back,
    ):
        copy(book.dataset, far.dataset)
        copy(far.dataset, back.dataset)
        assert back.snapshot().sha256 == book.snapshot().sha256
        with Ledger.create(log, "same", partitions=PARTITIONS) as same:
            copy(book.dataset, same.dataset)
            for name, tag in book.governance.tags.items():
                assert same.governance.tags[name].event.position == tag.event.position.prefix()
            assert same.resolve() == book.resolve()


def test_a_copy_can_be_worked_on(book: Ledger, tmp_path: Path) -> None:
    """What is appended to a copy is judged like in the source: contract, reviews and rollbacks."""
    with Ledger.create(f"sqlite:///{tmp_path}/o.db", "o", partitions=2) as other:
        copy(book.dataset, other.dataset)
        for each in (book, other):
            each.append([item("more", "hound"), proposal("m", "more", "hound", None)])
            each.append([vote("m", "more"), vote("m", "more", actor="eve")])
            each.rollback("v4", actor="ann", approved_by="bob")
        assert other.snapshot().sha256 == book.snapshot().sha256


def test_a_copy_goes_into_an_empty_dataset(book: Ledger) -> None:
    """A dataset that holds events is never copied into."""
    with pytest.raises(InvalidRequest, match="copy into a new dataset"):
        copy(book.dataset, book.dataset)


def test_bytes_that_were_no_event_do_not_become_one(book: Ledger, tmp_path: Path) -> None:
    """An id that only the copy's registry knows does not make an event of old bytes."""
    value = book.dataset.codec.encode(
        next(e.event for e in book.events() if getattr(e.event, "item_id", "") == "r1")  # pyright: ignore[reportArgumentType]
    )
    unknown = b"\0" + (len(value) + 900).to_bytes(4, "big") + value[5:]
    book.dataset.log.append(Topic.LABELS, [Message(0, b"r1", unknown, milliseconds(now()))])
    with Ledger.create(f"sqlite:///{tmp_path}/o.db", uuid.uuid4().hex, partitions=2) as other:
        copy(book.dataset, other.dataset)
        assert outcomes(other)[Outcome.UNDECODABLE] == outcomes(book)[Outcome.UNDECODABLE]
