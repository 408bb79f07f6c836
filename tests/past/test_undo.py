"""Undoing some corrections and keeping every later good one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import Ledger
from ledger.core.events import CorrectionProposed, Geometry, ReviewDecided
from ledger.core.outcome import Outcome
from ledger.errors import InvalidRequest, LogUnavailable
from ledger.past import Past, Selection
from ledger.past.undo import Plan as UndoPlan
from ledger.patches import Patches
from tests.core.history import Entry
from tests.core.strategies import (
    BOXES,
    BY,
    CLASSES,
    PEOPLE,
    Decide,
    Plan,
    Propose,
    Register,
    Schema,
    alone,
    play,
    registrations,
    rollbacks,
    schemas,
)
from tests.events import Fields, item, proposal, schema, vote
from tests.past.books import animals, corrected, labels, opened, without

EVE = Selection(author="eve")
BOX, WIDER = ({"type": "bbox", "coordinates": [0.0, 0.0, x, 2.0]} for x in (2.0, 3.0))


def undo(book: Ledger, selection: Selection = EVE, *, with_dependants: bool = False) -> UndoPlan:
    """Undo, and return the plan that was carried out."""
    past = Past(book)
    plan = past.undo_plan(selection, with_dependants=with_dependants)
    return past.undo(plan, actor="ula", approved_by="uwe", reason="bad").plan


def policy(**more: object) -> Fields:
    """A policy that makes contract 2."""
    return {"type": "PolicyChanged", "version": 2, "actor": "max", **more}


def named(plan: UndoPlan) -> tuple[list[str], list[str], list[str]]:
    """The ids of what is undone and what depends on it, and the items that change."""
    return (
        [each.correction_id for each in plan.undone],
        [each.correction_id for each in plan.dependants],
        [each.item_id for each in plan.edits],
    )


def test_only_what_was_undone_goes_back(tmp_path: Path) -> None:
    """Corrections of others stay, and so does everything after."""
    events = [
        *corrected("1", "a", "cat", "dog"),
        *corrected("2", "b", "cat", "dog", by="bob"),
        *corrected("3", "c", "cat", None),
        *corrected("4", "z", None, "cow"),
        *corrected("5", "d", "cat", "dog", by="bob"),
    ]
    with animals(tmp_path, *events) as book:
        before = book.resolve()
        assert named(undo(book)) == (["1", "3", "4"], [], ["a", "c", "z"])
        assert labels(book) == {**dict.fromkeys("acef", "cat"), "b": "dog", "d": "dog"}
        then = {row.item_id: row.label for row in book.snapshot(before).rows}
        assert then == dict.fromkeys("abd", "dog") | {"e": "cat", "f": "cat", "z": "cow"}
        (patch,) = Patches(book).all()
        assert (patch.event.kind, patch.event.count, patch.event.reason) == (
            "rollback",
            3,
            "undo of author eve",
        )
        assert patch.settlement is not None
        step = book.history("a").steps[-2].event
        assert isinstance(step, CorrectionProposed)
        assert (step.source, step.actor, step.reason) == ("rollback", "ula", "bad")


def test_a_dependant_is_kept_and_listed(tmp_path: Path) -> None:
    """A later correction that stands on an undone one keeps its item as it is."""
    events = [
        *corrected("1", "a", "cat", "dog"),
        *corrected("2", "a", "dog", "cow", by="bob"),
        *corrected("3", "b", "cat", "dog"),
    ]
    with animals(tmp_path, *events) as book:
        assert named(undo(book)) == (["1", "3"], ["2"], ["b"])
        assert labels(book) == {**dict.fromkeys("bcdef", "cat"), "a": "cow"}
        assert named(undo(book)) == (["1", "3"], ["2"], [])
        assert named(undo(book, with_dependants=True)) == (["1", "3"], ["2"], ["a"])
        assert labels(book) == dict.fromkeys("abcdef", "cat")
        assert named(undo(book, with_dependants=True))[2] == []


def test_what_was_undone_after_the_last_dependant_goes_back_to_it(tmp_path: Path) -> None:
    """The undone, a dependant, the undone again: the item is what the dependant made it."""
    events = [
        *corrected("1", "a", "cat", "dog"),
        *corrected("2", "a", "dog", "cow", by="bob"),
        *corrected("3", "a", "cow", "dog"),
    ]
    with animals(tmp_path, *events) as book:
        assert named(undo(book)) == (["1", "3"], ["2"], ["a"])
        assert labels(book)["a"] == "cow"
        assert named(undo(book))[2] == []


def test_a_later_correction_of_the_original_label_stays(tmp_path: Path) -> None:
    """Somebody put the item right meanwhile: nothing is left to do, with dependants or not."""
    events = [
        *corrected("1", "a", "cat", "dog"),
        *corrected("2", "a", "dog", "cat", by="bob"),
        *corrected("3", "a", "cat", "cow", by="bob"),
    ]
    with animals(tmp_path, *events) as book:
        for with_dependants in (False, True):
            assert named(undo(book, with_dependants=with_dependants))[2] == []
        assert labels(book)["a"] == "cow"


def test_a_good_correction_that_was_stale_takes_effect(tmp_path: Path) -> None:
    """It was accepted, and only the undone one stood in its way."""
    events = [*corrected("1", "a", "cat", "dog"), *corrected("2", "a", "cat", "cow", by="bob")]
    with animals(tmp_path, *events) as book:
        undo(book)
        assert labels(book)["a"] == "cow"
        assert named(undo(book))[2] == []


def test_done_again_after_the_same_mistake(tmp_path: Path) -> None:
    """What the author did after the first undoing is undone by the second, and only that."""
    with animals(tmp_path, *corrected("1", "a", "cat", "dog")) as book:
        undo(book)
        book.append(corrected("2", "a", "cat", "dog"))
        assert named(undo(book))[2] == ["a"]
        assert labels(book)["a"] == "cat"
        book.append(corrected("3", "a", "cat", "cow", by="bob"))
        assert named(undo(book))[2] == []
        assert len(Patches(book).all()) == 2


def test_an_undoing_is_undone_by_its_patch(tmp_path: Path) -> None:
    """It is a patch like any other."""
    with animals(tmp_path, *corrected("1", "a", "cat", "dog")) as book:
        undo(book)
        (patch,) = Patches(book).all()
        undo(book, Selection(patch=patch.event.patch_id))
        assert labels(book)["a"] == "dog"


def test_what_an_undone_undoing_brought_back_stays_and_why_is_told(tmp_path: Path) -> None:
    """Undoing Eve's again changes nothing, for somebody undid the undoing: it is listed."""
    with animals(tmp_path, *corrected("1", "a", "cat", "dog")) as book:
        undo(book)
        assert Past(book).undo_plan(EVE).dependants == ()
        undo(book, Selection(source="rollback"))
        assert labels(book)["a"] == "dog"
        found = Past(book).undo_plan(EVE)
        assert found.edits == ()
        (undoing,) = found.dependants
        assert (undoing.source, undoing.from_label, undoing.to_label) == ("rollback", "dog", "cat")
        undo(book, Selection(patch=Patches(book).all()[-1].event.patch_id))
        assert labels(book)["a"] == "cat"


