"""Whether two versions compare, and under which names."""

from __future__ import annotations

import json

import pytest

from ledger import InvalidRequest
from ledger.remap import Remap, compare
from tests.contracts.conftest import Book

SPLIT = {"dog": {"dog_small": "area < 8000", "dog_large": "area >= 8000"}}


def test_a_split_compares_after_its_parts_are_counted_together(book: Book) -> None:
    """The remap is the file that a person would write, and applies to predictions."""
    book.change("cat", "dog")
    book.boxes("dog", {"a": 7_999, "b": 8_000})
    book.tag("v1")
    book.change(split=SPLIT)
    book.tag("v2")
    found = compare(book.ledger, "v1", "v2")
    assert json.dumps(found.remap.as_dict()) == (
        '{"aggregate_for_old": {"dog": ["dog_small", "dog_large"]}}'
    )
    assert (found.verdict, found.changed_by_split) == ("fair_after_remap", {})
    assert found.remap.apply(["dog_large", "cat", "dog"]) == ["dog", "cat", "dog"]
    assert "'dog' is told apart into 'dog_small' and 'dog_large'" in found.reasons[0]


def test_a_rename_is_one_to_one(book: Book) -> None:
    """It is fair as it stands; the remap says the two names of the class."""
    book.change("automobile", "dog")
    book.items({"a": "automobile"})
    book.tag("v1")
    book.change(rename={"automobile": "car"})
    found = compare(book.ledger, "v1")
    assert (found.verdict, found.changed_by_split) == ("fair", {})
    assert found.remap.as_dict() == {"aggregate_for_old": {"automobile": ["car"]}}
    assert found.remap.apply(["car", "automobile"]) == ["automobile"] * 2


def test_a_merge_is_counted_under_the_new_class(book: Book) -> None:
    """What the old version told apart, the new one can't."""
    book.change("sedan", "hatchback", "bus")
    book.items({"a": "sedan", "b": "hatchback"})
    book.tag("v1")
    book.change(merge={"sedan": "car", "hatchback": "car"})
    found = compare(book.ledger, "v1")
    assert found.remap == Remap({}, {"car": ("sedan", "hatchback")})
    assert found.verdict == "fair_after_remap"
    assert found.remap.apply(["sedan", "car", "bus"]) == ["car", "car", "bus"]


def test_what_crosses_is_one_class_of_both(book: Book) -> None:
    """A part that is merged with another class ties both to what it was split from."""
    book.change("cat", "dog")
    book.boxes("dog", {"a": 1, "b": 9_000})
    book.tag("v1")
    book.change(split=SPLIT)
    book.change(merge={"dog_small": "pet", "cat": "pet"})
    found = compare(book.ledger, "v1")
    assert found.remap == Remap({"cat+dog": ("dog_large", "pet")}, {"cat+dog": ("cat", "dog")})
    assert found.remap.apply(["pet", "dog_large", "dog", "cat"]) == ["cat+dog"] * 4
    assert (found.verdict, found.changed_by_split) == ("fair_after_remap", {})


def test_the_other_way_round(book: Book) -> None:
    """The later version may be the one that was measured on first."""
    book.change("dog")
    book.boxes("dog", {"a": 1})
    book.tag("v1")
    book.change(split=SPLIT)
    book.tag("v2")
    found = compare(book.ledger, "v2", "v1")
    assert found.remap == Remap({}, {"dog": ("dog_small", "dog_large")})
    assert (found.verdict, found.changed_by_split) == ("fair_after_remap", {})
    assert "does not lead to" in found.reasons[0]


def test_a_name_that_means_two_things_asks_for_the_side(book: Book) -> None:
    """After `dog` became `hound` and `cat` became `dog`, a bare `dog` is either."""
    book.change("cat", "dog", "cow")
    book.items({"a": "cat", "b": "dog", "c": "cow"})
    book.tag("v1")
    book.change(rename={"cat": "dog", "dog": "hound"})
    found = compare(book.ledger, "v1")
    assert (found.verdict, found.changed_by_split) == ("fair", {})
    assert found.remap.apply(["dog", "hound"], "new") == ["cat", "dog"]
    assert found.remap.apply(["dog", "cat"], "old") == ["dog", "cat"]
    assert found.remap.apply(["cow", "hound", "cat"]) == ["cow", "dog", "cat"]
    with pytest.raises(InvalidRequest, match="'dog' of the old version is another one"):
        found.remap.apply(["cow", "dog"])


