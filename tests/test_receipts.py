"""Receipts: whoever sent a correction learns what became of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ledger import InvalidRequest, Ledger
from ledger.logs.base import Topic
from ledger.receipts import receipt
from tests.cli.command import Errata
from tests.cli.conftest import errata
from tests.events import Fields, item, proposal, schema, vote

__all__ = ["errata"]

TWO = {"type": "PolicyChanged", "version": 2, "approvals_required": 2, "actor": "ann"}


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    """Two items, and one correction of the first."""
    book = Ledger.create(f"sqlite:///{tmp_path}/log.db", "d", partitions=2)
    book.append([schema(1, "cat", "dog"), item("r", "cat"), item("s", "cat")])
    book.append([proposal("c", "r", "cat", "dog")])
    return book


def became(book: Ledger, *events: Fields) -> tuple[str, str | None, str | None]:
    book.append(list(events))
    found = receipt(book, "c")
    return found.status, found.version, found.reason


def test_received_and_in_review(book: Ledger) -> None:
    """It says where the log holds it, who voted, and how many have to."""
    book.append([TWO])
    book.append([proposal("d", "s", "cat", "dog"), vote("d", "s")])
    found = receipt(book, "d")
    said = (found.status, found.votes, found.approvals_required)
    assert said == ("in_review", {"ann": "accept"}, 2)
    partition, offset = found.place
    (entry,) = book.dataset.entries(Topic.LABELS, partition, offset, offset + 1)
    assert entry.event == found.proposal


def test_applied_in_the_first_version_that_holds_it(book: Ledger) -> None:
    """A version before the decision does not count, and a later one is not the first."""
    book.tag("v1", actor="ann")
    assert became(book, vote("c", "r")) == ("applied", None, None)
    book.tag("v2", actor="ann")
    book.tag("v3", actor="ann")
    assert became(book) == ("applied", "v2", None)


def test_kept_withdrawn_and_stale_say_why(book: Ledger) -> None:
    """The reviewer's reason, the proposer's, or what being stale means."""
    book.append([proposal("d", "r", "dog", "cat"), vote("d", "r")])
    assert receipt(book, "d").status == "stale"
    assert "no longer was" in str(receipt(book, "d").reason)
    gone = {"type": "CorrectionWithdrawn", "correction_id": "e", "item_id": "s", "record_id": "s"}
    book.append([proposal("e", "s", "cat", "dog")])
    book.append([{**gone, "actor": "bob", "reason": "my mistake"}])
    assert (receipt(book, "e").status, receipt(book, "e").reason) == ("withdrawn", "my mistake")
    kept = vote("c", "r", "keep", rationale="it purrs")
    assert became(book, kept) == ("kept", None, "it purrs")


def test_refused_says_why(book: Ledger) -> None:
    """What stands on the log and broke a rule is not thanked for."""
    book.append([proposal("x", "r", "cat", "unicorn")])
    found = receipt(book, "x")
    assert (found.status, found.reason) == (
        "refused",
        "the contract has no such class, or it is deprecated",
    )


def test_rolled_back_names_the_version_it_was_in(book: Ledger) -> None:
    """A rollback takes it back; the version that had it is still read."""
    before = book.resolve()
    book.append([proposal("d", "s", "cat", "dog"), vote("d", "s")])
    book.tag("v1", actor="ann")
    book.rollback(before, actor="ann", approved_by="bob", reason="no")
    found = receipt(book, "d")
    assert (found.status, found.version) == ("rolled_back", "v1")


def test_a_vote_that_came_too_late_hides_no_version(book: Ledger) -> None:
    """Whoever votes on what was rolled back changes nothing of where it was applied first."""
    before = book.resolve()
    book.append([vote("c", "r")])
    book.tag("v1", actor="ann")
    book.append([vote("c", "r", actor="eve")])
    assert (receipt(book, "c").status, receipt(book, "c").version) == ("applied", "v1")
    book.rollback(before, actor="ann", approved_by="bob")
    assert receipt(book, "c").status == "in_review"
    before = book.resolve()
    book.append([proposal("d", "s", "cat", "dog"), vote("d", "s")])
    book.tag("v2", actor="ann")
    book.append([vote("d", "s", actor="eve")])
    book.rollback(before, actor="ann", approved_by="bob")
    book.append([vote("d", "s", actor="max")])
    assert (receipt(book, "d").status, receipt(book, "d").version) == ("rolled_back", "v2")


def test_an_open_one_is_due_by_the_service_level(book: Ledger) -> None:
    """The contract's promise, counted from when it came into its state."""
    book.append([{**TWO, "service_levels": {"proposed": 60.0, "escalated": 5.0}}])
    found = receipt(book, "c")
    assert found.due_at is not None
    assert (found.due_at - found.received_at).total_seconds() == 60
    book.append([vote("c", "r", "escalate")])
    found = receipt(book, "c")
    assert found.due_at is not None
    assert (found.status, (found.due_at - found.since).total_seconds()) == ("escalated", 5)


def test_what_was_not_received_is_not_thanked_for(book: Ledger) -> None:
    """An unknown id, and one that several records have."""
    with pytest.raises(InvalidRequest, match="it was not received; send it again"):
        receipt(book, "nobody")
    book.append([proposal("c", "s", "cat", "dog")])
    with pytest.raises(InvalidRequest, match="in several records, r, s: give --record"):
        receipt(book, "c")
    assert receipt(book, "c", "s").proposal.item_id == "s"


def test_on_the_command_line(book: Ledger, errata: Errata) -> None:
    """For people and as JSON; an unknown one exits with 1."""
    book.append([vote("c", "r", rationale="ears")])
    on = errata.on("--log", str(book.settings.log), "--dataset", "d")
    said = on("receipt", "c").out
    assert "cat -> dog" in said
    assert "applied since" in said
    assert on("receipt", "c", "--json").json["votes"] == {"ann": "accept"}
    assert "was not received" in on("receipt", "nobody", code=1).err


def test_what_is_overdue_is_visible(book: Ledger, errata: Errata) -> None:
    """A correction that waits for longer than the contract promises is marked in the list."""
    on = errata.on("--log", str(book.settings.log), "--dataset", "d")
    assert "overdue" not in on("review").out
    book.append([{**TWO, "service_levels": {"pending": 3600.0, "escalated": 0.0}}])
    assert "overdue" not in on("review").out
    book.append([vote("c", "r", "escalate")])
    time.sleep(0.002)  # the log's clock counts milliseconds
    book.append([item("later", "cat")])
    assert "escalated, overdue" in on("review").out
    assert on("review", "--json").json["overdue"] is True
