"""A patch that dies anywhere is completed by doing the same again.

A log is cut after every one of its events in turn, as it would be found after a kill, and the same
commands are given once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ledger import Ledger, LogUnavailable
from ledger.core.events import CorrectionProposed, Event, PatchDecided, PatchProposed, ReviewDecided
from ledger.dataset import Entry
from ledger.logs.base import Message, Topic
from ledger.patches import Edit, Patches
from tests.patches.material import animals, flips, here, labels, policy

ORDER = (PatchProposed, CorrectionProposed, ReviewDecided, PatchDecided)
EDITS = [*flips("a", "b", "d"), Edit("new", None, "cow")]
PARTITIONS = 3


def appended(book: Ledger, since: int) -> list[Entry]:
    """What stands on the log beyond its first events, in the order in which it was appended: what
    one command gives is sorted by item.
    """

    def key(entry: Entry) -> tuple[int, str, bytes]:
        kind = ORDER.index(type(entry.event))  # pyright: ignore[reportArgumentType]
        voter = entry.event.actor if isinstance(entry.event, ReviewDecided) else ""
        return kind, voter, getattr(entry.event, "item_id", "").encode()

    return sorted(list(book.events())[since:], key=key)


def put(book: Ledger, entries: list[Entry]) -> None:
    """Append the events as they are."""
    for entry in entries:
        assert isinstance(entry.event, Event)
        value = book.dataset.codec.encode(entry.event)
        message = Message(entry.partition, entry.key, value, entry.timestamp_ms)
        book.dataset.log.append(entry.topic, [message])


def said(book: Ledger) -> list[str]:
    """Every event's id: none is there twice."""
    ids = [entry.event.event_id for entry in book.events() if isinstance(entry.event, Event)]
    assert len(set(ids)) == len(ids)
    return sorted(each for each in ids if len(each) == 32)


def run(book: Ledger, approvals: int) -> str:
    """What people do: propose, and approve as often as the contract asks."""
    patches = Patches(book)
    patch_id = patches.propose(EDITS, actor="ann")
    for person in ("bob", "eve")[:approvals]:
        settled = patches.settle(patch_id, "accept", actor=person)
    assert settled.decided  # pyright: ignore[reportPossiblyUnboundVariable]
    return patch_id


@pytest.mark.parametrize("approvals", [1, 2])
def test_cut_at_every_event(tmp_path: Path, approvals: int) -> None:
    """Whatever was appended when it died: the same labels, frame and events, and no more."""
    with animals(here(tmp_path, "whole"), PARTITIONS) as whole:
        policy(whole, approvals_required=approvals)
        since = len(list(whole.events()))
        patch_id = run(whole, approvals)
        entries = appended(whole, since)
        assert [type(each.event) for each in entries[:2]] == [PatchProposed, CorrectionProposed]
        assert len(entries) == 2 + len(EDITS) * (1 + approvals)
        for stop in range(len(entries) + 1):
            with animals(here(tmp_path, f"cut-{stop}"), PARTITIONS) as book:
                policy(book, approvals_required=approvals)
                put(book, entries[:stop])
                assert run(book, approvals) == patch_id, stop
                assert labels(book) == labels(whole), stop
                assert said(book) == said(whole), stop
                end = book.resolve()
                assert run(book, approvals) == patch_id
                assert book.resolve() == end, stop
                assert Patches(book).in_progress(end) == []
                book.tag("v1", actor="ann")
                assert book.snapshot("v1").sha256 == whole.snapshot().sha256


def test_a_lost_batch_in_one_partition(tmp_path: Path) -> None:
    """Partitions fail alone: what is missing in the middle is filled in."""
    with animals(here(tmp_path, "whole"), PARTITIONS) as whole:
        since = len(list(whole.events()))
        patch_id = run(whole, 1)
        entries = appended(whole, since)
        proposals = [each for each in entries if isinstance(each.event, CorrectionProposed)]
        assert len({each.partition for each in proposals}) > 1
        for lost in {each.partition for each in proposals}:
            with animals(here(tmp_path, f"lost-{lost}"), PARTITIONS) as book:
                there = [each for each in proposals if each.partition != lost]
                put(book, [entries[0], *there])
                assert run(book, 1) == patch_id
                assert said(book) == said(whole)
                assert labels(book) == labels(whole)


def test_a_log_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said how far it came and what to do; doing that completes it."""
    with animals(here(tmp_path)) as book:
        patches, log = Patches(book), book.dataset.log

        def away(topic: Topic, messages: Sequence[Message]) -> list[int]:
            if topic is Topic.GOVERNANCE:
                return append(topic, messages)
            append(topic, messages[:1])
            raise LogUnavailable("the disk is full", acknowledged=1)

        append = log.append
        monkeypatch.setattr(log, "append", away)
        with pytest.raises(LogUnavailable, match=r"1 of 4 events are stored .* propose it again"):
            patches.propose(EDITS, actor="ann")
        (patch_id,) = (each.event.patch_id for each in patches.all())
        assert patches.standing(patch_id).counts() == {"missing": 3, "open": 1}
        monkeypatch.setattr(log, "append", append)
        assert patches.propose(EDITS, actor="ann") == patch_id
        monkeypatch.setattr(log, "append", away)
        with pytest.raises(LogUnavailable, match=r"1 of 4 events are stored .* settle it again"):
            patches.settle(patch_id, "accept", actor="bob")
        assert patches.in_progress(book.resolve()) == [patch_id]
        monkeypatch.setattr(log, "append", append)
        assert patches.settle(patch_id, "accept", actor="bob").counts == {"applied": 4}


def test_a_death_in_the_midst_of_rejecting(tmp_path: Path) -> None:
    """Half of it was kept: the other half is, and the frame is closed."""
    with animals(here(tmp_path)) as book:
        patches, before = Patches(book), labels(book)
        patch_id = patches.propose(EDITS, actor="ann")
        first = patches.standing(patch_id).corrections[0].proposal
        book.review(first.correction_id, "keep", actor="bob")
        assert patches.settle(patch_id, "keep", actor="bob").counts == {"kept": len(EDITS)}
        assert labels(book) == before