def test_a_merge_onto_the_name_of_a_class_that_went_elsewhere(book: Book) -> None:
    """Names alone do not tell the two `x` apart, the remap does."""
    book.change("x", "y", "v", "w")
    book.tag("v1")
    book.change(merge={"x": "z", "y": "z"})
    book.change(merge={"v": "x", "w": "x"})
    remap = compare(book.ledger, "v1").remap
    assert remap == Remap({"x (new)": ("x",)}, {"z": ("x", "y"), "x (new)": ("v", "w")})
    assert (remap.apply(["x"], "old"), remap.apply(["x"], "new")) == (["z"], ["x (new)"])
    with pytest.raises(InvalidRequest, match="side='old'"):
        remap.apply(["x"])


def test_a_class_that_was_split_and_is_added_again_is_another_one(book: Book) -> None:
    """Its name is not taken for the old class."""
    book.change("dog")
    book.tag("v1")
    book.change(split=SPLIT)
    book.change("dog")
    remap = compare(book.ledger, "v1").remap
    assert remap.apply(["dog", "dog_small"], "new") == ["dog (new)", "dog"]
    assert remap.apply(["dog"], "old") == ["dog"]


def test_twenty_fixes_in_validation_leave_test_fair(book: Book) -> None:
    """The splits are judged one by one; training is no matter of fairness."""
    book.change("cat", "dog")
    for split in ("train", "val", "test"):
        book.items({f"{split}{i}": "cat" for i in range(30)}, split=split)
    book.tag("v1.5")
    for i in range(20):
        book.correct(f"val{i}", "cat", "dog")
    book.tag("v1.6")
    found = compare(book.ledger, "v1.5", "v1.6")
    assert found.verdict == "not_fair"
    assert found.changed_by_split == {"val": 20}
    assert found.by_split == {"test": "fair", "train": "fair", "val": "not_fair"}
    assert found.reasons == (
        "the classes are the same",
        "split 'test': no label changed, results on it compare as they are",
        "split 'train': no label changed, results on it compare as they are",
        "split 'val': 20 items differ; results on it compare only if both models are measured on "
        "the same version",
    )
    book.correct("train1", "cat", "dog")
    assert compare(book.ledger, "v1.6").verdict == "fair"


def test_a_contract_that_a_rollback_took_back(book: Book) -> None:
    """Its classes are followed back to the last contract of both, as far as that goes."""
    book.change("cat", "dog")
    book.boxes("dog", {"a": 1}, split="test")
    base = book.tag("v1")
    book.change(split=SPLIT)
    book.tag("v2")
    book.ledger.rollback(base, actor="ann", approved_by="bob", reason="no")
    found = compare(book.ledger, "v2")
    assert found.verdict == "fair_after_remap"
    assert found.remap == Remap({}, {"dog": ("dog_small", "dog_large")})
    assert "a rollback took it back" in found.reasons[0]
    book.change(split=SPLIT)
    again = compare(book.ledger, "v2")
    assert again.verdict == "fair_after_remap"
    assert list(again.remap.aggregate_for_new) == ["dog_small+dog_large"]
    assert "crosswise: count all of them together as 'dog_small+dog_large'" in again.reasons[1]
    assert "the classes are the same" not in again.reasons


def test_without_a_class_of_both_nothing_compares(book: Book) -> None:
    """There is nothing that both would call the same."""
    start = book.ledger.resolve()
    book.change("cat")
    book.items({"a": "cat"})
    book.tag("v1")
    book.ledger.rollback(start.text(), actor="ann", approved_by="bob", reason="no")
    book.change("chat")
    found = compare(book.ledger, "v1")
    assert (found.verdict, found.changed_by_split) == ("not_fair", {"": 1})
    book.ledger.rollback(start.text(), actor="ann", approved_by="bob", reason="no")
    book.change("cat")
    book.items({"a": "cat"})
    assert compare(book.ledger, "v1").verdict == "fair"


def test_columns_compare_as_rows_do(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long logs are compared by columns, and one of each kind too."""
    book.change("dog", "cat")
    book.boxes("dog", {"a": 1, "b": 9_000}, split="val")
    book.items({"c": "cat", "d": "cat", "e": "dog"}, split="test")
    book.tag("v1")
    book.change(split=SPLIT, rename={"cat": "chat"})
    book.correct("c", "chat", None)
    expected = compare(book.ledger, "v1")
    assert expected.changed_by_split == {"test": 2}  # e has no area, and so no class now
    for start in (0, 6):
        monkeypatch.setattr("ledger.replay.COLUMNS_FROM", start)
        assert compare(book.ledger, "v1") == expected


def test_very_many_renames_are_told_in_a_few_sentences(book: Book) -> None:
    """The remap holds them all."""
    names = [f"c{i:03}" for i in range(200)]
    book.change(*names)
    book.tag("v1")
    book.change(rename={name: name.upper() for name in names}, add=[{"name": "new"}])
    found = compare(book.ledger, "v1")
    assert len(found.remap.aggregate_for_old) == 200
    assert len(found.reasons) == 12
    assert found.reasons[-1] == "and 190 more classes in like manner"