def test_a_redelivered_proposal_does_not_step_in(tmp_path: Path) -> None:
    """The same correction sent twice is undone once and for all."""
    twice = proposal("1", "a", "cat", "dog", "eve", event_id="e1")
    with animals(tmp_path, twice, twice, vote("1", "a")) as book:
        undo(book)
        assert labels(book)["a"] == "cat"


def test_geometries_and_added_regions(tmp_path: Path) -> None:
    """A geometry goes back, an added region loses its label, a removed one gets it back."""
    events: list[Fields] = [
        item("a#1", "cat", geometry=BOX),
        item("a#2", "dog", geometry=BOX),
        *corrected("1", "a#1", "cat", "cat", from_geometry=BOX, to_geometry=WIDER),
        *corrected("2", "a#2", "dog", None),
        *corrected("3", "a#3", None, "cow", to_geometry=BOX),
    ]
    with animals(tmp_path, *events) as book:
        start = [row for row in book.snapshot().rows if row.item_id == "a#1"]
        assert start[0].geometry == Geometry("bbox", (0.0, 0.0, 3.0, 2.0))
        assert named(undo(book))[2] == ["a#1", "a#2", "a#3"]
        rows = [row for row in book.snapshot().rows if "#" in row.item_id]
        box = Geometry("bbox", (0.0, 0.0, 2.0, 2.0))
        assert [(row.label, row.geometry) for row in rows] == [("cat", box), ("dog", box)]


