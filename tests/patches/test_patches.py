"""Patches as histories: what fits, what is refused, what applying and rejecting make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ledger import InvalidRequest, Ledger, Outcome
from ledger.core.events import Geometry, Settlement
from ledger.patches import BadPatch, Edit, Patches, digest
from ledger.writer import Appended, Given
from tests.events import item, schema
from tests.patches.material import animals, flips, here, labels, policy, read

SMALL = Geometry("bbox", (1.0, 2.0, 3.0, 4.0))
LARGE = Geometry("bbox", (1.0, 2.0, 30.0, 40.0))


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Ledger]:
    with animals(here(tmp_path)) as made:
        yield made


def statuses(book: Ledger, patch_id: str) -> dict[str, str]:
    standing = Patches(book).standing(patch_id)
    return {each.proposal.item_id: standing.status(each) for each in standing.corrections}


def size(book: Ledger) -> int:
    """How many events there are."""
    return sum(1 for _ in book.events())


def problems(book: Ledger, *edits: Edit, base: str = "head") -> list[str]:
    """What is wrong with each edit, and that nothing was appended."""
    before = size(book)
    with pytest.raises(BadPatch) as checked:
        Patches(book).check(edits, base)
    with pytest.raises(BadPatch) as proposed:
        Patches(book).propose(edits, base=base, actor="ann")
    assert size(book) == before
    texts = [each.text for each in checked.value.problems]
    assert [each.text for each in proposed.value.problems] == texts
    return texts


def apply(book: Ledger, edits: list[Edit], actor: str = "ann") -> str:
    """Propose and have `bob` accept."""
    patch_id = Patches(book).propose(edits, actor=actor)
    assert Patches(book).settle(patch_id, "accept", actor="bob").decided
    return patch_id


def test_a_patch_is_proposed_by_one_and_applied_by_another(book: Ledger) -> None:
    """Nothing changes until a second person accepts; then all of it does, and the frame says so."""
    patches, before = Patches(book), labels(book)
    patch_id = patches.propose(flips("a", "d"), actor="ann", file="e.jsonl", reason="triage")
    assert labels(book) == before
    assert statuses(book, patch_id) == {"a": "open", "d": "open"}
    settled = patches.settle(patch_id, "accept", actor="bob", rationale="seen")
    assert (settled.decided, settled.counts, settled.missing) == (True, {"applied": 2}, ())
    assert labels(book) == {**before, "a": "dog", "d": "dog"}
    frame = patches.get(patch_id)
    assert frame.event.sha256 == digest(flips("d", "a"))
    assert patch_id == f"patch-{frame.event.sha256[:12]}"
    assert (frame.event.count, frame.event.file, frame.event.reason) == (2, "e.jsonl", "triage")
    assert frame.settlement is not None
    assert (frame.settlement.actor, frame.settlement.rationale) == ("bob", "seen")


def test_the_delta_report(book: Ledger) -> None:
    """Counts by class, by split, and by move; a class that stays as large is left out."""
    edits = [
        *flips("a", "b", "d"),
        Edit("c", "cat", None),
        Edit("new", None, "cat"),
        Edit("bare", None, "cow"),
        Edit("a#1", "dog", "dog", LARGE, SMALL),
    ]
    found = Patches(book).check(edits)
    assert found.changed == 7
    assert found.changed_by_class == {"cat": 2, "cow": 1, "dog": 4}
    assert found.changed_by_split == {"": 2, "test": 1, "train": 4}
    assert found.class_deltas == {"cat": -3, "cow": 1, "dog": 3}
    assert found.moves == {
        (None, "cat"): 1,
        (None, "cow"): 1,
        ("cat", None): 1,
        ("cat", "dog"): 3,
        ("dog", "dog"): 1,
    }
    before = labels(book)
    apply(book, edits)
    after = labels(book)
    assert after == {
        **{name: label for name, label in before.items() if name != "c"},
        **dict.fromkeys("abd", "dog"),
        "new": "cat",
        "bare": "cow",
    }
    assert {row.item_id: row.geometry for row in book.snapshot().rows}["a#1"] == SMALL


def test_what_does_not_fit_is_told_as_expected_and_found(book: Ledger) -> None:
    """Unknown and removed items, wrong labels and geometries, classes that the contract lacks."""
    book.append([schema(2, actor="ann", deprecate=["cow"])])
    told = problems(
        book,
        Edit("a", "dog", "cat"),
        Edit("a#1", "dog", "cat", None, SMALL),
        Edit("b", None, "dog"),
        Edit("bare", "cat", "dog"),
        Edit("c", "cat", "bird"),
        Edit("d", "cat", "cow"),
        Edit("nobody", "cat", "dog"),
    )
    assert told == [
        "expected 'dog', found 'cat' at head",
        'expected none in `from_geometry`, found {"type": "bbox", "coordinates": '
        "[1.0, 2.0, 30.0, 40.0]} at head",
        "expected no label, found 'cat' at head",
        "expected 'cat', found no label at head; null in `from` gives one",
        "expected a class of contract 2 ('cat', 'dog'), found 'bird'",
        "expected a class of contract 2 ('cat', 'dog'), found 'cow', which is deprecated",
        "expected an item that is 'cat', found none of this id at head",
    ]


def test_a_removed_item_is_not_there_and_can_be_added_again(book: Ledger) -> None:
    """Its label is gone; null in `from` is what it is now."""
    apply(book, [Edit("a", "cat", None)])
    assert problems(book, *flips("a")) == [
        "expected 'cat', found no label at head; null in `from` gives one"
    ]
    apply(book, [Edit("a", None, "dog")])
    assert labels(book)["a"] == "dog"


def test_an_unresolved_item_is_relabelled_by_name(book: Ledger) -> None:
    """A split that left it without a class; what it was before is not what it is."""
    rules = {"young": "age < 3", "old": "age >= 3"}
    book.append([schema(2, split={"cat": rules})])
    assert problems(book, Edit("a", "young", "old")) == [
        "expected 'young', found unresolved (cat, split by contract 2) at head; null in `from` "
        "relabels it"
    ]
    apply(book, [Edit("a", None, "old")])
    assert labels(book)["a"] == "old"


def test_every_bad_line_is_counted_and_twenty_are_told(book: Ledger) -> None:
    """By their lines, whatever their ids."""
    lines = [{"id": f"x{99 - n}", "from": "cat", "to": "dog"} for n in range(30)]
    file = read(*lines, b"?", {"id": "a", "from": "cat", "to": "dog"})
    with pytest.raises(BadPatch) as refused:
        Patches(book).check(file.edits, problems=file.problems)
    assert refused.value.count == 31
    assert [each.line for each in refused.value.problems] == list(range(1, 21))
    assert str(refused.value) == (
        "edits.jsonl, line 1, id 'x99': expected an item that is 'cat', found none of this id at "
        "head; 30 more lines are bad. Nothing was appended"
    )


def test_the_base_is_where_classes_are_named(book: Ledger) -> None:
    """A patch of an older version names its classes as they were called there, and is mapped
    forward; what was changed since then is refused.
    """
    book.tag("v1", actor="ann")
    book.append([schema(2, rename={"dog": "hound", "cat": "feline"})])
    edits = flips("a", "b")
    assert problems(book, *edits)[0].startswith("expected a class of contract 2")
    assert Patches(book).check(edits, "v1").class_deltas == {"cat": -2, "dog": 2}
    patch_id = Patches(book).propose(edits, base="v1", actor="ann")
    assert Patches(book).get(patch_id).event.base == "v1"
    Patches(book).settle(patch_id, "accept", actor="bob")
    assert labels(book)["a"] == labels(book)["b"] == "hound"
    with pytest.raises(BadPatch, match="expected 'feline', found 'hound' at head"):
        Patches(book).propose(flips("a", "c"), base="v1", actor="ann")


def test_a_class_that_was_split_since_the_base(book: Ledger) -> None:
    """Where the split knows the item it is followed; where it can't, the patch is refused."""
    book.append([item("old", "cat", attributes={"age": 9})])
    book.tag("v1", actor="ann")
    book.append([schema(2, split={"dog": {"pup": "age < 1", "hound": "age >= 1"}})])
    with pytest.raises(BadPatch, match="id 'a': expected in `to` what is one class at head") as bad:
        Patches(book).propose(flips("a", "old"), base="v1", actor="ann")
    assert bad.value.count == 1
    patch_id = Patches(book).propose(flips("old"), base="v1", actor="ann")
    Patches(book).settle(patch_id, "accept", actor="bob")
    assert labels(book)["old"] == "hound"


