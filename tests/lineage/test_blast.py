"""Who saw an old label: versions, models and evaluations, whatever was rolled back meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import InvalidRequest, Ledger
from ledger.core.events import CorrectionProposed, Geometry
from ledger.lineage import Lineage
from ledger.lineage.blast import Blast, blast_of_correction, blast_of_item
from tests.core.history import Entry, History, box
from tests.lineage.books import ledger_of

CLASSES = ("cat", "dog", "owl")


def pets(partitions: int = 2) -> History:
    """One cat."""
    history = History.of_classes(*CLASSES, partitions=partitions)
    history.item("r", "cat", split="train")
    return history


def name_of(proposal: Entry) -> str:
    assert isinstance(proposal.event, CorrectionProposed)
    return proposal.event.correction_id


def releases(history: History, folder: Path, correction: Entry) -> dict[str, str]:
    """The versions that saw what a correction corrects."""
    with ledger_of(history, folder) as book:
        return dict(blast_of_correction(book, name_of(correction)).releases)


def test_between_the_coming_of_a_label_and_its_correction(tmp_path: Path) -> None:
    """Only the versions that show what the correction corrects saw the old label: neither those
    from before it, nor those after.
    """
    history = pets()
    history.tag("v1")
    to_dog = history.propose("r", "cat", "dog")
    history.vote(to_dog)
    history.tag("v2")
    history.item("s", "cat")
    history.tag("v3")
    to_owl = history.propose("r", "dog", "owl")
    history.tag("v4")
    history.vote(to_owl)
    history.tag("v5")
    assert releases(history, tmp_path, to_dog) == {"v1": "cat"}
    assert releases(history, tmp_path, to_owl) == {"v2": "dog", "v3": "dog", "v4": "dog"}


def test_a_rollback_brings_the_old_label_back(tmp_path: Path) -> None:
    """A version after the rollback sees the old label again, one in what it took back does not; and
    when that rollback is rolled back itself, the new label stands again.
    """
    history = pets()
    history.tag("v1")
    before = history.head()
    to_dog = history.propose("r", "cat", "dog")
    history.vote(to_dog)
    history.tag("v2")
    after = history.head()
    history.rollback(before)
    history.item("s", "owl")
    history.tag("v3")
    expected = {"v1": "cat", "v3": "cat"}
    assert releases(history, tmp_path, to_dog) == expected
    with ledger_of(history, tmp_path) as book:
        found = blast_of_correction(book, name_of(to_dog))
        assert (found.status, found.now) == ("void", "cat")
        assert dict(blast_of_item(book, "r").releases) == {"v2": "dog"}
    history.rollback(after)
    history.tag("v4")
    assert releases(history, tmp_path, to_dog) == expected
    with ledger_of(history, tmp_path) as book:
        assert blast_of_correction(book, name_of(to_dog)).status == "applied"
        assert dict(blast_of_item(book, "r").releases) == expected


def test_another_name_is_the_same_label(tmp_path: Path) -> None:
    """A class that was renamed is looked for under the name that each version has for it, forward
    and backward; one whose renaming was taken back, too.
    """
    history = pets()
    history.tag("v1")
    before = history.head()
    history.schema(rename={"cat": "kitten"})
    history.tag("v2")
    to_dog = history.propose("r", "kitten", "dog")
    assert releases(history, tmp_path, to_dog) == {"v1": "cat", "v2": "kitten"}
    history.vote(to_dog)
    history.tag("v3")
    assert releases(history, tmp_path, to_dog) == {"v1": "cat", "v2": "kitten"}
    history.rollback(before)
    history.tag("v4")
    seen = {"v1": "cat", "v2": "kitten", "v4": "cat"}
    assert releases(history, tmp_path, to_dog) == seen
    with ledger_of(history, tmp_path) as book:  # another name is no other label
        assert dict(blast_of_item(book, "r").releases) == {"v3": "dog"}


def test_a_split_class_is_found_by_its_part(tmp_path: Path) -> None:
    """What a split made of the class is the old label too; an item that it left open is in no
    version.
    """
    history = pets()
    history.item("s", "cat", attributes={"area": 9.0})
    history.tag("v1")
    of_r, of_s = history.propose("r", "cat", "dog"), history.propose("s", "cat", "dog")
    history.schema(split={"cat": {"small": "area < 5", "large": "area >= 5"}})
    history.tag("v2")
    assert releases(history, tmp_path, of_r) == {"v1": "cat"}
    assert releases(history, tmp_path, of_s) == {"v1": "cat", "v2": "large"}


def test_geometry_added_and_removed(tmp_path: Path) -> None:
    """A wrong box is seen by versions with that box, a missing region by those that lack it, and
    not by those that do not know its record.
    """
    history = History.of_classes("cat", partitions=2)
    history.tag("v0")
    history.item("r", None)
    history.item("r#1", "cat", box(2, 2))
    history.tag("v1")
    wrong: Geometry = box(2, 2)
    narrower = history.propose("r#1", "cat", "cat", wrong, box(1, 2))
    added = history.propose("r#2", None, "cat", None, box(3, 3))
    gone = history.propose("r#1", "cat", None)
    history.vote(narrower)
    history.vote(added)
    history.tag("v2")
    history.vote(gone)
    history.tag("v3")
    assert releases(history, tmp_path, narrower) == {"v1": "cat"}
    assert releases(history, tmp_path, added) == {"v1": "-"}
    assert releases(history, tmp_path, gone) == {"v1": "cat", "v2": "cat"}


def test_models_and_evaluations(tmp_path: Path) -> None:
    """A training item was learned from, a test item measured on, and one without a split may be
    both; a model that was measured on the test labels of another version saw those.
    """
    with Ledger.create(f"sqlite:///{tmp_path}/log.db", "d") as book:
        book.add_classes(CLASSES, actor="max")
        for name, split in (("a", "train"), ("b", "test"), ("c", None)):
            fields = {"item_id": name, "record_id": name, "label": "cat", "split": split}
            book.append([{"type": "ItemRegistered", "actor": "max", **fields}])
        lineage = Lineage(book)
        book.tag("v1", actor="max")
        lineage.register("m1", labels="v1", actor="max", metrics={"f1": 0.9})
        lineage.register("bare", labels="v1", actor="max")
        for name in "abc":
            correction, _ = book.correct(name, to="dog", actor="ann")
            book.review(correction, "accept", actor="bob")
        book.tag("v2", actor="max")
        lineage.register("m2", labels="v2", actor="max", metrics={"f1": 0.8})
        old = book.version("v1").test_version
        lineage.register("m3", labels="v2", actor="max", metrics={"f1": 0.8}, split_version=old)

        def who(item: str) -> tuple[list[str], list[str]]:
            found = lineage.blast_of_item(item)
            return [m.name for m in found.models], [m.name for m in found.evaluations]

        assert who("a") == (["m1", "bare"], [])
        assert who("b") == ([], ["m1", "m3"])
        assert who("c") == (["m1", "bare"], ["m1", "m3"])


def test_what_there_is_not(tmp_path: Path) -> None:
    """An unknown correction or item is refused, and so is an id that two records took until one of
    them is named.
    """
    history = pets(1)
    history.item("s", "cat")
    history.tag("v1")
    history.propose("r", "cat", "dog", correction_id="twice")
    history.propose("s", "cat", "owl", correction_id="twice")
    with ledger_of(history, tmp_path) as book:
        with pytest.raises(InvalidRequest, match="there is no correction 'none'"):
            blast_of_correction(book, "none")
        with pytest.raises(InvalidRequest, match="in several records, r, s: give --record"):
            blast_of_correction(book, "twice")
        with pytest.raises(InvalidRequest, match="there is no correction 'twice'"):
            blast_of_correction(book, "twice", "elsewhere")
        with pytest.raises(InvalidRequest, match="item 'q' does not exist"):
            blast_of_item(book, "q")
        found: Blast = blast_of_correction(book, "twice", "s")
        assert (found.item_id, dict(found.releases)) == ("s", {"v1": "cat"})


moves = st.lists(
    st.one_of(
        st.tuples(st.just("correct"), st.sampled_from(CLASSES)),
        st.tuples(st.just("tag"), st.just("")),
        st.tuples(st.just("rollback"), st.integers(0, 9).map(str)),
    ),
    min_size=4,
    max_size=14,
)


@settings(
    max_examples=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(moves)
def test_what_each_version_shows(tmp_path: Path, moves: list[tuple[str, str]]) -> None:
    """The versions that saw another label of an item than today's are those whose snapshot has
    another, whatever was corrected and rolled back in between.
    """
    history = pets()
    for number, (move, more) in enumerate(moves):
        if move == "correct":
            history.correct("r", history.labels().get("r"), more)
        elif move == "tag":
            history.tag(f"v{number}")
        else:
            history.rollback(history.checkpoints[-1 - int(more) % len(history.checkpoints)])
    with ledger_of(history, tmp_path) as book:
        shown = {
            name: {row.item_id: row.label for row in book.snapshot(name).rows}.get("r")
            for name in book.governance.tags
        }
        now = {row.item_id: row.label for row in book.snapshot().rows}.get("r")
        expected = {name: label for name, label in shown.items() if label and label != now}
        assert dict(blast_of_item(book, "r").releases) == expected
