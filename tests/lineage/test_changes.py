"""The labels that changed since a model was trained: which, by what, and by whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

from ledger import InvalidRequest, Ledger
from ledger.lineage import Lineage
from ledger.lineage.changes import changes_between
from tests.core.history import History
from tests.lineage.books import ledger_of

CLASSES = ("cat", "dog", "owl")
ITEMS = ("r", "s", "t")


def found(book: Ledger, since: str = "v1") -> dict[str, dict[str, Any]]:
    """What changed, by item, another name included."""
    rows = changes_between(book, since).frame.iter_rows(named=True)
    return {row["id"]: {name: cell for name, cell in row.items() if cell} for row in rows}


def test_each_cause_with_who_and_why(tmp_path: Path) -> None:
    """A correction names its proposer, reviewer and reason, a registration who brought it, a
    contract change nobody; another name alone is no change of a label.
    """
    with Ledger.create(f"sqlite:///{tmp_path}/log.db", "d", partitions=3) as book:
        book.add_classes(CLASSES, actor="max")
        for name, label in (("a", "cat"), ("b", "dog"), ("c", "dog"), ("e", "owl")):
            fields = {"item_id": name, "record_id": name, "label": label, "split": "train"}
            book.append([{"type": "ItemRegistered", "actor": "max", **fields}])
        early, _ = book.correct("c", to="cat", actor="ann", reason="seen before the tag")
        book.tag("v1", actor="max")
        late, _ = book.correct("a", to="owl", actor="ann", reason="it hoots", source="audit")
        removed, _ = book.correct("e", to=None, actor="ann")
        for correction in (early, late, removed):
            book.review(correction, "accept", actor="bob")
        fields = {"item_id": "f", "record_id": "f", "label": "cat", "source": "camera"}
        book.append([{"type": "ItemRegistered", "actor": "eve", **fields}])
        rename = {"version": 2, "rename": {"dog": "hound", "owl": "tyto"}, "actor": "max"}
        book.append([{"type": "SchemaChanged", **rename}])
        assert found(book) == {
            "a": {
                **{"id": "a", "change": "changed", "before": "cat", "after": "tyto"},
                **{"split": "train", "cause": "correction", "by": "ann", "accepted_by": "bob"},
                **{"reason": "it hoots", "source": "audit", "correction_id": late},
            },
            "b": {
                **{"id": "b", "change": "changed", "before": "dog", "after": "hound"},
                **{"split": "train", "cause": "contract"},
            },
            "c": {
                **{"id": "c", "change": "changed", "before": "dog", "after": "cat"},
                **{"split": "train", "cause": "correction", "by": "ann", "accepted_by": "bob"},
                **{"reason": "seen before the tag", "source": "annotator"},
                "correction_id": early,
            },
            "e": {
                **{"id": "e", "change": "removed", "before": "owl", "split": "train"},
                **{"cause": "correction", "by": "ann", "accepted_by": "bob"},
                **{"source": "annotator", "correction_id": removed},
            },
            "f": {
                **{"id": "f", "change": "added", "after": "cat", "cause": "registration"},
                **{"by": "eve", "source": "camera"},
            },
        }
        changes = changes_between(book, "v1")
        assert changes.by_class() == {"cat": 2, "owl": 1, "tyto": 1}
        assert changes.by_split() == {"": 1, "train": 3}
        assert changes.contract_versions == (2,)
        assert changes.moves()[0] == (None, "cat", "registration", 1)
        assert [each["id"] for each in changes.items()] == ["a", "c", "e", "f"]
        assert [each["id"] for each in changes.items(2)] == ["a", "c"]


def test_what_a_rollback_took_back(tmp_path: Path) -> None:
    """The label that is back has the rollback as its cause, with who agreed; a later correction of
    the same item goes before it.
    """
    history = History.of_classes(*CLASSES, partitions=2)
    for name in ITEMS:
        history.item(name, "cat")
    before = history.head()
    for name in ITEMS:
        history.correct(name, "cat", "dog")
    history.tag("v1")
    history.rollback(before, by="max", approved_by="ada")
    history.correct("s", "cat", "owl")
    history.correct("t", "cat", "dog")
    with ledger_of(history, tmp_path) as book:
        rows = found(book)
        assert {name: row["cause"] for name, row in rows.items()} == {
            "r": "rollback",
            "s": "correction",
        }
        assert (rows["r"]["by"], rows["r"]["accepted_by"]) == ("max", "ada")


def test_a_split_that_another_item_of_the_record_gave(tmp_path: Path) -> None:
    """A line that differs by its split alone is no matter of the contract."""
    history = History.of_classes("cat")
    history.item("r#1", "cat")
    history.tag("v1")
    history.item("r", None, split="test")
    with ledger_of(history, tmp_path) as book:
        assert found(book)["r#1"]["cause"] == "registration"


def test_backwards_is_refused(tmp_path: Path) -> None:
    """What changed is asked forward only."""
    history = History.of_classes("cat")
    history.tag("v1")
    history.item("r", "cat")
    history.tag("v2")
    with (
        ledger_of(history, tmp_path) as book,
        pytest.raises(InvalidRequest, match="v1 does not lie after v2"),
    ):
        changes_between(book, "v2", "v1")


moves = st.lists(
    st.one_of(
        st.tuples(st.just("correct"), st.sampled_from(ITEMS), st.sampled_from(CLASSES)),
        st.tuples(st.just("tag"), st.just(""), st.just("")),
        st.tuples(st.just("rollback"), st.integers(0, 9).map(str), st.just("")),
    ),
    min_size=4,
    max_size=16,
)


@settings(
    max_examples=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(moves)
def test_since_every_version(tmp_path: Path, moves: list[tuple[str, str, str]]) -> None:
    """The items that changed since each version are those whose label is another one now, each with
    a cause that is not the contract, and the rollback where no later correction is.
    """
    history = History.of_classes(*CLASSES, partitions=2)
    for name in ITEMS:
        history.item(name, "cat")
    for number, (move, what, more) in enumerate(moves):
        if move == "correct":
            history.correct(what, history.labels().get(what), more)
        elif move == "tag":
            history.tag(f"v{number}")
        else:
            history.rollback(history.checkpoints[-1 - int(what) % len(history.checkpoints)])
    with ledger_of(history, tmp_path) as book:
        lineage, now = Lineage(book), {row.item_id: row.label for row in book.snapshot().rows}
        for name in book.governance.tags:
            then = {row.item_id: row.label for row in book.snapshot(name).rows}
            differ = {each for each in {*then, *now} if then.get(each) != now.get(each)}
            lineage.register(f"on-{name}", labels=name, actor="ann")
            changes = lineage.changes(f"on-{name}")
            assert set(changes.substantial["id"]) == differ
            assert lineage.quality(f"on-{name}").labels_changed == len(differ)
            assert sum(changes.by_class().values()) == len(differ)