def test_a_base_whose_contract_was_rolled_back(book: Ledger) -> None:
    """What its classes meant is not known any more."""
    book.tag("v1", actor="ann")
    book.append([schema(2, rename={"dog": "hound"})])
    book.tag("v2", actor="ann")
    book.rollback("v1", actor="ann", approved_by="bob")
    with pytest.raises(InvalidRequest, match="the contract of v2, version 2, was rolled back"):
        Patches(book).propose([Edit("a", "cat", "hound")], base="v2", actor="ann")


def test_a_second_person_decides(book: Ledger) -> None:
    """Not the proposer, nor somebody without the role; and a proposer needs theirs."""
    roles = {"proposer": ["ann"], "reviewer": ["ann", "bob"], "admin": ["ann", "max"]}
    policy(book, roles=roles)
    patches = Patches(book)
    with pytest.raises(InvalidRequest, match="does not let 'eve' propose"):
        patches.propose(flips("a"), actor="eve")
    patch_id = patches.propose(flips("a"), actor="ann")
    before = size(book)
    for decision in ("accept", "keep"):
        with pytest.raises(InvalidRequest, match="a second person decides"):
            patches.settle(patch_id, decision, actor="ann")
        with pytest.raises(InvalidRequest, match="gives 'eve' no role"):
            patches.settle(patch_id, decision, actor="eve")
    with pytest.raises(InvalidRequest, match="second person is 'ann ', which begins or ends with"):
        patches.settle(patch_id, "accept", actor="ann ")
    assert size(book) == before
    assert patches.settle(patch_id, "accept", actor="bob").decided


