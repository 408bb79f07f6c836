"""Patches on both logs and in copies: the same labels, the same frames, the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ledger import InvalidRequest, Ledger
from ledger.clock import milliseconds, now
from ledger.copying import copy
from ledger.core.events import PatchDecided
from ledger.logs.base import Message, Topic
from ledger.patches import Edit, Patches
from tests.patches.material import animals, flips, here, labels, policy


def eventful(book: Ledger) -> dict[str, str]:
    """Patches that were applied, rejected, half approved, rolled back, and left open."""
    patches = Patches(book)
    ids = {"applied": patches.propose(flips("a", "b"), actor="ann", file="e.jsonl")}
    book.tag("v1", actor="ann")
    patches.settle(ids["applied"], "accept", actor="bob")
    book.tag("v2", actor="ann")
    ids["rejected"] = patches.propose(flips("c", to="cow"), actor="ann")
    patches.settle(ids["rejected"], "keep", actor="eve", rationale="no cow")
    ids["undone"] = patches.propose([Edit("new", None, "cow")], actor="ann")
    patches.settle(ids["undone"], "accept", actor="bob")
    book.rollback("v2", actor="ann", approved_by="bob")
    policy(book, approvals_required=2)
    ids["again"] = patches.propose([Edit("new", None, "cow")], actor="ann", base="v2")
    for person in ("bob", "eve"):
        patches.settle(ids["again"], "accept", actor=person)
    book.tag("v3", actor="ann")
    ids["half"] = patches.propose([*flips("d"), Edit("a", "dog", None)], actor="ann", base="v3")
    patches.settle(ids["half"], "accept", actor="bob")
    ids["open"] = patches.propose(flips("e", "f"), actor="ann")
    return ids


def told(book: Ledger) -> list[Any]:
    """Everything that is said of patches, without offsets."""
    patches = Patches(book)
    found: list[Any] = []
    for patch in patches.all():
        event, settlement = patch.event, patch.settlement
        standing = patches.standing(event.patch_id)
        each = [(c.proposal.item_id, standing.status(c), c.votes) for c in standing.corrections]
        decided = settlement and (settlement.actor, settlement.decision, settlement.rationale)
        found.append((event.patch_id, event.sha256, event.kind, event.base, decided, each))
    return [found, patches.in_progress(book.resolve())]


def go_on(book: Ledger, ids: dict[str, str]) -> dict[str, str]:
    """Complete what was left open, and propose what is there already."""
    patches = Patches(book)
    assert patches.propose([Edit("new", None, "cow")], actor="ann") == ids["again"]
    assert patches.propose(flips("e", "f"), actor="ann") == ids["open"]
    assert patches.settle(ids["half"], "accept", actor="eve").decided
    for person in ("bob", "eve"):
        patches.settle(ids["open"], "accept", actor=person)
    book.tag("v4", actor="ann")
    return labels(book)


def test_the_same_on_either_log(address: dict[str, str], tmp_path: Path) -> None:
    """On Kafka and on SQLite, in 2 and in 5 partitions: ids, statuses, labels and hashes."""
    with animals(here(tmp_path, "one"), 5) as one, animals(address, 2) as two:
        ids = eventful(one)
        assert eventful(two) == ids
        assert told(two) == told(one)
        assert go_on(two, ids) == go_on(one, ids)
        assert told(two) == told(one)
        for name, tag in one.governance.tags.items():
            assert two.governance.tags[name].event.content_hash == tag.event.content_hash


@pytest.mark.parametrize("partitions", [1, 3, 8])
def test_a_copy_keeps_patches(tmp_path: Path, partitions: int) -> None:
    """Into another number of partitions: versions keep their hashes, what is told of patches stays,
    what was open is completed there, and no version cuts a patch in two.
    """
    with (
        animals(here(tmp_path, "source"), 3) as source,
        Ledger.create(**here(tmp_path, "copy"), partitions=partitions) as other,
    ):
        ids = eventful(source)
        copy(source.dataset, other.dataset)
        assert told(other) == told(source)
        assert all(proof.proved for proof in other.verify())
        assert go_on(other, ids) == go_on(source, ids)
        assert told(other) == told(source)
        assert other.snapshot("v4").sha256 == source.snapshot("v4").sha256
        other.rollback("v1", actor="ann", approved_by="bob")
        source.rollback("v1", actor="ann", approved_by="bob")
        assert other.snapshot().sha256 == source.snapshot().sha256


def test_the_midst_of_a_patch_is_none_in_a_copy(tmp_path: Path) -> None:
    """A position between its votes is refused there too."""
    with (
        animals(here(tmp_path, "source"), 3) as source,
        Ledger.create(**here(tmp_path, "copy"), partitions=1) as other,
    ):
        patch_id = Patches(source).propose(flips("a", "b", "c"), actor="ann")
        Patches(source).settle(patch_id, "accept", actor="bob")
        copy(source.dataset, other.dataset)
        end = other.resolve()
        middle = {**end.as_dict(), "labels": [end.labels[0] - 1]}
        assert Patches(other).in_progress(end) == []
        with pytest.raises(InvalidRequest, match="in the midst of a patch"):
            other.govern({"type": "VersionTagged", "name": "v", "position": middle, "actor": "ann"})


def test_a_frame_beyond_the_end_of_the_log(tmp_path: Path) -> None:
    """It would forbid every version from then on: our writer refuses it; a copy of what a foreign
    one wrote keeps it where it is.
    """
    with (
        animals(here(tmp_path, "source"), 3) as source,
        Ledger.create(**here(tmp_path, "copy"), partitions=2) as other,
    ):
        patch_id = Patches(source).propose(flips("a"), actor="ann")
        fields = {"type": "PatchDecided", "patch_id": patch_id, "decision": "accept"}
        for beyond in ({"start": [0, 0, 0], "at": [99] * 3}, {"start": [99] * 3}):
            with pytest.raises(InvalidRequest, match="is beyond the end of the log"):
                source.append([{**fields, "actor": "bob", **beyond}])
        opened = {"type": "PatchProposed", "patch_id": "p", "sha256": "0" * 64, "count": 1}
        with pytest.raises(InvalidRequest, match="is beyond the end of the log"):
            source.append([{**opened, "at": [99] * 3, "actor": "ann"}])
        decided = PatchDecided(
            event_id="d",
            actor="bob",
            occurred_at=now(),
            contract_version=1,
            patch_id=patch_id,
            decision="accept",
            start=(0, 0, 0),
            at=(99, 99, 99),
        )
        value = source.dataset.codec.encode(decided)
        message = Message(0, None, value, milliseconds(now()))
        source.dataset.log.append(Topic.GOVERNANCE, [message])
        copy(source.dataset, other.dataset)
        for book in (source, other):
            assert book.governance.cuts(book.resolve()) == [patch_id]