def test_what_no_correction_puts_back_is_left_and_told(tmp_path: Path) -> None:
    """A deprecated class, an unresolved split and a geometry where none was."""
    events: list[Fields] = [
        item("g", "cow"),
        *corrected("1", "g", "cow", "dog"),
        item("h", "dog"),
        *corrected("2", "h", "dog", "cow"),
        *corrected("3", "a", "cat", "cat", to_geometry=BOX),
    ]
    with animals(tmp_path, *events) as book:
        split = {"dog": {"small": "area < 9", "large": "area >= 9"}}
        book.append([schema(2, deprecate=["cow"], split=split)])
        plan = undo(book)
        assert {each.item_id: each.why for each in plan.left} == {
            "a": "it would have no geometry, which no correction takes away",
            "g": "it would be cow, which the contract no longer takes",
            "h": "it would be unresolved (dog, split by contract 2)",
        }
        assert plan.edits == ()
        assert Patches(book).all() == []


def test_across_a_rename(tmp_path: Path) -> None:
    """What goes back goes back under the names that are in force."""
    with animals(tmp_path, *corrected("1", "a", "cat", "dog")) as book:
        book.append(
            [{"type": "SchemaChanged", "version": 2, "rename": {"cat": "feline"}, "actor": "max"}]
        )
        assert labels(book)["a"] == "dog"
        undo(book)
        assert labels(book)["a"] == "feline"


def test_a_burst_is_a_source_and_a_window(tmp_path: Path) -> None:
    """Only what was proposed inside of it goes back; what is open is counted and left."""
    with animals(tmp_path, *corrected("1", "a", "cat", "dog", source="feedback")) as book:
        since = book.resolve()
        book.append(corrected("2", "b", "cat", "dog", source="feedback"))
        book.append([proposal("3", "c", "cat", "dog", source="feedback")])
        until = book.resolve()
        book.append(corrected("4", "d", "cat", "dog", source="feedback"))
        plan = undo(book, Selection(source="feedback", since=since, until=until))
        assert named(plan) == (["2"], [], ["b"])
        assert plan.open == 1
        assert {name for name, label in labels(book).items() if label == "dog"} == {"a", "d"}


# The second person


def test_who_undoes_does_not_approve(tmp_path: Path) -> None:
    """Nor does somebody without the role; and nothing is appended."""
    with animals(tmp_path, *corrected("1", "a", "cat", "dog")) as book:
        book.append([policy(roles={"admin": ["ann"], "reviewer": ["ann", "uwe"]})])
        past, before = Past(book), book.resolve()
        plan = past.undo_plan(EVE)
        for person, words in (("ula", "second person"), ("eve", "no role")):
            with pytest.raises(InvalidRequest, match=words):
                past.undo(plan, actor="ula", approved_by=person)
        assert book.resolve() == before
        assert labels(book)["a"] == "dog"


def test_more_approvals(tmp_path: Path) -> None:
    """Where two must approve, the same undoing is settled by another second person."""
    with animals(tmp_path, *corrected("1", "a", "cat", "dog")) as book:
        book.append(
            [{"type": "PolicyChanged", "version": 2, "approvals_required": 2, "actor": "max"}]
        )
        past = Past(book)
        first = past.undo(past.undo_plan(EVE), actor="ula", approved_by="uwe").settled
        assert first is not None
        assert not first.decided
        assert labels(book)["a"] == "dog"
        second = past.undo(past.undo_plan(EVE), actor="ula", approved_by="ann").settled
        assert second is not None
        assert second.decided
        assert labels(book)["a"] == "cat"
        assert len(Patches(book).all()) == 1


def test_a_plan_that_the_labels_left_behind(tmp_path: Path) -> None:
    """Is refused, and nothing is appended."""
    with animals(tmp_path, *corrected("1", "a", "cat", "dog")) as book:
        past = Past(book)
        plan = past.undo_plan(EVE)
        book.append(corrected("2", "a", "dog", "cow", by="bob"))
        before = book.resolve()
        with pytest.raises(InvalidRequest, match="'dog'"):
            past.undo(plan, actor="ula", approved_by="uwe")
        assert book.resolve() == before