def test_a_rejected_patch_changes_nothing_and_can_be_proposed_again(book: Ledger) -> None:
    """Under the next id, for the votes on the first one stand."""
    patches, before = Patches(book), labels(book)
    first = patches.propose(flips("a", "b"), actor="ann")
    assert patches.settle(first, "keep", actor="bob").counts == {"kept": 2}
    assert labels(book) == before
    with pytest.raises(InvalidRequest, match="is settled: keep by 'bob'"):
        patches.settle(first, "accept", actor="bob")
    second = patches.propose(flips("b", "a"), actor="ann")
    assert second == f"{first}-2"
    assert patches.settle(second, "accept", actor="bob").decided
    assert labels(book)["a"] == "dog"


def test_stale_corrections_stop_the_whole_patch(book: Ledger) -> None:
    """One that moved meanwhile and one that was kept are named; the others wait for a decision."""
    patches = Patches(book)
    patch_id = patches.propose(flips("a", "b", "c"), actor="ann")
    apply(book, flips("b", to="cow"), actor="eve")
    third = patches.standing(patch_id).corrections[2].proposal
    book.review(third.correction_id, "keep", actor="bob")
    before = size(book)
    with pytest.raises(InvalidRequest, match="2 of the 3 corrections") as refused:
        patches.settle(patch_id, "accept", actor="bob")
    assert "'b' (its item is something else by now), 'c' (kept)" in str(refused.value)
    assert size(book) == before
    settled = patches.settle(patch_id, "accept", actor="bob", skip_stale=True)
    assert settled.decided
    assert settled.counts == {"applied": 1, "kept": 1, "stale": 1}
    assert {name: labels(book)[name] for name in "abc"} == {"a": "dog", "b": "cow", "c": "cat"}


def test_item_by_item_and_then_the_rest(book: Ledger) -> None:
    """What a reviewer applied alone counts as applied; applying the patch closes the frame."""
    patches = Patches(book)
    patch_id = patches.propose(flips("a", "b"), actor="ann")
    first, second = (each.proposal for each in patches.standing(patch_id).corrections)
    assert book.review(first.correction_id, "accept", actor="bob") is Outcome.APPLIED
    assert statuses(book, patch_id) == {"a": "applied", "b": "open"}
    assert book.review(second.correction_id, "accept", actor="eve") is Outcome.APPLIED
    before = size(book)
    assert patches.settle(patch_id, "accept", actor="bob").decided
    assert size(book) == before + 1  # the frame alone


