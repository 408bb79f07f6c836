"""Contract changes by two people: dry run, application, history, and what waits for a label."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import InvalidRequest, Ledger
from ledger.contracts import Contracting, change_of, read
from ledger.contracts.preview import Unmatched
from ledger.contracts.relabel import columns_of
from ledger.contracts.unresolved import Waiting
from ledger.core.outcome import Outcome
from ledger.remap import compare
from tests.contracts.conftest import Book

RENAME = {"rename": {"automobile": "car"}}
SPLIT = {"split": {"dog": {"dog_small": "area < 8000", "dog_large": "area >= 8000"}}}
BOTH = change_of([("split", SPLIT), ("rename", RENAME)])


@pytest.fixture
def pictures(book: Book) -> Book:
    """Two automobiles, three dogs in boxes, a dog of which nothing else is known, and a cat."""
    return filled(book)


def filled(book: Book) -> Book:
    book.change("automobile", "dog", "cat")
    book.boxes("dog", {"p1#1": 7_999, "p1#2": 8_000}, split="train")
    book.boxes("dog", {"p2#1": 1}, split="test")
    book.items({"p3": "dog", "p4": "automobile", "p5": "cat"}, split="test")
    book.items({"p6": "automobile"})
    return book


def test_the_exercise_of_a_rename_and_a_split(address: dict[str, str], tmp_path: Path) -> None:
    """Two mapping files as they stand, and a plan to compare old metrics with new ones; on either
    log the same bytes.
    """
    pictures = filled(Book(Ledger.create(**address, partitions=3)))
    (tmp_path / "rename.json").write_text('{"rename": {"automobile":"car"}}')
    (tmp_path / "split.json").write_text(
        '{"split": {"dog": {"dog_small":"area < 8000","dog_large":"area >= 8000"}}}'
    )
    desk = Contracting(pictures.ledger)
    pictures.correct("p3", "dog", "cat")
    pictures.tag("labels-v1.0")
    desk.apply(read([tmp_path / "rename.json"]), actor="ann", approved_by="bob")
    pictures.tag("labels-v1.1")
    desk.apply(read([tmp_path / "split.json"]), actor="ann", approved_by="bob")
    pictures.tag("labels-v2.0")
    assert pictures.labels() == {
        "p1#1": "dog_small",
        "p1#2": "dog_large",
        "p2#1": "dog_small",
        "p3": "cat",
        "p4": "car",
        "p5": "cat",
        "p6": "car",
    }
    split = {"aggregate_for_old": {"dog": ["dog_small", "dog_large"]}}
    found = compare(pictures.ledger, "labels-v1.1", "labels-v2.0")
    assert (found.remap.as_dict(), found.verdict) == (split, "fair_after_remap")
    found = compare(pictures.ledger, "labels-v1.0", "labels-v2.0")
    assert found.remap.as_dict() == {
        "aggregate_for_old": {"automobile": ["car"], "dog": ["dog_small", "dog_large"]}
    }
    assert (found.verdict, found.changed_by_split) == ("fair_after_remap", {})
    assert [proof.proved for proof in pictures.ledger.verify()] == [True] * 3
    assert pictures.ledger.version("labels-v2.0").content_hash == (
        "d1795c9c95aa80ddd56767246ca1321e9eb0173bc08a7e2b186d69f46ec51ce5"
    )
    pictures.ledger.close()


def test_files_in_one_call_are_one_version(pictures: Book) -> None:
    """Rename and split together, whatever the order of the files."""
    made = Contracting(pictures.ledger).apply(BOTH, actor="ann", approved_by="bob")
    assert (made.version, list(made.classes)) == (2, ["car", "cat", "dog_small", "dog_large"])
    assert pictures.labels()["p4"] == "car"
    assert pictures.ledger.governance.highest_version == 2


@pytest.mark.parametrize("columns_from", [10_000, 0])
def test_a_preview_is_what_the_change_makes(
    pictures: Book, monkeypatch: pytest.MonkeyPatch, columns_from: int
) -> None:
    """By rows and by columns: counts, items without a label, and each label that moves."""
    monkeypatch.setattr("ledger.replay.COLUMNS_FROM", columns_from)
    book, desk = pictures.ledger, Contracting(pictures.ledger)
    before = book.resolve()
    seen = desk.preview(BOTH)
    assert (columns_of(seen.labels.before) is None) == (columns_from > 0)
    assert seen.unmatched == [Unmatched("p3", "dog", ())]
    assert seen.counts_before == {
        ("automobile", ""): 1,
        ("automobile", "test"): 1,
        ("cat", "test"): 1,
        ("dog", "test"): 2,
        ("dog", "train"): 2,
    }
    assert seen.counts_after == {
        ("car", ""): 1,
        ("car", "test"): 1,
        ("cat", "test"): 1,
        ("dog_large", "train"): 1,
        ("dog_small", "test"): 1,
        ("dog_small", "train"): 1,
    }
    shadow = [
        (c.item_id, c.before and c.before.label, c.after and c.after.label) for c in seen.difference
    ]
    assert seen.difference.to_arrow().num_rows == len(shadow) == 6
    assert book.resolve() == before, "a preview writes nothing"

    desk.apply(BOTH, actor="ann", approved_by="bob")
    assert seen.labels.after.sha256 == book.snapshot().sha256
    made = book.diff(before)
    assert shadow == [
        (c.item_id, c.before and c.before.label, c.after and c.after.label) for c in made
    ]
    assert seen.remap == compare(book, before).remap


@pytest.mark.parametrize("columns_from", [10_000, 0])
def test_rules_over_attributes_are_asked_of_the_log(
    book: Book, monkeypatch: pytest.MonkeyPatch, columns_from: int
) -> None:
    """Also of items without a box; a rule that does not know an attribute matches nothing, and
    rules that both hold match nothing either.
    """
    monkeypatch.setattr("ledger.replay.COLUMNS_FROM", columns_from)
    book.change("dog", "cat")
    book.items({"a": "dog"}, attributes={"size": "big", "area": 5.0})
    book.items({"b": "dog"}, attributes={"size": "small"})
    book.boxes("dog", {"c": 9, "e": 20}, attributes={"size": "big", "area": 1_000.0})
    book.items({"d": "dog", "f": "cat"})
    parts = {"tall": "size == 'big' and area < 10", "tiny": "size == 'small' or area < width"}
    change = change_of([("map", {"split": {"dog": parts}})])
    seen = Contracting(book.ledger).preview(change)
    assert seen.unmatched == [Unmatched("d", "dog", ()), Unmatched("e", "dog", ())]
    assert seen.counts_after == {("cat", ""): 1, ("tall", ""): 2, ("tiny", ""): 1}
    Contracting(book.ledger).apply(change, actor="ann", approved_by="bob")
    assert seen.labels.after.sha256 == book.ledger.snapshot().sha256


@pytest.mark.parametrize("columns_from", [10_000, 0])
def test_what_no_rule_matches_waits_until_it_is_labelled(
    pictures: Book, monkeypatch: pytest.MonkeyPatch, columns_from: int
) -> None:
    """By rows, by columns, and with a later rename in between; a correction ends the wait."""
    for module in ("ledger.replay", "ledger.contracts.unresolved"):
        monkeypatch.setattr(f"{module}.COLUMNS_FROM", columns_from)
    book, desk = pictures.ledger, Contracting(pictures.ledger)
    assert desk.unresolved() == []
    desk.apply(change_of([("split", SPLIT)]), actor="ann", approved_by="bob")
    waiting = [Waiting("p3", "p3", "test", "dog", 2)]
    assert desk.unresolved() == waiting
    pictures.change(rename={"dog_small": "puppy"})
    assert desk.unresolved() == waiting
    then = book.resolve()
    correction, outcome = book.correct("p3", to="puppy", actor="bob")
    assert outcome is Outcome.PROPOSED
    assert book.review(correction, "accept", actor="ann") is Outcome.APPLIED
    assert desk.unresolved() == []
    assert pictures.labels()["p3"] == "puppy"
    assert desk.unresolved(then) == waiting


def test_history_tells_what_is_live_and_what_a_rollback_took_back(pictures: Book) -> None:
    """A void version keeps its number, and can still be asked."""
    book, desk = pictures.ledger, Contracting(pictures.ledger)
    base = pictures.tag("v1")
    desk.apply(BOTH, actor="ann", approved_by="bob")
    book.rollback(base, actor="ann", reason="too early", approved_by="bob")
    desk.apply(change_of([("map", RENAME)]), actor="bob", approved_by="ann")
    assert [
        (made.version, made.status, made.actor, made.approved_by) for made in desk.history()
    ] == [
        (1, "live", "ann", None),
        (2, "void", "ann", "bob"),
        (3, "in force", "bob", "ann"),
    ]
    assert desk.history()[1].change == {**RENAME, **SPLIT}
    assert "dog_small" in desk.at(2).classes
    assert "dog_small" not in desk.at(3).classes
    found = desk.diff("1", "2")
    assert [(bond.old, bond.new) for bond in found.classes] == [
        (("automobile",), ("car",)),
        (("dog",), ("dog_small", "dog_large")),
    ]
    assert not desk.diff("v1", 1)
    with pytest.raises(InvalidRequest, match="no contract version 9; there are 0 to 3"):
        desk.diff(9)


def test_the_difference_of_states_and_policy(book: Book) -> None:
    """What is said of a class, and each part of the policy."""
    desk = Contracting(book.ledger)
    book.change("cat", "dog")
    for fields in (
        {"add": [{"name": "cat", "meaning": "meows", "anchor": "wd:Q146"}], "deprecate": ["dog"]},
        {"expert_classes": ["cat"], "approvals_required": 2, "thresholds": {"labelled_min": 0.5}},
    ):
        desk.apply(change_of([("map", fields)]), actor="ann", approved_by="bob")
    found = desk.diff(1)
    assert (found.classes, found.states) == (
        (),
        {
            "cat": {
                "meaning": (None, "meows"),
                "anchor": (None, "wd:Q146"),
                "expert": (False, True),
            },
            "dog": {"deprecated": (False, True)},
        },
    )
    assert found.policy == {
        "approvals_required": (1, 2),
        "expert_classes": ([], ["cat"]),
        "thresholds": ({}, {"labelled_min": 0.5}),
    }


def test_a_change_takes_two_people_and_the_role(book: Book) -> None:
    """Before roles are named, and after; what is refused leaves nothing on the log."""
    desk = Contracting(book.ledger)
    book.change("cat")
    change = change_of([("map", {"add": ["dog"]})])
    for approved_by in ("", "ann"):
        with pytest.raises(InvalidRequest, match="takes two people"):
            desk.apply(change, actor="ann", approved_by=approved_by)
    with pytest.raises(InvalidRequest, match="begins or ends with what can't be seen"):
        desk.apply(change, actor="ann", approved_by="ann ")
    with pytest.raises(InvalidRequest, match="admin names one that is 'ann '"):
        desk.preview(change_of([("roles", {"roles": {"admin": ["ann", "ann "]}})]))
    roles = change_of([("roles", {"roles": {"admin": ["ann", "bob"], "reviewer": ["eve"]}})])
    desk.apply(roles, actor="ann", approved_by="bob")
    before = book.ledger.resolve()
    for actor, approved_by in (("ann", "eve"), ("eve", "ann")):
        with pytest.raises(InvalidRequest, match="not_permitted"):
            desk.apply(change, actor=actor, approved_by=approved_by)
    assert book.ledger.resolve() == before
    assert desk.apply(change, actor="bob", approved_by="ann").takes("dog")


def test_who_was_faster_wins(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that was checked against another contract than that in force is refused."""
    book.change("cat")
    other = Ledger.from_settings(book.ledger.settings)
    change = change_of([("map", {"rename": {"cat": "chat"}})])
    with other, monkeypatch.context() as patch:
        govern = Ledger.govern

        def slowly(self: Ledger, *args: object, **more: object) -> Outcome:
            patch.undo()
            Contracting(other).apply(change, actor="eve", approved_by="bob")
            return govern(self, *args, **more)  # pyright: ignore[reportArgumentType]

        patch.setattr(Ledger, "govern", slowly)
        with pytest.raises(InvalidRequest, match="version_conflict"):
            Contracting(book.ledger).apply(change, actor="ann", approved_by="bob")
    assert list(book.ledger.governance.contract.classes) == ["chat"]
    again = change_of([("map", {"add": ["dog"]})])
    with pytest.raises(InvalidRequest, match="version 2 is in force by now"):
        Contracting(book.ledger).apply(again, actor="ann", approved_by="bob", since=1)


def test_a_name_that_was_another_class_before_is_remarked(book: Book) -> None:
    """Nothing forbids it, and old files of predictions mean something else by it."""
    book.change("cat", "dog")
    book.change(rename={"dog": "hound"})
    seen = Contracting(book.ledger).preview(change_of([("map", {"rename": {"cat": "dog"}})]))
    assert len(seen.remarks) == 1
    assert "'dog' was a class until contract 1" in seen.remarks[0]


def test_what_several_rules_match_is_listed_with_them(book: Book) -> None:
    """Rules over two attributes overlap where only the data tells."""
    book.change("box")
    for name, width in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        book.items({name: "box"}, attributes={"width": width, "height": 2.0})
    parts = {"tall": "height >= width", "wide": "width >= height"}
    change = change_of([("map", {"split": {"box": parts}})])
    assert Contracting(book.ledger).preview(change).unmatched == [
        Unmatched("b", "box", ("tall", "wide"))
    ]
    Contracting(book.ledger).apply(change, actor="ann", approved_by="bob")
    assert book.labels() == {"a": "tall", "c": "wide"}
