"""What a tag says, beside which base, and which tags are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import InvalidRequest, Ledger
from ledger.core.position import Position
from ledger.errors import VerificationFailed
from ledger.patches import Edit, Patches, digest
from ledger.releases import Releases
from tests.events import item, proposal, schema, vote

WHO: dict[str, Any] = {"actor": "sam", "reviewer": "alex"}


def corrected(item_id: str, old: str, new: str, name: str = "c") -> list[dict[str, Any]]:
    """A correction, applied."""
    name = f"{name}-{item_id}"
    return [
        proposal(name, item_id, old, new, actor="sam"),
        vote(name, item_id, actor="alex"),
    ]


def test_a_rename_alone_changes_no_item(life: Ledger) -> None:
    """Labels of the base are mapped forward: only what differs beyond the names is counted."""
    tag = life.version("labels-v2.0")
    assert tag.class_deltas == {"dog": -6, "dog_large": 1, "dog_small": 1}
    assert tag.changed_by_split == {"train": 8}
    facts = Releases(life).facts("labels-v2.0")
    assert facts.base_counts["car"] == facts.counts["car"] == 150
    assert [change.version for change in facts.schema_changes] == [2]
    assert facts.corrections.applied == 0
    assert facts.unresolved == 6


def test_what_a_rollback_took_back_is_no_base(life: Ledger) -> None:
    """After going back to v2.1, v2.3 follows v2.1, and has its test labels."""
    tag = life.version("labels-v2.3")
    assert (tag.base, tag.test_version) == ("labels-v2.1", "test-v2")
    assert tag.class_deltas == {"bird": -2, "cat": 2}
    assert Releases(life).facts("labels-v2.3").corrections.sources == {"annotator": 2}


def test_versions_of_the_test_labels(life: Ledger) -> None:
    """They count up when a test label changes, and every comparison across them says so."""
    named = {name: tag.event.test_version for name, tag in life.governance.tags.items()}
    assert named == {
        "labels-v1.5": "test-v1",
        "labels-v1.6": "test-v1",
        "labels-v2.0": "test-v1",
        "labels-v2.1": "test-v2",
        "labels-v2.2": "test-v2",
        "labels-v2.3": "test-v2",
    }
    facts = Releases(life).facts("labels-v2.1")
    assert facts.test_note is not None
    assert "labels-v2.0 was tested on test-v1, labels-v2.1 on test-v2" in facts.test_note
    assert Releases(life).facts("labels-v2.2").test_note is None


def test_a_number_of_test_labels_is_never_used_twice(book: Ledger) -> None:
    """Two roads from the same base make two names, also when one of them was rolled back."""
    book.append([schema(1, "cat", "dog"), item("a", "cat", split="test"), item("b", "cat")])
    book.tag("v1", **WHO)
    book.append(corrected("a", "cat", "dog"))
    assert book.tag("v2", **WHO).test_version == "test-v2"
    book.rollback("v1", actor="sam", approved_by="alex")
    assert book.tag("v3", **WHO).test_version == "test-v1"
    book.append([item("c", "dog", split="test")])
    assert book.tag("v4", **WHO).test_version == "test-v3"
    assert book.tag("v4.1", base="v1", **WHO).test_version == "test-v4"


def test_a_version_without_test_items_names_no_test_labels(book: Ledger) -> None:
    """There is nothing to name."""
    book.append([schema(1, "cat"), item("a", "cat", split="train")])
    assert book.tag("v1", **WHO).test_version is None


def test_a_test_item_that_goes_makes_new_test_labels(book: Ledger) -> None:
    """A label that is taken away, and a class that a split takes away, change what is tested."""
    two = [item(name, "cat", split="test") for name in "ab"]
    book.append([schema(1, "cat"), *two, item("c", "cat", split="test", attributes={"x": 1.0})])
    book.tag("v1", **WHO)
    book.append([proposal("c1", "a", "cat", None, actor="sam"), vote("c1", "a", actor="alex")])
    tag = book.tag("v2", **WHO)
    assert (tag.test_version, tag.class_deltas) == ("test-v2", {"cat": -1})
    book.append([{**schema(2), "split": {"cat": {"one": "x == 1", "two": "x == 2"}}}])
    Releases(book).waive("v3", "unresolved", actor="sam", approved_by="alex", reason="r")
    tag = book.tag("v3", **WHO)
    assert (tag.test_version, tag.class_deltas) == ("test-v3", {"cat": -1})
    assert tag.changed_by_split == {"test": 1}


def test_a_split_across_a_rollback_maps_item_by_item(book: Ledger) -> None:
    """Where a rollback lies between, the base is mapped forward all the same."""
    items = [item(f"n{number}", "dog", attributes={"x": float(number)}) for number in range(4)]
    book.append([schema(1, "dog", "cat"), *items, item("m", "dog")])
    book.tag("v1", **WHO)
    book.append(corrected("n0", "dog", "cat"))
    book.rollback("v1", actor="sam", approved_by="alex")
    split = {"dog": {"small": "x < 2", "large": "x >= 2"}}
    book.append([{**schema(2), "split": split, "rename": {"cat": "feline"}}])
    book.append(corrected("n0", "small", "large", "again"))
    Releases(book).waive("v2", "unresolved", actor="sam", approved_by="alex", reason="r")
    tag = book.tag("v2", **WHO)
    assert tag.class_deltas == {"dog": -1, "large": 1, "small": -1}
    assert Releases(book).facts("v2").base_counts == {"dog": 1, "large": 2, "small": 2}


def test_a_base_that_was_rolled_back_is_compared_as_it_was(book: Ledger) -> None:
    """Named as the base all the same, it counts as tagged, whatever is void by now."""
    items = [item(f"n{number}", "dog", attributes={"x": float(number)}) for number in range(4)]
    book.append([schema(1, "dog", "cat"), *items])
    book.tag("v1", **WHO)
    book.append(corrected("n3", "dog", "cat"))
    book.tag("v2", **WHO)
    book.rollback("v1", actor="sam", approved_by="alex")
    assert book.tag("v3", base="v2", **WHO).class_deltas == {"cat": -1, "dog": 1}
    book.append([{**schema(2), "split": {"dog": {"small": "x < 2", "large": "x >= 2"}}}])
    assert book.tag("v4", base="v2", **WHO).class_deltas == {"cat": -1, "large": 1}
    last = book.tag("v5", **WHO)
    assert (last.base, last.class_deltas) == ("v4", {})
    assert [len(Releases(book).facts(name).rollbacks) for name in ("v4", "v5")] == [1, 0]


def test_a_contract_that_went_back_is_compared_by_name(book: Ledger) -> None:
    """A base whose contract was rolled back cannot be mapped, and is compared as it stands."""
    book.append([schema(1, "cat", "dog"), item("a", "cat"), item("b", "dog")])
    book.tag("v1", **WHO)
    book.append([{**schema(2), "rename": {"cat": "feline"}}])
    book.tag("v2", **WHO)
    book.rollback("v1", actor="sam", approved_by="alex")
    assert book.tag("v3", base="v2", **WHO).class_deltas == {"cat": 1, "feline": -1}
    assert book.tag("v4", **WHO).class_deltas == {}
    book.append([{**schema(3), "contract_version": 1, "rename": {"dog": "hound"}}])
    deltas = {"cat": 1, "dog": -1, "feline": -1, "hound": 1}
    assert book.tag("v5", base="v2", **WHO).class_deltas == deltas
    assert book.tag("v6", **WHO).class_deltas == {}


def test_what_a_tag_keeps(life: Ledger) -> None:
    """Base, patches by their hash, tools, counts, checks, and what was waived by whom."""
    tag = life.version("labels-v1.6")
    assert tag.guideline == "G-2024-07"
    assert tag.patch_hashes == (b"v1.5-to-v1.6".hex().ljust(64, "0"),)
    assert {"errata", "python"} <= tag.tool_versions.keys()
    assert sum(tag.counts.values()) == 600
    waived = life.version("labels-v2.0")
    assert waived.waivers == ("unresolved",)
    assert waived.checks["unresolved"].startswith("failed, waived by sam: dogs wait (6 fit")


def test_tags_that_are_refused_change_nothing(book: Ledger) -> None:
    """A name taken or misread, an unknown base, one beyond, an open position, by oneself."""
    book.append([schema(1, "cat", "dog"), item("a", "cat")])
    book.tag("v1", **WHO)
    early = book.resolve()
    book.append(corrected("a", "cat", "dog"))
    book.tag("v2", **WHO)
    before = book.resolve()
    labels = (*before.labels[:-1], before.labels[-1])
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("v1", WHO, "version 'v1' is taken"),
        ("head", WHO, "reads as another position"),
        ("2026-01-01", WHO, "reads as another position"),
        ("v3", {**WHO, "base": "v9"}, "there is no version 'v9'; there are: v1, v2"),
        ("v3", {**WHO, "base": "v2", "at": early}, "base 'v2' lies beyond the position"),
        ("v3", {**WHO, "at": Position(labels, 0)}, "is not closed"),
        ("v3", {"actor": "sam", "reviewer": "sam"}, "refused as not_permitted"),
    ]
    for name, more, said in cases:
        with pytest.raises(InvalidRequest, match=said):
            book.tag(name, **more)
    assert book.resolve() == before


def test_a_position_within_a_patch_is_refused(book: Ledger) -> None:
    """A patch that was settled as one thing is in a version as a whole, or not at all."""
    book.append([schema(1, "cat", "dog"), item("a", "cat"), item("b", "cat")])
    opening = {"type": "PatchProposed", "patch_id": "p", "sha256": "ab" * 32, "count": 2}
    book.append([{**opening, "actor": "sam"}])
    for name in "ab":
        more: dict[str, Any] = {"patch_id": "p", "source": "patch"}
        book.append([proposal(f"p-{name}", name, "cat", "dog", actor="sam", **more)])
    start = list(book.resolve().labels)
    book.append([vote("p-a", "a", actor="alex")])
    middle = book.resolve()
    book.append([vote("p-b", "b", actor="alex")])
    decided = {"type": "PatchDecided", "patch_id": "p", "decision": "accept", "start": start}
    book.append([{**decided, "actor": "alex"}])
    with pytest.raises(InvalidRequest, match="holds a part of patch 'p'"):
        book.tag("v1", middle, **WHO)
    assert book.tag("v1", **WHO).patch_hashes == ("ab" * 32,)


def test_a_patch_in_progress_blocks(book: Ledger) -> None:
    """A patch that is reviewed item by item is done, or not begun, or waived."""
    book.append([schema(1, "cat", "dog"), item("a", "cat"), item("b", "cat")])
    patches = Patches(book)
    edits = [Edit(name, "cat", "dog") for name in "ab"]
    name = patches.propose(edits, actor="sam")
    assert book.tag("v1", **WHO).checks["patches"] == "passed"
    one, two = (each.proposal.correction_id for each in book.state().corrections())
    book.review(one, "accept", actor="alex")
    with pytest.raises(InvalidRequest, match=f"'patches' failed: settled in part only: {name}"):
        book.tag("v2", **WHO)
    book.review(two, "accept", actor="alex")
    tag = book.tag("v2", **WHO)
    assert (tag.changed_by_class, tag.patch_hashes) == ({"dog": 2}, (digest(edits),))


@pytest.mark.parametrize("columns_from", [1, 10**9], ids=["columns", "rows"])
def test_a_correction_counts_where_it_is_settled(
    book: Ledger, columns_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposed before a version and settled after it, it belongs to the next one, and no other."""
    monkeypatch.setattr("ledger.releases.corrections.COLUMNS_FROM", columns_from)
    book.append([schema(1, "cat", "dog"), item("a", "cat"), proposal("c", "a", "cat", "dog")])
    book.tag("v1", **WHO)
    book.append([vote("c", "a", actor="alex"), item("b", "cat")])
    book.tag("v2", **WHO)
    book.append([proposal("d", "b", "cat", "dog"), vote("d", "b", "keep", actor="alex")])
    book.tag("v3", **WHO)
    releases = Releases(book)
    found = [dict(releases.facts(name).corrections.outcomes) for name in ("v1", "v2", "v3")]
    assert found == [{}, {"applied": 1}, {"kept": 1}]
    assert releases.facts("v2").corrections.authors == {"bob": 1}
    assert releases.facts("v2").corrections.reviewers == {"alex": 1}