def test_several_approvals(book: Ledger) -> None:
    """Each person's votes count; the last one's settle all of it."""
    policy(book, approvals_required=3)
    patches, before = Patches(book), labels(book)
    patch_id = patches.propose(flips("a", "b"), actor="ann")
    said = [patches.settle(patch_id, "accept", actor=name).missing for name in ("bob", "eve")]
    assert said == [("2 wait for 2 more votes",), ("2 wait for 1 more vote",)]
    end = size(book)
    again = patches.settle(patch_id, "accept", actor="eve")
    assert (again.decided, again.missing) == (False, ("2 wait for 1 more vote",))
    assert size(book) == end
    assert labels(book) == before
    assert patches.settle(patch_id, "accept", actor="max").decided
    assert labels(book)["a"] == "dog"


def test_an_expert_settles_what_others_may_not(book: Ledger) -> None:
    """Until then nothing is applied: votes that would settle the other items are held back."""
    roles = {"reviewer": ["bob", "eve"], "expert": ["max"], "admin": ["ann", "max"]}
    policy(book, roles=roles, expert_classes=["cow"])
    patches, before = Patches(book), labels(book)
    patch_id = patches.propose([*flips("a", "b"), *flips("c", to="cow")], actor="ann")
    settled = patches.settle(patch_id, "accept", actor="bob")
    assert not settled.decided
    assert settled.missing == (
        "2 wait for 1 more vote",
        "1 wait for an expert",
        "until then 2 votes that would settle the others are held back",
    )
    assert statuses(book, patch_id) == {"a": "open", "b": "open", "c": "escalated"}
    assert labels(book) == before
    with pytest.raises(InvalidRequest, match="1 refused as not_permitted"):
        patches.settle(patch_id, "accept", actor="eve")
    assert patches.in_progress(book.resolve()) == []
    assert patches.settle(patch_id, "accept", actor="max").counts == {"applied": 3}