@pytest.mark.parametrize("stored", range(12))
def test_interrupted_it_is_resumed(
    stored: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of stored events, doing it again completes the one bulk change."""
    events = [each for i in range(4) for each in corrected(str(i), "abcd"[i], "cat", "dog")]
    with animals(tmp_path, *events) as book:
        append = book.dataset.log.append
        left = [stored]

        def dying(topic: object, messages: list[object]) -> list[int]:
            offsets: list[int] = []
            for message in messages:
                if left[0] == 0:
                    raise LogUnavailable("the power went", acknowledged=len(offsets))
                offsets += append(topic, [message])  # type: ignore[arg-type,list-item]
                left[0] -= 1
            return offsets

        past = Past(book)
        with monkeypatch.context() as patched:
            patched.setattr(book.dataset.log, "append", dying)
            try:
                past.undo(past.undo_plan(EVE), actor="ula", approved_by="uwe")
            except LogUnavailable:
                assert left[0] == 0
        again = past.undo(past.undo_plan(EVE), actor="ula", approved_by="uwe")
        assert labels(book) == dict.fromkeys("abcdef", "cat")
        (patch,) = Patches(book).all()
        assert patch.settlement is not None
        assert patch.event.count == 4
        assert again.settled is None or again.settled.decided
        proposals = [e for e in book.events() if isinstance(e.event, CorrectionProposed)]
        assert len(proposals) == 8


# In every history

patient = settings(
    max_examples=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def accepted(proposal: Propose) -> Plan:
    """A correction that somebody accepts."""
    return [proposal, Decide(proposal.item, proposal.correction, "accept", by="judge")]


@st.composite
def disputes(draw: st.DrawFn) -> Plan:
    """A few items that many people correct one after the other, among contract changes and
    rollbacks; much of it is accepted.
    """
    items = ("r0", "r1", "r1#1")
    labels = st.sampled_from([*CLASSES, None])
    correction = st.builds(
        Propose,
        item=st.sampled_from([*items, "r1#2"]),
        correction=st.integers(0, 999).map(lambda number: f"c{number}"),
        from_label=labels,
        to_label=labels,
        from_geometry=BOXES,
        to_geometry=BOXES,
        by=BY,
    ).map(accepted)
    others = st.one_of(alone(schemas), alone(rollbacks), alone(registrations))
    parts = draw(
        st.lists(st.one_of(correction, correction, correction, others), min_size=6, max_size=20)
    )
    start: Plan = [Schema({"add": CLASSES}), *(Register(name, "a") for name in items)]
    return [*start, *(move for part in parts for move in part)]


@patient
@given(disputes(), st.sampled_from(PEOPLE), st.booleans())
def test_undoing_in_every_history(plan: Plan, who: str, with_dependants: bool) -> None:
    """The items of the plan become what it says, all others stay; a second time there is nothing.
    With dependants, every item is what it would be without all of these corrections, or it is
    listed as left.
    """
    history = play(plan, partitions=2)
    with tempfile.TemporaryDirectory() as folder, opened(history, Path(folder)) as book:
        past, before = Past(book), labels(book)
        found = past.undo_plan(Selection(author=who), with_dependants=with_dependants)
        done = past.undo(found, actor="ula", approved_by="uwe").settled
        assert (done is not None and done.decided) == bool(found.edits)
        after = labels(book)
        expected = before | {each.item_id: each.to_label for each in found.edits}
        assert after == {name: label for name, label in expected.items() if label is not None}
        assert past.undo_plan(Selection(author=who), with_dependants=with_dependants).edits == ()
    if with_dependants:
        gone = {(each.record_id, each.correction_id) for each in found.undone + found.dependants}

        def left_out(entry: Entry) -> bool:
            event = entry.event
            proposed = isinstance(event, CorrectionProposed)
            return proposed and (event.record_id, event.correction_id) in gone

        wanted = without(history, history.head(), left_out).labels()
        left = {each.item_id for each in found.left}
        assert {
            name for name in after.keys() | wanted if after.get(name) != wanted.get(name)
        } <= left


@patient
@given(disputes(), st.sampled_from(PEOPLE))
def test_an_item_that_a_kept_correction_made_is_not_touched(plan: Plan, who: str) -> None:
    """Where the last correction of an item stands on an undone one, the item stays as it is."""
    history = play(plan, partitions=2)
    state = history.at()
    last: dict[str, str] = {}
    for entry in (entry for log in history.label_logs for entry in log):
        if isinstance(entry.event, ReviewDecided) and state[entry] is Outcome.APPLIED:
            last[entry.event.item_id] = entry.event.correction_id
    with tempfile.TemporaryDirectory() as folder, opened(history, Path(folder)) as book:
        found = Past(book).undo_plan(Selection(author=who))
    kept = {each.item_id for each in found.dependants if last[each.item_id] == each.correction_id}
    assert not kept & {each.item_id for each in found.edits}