def test_every_version_still_rebuilds_to_its_hash(life: Ledger) -> None:
    """Those before the rename, the split and the rollback too."""
    assert [(proof.name, proof.proved) for proof in life.verify()] == [
        (name, True) for name in life.governance.tags
    ]


def test_a_tag_that_says_another_hash_is_not_explained(book: Ledger) -> None:
    """No document is made of labels that are not those of the version."""
    book.append([schema(1, "cat"), item("a", "cat")])
    tag = {"type": "VersionTagged", "name": "v1", "position": book.resolve().as_dict()}
    book.append([{**tag, "content_hash": "ab" * 32, "actor": "bot"}])
    with pytest.raises(VerificationFailed, match="its tag says abab"):
        Releases(book).facts("v1")


def test_a_tag_of_another_program_is_explained_too(book: Ledger) -> None:
    """What it leaves out is counted, beside the version before it."""
    book.append([schema(1, "cat", "dog"), item("a", "cat", split="val")])
    book.tag("v1", **WHO)
    book.append(corrected("a", "cat", "dog"))
    position = book.resolve().as_dict()
    book.append([{"type": "VersionTagged", "name": "v2", "position": position, "actor": "bot"}])
    facts = Releases(book).facts("v2")
    assert (facts.tag.base, facts.changes.by_split) == ("v1", {"val": 1})
    assert "  changed_items: 1\n" in Releases(book).changelog()
    assert facts.content_hash == book.snapshot("v2").sha256