def test_somebody_else_speaks_while_votes_are_cast(
    book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be foretold is read again and told."""
    patches = Patches(book)
    patch_id = patches.propose(flips("a", "b"), actor="ann")
    other, _ = book.correct("b", to="cow", actor="eve")
    append_all = book.append_all

    def slowly(events: Iterable[Given]) -> Appended:
        monkeypatch.undo()
        book.review(other, "accept", actor="max")
        return append_all(events)

    monkeypatch.setattr(book, "append_all", slowly)
    settled = patches.settle(patch_id, "accept", actor="bob")
    assert settled.counts == {"applied": 1, "stale": 1}
    assert labels(book)["b"] == "cow"


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("first", "second"), [("accept", "keep"), ("keep", "accept")])
def test_somebody_else_decides_otherwise_while_votes_are_cast(
    book: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    first: Settlement,
    second: Settlement,
    closed: bool,
) -> None:
    """Who was slower is told, and the frame never says the opposite of what became of the patch."""
    patches, append_all = Patches(book), book.append_all
    patch_id = patches.propose(flips("a", "b"), actor="ann")

    def slowly(events: Iterable[Given]) -> Appended:
        monkeypatch.undo()
        if closed:
            patches.settle(patch_id, first, actor="max")
        for each in patches.standing(patch_id).open:
            book.review(each.proposal.correction_id, first, actor="max")
        return append_all(events)

    monkeypatch.setattr(book, "append_all", slowly)
    with pytest.raises(InvalidRequest, match="was faster: "):
        patches.settle(patch_id, second, actor="bob")
    became = "applied" if first == "accept" else "kept"
    assert patches.standing(patch_id).counts() == {became: 2}
    settlement = patches.get(patch_id).settlement
    assert (settlement.decision if settlement else None) == (first if closed else None)


def test_the_same_twice_changes_nothing(book: Ledger) -> None:
    """Proposing and applying again append nothing, and answer the same."""
    patches = Patches(book)
    patch_id = patches.propose(flips("a", "b"), actor="ann")
    end = size(book)
    assert patches.propose(flips("b", "a"), actor="ann") == patch_id
    with pytest.raises(InvalidRequest, match=f"'ann' proposed the same already, as '{patch_id}'"):
        patches.propose(flips("b", "a"), actor="bob")
    assert size(book) == end
    settled = patches.settle(patch_id, "accept", actor="bob")
    end = size(book)
    assert patches.settle(patch_id, "accept", actor="bob") == settled
    assert patches.propose(flips("a", "b"), actor="ann") == patch_id
    assert size(book) == end
    apply(book, [Edit("a", "dog", "cat")])
    with pytest.raises(BadPatch, match="id 'b': expected 'cat', found 'dog'"):
        patches.propose(flips("a", "b"), actor="ann")


def test_a_patch_that_was_rolled_back_is_proposed_again(book: Ledger) -> None:
    """Rolled back to before it was applied, or before it was proposed: the next id is free, and its
    votes are no redelivery of those that are void.
    """
    patches = Patches(book)
    book.tag("v1", actor="ann")
    first = patches.propose(flips("a", "b"), actor="ann")
    book.tag("v2", actor="ann")
    patches.settle(first, "accept", actor="bob")
    book.rollback("v2", actor="ann", approved_by="bob")
    assert statuses(book, first) == {"a": "open", "b": "open"}
    with pytest.raises(InvalidRequest, match="was rolled back: propose it again"):
        patches.settle(first, "accept", actor="bob")
    second = patches.propose(flips("a", "b"), actor="ann")
    assert second == f"{first}-2"
    book.rollback("v1", actor="ann", approved_by="bob")
    third = patches.propose(flips("a", "b"), actor="ann")
    assert third == f"{first}-3"
    assert statuses(book, second) == {}
    before = size(book)
    for decision in ("accept", "keep"):
        with pytest.raises(InvalidRequest, match="was rolled back: propose it again, under its"):
            patches.settle(second, decision, actor="bob")
    assert size(book) == before
    assert patches.settle(third, "accept", actor="bob").decided
    assert labels(book)["a"] == "dog"


def test_votes_after_a_rollback_of_half_a_patch(book: Ledger) -> None:
    """An unfinished settlement that was rolled back can be done again by the same person."""
    policy(book, approvals_required=2)
    patches = Patches(book)
    patch_id = patches.propose(flips("a", "b"), actor="ann")
    book.tag("v1", actor="ann")
    patches.settle(patch_id, "accept", actor="bob")
    book.rollback("v1", actor="ann", approved_by="bob")
    assert patches.settle(patch_id, "accept", actor="bob").missing == ("2 wait for 1 more vote",)
    assert patches.settle(patch_id, "accept", actor="eve").decided


def test_corrections_that_name_a_patch_are_not_all_its_own(book: Ledger) -> None:
    """Another person's are none of it; the proposer's own, slipped in later, stop it."""
    patches = Patches(book)
    patch_id = patches.propose(flips("a"), actor="ann")
    smuggled = {
        "type": "CorrectionProposed",
        "correction_id": "extra",
        "item_id": "b",
        "record_id": "b",
        "from_label": "cat",
        "to_label": "cow",
        "patch_id": patch_id,
    }
    book.append([{**smuggled, "actor": "eve"}])
    assert statuses(book, patch_id) == {"a": "open"}
    book.append([{**smuggled, "correction_id": "more", "actor": "ann"}])
    with pytest.raises(InvalidRequest, match=r"2 corrections that name patch .* are not the 1"):
        patches.settle(patch_id, "accept", actor="bob")


def test_a_frame_that_was_closed_without_the_votes(book: Ledger) -> None:
    """Nothing was applied, and nobody is told that it was."""
    patches = Patches(book)
    patch_id = patches.propose(flips("a"), actor="ann")
    decided = {"type": "PatchDecided", "patch_id": patch_id, "decision": "accept"}
    book.append([{**decided, "start": list(book.resolve().labels), "actor": "bob"}])
    with pytest.raises(InvalidRequest, match="accept by 'bob', but 1 of its corrections are open"):
        patches.settle(patch_id, "accept", actor="bob")
    assert statuses(book, patch_id) == {"a": "open"}


def test_no_version_in_the_midst_of_a_patch(book: Ledger) -> None:
    """While it is being decided it is in progress; once settled, only before and after it."""
    patches = Patches(book)
    patch_id = patches.propose(flips("a", "b", "c"), actor="ann")
    before = book.resolve()
    first = patches.standing(patch_id).corrections[0].proposal
    assert patches.in_progress(before) == []
    book.review(first.correction_id, "accept", actor="bob")
    middle = book.resolve()
    assert patches.in_progress(before) == []
    assert patches.in_progress(middle) == [patch_id]
    patches.settle(patch_id, "accept", actor="bob")
    assert patches.in_progress(before) == []
    assert patches.in_progress(middle) == [patch_id]
    assert patches.in_progress(book.resolve()) == []
    with pytest.raises(InvalidRequest, match="in the midst of a patch"):
        book.govern(
            {"type": "VersionTagged", "name": "half", "position": middle.as_dict(), "actor": "ann"}
        )
    book.govern(
        {"type": "VersionTagged", "name": "old", "position": before.as_dict(), "actor": "ann"}
    )


def test_a_version_between_the_votes_stays_one_to_go_back_to(book: Ledger) -> None:
    """Where somebody named a position while a patch was half decided, its frame begins after it."""
    patches = Patches(book)
    patch_id = patches.propose(flips("a", "b"), actor="ann")
    first = patches.standing(patch_id).corrections[0].proposal
    book.review(first.correction_id, "accept", actor="bob")
    middle, before = book.resolve().as_dict(), labels(book)
    book.govern({"type": "VersionTagged", "name": "half", "position": middle, "actor": "ann"})
    assert patches.settle(patch_id, "accept", actor="bob").decided
    book.rollback("half", actor="ann", approved_by="bob")
    assert labels(book) == before


def test_another_kind_of_bulk_change_has_its_own_id(book: Ledger) -> None:
    """Undoing is a patch too; one of the same content as a patch file is another."""
    patches = Patches(book)
    first = patches.propose(flips("a"), actor="ann")
    second = patches.propose(flips("a"), actor="ann", kind="rollback", source="rollback")
    assert second == f"{first}-2"
    assert patches.standing(second).corrections[0].proposal.source == "rollback"
    with pytest.raises(InvalidRequest, match="is not that of the edits"):
        patches.propose(flips("a"), actor="ann", sha256="ab" * 32)


def test_what_is_too_large_for_the_log_is_refused_whole(book: Ledger) -> None:
    """Before the frame is opened, and before the first vote: one event may be the largest."""
    patches, edits = Patches(book), [*flips("a"), Edit("x" * 400_000, None, "cow")]
    before = size(book)
    with pytest.raises(InvalidRequest, match=r"the CorrectionProposed has .* at most 950,000"):
        patches.propose(edits, actor="a" * 150_000)
    assert size(book) == before
    patch_id = patches.propose(edits, actor="ann")
    before = size(book)
    with pytest.raises(InvalidRequest, match=r"the ReviewDecided has .* at most 950,000"):
        patches.settle(patch_id, "accept", actor="bob", rationale="x" * 300_000)
    assert size(book) == before
    assert patches.settle(patch_id, "accept", actor="bob", rationale="x").decided


def test_an_incomplete_patch_is_completed_or_rejected(book: Ledger) -> None:
    """A frame with fewer corrections than it says is not applied."""
    frame = {"patch_id": "p", "sha256": "ab" * 32, "count": 2, "actor": "ann"}
    book.append([{"type": "PatchProposed", **frame}])
    patches = Patches(book)
    with pytest.raises(InvalidRequest, match="has 0 of its 2 corrections on the log"):
        patches.settle("p", "accept", actor="bob")
    settled = patches.settle("p", "keep", actor="bob")
    assert (settled.decided, settled.counts) == (True, {"missing": 2})
    with pytest.raises(InvalidRequest, match="there is no patch 'q'"):
        patches.settle("q", "keep", actor="bob")
