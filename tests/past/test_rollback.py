"""What a rollback would take back, and that versions outlive everything."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import Ledger
from ledger.core.outcome import Outcome
from ledger.core.position import Position
from ledger.errors import InvalidRequest
from ledger.past import Past
from ledger.past.whatif import moves
from ledger.patches import Edit, Patches
from tests.core.strategies import Plan, checkpoint, play, wild_plans
from tests.events import Fields, item, schema, vote
from tests.past.books import animals, corrected, labels, opened

patient = settings(
    max_examples=30,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@patient
@given(wild_plans(), st.integers(1, 20))
def test_it_takes_back_what_becomes_void(plan: Plan, back: int) -> None:
    """Events, contract versions and rollbacks: as many as are live before and void after."""
    history = play(plan, partitions=2)
    to = history.governed().floor(checkpoint(history, back))
    before = history.at()
    with tempfile.TemporaryDirectory() as folder, opened(history, Path(folder)) as book:
        try:
            found = Past(book).rollback_preview(to)
        except InvalidRequest:
            return
    rolled = history.rollback(to)
    if history.outcome(rolled) is not Outcome.ROLLED_BACK:
        return  # these two may not: the preview does not ask who would
    after = history.at()
    taken: Counter[str] = Counter()
    restored = 0
    for log in history.label_logs:
        for entry in log:
            pair = (before[entry] is Outcome.VOID, after[entry] is Outcome.VOID)
            taken[type(entry.event).__name__] += pair == (False, True)
            restored += pair == (True, False)
    assert found.events == {name: count for name, count in sorted(taken.items()) if count}
    assert found.restored == restored
    gone = set(before.governance.contracts.versions) - set(after.governance.contracts.versions)
    assert set(found.contracts) == gone
    undone = {each.offset for each in before.governance.live_rollbacks} - {
        each.offset for each in after.governance.live_rollbacks
    }
    assert found.rollbacks == len(undone)


def story(book: Ledger) -> None:
    """Version 1; then a rename, a patch, version 2, and a model that was trained on it."""
    book.tag("v1", actor="ann")
    book.append([schema(2, "pig", rename={"cow": "ox"})])
    book.append(corrected("1", "a", "cat", "dog"))
    patches = Patches(book)
    patch = patches.propose([Edit("b", "cat", "ox"), Edit("c", "cat", None)], actor="eve")
    patches.settle(patch, "accept", actor="ann")
    book.tag("v2", actor="ann")
    model = {"type": "ModelRegistered", "name": "m", "label_version": "v2", "actor": "ann"}
    book.append([model])


def test_what_a_rollback_takes_back(tmp_path: Path) -> None:
    """Events by type, contract versions, and by name the versions, patches and models."""
    with animals(tmp_path) as book:
        story(book)
        before = book.resolve()
        found = Past(book).rollback_preview("v1")
        assert book.resolve() == before
        assert found.events == {"CorrectionProposed": 3, "ReviewDecided": 3}
        assert (found.contracts, found.rollbacks, found.restored) == ((2,), 0, 0)
        (patch,) = Patches(book).all()
        assert found.patches == (patch.event.patch_id,)
        assert (found.versions, found.models) == (("v2",), ("m",))
        by_class = moves(book.diff(found.at, found.to))
        assert by_class == [(None, "cat", 1), ("dog", "cat", 1), ("ox", "cat", 1)]


def test_a_rollback_that_is_rolled_back(tmp_path: Path) -> None:
    """What it had taken back is live again, and that is said."""
    with animals(tmp_path) as book:
        story(book)
        before = book.resolve()
        book.rollback("v1", actor="ann", approved_by="bob")
        found = Past(book).rollback_preview(before)
        assert (found.events, found.rollbacks, found.restored) == ({}, 1, 6)
        assert found.contracts == ()


def text(labels: Sequence[int], governance: int) -> str:
    return Position(tuple(labels), governance).text()


def refused(book: Ledger, to: str, words: str) -> None:
    """Nobody can go back there, and nothing is appended."""
    before = book.resolve()
    with pytest.raises(InvalidRequest, match=words):
        Past(book).rollback_preview(to)
    assert book.resolve() == before


def test_the_future_and_an_open_position(tmp_path: Path) -> None:
    """What is not there, and what is not closed, is refused in words."""
    with animals(tmp_path) as book:
        start = book.resolve()
        story(book)
        head = book.resolve()
        refused(book, "head", "where the log ends")
        refused(book, "2999-01-01", "where the log ends")
        refused(book, text((99, 0, 0), 1), "beyond the end of labels partition 0: offset 99")
        refused(book, text(start.labels, 99), "beyond the end of governance")
        refused(book, "v9", "is no version")
        refused(book, "labels=1;governance=1", "names 1 label partitions")
        refused(book, text(head.labels, start.governance), "is not closed")


def test_a_position_aside_of_a_version(tmp_path: Path) -> None:
    """Named positions form a chain; one that fits into none of its gaps is refused."""
    with animals(tmp_path, partitions=2) as book:
        version = book.tag("v1", actor="ann").position
        book.append([item(f"new-{i}", "cow") for i in range(9)])
        later = book.resolve()
        aside = (version.labels[0] - 1, later.labels[1])
        refused(book, text(aside, later.governance), "neither before nor after")


def test_the_midst_of_a_patch(tmp_path: Path) -> None:
    """One that was settled, and one that is being settled."""
    with animals(tmp_path) as book:
        story(book)
        (patch,) = Patches(book).all()
        settled = patch.settlement
        assert settled is not None
        half = list(settled.start)
        half[next(i for i in range(3) if settled.at[i] > half[i])] += 1
        refused(book, text(half, patch.offset + 1), "in the midst of patch")
        edits = [Edit("f", "cat", "dog"), Edit("a", "dog", "cat")]
        name = Patches(book).propose(edits, actor="eve")
        first = Patches(book).standing(name).corrections[0].proposal
        book.append([vote(first.correction_id, first.item_id)])
        midst = book.resolve()
        book.append([item("later", "cat")])
        refused(book, midst.text(), "is being settled")


def test_a_version_outlives_a_rename_a_split_and_a_rollback(tmp_path: Path) -> None:
    """Tagged before all three, it still rebuilds to its hash after them; so do those between."""
    boxes: list[Fields] = [
        item(f"a#{i}", "dog", geometry={"type": "bbox", "coordinates": [0.0, 0.0, float(i), 2.0]})
        for i in range(1, 5)
    ]
    with animals(tmp_path, *boxes, *corrected("1", "a", "cat", "cow")) as book:
        book.tag("v1", actor="ann")
        book.append([schema(2, rename={"cat": "feline"})])
        book.append(corrected("2", "b", "feline", "dog"))
        book.tag("v2", actor="ann")
        split = {"dog": {"small": "area < 5", "large": "area >= 5"}}
        book.append([schema(3, split=split)])
        book.append(corrected("3", "b", None, "small"))  # without an area it fits no part
        book.tag("v3", actor="ann")
        book.rollback("v2", actor="ann", approved_by="bob")
        book.append(corrected("4", "c", "feline", "cow"))
        book.tag("v4", actor="ann")
        assert [(proof.name, proof.proved) for proof in book.verify()] == [
            (name, True) for name in ("v1", "v2", "v3", "v4")
        ]
        then = {row.item_id: row.label for row in book.snapshot("v1").rows}
        assert then == dict.fromkeys("bcdef", "cat") | {"a": "cow"} | {
            f"a#{i}": "dog" for i in range(1, 5)
        }
        assert labels(book)["a#1"] == "dog"
